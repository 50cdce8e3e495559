package dataplane

import (
	"net/netip"
	"slices"
)

// lpm answers in user space what the map `prefixes` answers in the kernel.
type lpm struct {
	prefixes map[netip.Prefix]bool // true: denied
	lengths  []int                 // that occur, longest first
}

func newLPM(prefixes map[netip.Prefix]bool) *lpm {
	l := &lpm{prefixes: prefixes}
	for p := range prefixes {
		if !slices.Contains(l.lengths, p.Bits()) {
			l.lengths = append(l.lengths, p.Bits())
		}
	}
	slices.SortFunc(l.lengths, func(a, b int) int { return b - a })
	return l
}

func (l *lpm) denies(ip netip.Addr) bool {
	for _, n := range l.lengths {
		p, err := ip.Prefix(n)
		if err != nil {
			continue // longer than an address of this family
		}
		if deny, ok := l.prefixes[p]; ok {
			return deny
		}
	}
	return false
}
