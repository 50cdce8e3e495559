package lxdtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/lxdtest"
)

// recorder is a dataplane that only remembers.
type recorder struct {
	mu     sync.Mutex
	states []stamped
}

type stamped struct {
	at time.Time
	s  dataplane.State
}

func (r *recorder) Apply(_ context.Context, s dataplane.State) (dataplane.Changes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, stamped{time.Now(), s})
	return dataplane.Changes{}, nil
}

func (*recorder) SetReservations([]dhcp.Reservation) {}

func (r *recorder) last() dataplane.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.states) == 0 {
		return dataplane.State{}
	}
	return r.states[len(r.states)-1].s
}

// since is when a state was first applied, after a moment, that satisfies f.
func (r *recorder) since(t *testing.T, from time.Time, limit time.Duration, what string, f func(dataplane.State) bool) time.Duration {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		for _, s := range r.states {
			if s.at.After(from) && f(s.s) {
				r.mu.Unlock()
				return s.at.Sub(from)
			}
		}
		r.mu.Unlock()
	}
	t.Fatalf("not within %v: %s; the last state: %+v", limit, what, r.last())
	return 0
}

func find(s dataplane.State, name string) (dataplane.Endpoint, bool) {
	k := slices.IndexFunc(s.Endpoints, func(e dataplane.Endpoint) bool { return e.Owner == name })
	if k < 0 {
		return dataplane.Endpoint{}, false
	}
	return s.Endpoints[k], true
}

// run starts the agent of a node, as lanyardd there would.
func run(t *testing.T, n *lab.Node) (*agent.Agent, *recorder) {
	t.Helper()
	ns, err := netns.GetFromPath(n.Netns())
	if err != nil {
		t.Fatal(err)
	}
	vtep := netip.MustParseAddr(n.Addr())
	r := &recorder{}
	a, err := agent.New(agent.Config{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"),
		Infra: []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24"), netip.MustParsePrefix("172.24.254.0/24")},
		Index: n.Index, VTEP: vtep, Forwards: []netip.Addr{vtep}, Cluster: true, MTU: func() int { return 1450 },
	}, lxdtest.Store(t, n, 30*time.Second), agent.NewLinksIn(ns), r, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Error("the agent does not end")
		}
		_ = ns.Close()
	})
	return a, r
}

func TestAgent(t *testing.T) {
	l := lxdtest.New(t, 3)
	ctx := t.Context()
	agents, kernels := make([]*agent.Agent, 4), make([]*recorder, 4)
	began := time.Now()
	for k := 1; k <= 3; k++ {
		agents[k], kernels[k] = run(t, l.Node(k))
	}
	for k := 1; k <= 3; k++ {
		took := kernels[k].since(t, began, 60*time.Second, "peers and their addresses", func(s dataplane.State) bool {
			return len(s.Peers) == 2 && len(s.Endpoints) == 2 && s.Endpoints[0].Infra
		})
		t.Logf("n%d knows its peers after %v", k, took.Round(time.Millisecond))
	}
	s := lxdtest.Store(t, l.Node(1), 30*time.Second)
	record := webspace.Record{Ports: webspace.Ports{50022: 22}, UDPPorts: webspace.Ports{50022: 53}}
	if _, err := s.Create(ctx, webspace.CreateOptions{UID: 3, Image: lxdtest.Image, Node: "n1", MTU: 1450, Record: record}); err != nil {
		t.Fatal(err)
	}
	here := func(s dataplane.State) bool {
		e, ok := find(s, "ws-u3")
		return ok && e.Ifindex != 0 && len(s.Ports) == 1
	}
	behind := func(vtep string) func(dataplane.State) bool {
		return func(s dataplane.State) bool {
			e, ok := find(s, "ws-u3")
			return ok && e.VTEP.IsValid() && e.VTEP.String() == vtep && e.Ifindex == 0 && len(s.Forwards) == 6
		}
	}
	t.Run("start", func(t *testing.T) {
		kernels[2].since(t, began, 60*time.Second, "a stopped webspace elsewhere", behind("192.0.2.1"))
		for range 3 {
			before := time.Now()
			if err := s.Start(ctx, "ws-u3"); err != nil {
				t.Fatal(err)
			}
			started := time.Since(before)
			took := kernels[1].since(t, before, 60*time.Second, "the port", here)
			t.Logf("port applied %v after the request; LXD's start returned after %v", took.Round(time.Millisecond), started.Round(time.Millisecond))
			if took > started+500*time.Millisecond {
				t.Errorf("the port came %v after the start", took-started)
			}
			before = time.Now()
			if err := s.Stop(ctx, "ws-u3", 0); err != nil {
				t.Fatal(err)
			}
			kernels[1].since(t, before, 60*time.Second, "the port's end", func(s dataplane.State) bool {
				e, ok := find(s, "ws-u3")
				return ok && e.Ifindex == 0 && len(s.Ports) == 0
			})
		}
	})
	t.Run("move", func(t *testing.T) {
		before := time.Now()
		if _, err := l.Node(1).LXC(ctx, "move", "ws-u3", "--target", "n2"); err != nil {
			t.Fatal(err)
		}
		moved := time.Now()
		if err := s.Start(ctx, "ws-u3"); err != nil {
			t.Fatal(err)
		}
		kernels[2].since(t, moved, 60*time.Second, "the port on n2", here)
		for _, k := range []int{1, 3} {
			took := kernels[k].since(t, before, 60*time.Second, "it is behind n2", behind("192.0.2.2"))
			t.Logf("n%d knows %v after the move", k, (took - moved.Sub(before)).Round(time.Millisecond)) // how long is the machine's
		}
	})
	t.Run("adopt", func(t *testing.T) {
		before := time.Now()
		seed := `user._webspaced={"user":9,"config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"64363":22}}`
		if _, err := l.Node(3).LXC(ctx, "init", lxdtest.Image, "ws-u9", "--target", "n3", "-c", seed); err != nil {
			t.Fatal(err)
		}
		kernels[2].since(t, before, 60*time.Second, "the seed's webspace has an address", func(s dataplane.State) bool { _, ok := find(s, "ws-u9"); return ok })
	})
	t.Run("corrupt", func(t *testing.T) {
		if _, err := l.Node(1).LXC(ctx, "config", "set", "ws-u9", "user.lanyard={"); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		kernels[1].since(t, before, 60*time.Second, "the corrupt one is out", func(s dataplane.State) bool { _, ok := find(s, "ws-u9"); return !ok })
		if !behind("192.0.2.2")(kernels[1].last()) {
			t.Errorf("its neighbour noticed: %+v", kernels[1].last())
		}
		if p := agents[1].Status().Problems; len(p) != 1 || p[0].Subject != "webspace ws-u9" || !errors.Is(p[0].Err, webspace.ErrInvalid) {
			t.Errorf("problems: %v", p)
		}
	})
	t.Run("absence", func(t *testing.T) {
		if _, err := agents[2].Resync(ctx); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(kernels[2].last())
		if err := l.Node(2).StopLXD(ctx, true); err != nil {
			t.Fatal(err)
		}
		gone := time.Now()
		for time.Since(gone) < 15*time.Second {
			for k := 1; k <= 3; k++ {
				if k == 2 && fmt.Sprint(kernels[2].last()) != want {
					t.Fatalf("n2, without its LXD: %+v, before: %s", kernels[2].last(), want)
				}
				if k != 2 && !behind("192.0.2.2")(kernels[k].last()) {
					t.Fatalf("n%d, without LXD on n2: %+v", k, kernels[k].last())
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		if st := agents[2].Status(); st.Connected || st.LXDErr == nil {
			t.Errorf("n2's status: %+v", st)
		}
		if err := l.Node(2).StartLXD(ctx); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		for !agents[2].Status().Fresh {
			if time.Since(back) > 10*time.Second {
				t.Fatalf("n2 has not come back: %+v", agents[2].Status())
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("n2 is fresh %v after its LXD is back", time.Since(back).Round(time.Millisecond))
		before := time.Now()
		if err := lxdtest.Store(t, l.Node(2), 30*time.Second).Stop(ctx, "ws-u3", 0); err != nil {
			t.Fatal(err)
		}
		kernels[2].since(t, before, 60*time.Second, "it follows again", func(s dataplane.State) bool { return len(s.Ports) == 0 })
	})
}
