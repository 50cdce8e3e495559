package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestZone(t *testing.T) {
	s := newServer(t, testConfig())
	soa := func(zone string) string { return zone + ".\t10\tIN\tSOA\tgateway.webspace. hostmaster.webspace. " }
	for _, c := range []struct {
		name   string
		qtype  uint16
		code   int
		answer string // the record, "" none
		ns     string // beginning of the authority record, "" none
		aa     bool
	}{
		{"ws-u1.webspace", dns.TypeA, 0, "ws-u1.webspace.\t60\tIN\tA\t172.24.1.1", "", true},
		{"WS-U1.WebSpace", dns.TypeA, 0, "WS-U1.WebSpace.\t60\tIN\tA\t172.24.1.1", "", true},
		{"ws-u1.webspace", dns.TypeANY, 0, "ws-u1.webspace.\t60\tIN\tA\t172.24.1.1", "", true},
		{"ws-u1.webspace", dns.TypeAAAA, 0, "", soa("webspace"), true},
		{"ws-u1.webspace", dns.TypeHTTPS, 0, "", soa("webspace"), true},
		{"ws-u1.webspace", 65280, 0, "", soa("webspace"), true},
		{"ws-u1", dns.TypeA, 0, "ws-u1.\t60\tIN\tA\t172.24.1.1", "", false},
		{"ws-u1", dns.TypeAAAA, 0, "", "", false},
		{"nobody", dns.TypeA, dns.RcodeNameError, "", "", false},
		{"gateway.webspace", dns.TypeA, 0, "gateway.webspace.\t60\tIN\tA\t172.24.254.1", "", true},
		{"n1.webspace", dns.TypeA, 0, "n1.webspace.\t60\tIN\tA\t172.24.0.1", "", true},
		{"ws-u9.webspace", dns.TypeA, dns.RcodeNameError, "", soa("webspace"), true},
		{"a.b.ws-u1.webspace", dns.TypeA, dns.RcodeNameError, "", soa("webspace"), true},
		{"webspace", dns.TypeSOA, 0, soa("webspace"), "", true},
		{"webspace", dns.TypeNS, 0, "webspace.\t60\tIN\tNS\tgateway.webspace.", "", true},
		{"webspace", dns.TypeA, 0, "", soa("webspace"), true},
		{"1.1.24.172.in-addr.arpa", dns.TypePTR, 0, "1.1.24.172.in-addr.arpa.\t60\tIN\tPTR\tws-u1.webspace.", "", true},
		{"1.254.24.172.in-addr.arpa", dns.TypePTR, 0, "1.254.24.172.in-addr.arpa.\t60\tIN\tPTR\tgateway.webspace.", "", true},
		{"9.1.24.172.in-addr.arpa", dns.TypePTR, dns.RcodeNameError, "", soa("24.172.in-addr.arpa"), true},
		{"1.24.172.in-addr.arpa", dns.TypePTR, 0, "", soa("24.172.in-addr.arpa"), true}, // not empty below: RFC 8020
		{"200.24.172.in-addr.arpa", dns.TypePTR, dns.RcodeNameError, "", soa("24.172.in-addr.arpa"), true},
		{"24.172.in-addr.arpa", dns.TypeSOA, 0, soa("24.172.in-addr.arpa"), "", true},
		{"localhost", dns.TypeA, 0, "localhost.\t60\tIN\tA\t127.0.0.1", "", false},
		{"localhost", dns.TypeAAAA, 0, "localhost.\t60\tIN\tAAAA\t::1", "", false},
		{"x.invalid", dns.TypeA, dns.RcodeNameError, "", soa("invalid"), false},
		{"_dns.resolver.arpa", dns.TypeSVCB, dns.RcodeNameError, "", soa("resolver.arpa"), false},
		{"example.org", dns.TypeANY, 0, "example.org.\t3600\tIN\tHINFO\t\"RFC8482\" \"\"", "", false},
	} {
		r := local(t, s, question1(c.name, c.qtype))
		if r == nil {
			t.Errorf("%s %d: it would be asked for outside", c.name, c.qtype)
			continue
		}
		if r.Rcode != c.code || r.Authoritative != c.aa || !r.Response || !r.RecursionAvailable || !r.RecursionDesired {
			t.Errorf("%s %d: %v", c.name, c.qtype, r)
		}
		check := func(what string, got []dns.RR, want string) {
			switch {
			case want == "" && len(got) > 0, want != "" && len(got) != 1:
				t.Errorf("%s %d: %s: %v, want %q", c.name, c.qtype, what, got, want)
			case want != "" && !strings.HasPrefix(got[0].String(), want):
				t.Errorf("%s %d: %s: %q, want %q", c.name, c.qtype, what, got[0], want)
			}
		}
		check("answer", r.Answer, c.answer)
		check("authority", r.Ns, c.ns)
		for _, rr := range r.Ns {
			if soa := rr.(*dns.SOA); soa.Minttl != negativeTTL || soa.Hdr.Ttl != negativeTTL {
				t.Errorf("%s: the negative TTL is %d, %d", c.name, soa.Minttl, soa.Hdr.Ttl)
			}
		}
	}
	for _, name := range []string{"example.org", "webspace.example.org", "notwebspace.x", "25.172.in-addr.arpa", "com"} {
		if r := local(t, s, question1(name, dns.TypeNS)); r != nil {
			t.Errorf("%s: it would not be asked for outside: %v", name, r)
		}
	}
}

// Until records were heard of, names are unknown, not absent; the static plan is there.
func TestZoneBeforeRecords(t *testing.T) {
	s, err := New(testConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"ws-u1.webspace": dns.RcodeServerFailure, "n1.webspace": 0, "gateway.webspace": 0,
		"webspace": 0, "x.invalid": dns.RcodeNameError} {
		if r := local(t, s, question1(name, dns.TypeA)); r == nil || r.Rcode != want {
			t.Errorf("%s: %v, want code %d", name, r, want)
		}
	}
	if r := local(t, s, question1("1.1.24.172.in-addr.arpa", dns.TypePTR)); r == nil || r.Rcode != dns.RcodeServerFailure {
		t.Error(r)
	}
	s.SetRecords(nil)
	if r := local(t, s, question1("ws-u1.webspace", dns.TypeA)); r == nil || r.Rcode != dns.RcodeNameError {
		t.Error(r)
	}
}

func TestBadRecords(t *testing.T) {
	s := newServer(t, testConfig())
	ip := netip.MustParseAddr
	s.SetRecords([]Record{{"a", ip("172.24.1.1")}, {"a", ip("172.24.1.2")}, {"b", ip("172.24.1.1")}, {"gateway", ip("172.24.1.3")},
		{"n1", ip("172.24.1.4")}, {"c", ip("10.0.0.1")}, {"d.e", ip("172.24.1.5")}, {"", ip("172.24.1.6")}, {strings.Repeat("x", 64), ip("172.24.1.7")},
		{"e", ip("::1")}, {"f", netip.Addr{}}, {"-g", ip("172.24.1.8")}, {"Last", ip("172.24.1.9")}})
	if n := len(s.Problems()); n != 11 {
		t.Errorf("%d problems: %v", n, s.Problems())
	}
	for name, want := range map[string]string{"a": "172.24.1.1", "b": "172.24.1.1", "gateway": "172.24.254.1", "n1": "172.24.0.1", "last": "172.24.1.9"} {
		if r := local(t, s, question1(name+".webspace", dns.TypeA)); len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := local(t, s, question1("1.1.24.172.in-addr.arpa", dns.TypePTR)); len(r.Answer) != 1 || r.Answer[0].(*dns.PTR).Ptr != "a.webspace." {
		t.Error(r)
	}
}

func TestReverseZones(t *testing.T) {
	for prefix, want := range map[string]string{
		"172.24.0.0/16": "24.172.in-addr.arpa", "10.0.0.0/8": "10.in-addr.arpa", "192.168.7.0/24": "7.168.192.in-addr.arpa",
		"172.24.8.0/22": "8.24.172.in-addr.arpa 9.24.172.in-addr.arpa 10.24.172.in-addr.arpa 11.24.172.in-addr.arpa",
		"172.24.0.0/15": "24.172.in-addr.arpa 25.172.in-addr.arpa",
	} {
		if got := strings.Join(reverseZones(netip.MustParsePrefix(prefix)), " "); got != want {
			t.Errorf("%s: %s", prefix, got)
		}
	}
}

func TestBlockAndOverride(t *testing.T) {
	c := testConfig()
	c.Block = []string{"ads.example", "example.net"}
	c.Override = []Record{{"good.example.net", netip.MustParseAddr("192.0.2.7")}, {"good.example.net", netip.MustParseAddr("2001:db8::7")},
		{"good.example.net", netip.MustParseAddr("192.0.2.8")}}
	s := newServer(t, c)
	for _, name := range []string{"ads.example", "x.y.ADS.example", "example.net", "bad.example.net"} {
		m := question1(name, dns.TypeA)
		m.SetEdns0(1232, false)
		r := local(t, s, m)
		if r == nil || r.Rcode != dns.RcodeNameError || len(r.IsEdns0().Option) != 1 || r.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeBlocked {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := local(t, s, question1("good.example.net", dns.TypeA)); r == nil || len(r.Answer) != 2 || r.Authoritative {
		t.Error(r)
	}
	if r := local(t, s, question1("good.example.net", dns.TypeAAAA)); r == nil || len(r.Answer) != 1 {
		t.Error(r)
	}
	if r := local(t, s, question1("badads.example", dns.TypeA)); r != nil {
		t.Error(r)
	}
}
