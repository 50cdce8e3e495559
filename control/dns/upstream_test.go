package dns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func good(t testing.TB) func(w dns.ResponseWriter, m *dns.Msg) {
	return func(w dns.ResponseWriter, m *dns.Msg) {
		_ = w.WriteMsg(answering(t, m, m.Question[0].Name+" 300 IN A 192.0.2.1"))
	}
}

func mustResolve(t *testing.T, at netip.AddrPort, name string) {
	t.Helper()
	if r := exchange(t, "udp", at, question1(name, dns.TypeA)); r.Rcode != 0 || len(r.Answer) != 1 {
		t.Errorf("%s: %v", name, r)
	}
}

func TestForwardAndCache(t *testing.T) {
	u := serveUpstream(t, good(t))
	s := newServer(t, withUpstreams(testConfig(), u))
	at := run(t, s)
	for range 3 {
		mustResolve(t, at, "Www.Example.org")
	}
	if n := u.count("www.example.org"); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	for _, name := range []string{"ws-u9.webspace", "nobody", "9.9.24.172.in-addr.arpa", "x.onion"} {
		if r := exchange(t, "udp", at, question1(name, dns.TypeA)); r.Rcode != dns.RcodeNameError {
			t.Errorf("%s: %v", name, r)
		}
	}
	if n := u.total(); n != 1 {
		t.Errorf("a name of the LAN leaked: %v", u.asked)
	}
	st := s.Stats()
	if st.Queries["A"] != 7 || st.Answers["upstream"]["noerror"] != 1 || st.Answers["cache"]["noerror"] != 2 || st.Answers["zone"]["nxdomain"] != 4 ||
		st.CacheEntries != 1 || !st.Upstreams[0].Up || st.Upstreams[0].Answered != 1 || st.Upstreams[0].Took <= 0 {
		t.Errorf("%+v", st)
	}
}

func TestNegativeAnswersAreKept(t *testing.T) {
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		r := answering(t, m)
		if strings.HasPrefix(strings.ToLower(m.Question[0].Name), "with.") {
			r.Rcode = dns.RcodeNameError
			r.Ns = append(r.Ns, answering(t, m, "example.org. 900 IN SOA a.example.org. b.example.org. 1 2 3 4 300").Answer...)
		}
		_ = w.WriteMsg(r)
	})
	at := run(t, newServer(t, withUpstreams(testConfig(), u)))
	for range 2 {
		if r := exchange(t, "udp", at, question1("with.example.org", dns.TypeA)); r.Rcode != dns.RcodeNameError || len(r.Ns) != 1 {
			t.Error(r)
		}
		exchange(t, "udp", at, question1("without.example.org", dns.TypeA))
	}
	if u.count("with.example.org") != 1 || u.count("without.example.org") != 2 {
		t.Errorf("%v", u.asked)
	}
}

// However many ask, the upstream is asked once.
func TestCoalescing(t *testing.T) {
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) { <-release; good(t)(w, m) })
	c := withUpstreams(testConfig(), u)
	s := newServer(t, c)
	at := run(t, s)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { mustResolve(t, at, "slow.example.org") })
	}
	eventually(t, "all wait", func() bool { return s.Stats().Open == 20 })
	free()
	all.Wait()
	if st := s.Stats(); st.Coalesced != 19 || u.count("slow.example.org") != 1 {
		t.Errorf("asked %d times, %+v", u.count("slow.example.org"), st)
	}
}

func TestPrefetch(t *testing.T) {
	u := serveUpstream(t, good(t))
	s := newServer(t, withUpstreams(testConfig(), u))
	at := run(t, s)
	mustResolve(t, at, "hot.example.org")
	m, err := question1("hot.example.org", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q query
	q.parse(m)
	for _, age := range []int64{100e9, 269e9, 275e9, 280e9} { // of 300 s
		if out, _, _ := s.local(make([]byte, safeUDP), m, &q, safeUDP, s.now()+age); out == nil {
			t.Fatal("not in the cache")
		}
		if age < 270e9 && u.count("hot.example.org") != 1 {
			t.Error("fetched too early")
		}
	}
	eventually(t, "it is fetched again", func() bool { return u.count("hot.example.org") == 2 && s.Stats().Open == 0 })
	if n := s.Stats().Prefetched; n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestBigAnswersComeByTCP(t *testing.T) {
	text := strings.Repeat("x", 250)
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		r := answering(t, m)
		if _, tcp := w.RemoteAddr().(*net.TCPAddr); !tcp {
			r.Truncated = true
		} else {
			for i := range 20 {
				r.Answer = append(r.Answer, answering(t, m, fmt.Sprintf("%s 300 IN TXT %d%s", m.Question[0].Name, i, text)).Answer...)
			}
		}
		_ = w.WriteMsg(r)
	})
	s := newServer(t, withUpstreams(testConfig(), u))
	at := run(t, s)
	m := question1("big.example.org", dns.TypeTXT)
	m.SetEdns0(4096, false)
	if r := exchange(t, "udp", at, m); !r.Truncated || len(r.Answer) != 0 {
		t.Error("by UDP:", r)
	}
	if r := exchange(t, "tcp", at, m); r.Truncated || len(r.Answer) != 20 {
		t.Error("by TCP:", r)
	}
	if n := u.count("big.example.org"); n != 2 || s.Stats().Upstreams[0].Again != 1 {
		t.Errorf("asked %d times, %+v", n, s.Stats().Upstreams)
	}
}

// An upstream that fails is passed over, remembered, and asked again once it answers.
func TestNextUpstream(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	first := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		if failing.Load() {
			w.Close()
			return
		}
		good(t)(w, m)
	})
	closed := Upstream{Addr: netip.MustParseAddrPort("127.0.0.1:1")} // nobody listens there
	failure := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		r := answering(t, m)
		r.Rcode = dns.RcodeServerFailure
		_ = w.WriteMsg(r)
	})
	last := serveUpstream(t, good(t))
	c := testConfig()
	c.Upstreams = []Upstream{closed, {Addr: failure.addr}, {Addr: first.addr}, {Addr: last.addr}}
	s := newServer(t, c)
	s.attempts = attemptTimes
	at := run(t, s)
	for i := range downAfter {
		mustResolve(t, at, fmt.Sprintf("n%d.example.org", i))
	}
	st := s.Stats().Upstreams
	if st[0].Up || !st[1].Up || st[2].Up || !st[3].Up || st[1].Bad == 0 {
		t.Errorf("%+v", st)
	}
	mustResolve(t, at, "later.example.org")
	if first.count("later.example.org") != 0 && s.Stats().Upstreams[3].Timeouts == 0 {
		t.Errorf("an upstream that is down was asked first: %v", first.asked)
	}
	failing.Store(false)
	eventually(t, "it is up again", func() bool { return s.Stats().Upstreams[2].Up })
	before := last.total()
	mustResolve(t, at, "again.example.org")
	if first.count("again.example.org") == 0 && last.total() > before {
		t.Error("it is still passed over")
	}
}

// lies are messages that do not fit a question, made of the true answer.
func lies(t testing.TB, m *dns.Msg) (out [][]byte) {
	evil := answering(t, m, m.Question[0].Name+" 300 IN A 192.0.2.66")
	lie := func(change func(*dns.Msg)) {
		r := evil.Copy()
		change(r)
		b, err := r.Pack()
		if err != nil {
			t.Error(err)
		}
		out = append(out, b)
	}
	lie(func(r *dns.Msg) { r.Id++ })
	lie(func(r *dns.Msg) { r.Response = false })
	lie(func(r *dns.Msg) { r.Question[0].Name = "victim.example." })
	lie(func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeAAAA })
	lie(func(r *dns.Msg) { r.Question = append(r.Question, r.Question[0]) })
	lie(func(r *dns.Msg) { r.Question = nil })
	lie(func(r *dns.Msg) { r.Opcode = dns.OpcodeUpdate })
	lie(func(r *dns.Msg) { // the case of one letter
		b := []byte(r.Question[0].Name)
		b[0] ^= 0x20
		r.Question[0].Name = string(b)
	})
	return append(out, nil, []byte("nonsense"), make([]byte, 600))
}

// Messages that do not fit the question harm nobody: neither this question, nor another, nor the upstream's name.
func TestLyingUpstreams(t *testing.T) {
	for name, rounds := range map[string]int{"lies, then the truth": 1, "nothing but lies by UDP": 3} {
		t.Run(name, func(t *testing.T) {
			u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
				if _, tcp := w.RemoteAddr().(*net.TCPAddr); !tcp {
					for range rounds {
						for _, lie := range lies(t, m) {
							_, _ = w.Write(lie)
						}
					}
					if rounds > 1 {
						return
					}
				}
				good(t)(w, m)
			})
			c := withUpstreams(testConfig(), u)
			s := newServer(t, c)
			at := run(t, s)
			r := exchange(t, "udp", at, question1("x.example.org", dns.TypeA))
			if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
				t.Error(r)
			}
			st := s.Stats()
			if st.CacheEntries != 1 || st.Upstreams[0].Forged < 8 || (st.Upstreams[0].Again > 0) != (rounds > 1) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// An upstream that does not keep the case of names, or knows no EDNS, is asked in another way.
func TestOldUpstreams(t *testing.T) {
	for name, old := range map[string]func(w dns.ResponseWriter, m *dns.Msg){
		"no EDNS": func(w dns.ResponseWriter, m *dns.Msg) {
			if m.IsEdns0() != nil {
				r := new(dns.Msg)
				r.SetRcode(m, dns.RcodeFormatError)
				_ = w.WriteMsg(r)
				return
			}
			good(t)(w, m)
		},
		"no EDNS, and no question": func(w dns.ResponseWriter, m *dns.Msg) {
			if m.IsEdns0() != nil {
				r := new(dns.Msg)
				r.SetRcode(m, dns.RcodeNotImplemented)
				r.Question = nil
				_ = w.WriteMsg(r)
				return
			}
			good(t)(w, m)
		},
		"lower case": func(w dns.ResponseWriter, m *dns.Msg) {
			m.Question[0].Name = strings.ToLower(m.Question[0].Name)
			for range forgedMost { // a resolver would send it once, and the question be asked again after a timeout
				good(t)(w, m)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := withUpstreams(testConfig(), serveUpstream(t, old))
			mustResolve(t, run(t, newServer(t, c)), "a-name-with-many-letters.example.org")
		})
	}
}

// What a forger has to guess differs from question to question: id, port, and the case of letters.
func TestQuestionsAreUnpredictable(t *testing.T) {
	var mu sync.Mutex
	ids, ports, cases := map[uint16]bool{}, map[string]bool{}, map[string]bool{}
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		mu.Lock()
		ids[m.Id], ports[w.RemoteAddr().String()] = true, true
		_, rest, _ := strings.Cut(m.Question[0].Name, ".")
		cases[rest] = true
		mu.Unlock()
		if o := m.IsEdns0(); o == nil || o.UDPSize() != safeUDP || len(o.Option) > 0 {
			t.Errorf("EDNS %v", o)
		}
		good(t)(w, m)
	})
	at := run(t, newServer(t, withUpstreams(testConfig(), u)))
	for i := range 30 {
		mustResolve(t, at, fmt.Sprintf("n%d.a-name-with-many-letters.example.org", i))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 20 || len(ports) < 20 || len(cases) < 20 {
		t.Errorf("of 30 questions: %d ids, %d ports, %d spellings", len(ids), len(ports), len(cases))
	}
}

// An upstream that never answers costs its askers the time that is set, and nobody else anything.
func TestSilentUpstream(t *testing.T) {
	u := serveUpstream(t, func(w dns.ResponseWriter, _ *dns.Msg) { w.Close() })
	c := withUpstreams(testConfig(), u)
	c.Timeout = time.Second
	s := newServer(t, c)
	s.attempts = []time.Duration{300 * time.Millisecond}
	at := run(t, s)
	m := question1("x.example.org", dns.TypeA)
	m.SetEdns0(1232, false)
	r := exchange(t, "udp", at, m)
	if r.Rcode != dns.RcodeServerFailure || r.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode != edeNetwork {
		t.Error(r)
	}
	if r := exchange(t, "udp", at, question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
	if st := s.Stats(); st.Answers["upstream"]["servfail"] != 1 || st.Upstreams[0].Timeouts == 0 {
		t.Errorf("%+v", st)
	}
}

func TestNoUpstreams(t *testing.T) {
	at := run(t, newServer(t, testConfig()))
	if r := exchange(t, "udp", at, question1("x.example.org", dns.TypeA)); r.Rcode != dns.RcodeServerFailure {
		t.Error(r)
	}
}

// certificate makes one for a name, signed by itself.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestUpstreamByTLS(t *testing.T) {
	cert, roots := certificate(t, "dns.example")
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int32
	started := make(chan struct{})
	srv := &dns.Server{Listener: countingListener{l, &conns}, Handler: dns.HandlerFunc(good(t)), NotifyStartedFunc: func() { close(started) }}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	for name, code := range map[string]int{"dns.example": 0, "other.example": dns.RcodeServerFailure, "": dns.RcodeServerFailure} {
		before := conns.Load()
		c := testConfig()
		c.Upstreams = []Upstream{{Addr: addr, TLS: true, Name: name, Roots: roots}}
		at := run(t, newServer(t, c))
		for i := range 5 {
			if r := exchange(t, "udp", at, question1(fmt.Sprintf("n%d.example.org", i), dns.TypeA)); r.Rcode != code {
				t.Errorf("%q: %v", name, r)
			}
		}
		if n := conns.Load() - before; code == 0 && n > 4 {
			t.Errorf("%d connections for five questions", n)
		}
	}
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func TestParseUpstream(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::53": "[2001:db8::53]:53", "[2001:db8::53]:99": "[2001:db8::53]:99",
		"tls://192.0.2.53": "tls://192.0.2.53:853", "tls://192.0.2.53#dns.example": "tls://192.0.2.53:853#dns.example",
		"tls://[2001:db8::53]:99#a": "tls://[2001:db8::53]:99#a",
		"":                          "", "example.org": "", "0.0.0.0": "", "224.0.0.1": "", "192.0.2.53:0": "", "192.0.2.53:99999": "", "tls://192.0.2.53#a b": "", "https://192.0.2.53": "",
	} {
		u, err := ParseUpstream(text)
		if (err != nil) != (want == "") || err == nil && u.String() != want {
			t.Errorf("%q: %v %v", text, u, err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"listen": func(c *Config) { c.Listen = netip.AddrPort{} }, "zone": func(c *Config) { c.Zone = "a..b" }, "prefix": func(c *Config) { c.Prefix = netip.MustParsePrefix("10.0.0.0/30") },
		"gateway": func(c *Config) { c.Gateway = netip.MustParseAddr("10.0.0.1") }, "cache": func(c *Config) { c.Cache = 1 }, "timeout": func(c *Config) { c.Timeout = 1 },
		"rate": func(c *Config) { c.Rate = -1 }, "open": func(c *Config) { c.Open = -1 }, "block": func(c *Config) { c.Block = []string{"a b"} },
		"override": func(c *Config) { c.Override = []Record{{"a", netip.Addr{}}} },
	} {
		c := testConfig()
		change(&c)
		if _, err := New(c, nil); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestPresentation(t *testing.T) {
	if got := presentation([]byte("\x04a.\n\x00\x03org\x00")); got != `a\046\010\000.org.` {
		t.Error(got)
	}
	if got := presentation([]byte{0}); got != "." {
		t.Error(got)
	}
}
