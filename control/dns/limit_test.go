package dns

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// from has a message handled as if it came from an address.
func from(t *testing.T, s *Server, c *udpSocket, ip string, m *dns.Msg, now int64) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker()
	w.in[0].n = uint32(copy(w.messages[0][:], wire))
	w.from[0].Addr = netip.MustParseAddr(ip).As4()
	out := s.handle(w, c, 0, now)
	if out == nil {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhoMayAsk(t *testing.T) {
	c := testConfig()
	c.Own = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	s := newServer(t, c)
	for ip, may := range map[string]bool{"172.24.1.1": true, "172.24.254.1": true, "172.24.255.255": true, "127.0.0.1": true, "127.9.9.9": true,
		"192.0.2.1": true, "192.0.2.2": false, "172.25.0.1": false, "172.23.255.255": false, "0.0.0.0": false, "255.255.255.255": false} {
		if r := from(t, s, nil, ip, question1("ws-u1.webspace", dns.TypeA), 0); (r != nil) != may {
			t.Errorf("%s: %v", ip, r)
		}
	}
	if n := s.Stats().Dropped[string(DropNotLAN)]; n != 5 {
		t.Errorf("%d drops", n)
	}
}

// A webspace has its rate, and nobody else's.
func TestRate(t *testing.T) {
	c := testConfig()
	c.Rate = 10
	s := newServer(t, c)
	m := question1("ws-u1.webspace", dns.TypeA)
	answered := func(ip string, now int64, tries int) (n int) {
		for range tries {
			if from(t, s, nil, ip, m, now) != nil {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		ip   string
		now  time.Duration
		want int
	}{{"172.24.1.1", 0, 21}, {"172.24.1.1", 0, 0}, {"172.24.1.2", 0, 21}, {"172.24.1.1", 100 * time.Millisecond, 1}, {"172.24.1.1", 1100 * time.Millisecond, 10},
		{"172.24.1.1", time.Hour, 21}, {"172.24.254.1", 0, 50}, {"127.0.0.1", 0, 50}} {
		if got := answered(step.ip, int64(step.now), 50); got != step.want {
			t.Errorf("%+v: %d answers", step, got)
		}
	}
	if s.Stats().Dropped[string(DropRate)] == 0 {
		t.Error("not counted")
	}
}

// A webspace whose questions are all open does not keep others from asking.
func TestShare(t *testing.T) {
	nowhere, err := openUDP(netip.MustParseAddrPort("127.0.0.1:0")) // answers to the addresses below end here
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nowhere.close)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) { <-release; good(t)(w, m) })
	c := withUpstreams(testConfig(), u)
	c.Open, c.Share = 6, 4
	s := newServer(t, c)
	run(t, s)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	ask := func(ip, name string) bool { // false: refused
		r := from(t, s, nowhere, ip, question1(name+".example.org", dns.TypeA), s.now())
		if r != nil && r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s asks for %s: %v", ip, name, r)
		}
		return r == nil
	}
	for i, name := range names[:6] {
		if ok := ask("127.0.0.1", name); ok != (i < 6) { // the node has no share of its own
			t.Errorf("question %d of the node: %v", i, ok)
		}
	}
	if ask("172.24.1.1", "x") {
		t.Error("more questions are open than may be")
	}
	free()
	eventually(t, "all are answered", func() bool { return s.Stats().Open == 0 })

	// Again, with a LAN address that has a share.
	again := make(chan struct{})
	done := sync.OnceFunc(func() { close(again) })
	defer done()
	u2 := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) { <-again; good(t)(w, m) })
	c.Upstreams = []Upstream{{Addr: u2.addr}}
	s = newServer(t, c)
	run(t, s)
	for i, name := range names {
		if ok := ask("172.24.1.1", name); ok != (i < 4) {
			t.Errorf("question %d of a webspace: %v", i, ok)
		}
	}
	if !ask("172.24.1.2", "y") {
		t.Error("a neighbour cannot ask")
	}
	if r := from(t, s, nowhere, "172.24.1.1", question1("ws-u1.webspace", dns.TypeA), s.now()); r == nil || len(r.Answer) != 1 {
		t.Error("a name of the LAN:", r)
	}
	if s.Stats().Overloaded != 4 {
		t.Errorf("%d refused", s.Stats().Overloaded)
	}
	done()
	eventually(t, "all are answered", func() bool { return s.Stats().Open == 0 })
}
