package dataplane

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	ethernetHeader = 14
	ipv4Header     = 20
	tcpHeader      = 20
	udpHeader      = 8
)

// frame makes sense of what the parking device gave. What is no IPv4 packet for an endpoint of the State is not parked by our
// programs, and left out.
func (d *Dataplane) frame(raw []byte) (Frame, bool) {
	if len(raw) < vnetHeader+ethernetHeader+ipv4Header {
		return Frame{}, false
	}
	b := append([]byte(nil), raw[vnetHeader:]...)
	ip := b[ethernetHeader:]
	size := int(ip[0]&15) * 4
	if binary.BigEndian.Uint16(b[12:]) != 0x0800 || ip[0]>>4 != 4 || size < ipv4Header || len(ip) < size {
		return Frame{}, false
	}
	f := Frame{
		Data: b, Time: time.Now(), Proto: Proto(ip[9]),
		Peer: netip.AddrFrom4([4]byte(ip[12:16])), IP: netip.AddrFrom4([4]byte(ip[16:20])),
	}
	follows := binary.BigEndian.Uint16(ip[6:])&0x1fff != 0
	if l4 := ip[size:]; !follows && (f.Proto == TCP || f.Proto == UDP) && len(l4) >= udpHeader {
		f.PeerPort, f.Port = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	}
	if toMAC(b[6:12]) == (mac{}) {
		// The programs' mark of a challenged SYN. They come through the gateway.
		f.Unverified = true
		copy(b[6:12], d.cfg.GatewayMAC)
	}
	d.mu.Lock()
	e, ok := d.local(f.IP)
	d.mu.Unlock()
	f.Owner = e.Owner
	return f, ok
}
