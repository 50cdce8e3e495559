package waketest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestTheFirstRequest(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	page, err := get(web(shared.Client), fmt.Sprintf("http://%s/", external(n1, s.web)))
	must(t, err)
	if !strings.HasPrefix(page, "Hello "+lab.ClientAddr+":") {
		t.Errorf("the webspace saw %q, not the client's address", page)
	}
	s.is(t, ctx, "awake")
	s.once(t, ctx)
}

// Whoever sends the first packet, and wherever it enters, wakes it, and is seen as who it is.
func TestFromEverywhere(t *testing.T) {
	ctx := testContext(t)
	neighbour := func(n *lab.Node) *lab.Webspace {
		uids++
		w, err := n.AddWebspace(ctx, uids, lab.WebspaceOptions{})
		must(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			must(t, lab.Eventually(ctx, limit, func() error { return w.Delete(ctx) }))
		})
		return w
	}
	near, far := neighbour(n1), neighbour(n2)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	inside := func(w *lab.Webspace) func() (string, error) {
		return func() (string, error) {
			var r struct{ Peer string }
			err := w.Probe(ctx, &r, "dial", "--timeout", limit.String(), s.Target(echoPort))
			host, _, _ := strings.Cut(r.Peer, ":")
			return host, err
		}
	}
	machine := func(ns *lab.Namespace, to string) func() (string, error) {
		return func() (string, error) { return hello(ctx, ns, to) }
	}
	for _, c := range []struct {
		name, want string
		from       func() (string, error)
	}{
		{"a forward of its node", lab.ClientAddr, machine(shared.Client, external(n1, s.echo))},
		{"a forward of another node", lab.ClientAddr, machine(shared.Client, external(n2, s.echo))},
		{"a neighbour on its node", near.IP.String(), inside(near)},
		{"a neighbour on another node", far.IP.String(), inside(far)},
		{"a process on its node", n1.LANAddr(), machine(n1.Namespace, s.Target(echoPort))},
		{"a process on another node", n2.LANAddr(), machine(n2.Namespace, s.Target(echoPort))},
		{"a pod on its node", n1.LANAddr(), pod(t, ctx, n1, s.Target(echoPort))},
		{"a pod on another node", n2.LANAddr(), pod(t, ctx, n2, s.Target(echoPort))},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen, err := c.from()
			must(t, err)
			if seen != c.want {
				t.Errorf("the webspace saw %s, want %s", seen, c.want)
			}
			s.stop(t, ctx)
		})
	}
	t.Run("a reverse proxy on a node", func(t *testing.T) {
		front := proxy(t, n2.Namespace, s.Target(webPort))
		page, err := get(web(n2.Namespace), front)
		must(t, err)
		if !strings.HasPrefix(page, "Hello "+n2.LANAddr()+":") {
			t.Errorf("the webspace saw %q, not the node", page)
		}
	})
}

// pod makes a network namespace on a node as a container runtime does for a pod: a veth, a route through the node, and the
// node's address for whatever leaves the pods' network. The function dials from there.
func pod(t *testing.T, ctx context.Context, n *lab.Node, to string) func() (string, error) {
	t.Helper()
	_, err := n.Exec(ctx, "/bin/sh", "-ec", `ip netns add pod
ip link add pod0 type veth peer name eth0 netns pod
ip addr add 10.244.1.1/24 dev pod0
ip link set pod0 up
ip -n pod addr add 10.244.1.5/24 dev eth0
ip -n pod link set eth0 up
ip -n pod route add default via 10.244.1.1
nft 'table ip pods { chain out { type nat hook postrouting priority srcnat; ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade; }; }'`)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_, err := n.Exec(ctx, "/bin/sh", "-ec", "nft delete table ip pods; ip netns del pod")
		must(t, err)
	})
	return func() (string, error) {
		out, err := n.Exec(ctx, "ip", "netns", "exec", "pod", "probe", "dial", "--timeout", limit.String(), to)
		var r struct{ Peer string }
		if err == nil {
			err = json.Unmarshal([]byte(out), &r)
		}
		host, _, _ := strings.Cut(r.Peer, ":")
		return host, err
	}
}

// The first datagram is delivered, once, as it was sent; of more than may wait, those beyond are counted.
func TestDatagrams(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	c, err := dial(ctx, shared.Client, "udp4", external(n2, s.echo))
	must(t, err)
	defer c.Close()
	const sent = 100
	for n := range sent {
		_, err := fmt.Fprintf(c, "datagram %d %s", n, strings.Repeat("x", n))
		must(t, err)
	}
	seen := make(map[int]int)
	last := -1
	b := make([]byte, 2048)
	wait := limit
	for {
		must(t, c.SetReadDeadline(time.Now().Add(wait)))
		size, err := c.Read(b)
		if err != nil {
			break // nothing more comes
		}
		_, text, _ := strings.Cut(string(b[:size]), "\n") // behind the banner
		var n int
		if _, err := fmt.Sscanf(text, "datagram %d", &n); err != nil || text != fmt.Sprintf("datagram %d %s", n, strings.Repeat("x", n)) {
			t.Fatalf("a datagram came back as %q", text)
		}
		seen[n]++
		last = max(last, n)
		wait = 2 * time.Second // for one that comes twice
	}
	st, err := status(ctx, n1)
	must(t, err)
	if seen[0] != 1 || len(seen) < 2 {
		t.Errorf("the first datagram came back %d times, %d different ones", seen[0], len(seen))
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("datagram %d came back %d times", n, times)
		}
	}
	if len(seen) < sent && st.Wake.Dropped == 0 {
		t.Errorf("%d of %d came back, and none is counted as dropped", len(seen), sent)
	}
}

func TestManyClients(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	var g errgroup.Group
	for range 200 {
		g.Go(func() error {
			_, err := hello(ctx, shared.Client, external(n1, s.echo))
			return err
		})
	}
	must(t, g.Wait())
	s.once(t, ctx)
}

func TestManyWebspaces(t *testing.T) {
	ctx := testContext(t)
	var all []space
	for range 8 {
		all = append(all, asleep(t, ctx, n1, lab.WebspaceOptions{}))
	}
	var g errgroup.Group
	for _, s := range all {
		g.Go(func() error {
			_, err := get(web(shared.Client), fmt.Sprintf("http://%s/", external(n2, s.web)))
			return err
		})
	}
	must(t, g.Wait())
	for _, s := range all {
		s.once(t, ctx)
	}
}

// A system that needs seconds for its boot: systemd, its own DHCP client, and a server that comes last.
func TestDebianWithSystemd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute) // the image may have to be built
	defer cancel()
	must(t, shared.ImportDebian(ctx))
	s := asleep(t, ctx, n1, lab.WebspaceOptions{Image: lab.Debian})
	must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.StartupDelay = 60; return nil }))
	const unit, wanted = "[Service]\nExecStart=/usr/bin/iperf3 -s -p 7000\n", "[Unit]\nWants=echo.service\n"
	must(t, s.push(ctx, "/etc/systemd/system/echo.service", unit))
	must(t, s.push(ctx, "/etc/systemd/system/multi-user.target.d/echo.conf", wanted))
	c, err := dial(ctx, shared.Client, "tcp4", external(n2, s.echo))
	must(t, err)
	must(t, c.Close())
	s.is(t, ctx, "awake")
}
