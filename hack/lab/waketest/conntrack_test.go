package waketest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// Behind a router that keeps track of connections, translates addresses, and drops whatever it takes for invalid, a client
// gets through the challenge of `verified` too.
func TestVerifiedBehindARouter(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.Wake.Policy = webspace.WakeVerified; return nil }))
	resync(t, ctx)
	_, err := shared.Router.Exec(ctx, "nft", `table ip strict {
	chain pass { type filter hook forward priority filter; ct state invalid counter drop; }
	chain out { type nat hook postrouting priority srcnat; oifname "underlay" masquerade; }
}`)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_, err := shared.Router.Exec(ctx, "nft", "delete", "table", "ip", "strict")
		must(t, err)
	})
	for _, key := range []string{"nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose"} {
		must(t, shared.Router.Sysctl(ctx, "net.netfilter."+key, "0"))
	}
	before := challenges(t, ctx)
	for _, n := range shared.Nodes() { // the forward of its own node, and of another
		began := time.Now()
		seen, err := hello(ctx, shared.Client, external(n, s.echo))
		must(t, err)
		said, err := shared.Router.Exec(ctx, "nft", "list", "chain", "ip", "strict", "pass")
		must(t, err)
		t.Logf("through %s it took %v; the router: %s", n.Name, time.Since(began), said)
		if seen != lab.RouterUnderlay {
			t.Errorf("the webspace saw %s, not the router", seen)
		}
		s.stop(t, ctx)
	}
	if n := challenges(t, ctx) - before; n < 2 {
		t.Errorf("%d answers to challenges were counted", n)
	}
}

// challenges counts those that clients have answered.
func challenges(t *testing.T, ctx context.Context) (count uint64) {
	t.Helper()
	st, err := status(ctx, n1)
	must(t, err)
	for _, d := range st.Drops {
		if d.Reason == "challenge_answered" {
			count += d.Packets
		}
	}
	return count
}

// resync has both nodes look at LXD again, and returns when what they saw is in force.
func resync(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, n := range shared.Nodes() {
		_, err := n.Exec(ctx, "curl", "-sf", "--max-time", fmt.Sprint(int(limit.Seconds())), "--unix-socket", "/run/lanyard/node.sock", "-X", "POST", "http://node/v1/node/resync")
		must(t, err)
	}
}
