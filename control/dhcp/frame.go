package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Sizes and numbers of the headers around a message.
const (
	etherLen   = 14
	ipMinLen   = 20
	udpLen     = 8
	etherIPv4  = 0x0800
	protoUDP   = 17
	portServer = 67
	portClient = 68

	offsetIP = etherLen
	// maxMessage is what a client must at least accept: 576 octets of datagram (RFC 2131, section 2, option 57).
	maxMessage = 576 - ipMinLen - udpLen
)

var broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// request is a frame, taken apart as far as the UDP payload.
type request struct {
	dstMAC, srcMAC [6]byte
	src, dst       netip.Addr
	message        []byte
}

// parseFrame takes an Ethernet frame with an IPv4 UDP datagram to port 67 apart. The UDP checksum is not looked at:
// between a webspace and its node it is not filled in (CHECKSUM_PARTIAL), and nothing on that way changes bytes.
func parseFrame(frame []byte) (request, Drop) {
	var r request
	if len(frame) < etherLen+ipMinLen+udpLen {
		return r, DropShort
	}
	copy(r.dstMAC[:], frame[0:6])
	copy(r.srcMAC[:], frame[6:12])
	if binary.BigEndian.Uint16(frame[12:]) != etherIPv4 {
		return r, DropNotDHCP
	}
	ip := frame[offsetIP:]
	header := int(ip[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	switch {
	case ip[0]>>4 != 4 || header < ipMinLen:
		return r, DropMalformed
	case total > len(ip) || total < header+udpLen:
		return r, DropShort
	case ip[9] != protoUDP:
		return r, DropNotDHCP
	case binary.BigEndian.Uint16(ip[6:])&0x3fff != 0: // more fragments, or an offset
		return r, DropMalformed
	case checksum(0, ip[:header]) != 0:
		return r, DropMalformed
	}
	r.src = netip.AddrFrom4([4]byte(ip[12:16]))
	r.dst = netip.AddrFrom4([4]byte(ip[16:20]))
	udp := ip[header:total] // without the padding of short Ethernet frames
	if binary.BigEndian.Uint16(udp[2:]) != portServer {
		return r, DropNotDHCP
	}
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpLen || length > len(udp) {
		return r, DropShort
	}
	r.message = udp[udpLen:length]
	return r, ""
}

// buildFrame puts a message into UDP 67 -> 68, IPv4 and Ethernet, with both checksums. All addresses are IPv4.
func buildFrame(srcMAC, dstMAC [6]byte, src, dst netip.Addr, message []byte) []byte {
	frame := make([]byte, etherLen+ipMinLen+udpLen+len(message))
	copy(frame[0:], dstMAC[:])
	copy(frame[6:], srcMAC[:])
	binary.BigEndian.PutUint16(frame[12:], etherIPv4)

	ip := frame[offsetIP:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8] = 64 // TTL
	ip[9] = protoUDP
	s, d := src.As4(), dst.As4()
	copy(ip[12:], s[:])
	copy(ip[16:], d[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:ipMinLen]))

	udp := ip[ipMinLen:]
	binary.BigEndian.PutUint16(udp[0:], portServer)
	binary.BigEndian.PutUint16(udp[2:], portClient)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], message)
	pseudo := uint32(protoUDP) + uint32(len(udp)) + sum16(ip[12:20])
	sum := checksum(pseudo, udp)
	if sum == 0 { // RFC 768: zero would mean "no checksum"
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return frame
}

func sum16(b []byte) uint32 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// checksum is the Internet checksum (RFC 1071) of b, started with the sum of a pseudo header.
func checksum(start uint32, b []byte) uint16 {
	sum := start + sum16(b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func mac6(mac net.HardwareAddr) ([6]byte, bool) {
	if len(mac) != 6 {
		return [6]byte{}, false
	}
	return [6]byte(mac), true
}
