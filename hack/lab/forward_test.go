package lab_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestForwardsShowTheClient(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	for _, w := range []struct {
		port int
		name string
	}{{portN1, "n1"}, {portN2, "n2"}, {altN2, "n2, the other way in"}, {portN3, "n3"}} {
		for i := 1; i <= 3; i++ { // the node itself, and the two others
			entry := shared.Node(i)
			for _, proto := range []string{"tcp", "udp"} {
				t.Run(fmt.Sprintf("%s/%s/via %s", proto, w.name, entry.Name), func(t *testing.T) {
					wantSeen(t, ctx, shared.Client, proto, external(entry, w.port), lab.ClientAddr)
				})
			}
		}
	}
}

// wantTransfer moves bytes through an HTTP server and checks them.
func wantTransfer(t *testing.T, ctx context.Context, from prober, to string, bytes int, up bool) {
	t.Helper()
	args := []string{"transfer", "--bytes", strconv.Itoa(bytes), "--timeout", "30s"}
	if up {
		args = append(args, "--up")
	}
	var r struct {
		Seconds float64
		Error   string
	}
	if err := from.Probe(ctx, &r, append(args, to)...); err != nil {
		t.Errorf("transfer with %s (up %v): %v", to, up, err)
	}
}

func TestLargeTransfersOverANarrowPath(t *testing.T) {
	ctx := testContext(t, 3*time.Minute)
	must(t, shared.SetClientMTU(1400))
	defer func() { must(t, shared.SetClientMTU(1500)) }()
	const size = 8 << 20
	for _, up := range []bool{false, true} {
		for name, to := range map[string]string{
			"local": external(shared.Node(1), webN1), "remote": external(shared.Node(1), webN3), "other way": external(shared.Node(3), webN1),
		} {
			t.Run(fmt.Sprintf("forward %s up %v", name, up), func(t *testing.T) { wantTransfer(t, ctx, shared.Client, to, size, up) })
		}
		t.Run(fmt.Sprintf("NAT up %v", up), func(t *testing.T) {
			stopServing, err := shared.Client.Background("serve", "probe", "serve")
			must(t, err)
			defer stopServing()
			must(t, lab.Eventually(ctx, 60*time.Second, func() error { _, err := dial(ctx, shared.Client, "tcp", "127.0.0.1:7000"); return err }))
			wantTransfer(t, ctx, onN1, lab.ClientAddr+":80", size, up)
			wantTransfer(t, ctx, onN3, lab.ClientAddr+":80", size, up)
		})
	}
}

func TestHairpin(t *testing.T) {
	ctx := testContext(t, time.Minute)
	for _, c := range []struct {
		from *lab.Webspace
		node int
		port int
	}{
		{onN1, 1, portN3},    // to another node
		{onN1, 1, portN2},    // to a target with two ways in
		{onN1too, 1, portN1}, // to a neighbour on the same node
		{onN1, 1, portN1},    // to itself
		{onN3, 3, portN1},
		{onN3, 1, portN1}, // through another node's address
		{onN2, 3, portN1},
	} {
		for _, proto := range []string{"tcp", "udp"} {
			to := external(shared.Node(c.node), c.port)
			t.Run(fmt.Sprintf("%s/%s to %s", proto, c.from.Name, to), func(t *testing.T) {
				seen, err := dial(ctx, c.from, proto, to)
				must(t, err)
				if seen != c.from.IP.String() && seen != c.from.Node.Addr() {
					t.Errorf("the server saw %s, want the webspace or its node", seen)
				}
			})
		}
	}
}

// stream holds a TCP stream open while act runs, and checks that every line came back.
func stream(t *testing.T, ctx context.Context, from prober, to string, duration time.Duration) (wait func()) {
	t.Helper()
	var r streamResult
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = from.Probe(ctx, &r, "stream", "--for", duration.String(), to)
	}()
	time.Sleep(300 * time.Millisecond) // it is open
	return func() {
		t.Helper()
		<-done
		if err != nil || r.Sent == 0 || r.Sent != r.Echoed {
			t.Errorf("stream to %s: %d of %d lines came back: %v", to, r.Echoed, r.Sent, err)
		}
	}
}

func TestRemovingAForwardLeavesTheOther(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	w, err := shared.Node(2).AddWebspace(ctx, 22, lab.WebspaceOptions{Ports: webspace.Ports{50122: echoPort, 50123: echoPort}})
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()
	resync(t, ctx, shared.Node(1), shared.Node(2))
	waitLocal := stream(t, ctx, shared.Client, external(shared.Node(2), 50122), 6*time.Second)
	waitRemote := stream(t, ctx, shared.Client, external(shared.Node(1), 50122), 6*time.Second)
	wantSeen(t, ctx, shared.Client, "tcp", external(shared.Node(2), 50123), lab.ClientAddr)
	must(t, w.Update(ctx, func(r *webspace.Record) error { delete(r.Ports, 50123); return nil }))
	resync(t, ctx, shared.Node(1), shared.Node(2))
	if seen, err := dial(ctx, shared.Client, "tcp", external(shared.Node(2), 50123)); err == nil {
		t.Errorf("the removed forward still answers (%s)", seen)
	}
	must(t, w.Update(ctx, func(r *webspace.Record) error { r.Ports[50123] = echoPort; return nil }))
	resync(t, ctx, shared.Node(1), shared.Node(2))
	wantSeen(t, ctx, shared.Client, "tcp", external(shared.Node(2), 50123), lab.ClientAddr)
	waitLocal()
	waitRemote()
}

func TestErrorsThroughForwards(t *testing.T) {
	ctx := testContext(t, time.Minute)
	w, err := shared.Node(3).AddWebspace(ctx, 23, lab.WebspaceOptions{UDPPorts: webspace.Ports{50130: 9}, Ports: webspace.Ports{50130: 9}})
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()
	resync(t, ctx, shared.Node(1), shared.Node(3))
	var all sync.WaitGroup
	for _, n := range []*lab.Node{shared.Node(3), shared.Node(1)} {
		all.Go(func() {
			// The kernel gives a connected UDP socket ECONNREFUSED only for an ICMP error that quotes its own packet.
			_, err := dial(ctx, shared.Client, "udp", external(n, 50130))
			if err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("UDP to a closed port via %s: %v, want connection refused", n.Name, err)
			}
			if _, err := dial(ctx, shared.Client, "tcp", external(n, 50130)); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("TCP to a closed port via %s: %v, want connection refused", n.Name, err)
			}
			// The forward's hops: router, then node (TTL expires there or at the webspace), each named once.
			out, err := shared.Client.Exec(ctx, "traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", "-U", "-p", "50130", n.Addr())
			if err != nil || !strings.Contains(out, "203.0.113.254") || !strings.Contains(out, " "+n.Addr()+" ") || strings.Contains(out, "172.24.") {
				t.Errorf("traceroute to the forward via %s: %v\n%s", n.Name, err, out)
			}
		})
	}
	all.Wait()
}
