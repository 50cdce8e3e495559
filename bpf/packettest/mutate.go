package packettest

import (
	"encoding/binary"
	"slices"
)

// The functions here break or change finished frames. Offsets count from the first byte of the frame.

// Cut gives the first n bytes.
func Cut(frame []byte, n int) []byte { return slices.Clone(frame[:n]) }

// Set replaces bytes at an offset.
func Set(frame []byte, offset int, b ...byte) []byte {
	out := slices.Clone(frame)
	copy(out[offset:], b)
	return out
}

// Set16 replaces a big-endian number at an offset.
func Set16(frame []byte, offset int, v uint16) []byte {
	return Set(frame, offset, byte(v>>8), byte(v))
}

// Flip inverts a bit pattern at an offset, as a bad cable would.
func Flip(frame []byte, offset int, mask byte) []byte {
	return Set(frame, offset, frame[offset]^mask)
}

// FixIPv4 makes the header checksum right again after a change of the header.
func FixIPv4(frame []byte) []byte {
	out := Set16(frame, 14+10, 0)
	header := int(out[14]&15) * 4
	binary.BigEndian.PutUint16(out[14+10:], ^sum(0, out[14:14+header]))
	return out
}

// NoUDPSum clears the checksum of a UDP packet in an IPv4 packet without options: legal, "none computed" (RFC 768).
func NoUDPSum(frame []byte) []byte { return Set16(frame, 14+20+6, 0) }

// Offsets in a frame with an IPv4 header without options.
const (
	AtEtherType = 12
	AtIPv4      = 14
	AtTotal     = AtIPv4 + 2
	AtTTL       = AtIPv4 + 8
	AtIPSum     = AtIPv4 + 10
	AtIPSrc     = AtIPv4 + 12
	AtIPDst     = AtIPv4 + 16
	AtL4        = AtIPv4 + 20
	TunnelSize  = 14 + 20 + 8 + 8 // what Tunnel puts in front
)
