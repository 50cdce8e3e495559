package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// seen is what an asker gets of an upstream's message, age after it came.
func seen(t *testing.T, s *Server, m *dns.Msg, age time.Duration) *dns.Msg {
	t.Helper()
	ask := question1(m.Question[0].Name, m.Question[0].Qtype)
	o := m.IsEdns0()
	ask.SetEdns0(1232, o != nil && o.Do())
	wire, err := ask.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q query
	if v, _ := q.parse(wire); v != answerable {
		t.Fatal(v)
	}
	up, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.digest(newQuestion(string(q.key())), up)
	if err != nil {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(e.write(&q, make([]byte, maxTCP), wire, maxTCP, e.born+int64(age))); err != nil {
		t.Fatal(err)
	}
	if age == 0 && len(r.Answer) > 0 {
		s.cache.put(e)
	}
	return r
}

func upstreamSays(t *testing.T, name string, qtype uint16, code int, sections ...string) *dns.Msg {
	t.Helper()
	m := answering(t, question1(name, qtype))
	m.Rcode = code
	section := &m.Answer
	for _, text := range sections {
		switch text {
		case "authority":
			section = &m.Ns
			continue
		case "additional":
			section = &m.Extra
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		*section = append(*section, rr)
	}
	return m
}

// Of an upstream's message only what answers the question is believed.
func TestDigest(t *testing.T) {
	const soa = "example.org. 900 IN SOA a.example.org. b.example.org. 1 2 3 4 300"
	for _, c := range []struct {
		name string
		m    *dns.Msg
		code int
		want string // the answer's owners, types and TTLs; nil message: "useless"
		ns   string
	}{
		{"plain", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN A 192.0.2.1"), 0, "x.example.org. A 60", ""},
		{"another case", upstreamSays(t, "x.example.org", dns.TypeA, 0, "X.EXAMPLE.org. 60 IN A 192.0.2.1"), 0, "x.example.org. A 60", ""},
		{"out of bailiwick", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN A 192.0.2.1", "victim.example. 60 IN A 192.0.2.66",
			"authority", "victim.example. 60 IN NS evil.example.", "additional", "evil.example. 60 IN A 192.0.2.66"), 0, "x.example.org. A 60", ""},
		{"only out of bailiwick", upstreamSays(t, "x.example.org", dns.TypeA, 0, "victim.example. 60 IN A 192.0.2.66"), 0, "", ""},
		{"a chain", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN CNAME y.example.net.", "y.example.net. 50 IN CNAME z.example.com.",
			"z.example.com. 40 IN A 192.0.2.1", "z.example.com. 30 IN A 192.0.2.2", "w.example.com. 10 IN A 192.0.2.3"), 0,
			"x.example.org. CNAME 60, y.example.net. CNAME 50, z.example.com. A 30, z.example.com. A 30", ""},
		{"a chain out of order", upstreamSays(t, "x.example.org", dns.TypeA, 0, "y.example.net. 40 IN A 192.0.2.1", "x.example.org. 60 IN CNAME y.example.net."), 0,
			"x.example.org. CNAME 60, y.example.net. A 40", ""},
		{"a loop", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN CNAME y.example.org.", "y.example.org. 60 IN CNAME x.example.org."), 0,
			"x.example.org. CNAME 60, y.example.org. CNAME 60", ""},
		{"DNAME", upstreamSays(t, "x.example.org", dns.TypeA, 0, "example.org. 60 IN DNAME example.net.", "x.example.org. 60 IN CNAME x.example.net.", "x.example.net. 60 IN A 192.0.2.1"), 0,
			"example.org. DNAME 60, x.example.org. CNAME 60, x.example.net. A 60", ""},
		{"the alias itself", upstreamSays(t, "x.example.org", dns.TypeCNAME, 0, "x.example.org. 60 IN CNAME y.example.net.", "y.example.net. 60 IN A 192.0.2.1"), 0, "x.example.org. CNAME 60", ""},
		{"unknown type (RFC 3597)", upstreamSays(t, "x.example.org", 65280, 0, `x.example.org. 60 IN TYPE65280 \# 4 01020304`), 0, "x.example.org. TYPE65280 60", ""},
		{"TTL of 2^31 (RFC 2181)", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 2147483648 IN A 192.0.2.1"), 0, "x.example.org. A 0", ""},
		{"TTL of a year", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 31536000 IN A 192.0.2.1"), 0, "x.example.org. A 86400", ""},
		{"NXDOMAIN", upstreamSays(t, "x.example.org", dns.TypeA, 3, "authority", soa), 3, "", "example.org. SOA 300"},
		{"NXDOMAIN behind an alias", upstreamSays(t, "x.example.net", dns.TypeA, 3, "x.example.net. 60 IN CNAME y.example.org.", "authority", soa), 3, "x.example.net. CNAME 60", "example.org. SOA 300"},
		{"no data", upstreamSays(t, "x.example.org", dns.TypeAAAA, 0, "authority", soa), 0, "", "example.org. SOA 300"},
		{"no data, a zone that is not above", upstreamSays(t, "x.example.net", dns.TypeAAAA, 0, "authority", soa), 0, "", ""},
		{"no data, and no SOA", upstreamSays(t, "x.example.org", dns.TypeAAAA, 0), 0, "", ""},
		{"a referral", upstreamSays(t, "x.example.org", dns.TypeA, 0, "authority", "org. 60 IN NS a.example."), 0, "useless", ""},
		{"a failure", upstreamSays(t, "x.example.org", dns.TypeA, 2), 0, "useless", ""},
		{"a refusal", upstreamSays(t, "x.example.org", dns.TypeA, 5), 0, "useless", ""},
		{"signatures that nobody wanted", upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN A 192.0.2.1",
			"x.example.org. 60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example.org. AAAA"), 0, "x.example.org. A 60", ""},
	} {
		s := newServer(t, testConfig())
		r := seen(t, s, c.m, 0)
		if c.want == "useless" || r == nil {
			if (r != nil) == (c.want == "useless") {
				t.Errorf("%s: %v", c.name, r)
			}
			continue
		}
		if got := brief(r.Answer); got != c.want || r.Rcode != c.code || brief(r.Ns) != c.ns || len(r.Extra) != 1 {
			t.Errorf("%s: %v", c.name, r)
		}
		if strings.Contains(c.name, "bailiwick") {
			if v := local(t, s, question1("victim.example", dns.TypeA)); v != nil {
				t.Errorf("%s: the lie is believed: %v", c.name, v)
			}
		}
	}
}

func brief(list []dns.RR) string {
	var out []string
	for _, rr := range list {
		h := rr.Header()
		out = append(out, fmt.Sprintf("%s %s %d", strings.ToLower(h.Name), dns.Type(h.Rrtype), h.Ttl))
	}
	return strings.Join(out, ", ")
}

// With DNSSEC wanted, signatures and proofs are passed on.
func TestDigestDNSSEC(t *testing.T) {
	s := newServer(t, testConfig())
	m := upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 60 IN A 192.0.2.1",
		"x.example.org. 60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example.org. AAAA")
	m.SetEdns0(1232, true)
	if r := seen(t, s, m, 0); brief(r.Answer) != "x.example.org. A 60, x.example.org. RRSIG 60" || !r.IsEdns0().Do() {
		t.Error(r)
	}
	m = upstreamSays(t, "y.example.org", dns.TypeA, 3, "authority", "example.org. 900 IN SOA a.example.org. b.example.org. 1 2 3 4 300",
		"a.example.org. 60 IN NSEC z.example.org. A", "a.example.org. 60 IN RRSIG NSEC 8 3 60 20300101000000 20200101000000 1 example.org. AAAA")
	m.SetEdns0(1232, true)
	if r := seen(t, s, m, 0); len(r.Ns) != 3 {
		t.Error(r)
	}
}

// TTLs count down while an answer is in the cache, and then it is gone.
func TestTTLsAreTrue(t *testing.T) {
	s := newServer(t, testConfig())
	m := upstreamSays(t, "x.example.org", dns.TypeA, 0, "x.example.org. 100 IN CNAME y.example.org.", "y.example.org. 60 IN A 192.0.2.1")
	for age, want := range map[time.Duration]string{0: "CNAME 100 A 60", 999 * time.Millisecond: "CNAME 100 A 60", time.Second: "CNAME 99 A 59", 59 * time.Second: "CNAME 41 A 1"} {
		r := seen(t, s, m, age)
		if got := fmt.Sprintf("CNAME %d A %d", r.Answer[0].Header().Ttl, r.Answer[1].Header().Ttl); got != want {
			t.Errorf("after %v: %s, want %s", age, got, want)
		}
	}
	key := []byte("\x01x\x07example\x03org\x00\x00\x01\x00")
	now := s.now()
	if s.cache.get(key, now) == nil || s.cache.get(key, now+61e9) != nil {
		t.Error("the answer is not kept, or for too long")
	}
}

func TestRebinding(t *testing.T) {
	c := testConfig()
	c.Private = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
	c.AllowRebind = []string{"inside.example"}
	s := newServer(t, c)
	s.SetNodes([]netip.Addr{netip.MustParseAddr("192.0.2.9")})
	for text, refused := range map[string]bool{
		"x.example. 60 IN A 172.24.1.1": true, "x.example. 60 IN A 172.24.254.1": true, "x.example. 60 IN A 198.51.100.7": true,
		"x.example. 60 IN A 192.0.2.9": true, "x.example. 60 IN AAAA ::ffff:172.24.1.1": true, "x.example. 60 IN AAAA 64:ff9b::172.24.1.1": true,
		"x.example. 60 IN AAAA 2002:ac18:0101::1": true, "x.example. 60 IN AAAA ::172.24.1.1": true,
		"x.example. 60 IN HTTPS 1 . ipv4hint=172.24.1.1": true, "x.example. 60 IN SVCB 1 . ipv6hint=64:ff9b::ac18:101": true,
		"x.example. 60 IN A 172.25.1.1": false, "x.example. 60 IN A 127.0.0.2": false, "x.example. 60 IN AAAA 2001:db8::1": false,
		"x.example. 60 IN HTTPS 1 . ipv4hint=192.0.2.1": false,
		"a.inside.example. 60 IN A 172.24.1.1":          false, "inside.example. 60 IN A 172.24.1.1": false, "notinside.example. 60 IN A 172.24.1.1": true,
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(text, err)
		}
		r := seen(t, s, upstreamSays(t, rr.Header().Name, rr.Header().Rrtype, 0, text), 0)
		if (len(r.Answer) == 0) != refused || r.Rcode != 0 || refused && r.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeBlocked {
			t.Errorf("%s: %v", text, r)
		}
	}
	r := seen(t, s, upstreamSays(t, "y.example", dns.TypeA, 0, "y.example. 60 IN CNAME z.inside.example.", "z.inside.example. 60 IN A 172.24.1.1"), 0)
	if len(r.Answer) != 0 {
		t.Errorf("an alias gets around it: %v", r)
	}
}
