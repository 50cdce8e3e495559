package waketest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// A request over a connection that was kept from before a sleep is answered, however the webspace was stopped: the client, or
// the proxy before it, has been told by then that the connection is dead, and opens another.
func TestAKeptConnection(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	post := func(t *testing.T, c *http.Client, to string) {
		t.Helper()
		r, err := c.Post(to, "text/plain", bytes.NewReader([]byte("body")))
		must(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		must(t, err)
		if r.StatusCode != http.StatusOK || len(bytes.TrimSpace(b)) != 64 {
			t.Fatalf("%s: %s", r.Status, b)
		}
	}
	outside, inside := web(shared.Client), web(n1.Namespace)
	front := proxy(t, n1.Namespace, s.Target(webPort))
	far := proxy(t, n2.Namespace, s.Target(webPort))
	direct := fmt.Sprintf("http://%s/", external(n2, s.web))
	posts := func(t *testing.T) {
		t.Helper()
		post(t, outside, direct)
		post(t, inside, front)
		post(t, web(n2.Namespace), far)
	}
	store, err := n1.Store()
	must(t, err)
	lxc := func(args ...string) func() error {
		return func() error { _, err := n1.LXC(ctx, append(args, s.Name)...); return err }
	}
	for _, c := range []struct {
		name string
		stop func() error
	}{
		{"Lanyard", func() error { return store.Stop(ctx, s.Name, limit) }},
		{"Lanyard, by force", func() error { return store.Stop(ctx, s.Name, 0) }},
		{"lxc stop", lxc("stop")},
		{"lxc stop -f", lxc("stop", "-f")},
		{"lxc stop -f of one that naps", func() error {
			if err := lxc("pause")(); err != nil {
				return err
			}
			s.is(t, ctx, "napping")
			return lxc("stop", "-f")()
		}},
		{"its init ends", func() error { return s.endInit(ctx, "TERM") }},
		{"its init is killed", func() error { return s.endInit(ctx, "KILL") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			posts(t)
			must(t, c.stop())
			s.is(t, ctx, "asleep")
			posts(t)
		})
	}
}

// endInit ends the webspace from the inside.
func (s space) endInit(ctx context.Context, signal string) error {
	pid, err := s.Pid(ctx)
	if err != nil {
		return err
	}
	_, err = s.Node.Exec(ctx, "kill", "-"+signal, pid)
	return err
}

// proxy is a reverse proxy on a machine, with connections that it keeps; it gives its URL.
func proxy(t *testing.T, ns *lab.Namespace, to string) string {
	t.Helper()
	var l net.Listener
	must(t, ns.Do(func() (err error) { l, err = net.Listen("tcp4", "127.0.0.1:0"); return err }))
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	p.Transport = web(ns).Transport
	server := &http.Server{Handler: p}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + l.Addr().String() + "/"
}

// A packet lets one that naps go on. The lab's daemons have no more capabilities than the unit gives them, so that this shows that
// they are enough.
func TestANapEndsWithAPacket(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, s.echo))
	must(t, err)
	for _, n := range shared.Nodes() { // it comes from outside, or through the tunnel
		_, err := n1.LXC(ctx, "pause", s.Name)
		must(t, err)
		s.is(t, ctx, "napping")
		_, err = hello(ctx, shared.Client, external(n, s.echo))
		must(t, err)
		s.is(t, ctx, "awake")
		must(t, lab.Eventually(ctx, limit, func() error { // LXD hears of it a moment later
			out, err := n1.LXC(ctx, "list", "--format", "csv", "--columns", "s", s.Name)
			if err == nil && strings.TrimSpace(out) != "RUNNING" {
				err = fmt.Errorf("LXD says that it is %s", strings.TrimSpace(out))
			}
			return err
		}))
	}
	out, err := n1.Lanyard(ctx, "wakes", s.Name, "--json")
	must(t, err)
	var page nodeapi.WakePage
	must(t, json.Unmarshal([]byte(out), &page))
	thaws := 0
	for _, w := range page.Wakes {
		if w.Kind != string(ledger.Thaw) {
			continue
		}
		thaws++
		if w.After["delivered"] >= w.After["started"] { // LXD's unfreeze had to be waited for
			t.Errorf("the daemon could not let it go on itself: %+v", w)
		}
	}
	if thaws != len(shared.Nodes()) {
		t.Errorf("%d thaws: %s", thaws, out)
	}
}
