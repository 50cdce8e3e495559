package lxdtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// One LXD serves all of these: each uses its own uids.
func TestOneLXD(t *testing.T) {
	l := New(t, 1)
	n := l.Node(1)
	s := Store(t, n, 30*time.Second)
	t.Run("life", func(t *testing.T) { life(t, s) })
	t.Run("atomic", func(t *testing.T) { undone(t, s, n) })
	t.Run("edits", func(t *testing.T) { edits(t, s, n) })
	t.Run("addresses", func(t *testing.T) { addresses(t, s) })
	t.Run("seed", func(t *testing.T) { seed(t, s, n) })
	services(t, l)
	t.Run("absent", func(t *testing.T) { absent(t, n) }) // last: it stops LXD
}

func life(t *testing.T, s *webspace.Store) {
	ctx := t.Context()
	r := webspace.Record{Config: webspace.Config{HTTPPort: 80}, Ports: webspace.Ports{50000: 22}, UDPPorts: webspace.Ports{50000: 53}}
	i, err := s.Create(ctx, webspace.CreateOptions{UID: 3, Image: Image, Record: r, MTU: 1450, Start: true})
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != "ws-u3" || i.UID != 3 || i.Node != "" || i.Status != webspace.Running || i.NICType != "p2p" || i.RecordErr != nil || i.Imported {
		t.Errorf("created: %+v", i)
	}
	if !s.Pool().Contains(i.Record.Address) || i.MAC.String() != webspace.MAC(i.Record.Address).String() || !strings.HasPrefix(i.HostInterface, "veth") {
		t.Errorf("address %s, MAC %s, host interface %q", i.Record.Address, i.MAC, i.HostInterface)
	}
	if i.Record.Ports[50000] != 22 || i.Record.UDPPorts[50000] != 53 || i.Record.Config.HTTPPort != 80 {
		t.Errorf("record: %+v", i.Record)
	}
	if _, err := s.Create(ctx, webspace.CreateOptions{UID: 3, Image: Image}); !errors.Is(err, webspace.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	if got, err := s.Get(ctx, "ws-u3"); err != nil || got.Status != webspace.Running {
		t.Errorf("after a second creation: %+v, %v", got, err)
	}
	if err := s.Stop(ctx, "ws-u3", 5*time.Second); err != nil {
		t.Error(err)
	}
	if got, err := s.Get(ctx, "ws-u3"); err != nil || got.Status != webspace.Stopped || got.HostInterface != "" || got.MAC.String() != i.MAC.String() {
		t.Errorf("stopped: %+v, %v", got, err)
	}
	if err := s.Start(ctx, "ws-u3"); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, "ws-u3"); err != nil { // running
		t.Error(err)
	}
	for what, err := range map[string]error{
		"get": second(s.Get(ctx, "ws-u3")), "delete": s.Delete(ctx, "ws-u3"), "start": s.Start(ctx, "ws-u3"),
		"update": s.Update(ctx, "ws-u3", func(*webspace.Record) error { return nil }),
	} {
		if !errors.Is(err, webspace.ErrNotFound) {
			t.Errorf("%s of what is deleted: %v", what, err)
		}
	}
	for _, name := range []string{"other", "ws-u03", "ws-u3/snap", "../ws-u3", "ws-u", "ws-u-1", "ws-u3?project=x"} {
		if err := s.Delete(ctx, name); !errors.Is(err, webspace.ErrInvalid) {
			t.Errorf("delete %q: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func undone(t *testing.T, s *webspace.Store, n *lab.Node) {
	ctx := t.Context()
	_, err := s.Create(ctx, webspace.CreateOptions{UID: 10, Image: "no-such-image"})
	if !errors.Is(err, webspace.ErrNotFound) {
		t.Errorf("unknown image: %v", err)
	}
	// A start that fails, after a creation that did not.
	_, err = s.Create(ctx, webspace.CreateOptions{UID: 10, Image: Image, Start: true, Config: map[string]string{"raw.lxc": "lxc.init.cmd=/nonexistent"}})
	if err == nil {
		t.Error("a failing start was not reported")
	}
	if _, err := s.Get(ctx, "ws-u10"); !errors.Is(err, webspace.ErrNotFound) {
		t.Errorf("a failed creation left something: %v", err)
	}
	// The caller gives up, at moments all along the way.
	for _, after := range []time.Duration{5, 30, 100, 200} {
		short, cancel := context.WithTimeout(ctx, after*time.Millisecond)
		_, err := s.Create(short, webspace.CreateOptions{UID: 10, Image: Image, Start: true})
		cancel()
		if err == nil {
			if err := s.Delete(ctx, "ws-u10"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// LXD may only now begin with a request that we have given up; it must not leave anything either.
		out, look := n.LXC(ctx, "list", "-c", "ns", "-f", "csv")
		if look != nil || strings.Contains(out, "ws-u10") {
			t.Errorf("given up after %d ms (%v): left %q, %v", after, err, out, look)
			_ = s.Delete(ctx, "ws-u10")
		}
	}
	if _, err := s.Create(ctx, webspace.CreateOptions{UID: 10, Image: Image}); err != nil {
		t.Errorf("a retry: %v", err)
	}
	// Two at once: one wins, the other must not take its webspace away.
	other := Store(t, n, 30*time.Second)
	var g errgroup.Group
	errs := make([]error, 2)
	for k, st := range []*webspace.Store{s, other} {
		g.Go(func() error {
			_, errs[k] = st.Create(ctx, webspace.CreateOptions{UID: 11, Image: Image})
			return nil
		})
	}
	_ = g.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), webspace.ErrExists) {
		t.Errorf("two at once: %v; %v", errs[0], errs[1])
	}
	if _, err := s.Get(ctx, "ws-u11"); err != nil {
		t.Errorf("two at once: %v", err)
	}
}

func edits(t *testing.T, s *webspace.Store, n *lab.Node) {
	ctx := t.Context()
	if _, err := s.Create(ctx, webspace.CreateOptions{UID: 20, Image: Image}); err != nil {
		t.Fatal(err)
	}
	// Two stores are two processes: only LXD's ETag keeps them apart.
	stores := []*webspace.Store{s, Store(t, n, 30*time.Second)}
	var g errgroup.Group
	for k := range 50 {
		g.Go(func() error {
			return stores[k%2].Update(ctx, "ws-u20", func(r *webspace.Record) error {
				if r.Ports == nil {
					r.Ports = webspace.Ports{}
				}
				r.Ports[uint16(50000+k)] = 22
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	i, err := s.Get(ctx, "ws-u20")
	if err != nil || len(i.Record.Ports) != 50 {
		t.Errorf("%d of 50 edits are there, %v", len(i.Record.Ports), err)
	}
	stop := errors.New("no")
	if err := s.Update(ctx, "ws-u20", func(r *webspace.Record) error { r.Ports = nil; return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := s.Update(ctx, "ws-u20", func(r *webspace.Record) error { r.Ports[0] = 1; return nil }); !errors.Is(err, webspace.ErrInvalid) {
		t.Error(err)
	}
	after, err := s.Get(ctx, "ws-u20")
	if err != nil || !maps.Equal(after.Record.Ports, i.Record.Ports) {
		t.Errorf("a refused edit changed something: %v, %v", after.Record.Ports, err)
	}
}

func addresses(t *testing.T, s *webspace.Store) {
	ctx := t.Context()
	const count = 12
	var mu sync.Mutex
	seen := map[netip.Addr]string{}
	var g errgroup.Group
	for k := range count {
		g.Go(func() error {
			i, err := s.Create(ctx, webspace.CreateOptions{UID: 100 + k, Image: Image})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if other, dup := seen[i.Record.Address]; dup {
				return fmt.Errorf("%s and %s both have %s", other, i.Name, i.Record.Address)
			}
			seen[i.Record.Address] = i.Name
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func seed(t *testing.T, s *webspace.Store, n *lab.Node) {
	ctx := t.Context()
	text := `{"user":30,"config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"64363":22}}`
	for uid, config := range map[int]string{30: "user._webspaced=" + text, 31: "user.lanyard={broken", 32: "user.x=y"} {
		if _, err := n.LXC(ctx, "init", Image, fmt.Sprintf("ws-u%d", uid), "-c", config); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]webspace.Instance{}
	for _, i := range list {
		by[i.Name] = i
	}
	if i := by["ws-u30"]; i.RecordErr != nil || !i.Imported || i.Record.Ports[64363] != 22 || i.Record.Address.IsValid() || i.Record.Config.StartupDelay != 5 {
		t.Errorf("seed record: %+v", i)
	}
	if i := by["ws-u31"]; !errors.Is(i.RecordErr, webspace.ErrInvalid) {
		t.Errorf("corrupt record: %+v", i)
	}
	if i := by["ws-u32"]; !errors.Is(i.RecordErr, webspace.ErrNotFound) {
		t.Errorf("no record: %+v", i)
	}
	names, issues, err := s.Adopt(ctx, 1450)
	if err != nil || len(issues) > 0 || len(names) != 1 || names[0] != "ws-u30" {
		t.Fatalf("adopted %v, %v, %v", names, issues, err)
	}
	i, err := s.Get(ctx, "ws-u30")
	if err != nil || i.Imported || !s.Pool().Contains(i.Record.Address) || i.NICType != "p2p" || i.Record.Ports[64363] != 22 {
		t.Errorf("adopted: %+v, %v", i, err)
	}
	if out, err := n.LXC(ctx, "config", "get", "ws-u30", "user._webspaced"); err != nil || strings.TrimSpace(out) != text {
		t.Errorf("the seed's key is now %q, %v", out, err)
	}
	if names, issues, err := s.Adopt(ctx, 1450); len(names)+len(issues) > 0 || err != nil {
		t.Errorf("adopted again: %v, %v, %v", names, issues, err)
	}
}

func absent(t *testing.T, n *lab.Node) {
	ctx := t.Context()
	s := Store(t, n, time.Second)
	watch, cancel := context.WithCancel(ctx)
	hints := s.Watch(watch)
	hinted(t, hints, 60*time.Second, "connecting")
	drain(hints)
	if err := s.Update(ctx, "ws-u20", func(r *webspace.Record) error { r.Domains = append(r.Domains, "example.com"); return nil }); err != nil {
		t.Error(err)
	}
	hinted(t, hints, 60*time.Second, "an edit")

	if err := n.StopLXD(ctx, true); err != nil {
		t.Fatal(err)
	}
	bounded(t, s)
	drain(hints)
	if err := n.StartLXD(ctx); err != nil {
		t.Fatal(err)
	}
	hinted(t, hints, 8*time.Second, "LXD's return")
	if list, err := s.List(ctx); err != nil || len(list) == 0 {
		t.Errorf("after its return: %d webspaces, %v", len(list), err)
	}
	cancel()
	for range hints { // closed, in the end
	}
}

func bounded(t *testing.T, s *webspace.Store) {
	t.Helper()
	for what, call := range map[string]func() error{
		"list":   func() error { return second(s.List(t.Context())) },
		"start":  func() error { return s.Start(t.Context(), "ws-u20") },
		"create": func() error { return second(s.Create(t.Context(), webspace.CreateOptions{UID: 40, Image: Image})) },
	} {
		began := time.Now()
		if err := call(); !errors.Is(err, webspace.ErrUnavailable) {
			t.Errorf("%s with a dead LXD: %v", what, err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s with a dead LXD took %v", what, took)
		}
	}
}

func hinted(t *testing.T, hints <-chan struct{}, limit time.Duration, after string) {
	t.Helper()
	select {
	case <-hints:
	case <-time.After(limit):
		t.Errorf("no hint within %v of %s", limit, after)
	}
}

func drain(hints <-chan struct{}) {
	for {
		select {
		case <-hints:
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}
