package lxdtest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestCluster(t *testing.T) {
	l := New(t, 3)
	ctx := t.Context()
	stores := []*webspace.Store{Store(t, l.Node(1), 30*time.Second), Store(t, l.Node(2), 30*time.Second), Store(t, l.Node(3), 30*time.Second)}
	for k, s := range stores {
		name := l.Node(k + 1).Name
		server, err := s.Server(ctx)
		if err != nil || server.Name != name || !server.Clustered {
			t.Errorf("server: %+v, %v", server, err)
		}
		if _, err := stores[0].Create(ctx, webspace.CreateOptions{UID: k + 1, Image: Image, Node: name}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("publish", func(t *testing.T) { publish(t, l, stores) })
	t.Run("see", func(t *testing.T) { see(t, l, stores) })
	t.Run("https", func(t *testing.T) { https(t, l) })
	t.Run("move", func(t *testing.T) { move(t, l, stores) })
	t.Run("death", func(t *testing.T) { death(t, l, stores) }) // last: a member is gone
}

func publish(t *testing.T, l *lab.Lab, stores []*webspace.Store) {
	ctx := t.Context()
	members, err := stores[0].Members(ctx)
	if err != nil || len(members) != 3 {
		t.Fatalf("members: %+v, %v", members, err)
	}
	leaders := 0
	for _, m := range members {
		if !errors.Is(m.NodeErr, webspace.ErrNotFound) || !m.Online || m.Address.String() != "192.0.2."+m.Name[1:] {
			t.Errorf("before anybody spoke: %+v", m)
		}
		if m.Leader {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("%d leaders", leaders)
	}
	for k, s := range stores {
		addr := netip.MustParseAddr(l.Node(k + 1).Addr())
		n := webspace.Node{Index: k + 1, VTEP: addr, Forwards: []netip.Addr{addr}}
		for range 2 {
			if err := s.Publish(ctx, l.Node(k+1).Name, n); err != nil {
				t.Error(err)
			}
		}
	}
	if members, err = stores[2].Members(ctx); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		want := netip.MustParseAddr("192.0.2." + m.Name[1:])
		if m.NodeErr != nil || m.Node.VTEP != want || len(m.Node.Forwards) != 1 || m.Node.Forwards[0] != want {
			t.Errorf("published: %+v", m)
		}
	}
	if err := stores[0].Publish(ctx, "n1", webspace.Node{Index: 999, VTEP: netip.MustParseAddr("192.0.2.1")}); !errors.Is(err, webspace.ErrInvalid) {
		t.Errorf("published nonsense: %v", err)
	}
	if err := stores[0].Publish(ctx, "n9", webspace.Node{Index: 9, VTEP: netip.MustParseAddr("192.0.2.9")}); !errors.Is(err, webspace.ErrNotFound) {
		t.Errorf("published for nobody: %v", err)
	}
	// Somebody else's nonsense is that member's problem.
	if _, err := l.Node(1).LXC(ctx, "query", "--wait", "-X", "PATCH", "-d", `{"roles":["database"],"failure_domain":"default","groups":["default"],"config":{"user.lanyard":"{\"index\":\"x\""}}`, "/1.0/cluster/members/n3"); err != nil {
		t.Fatal(err)
	}
	members, err = stores[0].Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if errors.Is(m.NodeErr, webspace.ErrInvalid) != (m.Name == "n3") {
			t.Errorf("with nonsense at n3: %+v", m)
		}
	}
}

func see(t *testing.T, l *lab.Lab, stores []*webspace.Store) {
	ctx := t.Context()
	for k, s := range stores {
		all, err := s.List(ctx)
		if err != nil || len(all) != 3 {
			t.Errorf("n%d lists %d, %v", k+1, len(all), err)
		}
		for _, i := range all {
			if i.Node != "n"+i.Name[4:] || i.RecordErr != nil {
				t.Errorf("n%d sees %+v", k+1, i)
			}
		}
		local, err := s.ListLocal(ctx)
		if err != nil || len(local) != 1 || local[0].Node != l.Node(k+1).Name {
			t.Errorf("n%d lists as its own %+v, %v", k+1, local, err)
		}
	}
	// An edit through one member of what is on another, seen by the third as a hint.
	watch, cancel := context.WithCancel(ctx)
	hints := stores[2].Watch(watch)
	hinted(t, hints, 60*time.Second, "connecting")
	drain(hints)
	if err := stores[0].Update(ctx, "ws-u2", func(r *webspace.Record) error { r.Ports = webspace.Ports{50001: 22}; return nil }); err != nil {
		t.Error(err)
	}
	hinted(t, hints, 60*time.Second, "an edit elsewhere")
	if i, err := stores[2].Get(ctx, "ws-u2"); err != nil || i.Record.Ports[50001] != 22 {
		t.Errorf("%+v, %v", i, err)
	}
	cancel()
	for range hints {
	}
}

func move(t *testing.T, l *lab.Lab, stores []*webspace.Store) {
	ctx := t.Context()
	before, err := stores[0].Get(ctx, "ws-u1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Node(1).LXC(ctx, "move", "ws-u1", "--target", "n2"); err != nil {
		t.Fatal(err)
	}
	after, err := stores[2].Get(ctx, "ws-u1")
	if err != nil || after.Node != "n2" || after.MAC.String() != before.MAC.String() || after.Record.Address != before.Record.Address {
		t.Errorf("moved: %+v, %v", after, err)
	}
	if local, err := stores[0].ListLocal(ctx); err != nil || len(local) != 0 {
		t.Errorf("still here: %+v, %v", local, err)
	}
}

func death(t *testing.T, l *lab.Lab, stores []*webspace.Store) {
	ctx := t.Context()
	if err := l.Node(3).StopLXD(ctx, true); err != nil {
		t.Fatal(err)
	}
	// While the cluster learns of it the whole list may take long; our own must not.
	slow := make(chan []webspace.Instance, 1)
	go func() {
		list, err := stores[1].List(ctx)
		if err != nil {
			t.Errorf("list after a death: %v", err)
		}
		slow <- list
	}()
	for range 20 {
		began := time.Now()
		local, err := stores[1].ListLocal(ctx)
		if err != nil || len(local) != 2 {
			t.Errorf("our own: %+v, %v", local, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("our own took %v", took)
		}
		time.Sleep(100 * time.Millisecond)
	}
	seen := false
	for _, i := range <-slow {
		if i.Name == "ws-u3" {
			seen = true
			if i.Node != "n3" || !errors.Is(i.RecordErr, webspace.ErrUnavailable) || i.Status != webspace.Errored {
				t.Errorf("on the dead member: %+v", i)
			}
		} else if i.RecordErr != nil {
			t.Errorf("elsewhere: %+v", i)
		}
	}
	if !seen {
		t.Error("the dead member's webspace is not listed at all")
	}
	if _, err := stores[1].Create(ctx, webspace.CreateOptions{UID: 50, Image: Image, Node: "n3"}); err == nil || !strings.Contains(err.Error(), "ws-u50") {
		t.Errorf("created on a dead member: %v", err)
	}
}
