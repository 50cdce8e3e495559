package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// CheckSums verifies every length and checksum of a frame: IPv4 header, TCP, UDP, ICMP, what an ICMP error quotes (as
// far as it is whole), and the frame inside a VXLAN packet to the given port. It is written out here (RFC 1071), so
// that it shares no code with what built the frame. It does not judge what is not IPv4.
func CheckSums(frame []byte, tunnelPort uint16) error {
	if len(frame) < 14 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return nil
	}
	return checkIPv4(frame[14:], tunnelPort, false)
}

func checkIPv4(p []byte, tunnelPort uint16, quoted bool) error {
	if len(p) < 20 {
		return fmt.Errorf("IPv4 header of %d bytes", len(p))
	}
	header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if header < 20 || header > len(p) || total < header {
		return fmt.Errorf("IPv4 header length %d, total length %d, there are %d bytes", header, total, len(p))
	}
	if s := sum(0, p[:header]); s != 0xffff {
		return fmt.Errorf("IPv4 header checksum %#04x is off by %#04x", binary.BigEndian.Uint16(p[10:]), ^s)
	}
	fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0
	if total > len(p) {
		if quoted { // cut off as RFC 1812 section 4.3.2.3 allows; the transport checksum cannot be verified
			return nil
		}
		return fmt.Errorf("IPv4 total length %d, there are %d bytes", total, len(p))
	}
	if fragment {
		return nil
	}
	data := p[header:total]
	pseudo := sum(uint32(p[9])+uint32(len(data)), p[12:20])
	switch p[9] {
	case 1:
		if s := sum(0, data); s != 0xffff {
			return fmt.Errorf("ICMP checksum is off by %#04x", ^s)
		}
		if len(data) >= 8+20 && isICMPError(data[0]) {
			if err := checkIPv4(data[8:], tunnelPort, true); err != nil {
				return fmt.Errorf("quoted in an ICMP error: %w", err)
			}
		}
	case 6:
		if s := sum(uint32(pseudo), data); s != 0xffff {
			return fmt.Errorf("TCP checksum is off by %#04x", ^s)
		}
	case 17:
		return checkUDP(data, pseudo, tunnelPort)
	}
	return nil
}

func checkUDP(data []byte, pseudo uint16, tunnelPort uint16) error {
	if len(data) < 8 {
		return fmt.Errorf("UDP header of %d bytes", len(data))
	}
	if n := int(binary.BigEndian.Uint16(data[4:])); n != len(data) {
		return fmt.Errorf("UDP length %d, there are %d bytes", n, len(data))
	}
	// Zero means that the sender made none (RFC 768), and must stay zero.
	if binary.BigEndian.Uint16(data[6:]) != 0 {
		if s := sum(uint32(pseudo), data); s != 0xffff {
			return fmt.Errorf("UDP checksum is off by %#04x", ^s)
		}
	}
	if binary.BigEndian.Uint16(data[2:]) != tunnelPort || tunnelPort == 0 {
		return nil
	}
	if len(data) < 16+14 {
		return errors.New("VXLAN packet without a frame")
	}
	if err := CheckSums(data[16:], tunnelPort); err != nil {
		return fmt.Errorf("in the tunnel: %w", err)
	}
	return nil
}

func isICMPError(kind byte) bool {
	return kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12
}

// sum is the ones' complement sum; it is 0xffff over data that contains its own correct checksum.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
		s = s&0xffff + s>>16
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
