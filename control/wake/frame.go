package wake

import (
	"encoding/binary"
	"net/netip"
)

// packet is what of a parked frame matters here.
type packet struct {
	tuple tuple
	syn   bool // TCP: SYN and not ACK
	ack   bool // TCP: ACK or RST, a segment of a connection that exists
}

// tuple names a conversation. Its ports are zero where the protocol has none.
type tuple struct {
	proto    Proto
	src, dst netip.AddrPort
}

func (t tuple) port() Port { return Port{t.proto, t.dst.Port()} }

const (
	ethernet  = 14
	typeIPv4  = 0x0800
	flagSYN   = 0x02
	flagRST   = 0x04
	flagACK   = 0x10
	leastTCP  = 20
	leastUDP  = 8
	leastIPv4 = 20
)

// parse reads an Ethernet frame with an IPv4 packet in it. A fragment that is not the first has no ports.
func parse(frame []byte) (p packet, ok bool) {
	if len(frame) < ethernet+leastIPv4 || binary.BigEndian.Uint16(frame[12:]) != typeIPv4 {
		return p, false
	}
	ip := frame[ethernet:]
	head, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || head < leastIPv4 || total < head || total > len(ip) {
		return p, false
	}
	src, dst := netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	p.tuple = tuple{proto: Proto(ip[9]), src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0)}
	body := ip[head:total]
	if binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return p, true
	}
	least := map[Proto]int{TCP: leastTCP, UDP: leastUDP}[p.tuple.proto]
	if len(body) < least {
		return p, false
	}
	if least == 0 {
		return p, true
	}
	p.tuple.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(body))
	p.tuple.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(body[2:]))
	if p.tuple.proto == TCP {
		flags := body[13]
		p.syn = flags&(flagSYN|flagACK|flagRST) == flagSYN
		p.ack = !p.syn
	}
	return p, true
}
