package dataplane

import (
	"encoding/binary"
	"errors"
)

var errNoRefusal = errors.New("this frame is neither a TCP SYN nor a UDP datagram, and is not refused")

// Refuse answers a parked TCP SYN with a reset in the webspace's name, and a parked UDP datagram with ICMP port
// unreachable. Other frames are left alone.
func (p *Parking) Refuse(f Frame) error {
	answer, err := refusal(f.Data)
	if err != nil {
		return err
	}
	return p.Inject(answer)
}

// refusal builds the answer.
func refusal(frame []byte) ([]byte, error) {
	if len(frame) < ethernetHeader+ipv4Header {
		return nil, errNoRefusal
	}
	ip := frame[ethernetHeader:]
	size := int(ip[0]&15) * 4
	if size < ipv4Header || len(ip) < size || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return nil, errNoRefusal
	}
	switch l4 := ip[size:]; {
	case Proto(ip[9]) == TCP && len(l4) >= tcpHeader && l4[13]&0x16 == 0x02:
		return resetOf(frame, l4), nil
	case Proto(ip[9]) == UDP && len(l4) >= udpHeader:
		return unreachable(frame), nil
	}
	return nil, errNoRefusal
}

// turned begins a frame to the sender of another, with room for n bytes behind the IP header.
func turned(frame []byte, proto Proto, n int) []byte {
	ip := frame[ethernetHeader:]
	b := make([]byte, ethernetHeader+ipv4Header+n)
	copy(b, frame[6:12])
	copy(b[6:], frame[:6])
	copy(b[12:], frame[12:14])
	h := b[ethernetHeader:]
	h[0], h[8], h[9] = 0x45, 64, uint8(proto)
	binary.BigEndian.PutUint16(h[2:], uint16(ipv4Header+n))
	copy(h[12:16], ip[16:20])
	copy(h[16:20], ip[12:16])
	binary.BigEndian.PutUint16(h[10:], checksum(h[:ipv4Header], 0))
	return b
}

// resetOf a SYN has no number, and acknowledges the SYN and its data (RFC 9293 section 3.10.7.1).
func resetOf(frame, syn []byte) []byte {
	ip := frame[ethernetHeader:]
	payload := int(binary.BigEndian.Uint16(ip[2:])) - int(ip[0]&15)*4 - int(syn[12]>>4)*4
	b := turned(frame, TCP, tcpHeader)
	t := b[ethernetHeader+ipv4Header:]
	copy(t, syn[2:4])
	copy(t[2:], syn[:2])
	binary.BigEndian.PutUint32(t[8:], binary.BigEndian.Uint32(syn[4:])+1+uint32(max(payload, 0)))
	t[12], t[13] = 5<<4, 0x14 // RST, ACK
	binary.BigEndian.PutUint16(t[16:], checksum(t, pseudo(b[ethernetHeader:], TCP, tcpHeader)))
	return b
}

// unreachable quotes what it is about (RFC 792): its header and as much of its data as RFC 1812 section 4.3.2.3 allows.
func unreachable(frame []byte) []byte {
	ip := frame[ethernetHeader:]
	quote := ip[:min(len(ip), 128)]
	b := turned(frame, ICMP, 8+len(quote))
	m := b[ethernetHeader+ipv4Header:]
	m[0], m[1] = 3, 3
	copy(m[8:], quote)
	binary.BigEndian.PutUint16(m[2:], checksum(m, 0))
	return b
}

func pseudo(ip []byte, proto Proto, n int) uint32 {
	return sum(ip[12:20]) + uint32(proto) + uint32(n)
}

// sum is the ones' complement sum of 16-bit words, not folded (RFC 1071).
func sum(b []byte) (s uint32) {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func checksum(b []byte, more uint32) uint16 {
	s := sum(b) + more
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
