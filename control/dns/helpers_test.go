package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience is how long a test waits for what must happen; it only matters when it does not.
const patience = 60 * time.Second

func testConfig() Config {
	return Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Zone: "webspace", Prefix: netip.MustParsePrefix("172.24.0.0/16"),
		Gateway: netip.MustParseAddr("172.24.254.1"), Timeout: patience, Names: []Record{{"n1", netip.MustParseAddr("172.24.0.1")}},
	}
}

var testRecords = []Record{
	{"ws-u1", netip.MustParseAddr("172.24.1.1")}, {"ws-u2", netip.MustParseAddr("172.24.1.2")}, {"ws-u3", netip.MustParseAddr("172.24.7.9")},
}

func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.SetRecords(testRecords)
	s.attempts = []time.Duration{patience / 3} // on a busy machine nothing is asked twice
	return s
}

// run lets a server run until the test ends, and gives its address.
func run(t testing.TB, s *Server) netip.AddrPort {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	})
	eventually(t, "the server listens", s.Running)
	return *s.bound.Load()
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time:", what)
		}
	}
}

// query asks by a fresh socket, and again if an answer got lost on a busy machine.
func exchange(t testing.TB, network string, at netip.AddrPort, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: patience / 3, UDPSize: 4096}
	r, _, err := c.Exchange(m, at.String())
	if err != nil {
		t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	return r
}

func question1(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	return m
}

// local has a message answered without sockets; nil: not known here, or no answer.
func local(t testing.TB, s *Server, m *dns.Msg) *dns.Msg {
	t.Helper()
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := rawLocal(s, raw)
	if out == nil {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		t.Fatalf("%v: the answer is malformed: %v", m.Question, err)
	}
	return r
}

func rawLocal(s *Server, raw []byte) []byte {
	var q query
	out := make([]byte, safeUDP)
	switch v, code := q.parse(raw); v {
	case ignore:
		return nil
	case refuse:
		return s.refused(&q, -1, out, raw, code, q.limit())
	}
	answer, _, _ := s.local(out, raw, &q, q.limit(), s.now())
	return answer
}

// upstreamServer is a test's name server: what handle gives is sent, nil nothing.
type upstreamServer struct {
	addr netip.AddrPort

	mu    sync.Mutex
	asked []dns.Question
}

func (u *upstreamServer) count(name string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, q := range u.asked {
		if dns.CanonicalName(q.Name) == dns.CanonicalName(name) {
			n++
		}
	}
	return n
}

func (u *upstreamServer) total() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.asked)
}

// serveUpstream answers by UDP and TCP at one port of the loopback. handle may be called at the same time.
func serveUpstream(t testing.TB, handle func(w dns.ResponseWriter, m *dns.Msg)) *upstreamServer {
	t.Helper()
	u := &upstreamServer{}
	var pc net.PacketConn
	var l net.Listener
	for range 100 { // a port that is free for both
		var err error
		if pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp4", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
		l = nil
	}
	if l == nil {
		t.Fatal("no port is free for UDP and TCP")
	}
	u.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		u.mu.Lock()
		u.asked = append(u.asked, m.Question...)
		u.mu.Unlock()
		handle(w, m)
	})
	var all sync.WaitGroup
	servers := []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}}
	t.Cleanup(func() {
		for _, srv := range servers {
			_ = srv.Shutdown()
		}
		all.Wait()
	})
	for _, srv := range servers {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		all.Go(func() { _ = srv.ActivateAndServe() })
		<-started
	}
	return u
}

// answering makes an answer with records in zone-file form.
func answering(t testing.TB, m *dns.Msg, records ...string) *dns.Msg {
	r := new(dns.Msg)
	r.SetReply(m)
	r.RecursionAvailable = true
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Error(err)
			continue
		}
		r.Answer = append(r.Answer, rr)
	}
	return r
}

func withUpstreams(c Config, list ...*upstreamServer) Config {
	for _, u := range list {
		c.Upstreams = append(c.Upstreams, Upstream{Addr: u.addr})
	}
	return c
}
