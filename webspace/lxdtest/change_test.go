package lxdtest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/faults"
)

// changes follows one webspace through its life.
func changes(t *testing.T, _ *webspace.Service, n *lab.Node) {
	const uid = 360
	s := service(t, Socket(n), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	w := s.Watch(uid)
	until := func(what string, ok func(webspace.Change) bool) {
		t.Helper()
		wait, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		for {
			c, err := w.Next(wait)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if c.UID != uid {
				t.Fatalf("a change of %d", c.UID)
			}
			if ok(c) {
				return
			}
		}
	}
	is := func(want webspace.Status) func(webspace.Change) bool {
		return func(c webspace.Change) bool { return !c.Deleted && c.Instance.Status == want }
	}
	create(t, s, webspace.CreateSpec{UID: uid})
	until("created", is(webspace.Stopped))
	if err := s.Boot(ctx, uid); err != nil {
		t.Error(err)
	}
	until("booted", is(webspace.Running))
	if err := s.Store().Freeze(ctx, s.Store().Name(uid)); err != nil {
		t.Error(err)
	}
	until("napping", is(webspace.Frozen))
	if _, err := s.AddPort(ctx, uid, webspace.TCP, 51234, 80); err != nil {
		t.Error(err)
	}
	until("edited", func(c webspace.Change) bool { return c.Instance.Record.Ports[51234] == 80 })
	late := s.Watch(webspace.Everyone)
	if c, err := late.Next(ctx); err != nil || c.Instance.Name == "" {
		t.Errorf("the present state: %+v, %v", c, err)
	}
	late.Close()
	late.Close()
	for { // what was there is told, then its end
		if _, err := late.Next(ctx); err != nil {
			if !errors.Is(err, webspace.ErrClosed) {
				t.Error(err)
			}
			break
		}
	}
	if i, ok := s.CachedOne(uid); !ok || i.Record.Ports[51234] != 80 {
		t.Errorf("%+v, %v", i, ok)
	}
	if err := s.Delete(ctx, uid); err != nil {
		t.Error(err)
	}
	until("deleted", func(c webspace.Change) bool { return c.Deleted })
	cancel()
	if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// slow is an LXD that does not answer in time: the error says so, and everything goes on when it answers again.
func slow(t *testing.T, s *webspace.Service, n *lab.Node) {
	const uid = 370
	create(t, s, webspace.CreateSpec{UID: uid})
	p := faults.New(t, Socket(n))
	store, err := webspace.Connect(webspace.Options{Address: p.Socket, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	through, err := webspace.NewService(webspace.ServiceOptions{Store: store, Domain: "webspaces.example", Resolver: proofs{}, RetryPause: 10 * time.Millisecond,
		StopGrace: time.Second, ForceTime: 2 * time.Second, StartTime: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p.Set(func(int, *http.Request) faults.Fault { return faults.Silent })
	ctx := t.Context()
	for what, err := range map[string]error{
		"get": second(through.Get(ctx, uid)), "boot": through.Boot(ctx, uid), "shutdown": through.Shutdown(ctx, uid), "delete": through.Delete(ctx, uid),
		"exec": second(through.Output(ctx, uid, []string{"true"}, nil)), "port": second(through.AddPort(ctx, uid, webspace.TCP, 0, 80)), "images": second(through.Images(ctx)),
		"files": second(through.ReadDir(ctx, uid, "/")), "log": second(through.ConsoleLog(ctx, uid)), "create": second(through.Create(ctx, webspace.CreateSpec{UID: 371, Image: Image}, nil)),
	} {
		if !errors.Is(err, webspace.ErrUnavailable) || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Only the writing is silent: what was asked for is not there, and can be asked for again.
	p.Set(func(_ int, r *http.Request) faults.Fault {
		if r.Method == http.MethodPatch {
			return faults.Silent
		}
		return faults.None
	})
	if _, err := through.AddPort(ctx, uid, webspace.TCP, 50100, 80); !errors.Is(err, webspace.ErrUnavailable) {
		t.Error(err)
	}
	p.Set(nil)
	eventually(t, "recovery", func() error { _, err := through.List(ctx); return err })
	eventually(t, "recovery", func() error {
		_, err := through.AddPort(ctx, uid, webspace.TCP, 50100, 80)
		if errors.Is(err, webspace.ErrUsed) { // a busy LXD did it, but too late for us
			return nil
		}
		return err
	})
	if i, err := s.Get(ctx, uid); err != nil || i.Record.Ports[50100] != 80 || len(i.Record.Ports) != 1 {
		t.Errorf("%+v, %v", i.Record, err)
	}
}
