package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// pinger sends an echo request every few milliseconds from a namespace, and counts the answers.
type pinger struct {
	sent, received int
	err            error
	stop           context.CancelFunc
	done           chan struct{}
}

func (n *node) ping(ns netns.NsHandle, to netip.Addr, every time.Duration) *pinger {
	n.t.Helper()
	var conn *icmp.PacketConn
	n.in(ns, func() {
		var err error
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		n.must(err)
	})
	ctx, stop := context.WithCancel(n.t.Context())
	p := &pinger{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer conn.Close()
		p.run(ctx, conn, to, every)
	}()
	n.t.Cleanup(stop)
	return p
}

func (p *pinger) run(ctx context.Context, conn *icmp.PacketConn, to netip.Addr, every time.Duration) {
	var mu sync.Mutex
	got := map[int]bool{}
	go func() {
		b := make([]byte, 1500)
		for {
			k, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, b[:k])
			if err != nil || m.Type != ipv4.ICMPTypeEchoReply || from.String() != to.String() {
				continue
			}
			mu.Lock()
			got[m.Body.(*icmp.Echo).Seq] = true
			mu.Unlock()
		}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	id := os.Getpid() & 0xffff
	for ctx.Err() == nil {
		msg := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: p.sent, Data: []byte("lanyard")}}
		b, _ := msg.Marshal(nil)
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			p.err = err
			return
		}
		p.sent++
		<-tick.C
	}
	time.Sleep(200 * time.Millisecond) // for the last answers
	mu.Lock()
	p.received = len(got)
	mu.Unlock()
}

// lost ends the pinger and says how many answers are missing.
func (p *pinger) lost(t *testing.T) int {
	t.Helper()
	p.stop()
	<-p.done
	if p.err != nil {
		t.Fatal(p.err)
	}
	if p.sent < 10 {
		t.Fatalf("only %d requests were sent", p.sent)
	}
	t.Logf("%d sent, %d answered", p.sent, p.received)
	return p.sent - p.received
}

// works waits until a ping is answered at all.
func (n *node) works(ns netns.NsHandle, to netip.Addr) {
	n.t.Helper()
	p := n.ping(ns, to, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	p.stop()
	<-p.done
	if p.err != nil || p.received == 0 {
		n.t.Fatalf("ping %v: %d sent, %d answered, %v", to, p.sent, p.received, p.err)
	}
}

func programIDs(t *testing.T, d *Dataplane) map[string]uint32 {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]uint32{}
	for _, p := range s.Programs {
		if !p.Attached {
			t.Errorf("program %s at %s is not attached as it should be", p.Name, p.Interface)
		}
		ids[fmt.Sprintf("%s@%s", p.Name, p.Interface)] = p.ID
	}
	return ids
}

// A daemon that is replaced by one of the same build changes nothing at all.
func TestRestartSame(t *testing.T) {
	n := newNode(t)
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	d := n.open()
	apply(t, d, s)
	n.works(ns1, e2.IP)
	before := programIDs(t, d)
	slot := d.slots.owner["ws-u2"]
	traffic := n.ping(ns1, e2.IP, time.Millisecond)
	n.must(d.Close())
	d = n.open()
	c := apply(t, d, s)
	if !c.Empty() {
		t.Errorf("applying the same state after a restart changed %+v", c.Tables)
	}
	time.Sleep(200 * time.Millisecond)
	if lost := traffic.lost(t); lost != 0 {
		t.Errorf("%d pings were lost", lost)
	}
	for k, id := range programIDs(t, d) {
		if before[k] != id {
			t.Errorf("%s was replaced (%d -> %d) though nothing has changed", k, before[k], id)
		}
	}
	if got := d.slots.owner["ws-u2"]; got != slot {
		t.Errorf("ws-u2 has moved from slot %d to %d", slot, got)
	}
}

// A newer build, here with another constant, replaces every program under traffic.
func TestUpgradeLosesNothing(t *testing.T) {
	n := newNode(t)
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	d := n.open()
	apply(t, d, s)
	n.works(ns1, e2.IP)
	traffic := n.ping(ns1, e2.IP, time.Millisecond)
	for i := range 5 {
		before := programIDs(t, d)
		n.must(d.Close())
		n.cfg.NATPorts = PortRange{20000, uint16(30000 + i)}
		d = n.open()
		apply(t, d, s)
		for k, id := range programIDs(t, d) {
			if before[k] == id {
				t.Errorf("%s was not replaced", k)
			}
		}
	}
	if lost := traffic.lost(t); lost != 0 {
		t.Errorf("%d pings were lost", lost)
	}
}

// A map whose size is configured anew keeps its entries, and takes the place of the old one under traffic.
func TestResizeKeepsEntries(t *testing.T) {
	n := newNode(t)
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	d := n.open()
	apply(t, d, s)
	n.works(ns1, e2.IP)
	key, flow := n.flow(d, 1, 7)
	traffic := n.ping(ns1, e2.IP, time.Millisecond)
	n.must(d.Close())
	n.cfg.Sizes.Flows *= 2
	n.cfg.Sizes.Endpoints *= 2
	d = n.open()
	if c := apply(t, d, s); c.Tables["endpoints"].Added != 0 {
		t.Errorf("the endpoints were not taken over: %+v", c.Tables)
	}
	got := flow
	n.must(d.maps["flows"].Lookup(key, &got))
	if got.Other != flow.Other || got.State != flow.State {
		t.Errorf("the flow became %+v", got)
	}
	if m := d.maps["flows"].MaxEntries(); m != uint32(4*1024) {
		t.Errorf("the map has %d places", m)
	}
	if lost := traffic.lost(t); lost != 0 {
		t.Errorf("%d pings were lost", lost)
	}
}

// Two daemons on one dataplane would undo each other.
func TestSecondDaemonIsRefused(t *testing.T) {
	n := newNode(t)
	n.open()
	if _, err := Open(t.Context(), n.cfg, nil); err == nil {
		t.Fatal("a second daemon could open it")
	} else {
		t.Log(err)
	}
}

func apply(t testing.TB, d *Dataplane, s State) Changes {
	t.Helper()
	c, err := d.Apply(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Problems {
		t.Errorf("problem: %v", p)
	}
	return c
}
