package config

import (
	"encoding"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// MAC is a hardware address that can be read from text.
type MAC net.HardwareAddr

// UnmarshalText reads six octets in one of the forms of net.ParseMAC; nothing is no address.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = nil
		return nil
	}
	mac, err := net.ParseMAC(string(b))
	if err != nil {
		return fmt.Errorf("%q is no MAC address", b)
	}
	if len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("%q is no unicast MAC address of six octets", b)
	}
	*m = MAC(mac)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m MAC) String() string { return net.HardwareAddr(m).String() }

// PortRange is inclusive at both ends, and written 1000-1999.
type PortRange struct{ First, Last uint16 }

// UnmarshalText reads first-last, or one port.
func (r *PortRange) UnmarshalText(b []byte) error {
	first, last, two := strings.Cut(string(b), "-")
	if !two {
		last = first
	}
	f, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	l, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if err1 != nil || err2 != nil || f == 0 || l < f {
		return fmt.Errorf("%q is no range of ports such as 49152-65535", b)
	}
	*r = PortRange{uint16(f), uint16(l)}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Overlaps says whether a port is in both.
func (r PortRange) Overlaps(o PortRange) bool { return r.First <= o.Last && o.First <= r.Last }

// Contains says whether a port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// AddrRange is inclusive at both ends, and written 172.24.1.1-172.24.253.254. The zero range is none.
type AddrRange struct{ First, Last netip.Addr }

// UnmarshalText reads first-last; nothing is no range.
func (r *AddrRange) UnmarshalText(b []byte) error {
	*r = AddrRange{}
	if len(b) == 0 {
		return nil
	}
	first, last, _ := strings.Cut(string(b), "-")
	f, err1 := netip.ParseAddr(strings.TrimSpace(first))
	l, err2 := netip.ParseAddr(strings.TrimSpace(last))
	if err1 != nil || err2 != nil || !f.Is4() || !l.Is4() || l.Less(f) {
		return fmt.Errorf("%q is no range of IPv4 addresses such as 172.24.1.1-172.24.253.254", b)
	}
	*r = AddrRange{f, l}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r AddrRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r AddrRange) String() string {
	if !r.First.IsValid() {
		return ""
	}
	return r.First.String() + "-" + r.Last.String()
}

var (
	_ encoding.TextUnmarshaler = (*AddrRange)(nil)
	_ encoding.TextUnmarshaler = (*MAC)(nil)
	_ encoding.TextUnmarshaler = (*PortRange)(nil)
)
