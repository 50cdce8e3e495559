package dhcp

import (
	"fmt"
	"net"
	"net/netip"
)

// Reservation is what one port is told.
type Reservation struct {
	MAC net.HardwareAddr
	// IP is the address of this MAC. When it is invalid (zero) the port is known but has no address: what it asks
	// for is refused, so that it does not go on with an address of its past.
	IP       netip.Addr
	Hostname string // one label; "" or anything that is not a host name is not sent
	Ifindex  int    // host side of the port, in the node's network namespace; 0: no port, no answer
}

// table is what is served; it is never changed, only replaced.
type table map[[6]byte]*entry

type entry struct {
	Reservation
	mac   [6]byte
	limit bucket
}

// newTable checks reservations. A bad one is left out and reported, the rest is served. Rate limits of MACs that
// were in old go on.
func newTable(list []Reservation, lan netip.Prefix, old table) (table, []error) {
	t := make(table, len(list))
	holders := make(map[netip.Addr][6]byte, len(list))
	var bad []error
	for _, r := range list {
		mac, ok := mac6(r.MAC)
		switch holder, taken := holders[r.IP]; {
		case !ok || mac[0]&1 != 0 || mac == [6]byte{}:
			bad = append(bad, fmt.Errorf("reservation of %v: %v is no unicast MAC address", r.IP, r.MAC))
			continue
		case t[mac] != nil:
			bad = append(bad, fmt.Errorf("reservation of %v: its MAC %v already has %v", r.IP, r.MAC, t[mac].IP))
			continue
		case r.IP.IsValid() && (!r.IP.Is4() || !lan.Contains(r.IP)):
			bad = append(bad, fmt.Errorf("reservation of %v for %v: not an address of the LAN %v", r.IP, r.MAC, lan))
			continue
		case r.IP.IsValid() && taken:
			bad = append(bad, fmt.Errorf("reservation of %v for %v: %v already has it", r.IP, r.MAC, net.HardwareAddr(holder[:])))
			continue
		}
		e := &entry{Reservation: r, mac: mac}
		if !isLabel(r.Hostname) {
			e.Hostname = ""
		}
		if was := old[mac]; was != nil {
			e.limit.copyFrom(&was.limit)
		}
		t[mac] = e
		if r.IP.IsValid() {
			holders[r.IP] = mac
		}
	}
	return t, bad
}

// isLabel says whether s is one label of a host name (RFC 1123, section 2.1).
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
