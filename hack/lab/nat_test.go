package lab_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

func TestNATShowsTheNode(t *testing.T) {
	ctx := testContext(t, time.Minute)
	for _, w := range []*lab.Webspace{onN1, onN1too, onN2, onN3} {
		for _, proto := range []string{"tcp", "udp"} {
			wantSeen(t, ctx, w, proto, lab.ServerAddr+":7000", w.Node.Addr())
		}
		wantPing(t, ctx, w, lab.ServerAddr, 10)
	}
}

func TestErrorsThroughNAT(t *testing.T) {
	ctx := testContext(t, time.Minute)
	if _, err := dial(ctx, onN1, "udp", lab.ServerAddr+":9"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("UDP to a closed port outside: %v, want connection refused", err)
	}
	if _, err := dial(ctx, onN1, "tcp", lab.ServerAddr+":9"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("TCP to a closed port outside: %v, want connection refused", err)
	}
	for _, method := range []string{"-U", "-I"} {
		args := []string{"traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", method, lab.ServerAddr}
		if method == "-U" {
			args = []string{"traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", "-U", "-p", "33434", lab.ServerAddr}
		}
		out, err := onN1.InNetns(ctx, args...)
		must(t, err)
		// Hop by hop: the gateway, the router, the server.
		at := -1
		for _, hop := range []string{"172.24.254.1 ", lab.RouterUnderlay + " ", lab.ServerAddr + " "} {
			next := strings.LastIndex(out, hop)
			if next <= at {
				t.Errorf("traceroute %s has no %s in its place:\n%s", method, hop, out)
			}
			at = next
		}
	}
}

func TestTooBigIsToldThroughNAT(t *testing.T) {
	ctx := testContext(t, time.Minute)
	must(t, shared.SetClientMTU(1400))
	defer func() { must(t, shared.SetClientMTU(1500)) }()
	// 1372 bytes of payload fill 1400; "don't fragment" is set. The first larger one is answered by the router.
	_, err := onN1.InNetns(ctx, "ping", "-M", "do", "-s", "1372", "-c", "2", "-W", "2", lab.ClientAddr)
	must(t, err)
	_, err = onN1.InNetns(ctx, "ping", "-M", "do", "-s", "1373", "-c", "2", "-W", "2", lab.ClientAddr)
	if err == nil || !strings.Contains(err.Error(), "mtu=1400") {
		t.Errorf("a packet of 1401 bytes over a path of 1400: %v, want to be told mtu=1400", err)
	}
	_, err = onN1.InNetns(ctx, "ip", "route", "flush", "cache")
	must(t, err)
}

func TestMTUOfTheLAN(t *testing.T) {
	ctx := testContext(t, time.Minute)
	_, err := onN1.InNetns(ctx, "ping", "-M", "do", "-s", "1422", "-c", "2", "-W", "2", onN3.IP.String())
	must(t, err)
	if out, err := onN1.InNetns(ctx, "ping", "-M", "do", "-s", "1423", "-c", "1", "-W", "2", onN3.IP.String()); err == nil {
		t.Errorf("1451 bytes on a LAN of 1450 went through:\n%s", out)
	}
}

func TestPrivateDestinationsAreDenied(t *testing.T) {
	ctx := testContext(t, time.Minute)
	// The router would take all of these: without the deny list they would leave the node.
	for _, to := range []string{"10.1.2.3", "172.16.5.5", "172.31.1.1", "192.168.1.1", "169.254.1.1", "100.64.1.1",
		// and the nodes themselves, by any port but a forward's
		shared.Node(1).Addr(), shared.Node(2).Addr()} {
		t.Run(to, func(t *testing.T) {
			before := drops(t, ctx, shared.Node(1), "destination_denied")
			quick, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			var r dialResult
			if err := onN1.Probe(quick, &r, "dial", "--proto", "tcp", "--timeout", "600ms", fmt.Sprintf("%s:8443", to)); err == nil {
				t.Errorf("%s was reached", to)
			}
			if drops(t, ctx, shared.Node(1), "destination_denied") == before {
				t.Errorf("a packet to %s was not counted as denied (%s)", to, r.Error)
			}
		})
	}
}

func TestInfrastructureOnTheLANIsClosed(t *testing.T) {
	ctx := testContext(t, time.Minute)
	// LXD's API listens on the underlay only, but the node's LAN address must be closed all the same.
	var all sync.WaitGroup // each waits for an answer that does not come
	for _, n := range []*lab.Node{shared.Node(1), shared.Node(3)} {
		for _, port := range []int{8443, 9469, 22} {
			all.Go(func() {
				if seen, err := dial(ctx, onN1, "tcp", fmt.Sprintf("%s:%d", n.LANAddr(), port)); err == nil {
					t.Errorf("%s of %s answers (%s)", fmt.Sprint(port), n.Name, seen)
				}
			})
		}
	}
	all.Wait()
	if drops(t, ctx, shared.Node(1), "infrastructure") == 0 {
		t.Error("nothing was counted as an attempt on infrastructure")
	}
	// What a node opens itself is answered.
	_, err := shared.Node(1).Exec(ctx, "ping", "-c", "2", "-W", "2", onN1.IP.String())
	must(t, err)
	_, err = shared.Node(1).Exec(ctx, "ping", "-c", "2", "-W", "2", onN3.IP.String())
	must(t, err)
	_, err = shared.Node(1).Exec(ctx, "curl", "-sf", "--max-time", "3", "http://"+onN3.IP.String()+"/")
	must(t, err)
}
