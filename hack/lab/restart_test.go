package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// watched is traffic that must not notice anything: pings at 5 ms along every kind of path, and TCP streams through
// forwards and NAT. act runs meanwhile; it can ask whether the pings have ended.
func watched(t *testing.T, ctx context.Context, pings int, act func(over func() bool)) {
	t.Helper()
	const interval = 5 * time.Millisecond
	length := time.Duration(pings)*interval + 3*time.Second
	n1, n2 := shared.Node(1), shared.Node(2)
	streams := []func(){
		stream(t, ctx, shared.Client, external(n1, portN1), length),
		stream(t, ctx, shared.Client, external(n1, portN3), length),
		stream(t, ctx, shared.Client, external(n2, altN2), length),
		stream(t, ctx, onN1, lab.ServerAddr+":7000", length),
		stream(t, ctx, onN1, onN3.Target(echoPort), length),
	}
	var all sync.WaitGroup
	for _, p := range []struct {
		from prober
		to   string
	}{{onN1, onN3.IP.String()}, {onN1, onN1too.IP.String()}, {onN1, lab.ServerAddr}} {
		all.Go(func() {
			var r pingResult
			err := p.from.Probe(ctx, &r, "ping", "--count", fmt.Sprint(pings), "--interval", interval.String(), p.to)
			if err != nil || r.Received != pings || r.Errors != 0 {
				t.Errorf("ping %s: %d of %d answers, %d errors, lost %v, worst %.1f ms: %v", p.to, r.Received, pings, r.Errors, r.LostAt, r.MaxRTT, err)
			}
		})
	}
	defer all.Wait() // also when act ends the test
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	act(func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	<-ended
	for _, wait := range streams {
		wait()
	}
}

func TestNothingIsLostWhilePeersComeAndGo(t *testing.T) {
	ctx := testContext(t, 6*time.Minute)
	store, err := shared.Node(1).Store()
	must(t, err)
	// n4 is only a member of the cluster: where its tunnels end is nobody's business. Each change removes one peer and adds another.
	point := func(i int) {
		must(t, store.Publish(ctx, "n4", webspace.Node{Index: 4, VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i%2)})}))
		resync(t, ctx, shared.Node(1))
	}
	defer func() {
		must(t, store.Publish(ctx, "n4", webspace.Node{Index: 4, VTEP: netip.MustParseAddr("192.0.2.4")}))
		resync(t, ctx, shared.Node(1), shared.Node(2), shared.Node(3))
	}()
	changes := 0
	for changes < 50 && !t.Failed() { // on a busy machine not all of them fit into the time of the pings
		watched(t, ctx, 2000, func(over func() bool) {
			for ; changes < 50 && !over(); changes++ {
				point(changes)
			}
		})
	}
}

func TestNothingIsLostWhileForwardsAreRewritten(t *testing.T) {
	ctx := testContext(t, 4*time.Minute)
	// One stopped webspace with 3,400 ports is 10,200 forwards and more: each node forwards them all.
	w, err := shared.Node(2).AddWebspace(ctx, 31, lab.WebspaceOptions{Stopped: true})
	must(t, err)
	defer func() {
		must(t, w.Delete(ctx))
		resync(t, ctx, shared.Node(1), shared.Node(2), shared.Node(3))
	}()
	target := uint16(0)
	rewrite := func() {
		target++
		must(t, w.Update(ctx, func(r *webspace.Record) error {
			r.Ports = make(webspace.Ports)
			for p := range uint16(3400) {
				r.Ports[52000+p] = target
			}
			return nil
		}))
		resync(t, ctx, shared.Node(1), shared.Node(3))
	}
	watched(t, ctx, 3000, func(over func() bool) {
		for !over() {
			rewrite()
		}
	})
	if target < 2 {
		t.Errorf("the forwards were rewritten %d times, want at least 2", target)
	}
	s, err := status(ctx, shared.Node(1))
	must(t, err)
	if len(s.Forwards) < 10_000 {
		t.Errorf("the node knows %d forwards, want more than 10,000", len(s.Forwards))
	}
}

func TestNothingIsLostWhenTheDaemonIsKilledAndReplaced(t *testing.T) {
	ctx := testContext(t, 3*time.Minute)
	n1, n3 := shared.Node(1), shared.Node(3)
	defer func() { // back to the build that the other tests expect
		for _, n := range []*lab.Node{n1, n3} {
			must(t, n.StopLanyardd(ctx))
			must(t, n.StartLanyardd(ctx))
		}
	}()
	rounds := 0
	watched(t, ctx, 1500, func(over func() bool) {
		for !over() && rounds < 3 {
			must(t, n1.UpgradeLanyardd(ctx, newer))
			must(t, n3.UpgradeLanyardd(ctx, newer))
			rounds++
		}
	})
	if rounds < 1 {
		t.Error("the daemon was not replaced while the traffic ran")
	}
	s, err := status(ctx, n1)
	must(t, err)
	if s.Version != "newer" {
		t.Errorf("version %q runs, want the newer build", s.Version)
	}
	if s.Time.Sub(s.Started) > 30*time.Second {
		t.Errorf("the daemon started at %v, before it was replaced", s.Started)
	}
}

func TestTrafficGoesOnWithoutTheDaemon(t *testing.T) {
	ctx := testContext(t, time.Minute)
	n1 := shared.Node(1)
	must(t, n1.StopLanyardd(ctx)) // SIGTERM
	defer func() { must(t, n1.StartLanyardd(ctx)) }()
	wantPing(t, ctx, onN1, onN3.IP.String(), 20)
	wantSeen(t, ctx, shared.Client, "tcp", external(n1, portN1), lab.ClientAddr)
	wantSeen(t, ctx, shared.Client, "udp", external(n1, portN3), lab.ClientAddr)
	wantSeen(t, ctx, onN1, "tcp", lab.ServerAddr+":7000", n1.Addr())
}
