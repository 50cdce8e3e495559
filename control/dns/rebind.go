package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// rebinds says whether an answer of others gives a name outside an address inside (DNS rebinding), in any of the records
// that carry addresses.
func (s *Server) rebinds(name string, answer []dns.RR) bool {
	for _, d := range s.config.AllowRebind {
		if dns.IsSubDomain(dns.Fqdn(d), name) {
			return false
		}
	}
	for _, rr := range answer {
		switch r := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(r.A); ok && s.inside(a) {
				return true
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(r.AAAA); ok && s.inside(a) {
				return true
			}
		case *dns.HTTPS:
			if s.hintsInside(&r.SVCB) {
				return true
			}
		case *dns.SVCB:
			if s.hintsInside(r) {
				return true
			}
		}
	}
	return false
}

func (s *Server) hintsInside(r *dns.SVCB) bool {
	for _, v := range r.Value {
		switch h := v.(type) {
		case *dns.SVCBIPv4Hint:
			for _, ip := range h.Hint {
				if a, ok := netip.AddrFromSlice(ip); ok && s.inside(a) {
					return true
				}
			}
		case *dns.SVCBIPv6Hint:
			for _, ip := range h.Hint {
				if a, ok := netip.AddrFromSlice(ip); ok && s.inside(a) {
					return true
				}
			}
		}
	}
	return false
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
	compat = netip.MustParsePrefix("::/96")        // RFC 4291, section 2.5.5.1
)

// inside says whether an address is of the LAN or of a node, also in the IPv6 addresses that stand for IPv4 ones.
func (s *Server) inside(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() {
		b := a.As16()
		switch {
		case nat64.Contains(a), compat.Contains(a):
			return s.inside(netip.AddrFrom4([4]byte(b[12:])))
		case sixTo4.Contains(a):
			return s.inside(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	if s.config.Prefix.Contains(a) {
		return true
	}
	for _, p := range s.config.Private {
		if p.Contains(a) {
			return true
		}
	}
	return slices.Contains(*s.nodes.Load(), a)
}
