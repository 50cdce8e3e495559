package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// wantEverything checks one connection along every kind of path.
func wantEverything(t *testing.T, ctx context.Context) {
	t.Helper()
	wantPing(t, ctx, onN1, onN3.IP.String(), 5)
	wantPing(t, ctx, onN1, onN1too.IP.String(), 5)
	wantSeen(t, ctx, onN1, "tcp", lab.ServerAddr+":7000", shared.Node(1).Addr())
	wantSeen(t, ctx, shared.Client, "tcp", external(shared.Node(1), portN1), lab.ClientAddr)
	wantSeen(t, ctx, shared.Client, "tcp", external(shared.Node(1), portN3), lab.ClientAddr)
	wantSeen(t, ctx, shared.Client, "udp", external(shared.Node(2), portN2), lab.ClientAddr)
}

// TestForwardingGoesOnWithoutLXD waits a minute without LXD: tests with a lab of their own run beside it, after all others.
func TestForwardingGoesOnWithoutLXD(t *testing.T) {
	t.Parallel()
	ctx := testContext(t, 5*time.Minute)
	n1 := shared.Node(1)
	// A restarted daemon goes on from its file, which is written every 2 s at most: let it hold what the tests before made.
	time.Sleep(3 * time.Second)
	resync(t, ctx, shared.Node(1), shared.Node(2), shared.Node(3))
	// Gone everywhere, so that nothing of the cluster answers either.
	for i := 1; i <= 4; i++ {
		must(t, shared.Node(i).StopLXD(ctx, i%2 == 0))
	}
	gone := time.Now()
	back := func() { // all at once: none answers before most are there
		var all errgroup.Group
		for _, n := range shared.Nodes() {
			all.Go(func() error { return n.StartLXD(ctx) })
		}
		must(t, all.Wait())
	}
	restored := false
	defer func() {
		if !restored {
			back()
		}
	}()
	wantEverything(t, ctx)
	// A daemon that starts while LXD is away must not forget what it had.
	must(t, n1.KillLanyardd(ctx))
	must(t, n1.StartLanyardd(ctx))
	wantEverything(t, ctx)
	for time.Since(gone) < 60*time.Second {
		wantEverything(t, ctx)
		time.Sleep(5 * time.Second)
	}
	s, err := status(ctx, n1)
	must(t, err)
	if s.LXD.Connected {
		t.Error("status says that LXD is connected")
	}
	if !s.Readiness.Ready {
		t.Errorf("not ready although everything forwards: %+v", s.Readiness)
	}
	back()
	restored = true
	// Something that happens after its return is followed: within 10 s on a quiet machine, as is logged.
	w, err := shared.Node(2).AddWebspace(ctx, 41, lab.WebspaceOptions{Ports: webspace.Ports{50141: echoPort}, NoWait: true})
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()
	// LXD itself calls a member that is back "Error" until its next heartbeat, up to 10 s later: its return is when it stops.
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		out, err := n1.LXC(ctx, "list", w.Name, "-f", "csv", "-c", "s")
		if err == nil && strings.TrimSpace(out) != "RUNNING" {
			err = fmt.Errorf("LXD on %s says that %s is %q", n1.Name, w.Name, out)
		}
		return err
	}))
	began := time.Now()
	err = lab.Eventually(ctx, 60*time.Second, func() error {
		_, err := dial(ctx, shared.Client, "tcp", external(n1, 50141))
		return err
	})
	if err != nil {
		t.Fatalf("a webspace made after LXD's return: %v; %s says:\n%s", err, n1.Name, n1.LogTail("lanyardd"))
	}
	t.Logf("it is reached %v after LXD calls it running", time.Since(began).Round(time.Millisecond))
	wantEverything(t, ctx)
}

func TestOneCorruptRecordChangesNothingForTheOthers(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	n1 := shared.Node(1)
	w, err := n1.AddWebspace(ctx, 42, lab.WebspaceOptions{})
	must(t, err)
	defer func() {
		_, err := n1.LXC(ctx, "delete", "-f", w.Name)
		must(t, err)
		resync(t, ctx, n1)
	}()
	for _, broken := range []string{`{"version":1,`, `{"version":1,"user":1,"address":"172.24.0.1"}`, `[]`} {
		_, err := n1.LXC(ctx, "config", "set", w.Name, webspace.Key, broken)
		must(t, err)
		resync(t, ctx, n1)
		wantEverything(t, ctx)
		s, err := status(ctx, n1)
		must(t, err)
		named := false
		for _, p := range s.Problems {
			named = named || strings.Contains(p.Subject, w.Name)
		}
		if !named {
			t.Errorf("status does not report %s with record %q: %+v", w.Name, broken, s.Problems)
		}
		out, err := n1.Exec(ctx, "curl", "-sf", "--max-time", "5", "http://127.0.0.1:9469/metrics")
		must(t, err)
		var problems float64
		for _, line := range strings.Split(out, "\n") {
			if rest, ok := strings.CutPrefix(line, "lanyard_problems "); ok {
				_, err := fmt.Sscan(rest, &problems)
				must(t, err)
			}
		}
		if problems < 1 {
			t.Errorf("metrics count %v problems, want at least 1", problems)
		}
	}
}
