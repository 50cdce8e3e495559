package live

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Offsets in an Ethernet frame with IPv4 and TCP.
const (
	atID       = 14 + 4
	atIPSum    = 14 + 10
	atSource   = 14 + 12
	atPort     = 14 + 20
	atDestPort = atPort + 2
	atSeq      = atPort + 4
	atAck      = atPort + 8
	atTCPSum   = atPort + 16
	smallest   = 60 // an Ethernet frame without its checksum
)

// SYN is a TCP SYN to a port in the smallest of Ethernet frames, with right checksums. The low half of its source address,
// its source port and what of its headers makes up for them are 0 until Forged varies them.
func SYN(to, from net.HardwareAddr, source netip.Addr, dst netip.AddrPort) []byte {
	f := make([]byte, smallest)
	copy(f, to)
	copy(f[6:], from)
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip, tcp := f[14:34], f[34:54]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], 40)
	a, b := source.As4(), dst.Addr().As4()
	copy(ip[12:14], a[:2])
	copy(ip[16:], b[:])
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 5<<4, 2
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	binary.BigEndian.PutUint16(f[atIPSum:], ^sum(0, ip))
	binary.BigEndian.PutUint16(f[atTCPSum:], ^sum(sum(6+20, ip[12:]), tcp))
	return f
}

// Forged makes each SYN come from another address of a /16, and another port, as nobody who wants an answer does. A scan has
// a mask of one bit less than a power of two, and goes to the ports from low on: the SYN's own port must be 0 then.
func Forged(low, mask uint16) []Vary {
	v := []Vary{
		{At: atSource + 2, Mask: 0xffff, Undo: []int{atID, atSeq + 2}},
		{At: atPort, Low: 1024, Mask: 0x7fff, Undo: []int{atSeq}},
	}
	if mask != 0 {
		v = append(v, Vary{At: atDestPort, Low: low, Mask: mask, Undo: []int{atAck}})
	}
	return v
}

func sum(s uint16, b []byte) uint16 {
	n := uint32(s)
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
