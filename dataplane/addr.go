package dataplane

import (
	"net"
	"net/netip"

	"github.com/lanyard-project/lanyard/bpf"
)

// wire is the 16-byte form of an address in the maps: IPv4 as ::ffff:a.b.c.d, and zero for the invalid address.
func wire(ip netip.Addr) (a bpf.TcAddr) {
	if ip.IsValid() {
		a.Ip = ip.As16()
	}
	return a
}

// unwire is the opposite of wire.
func unwire(a bpf.TcAddr) netip.Addr {
	if a == (bpf.TcAddr{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a.Ip).Unmap()
}

// wirePrefix counts the length in the 128 bits of an address, so that one trie serves both families.
func wirePrefix(p netip.Prefix) (k bpf.TcPrefixKey) {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	k.Prefixlen = uint32(bits)
	k.Ip = wire(p.Masked().Addr())
	return k
}

type mac [6]byte

func toMAC(h net.HardwareAddr) (m mac) {
	copy(m[:], h)
	return m
}

func (m mac) hardware() net.HardwareAddr { return append(net.HardwareAddr(nil), m[:]...) }

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

func (m mac) key() (k bpf.TcMacKey) {
	k.Mac = m
	return k
}

// unicast reports whether h can be the address of one station.
func unicast(h net.HardwareAddr) bool {
	return len(h) == 6 && h[0]&1 == 0 && toMAC(h) != mac{}
}
