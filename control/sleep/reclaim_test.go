package sleep

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

func TestReclaim(t *testing.T) {
	root := t.TempDir()
	g := Groups{Root: root, Project: "p"}
	if _, err := g.Reclaim(t.Context(), "ws-u1"); !errors.Is(err, ErrNoReclaim) {
		t.Error(err)
	}
	write(t, root, "lxc.payload.p_ws-u1/memory.current", "20000000\n")
	write(t, root, "lxc.payload.p_ws-u1/cgroup.events", "populated 1\nfrozen 1\n")
	if _, err := g.Reclaim(t.Context(), "ws-u1"); !errors.Is(err, ErrNoReclaim) {
		t.Error(err)
	}
	write(t, root, "lxc.payload.p_ws-u1/memory.reclaim", "")
	if _, err := g.Reclaim(t.Context(), "ws-u1"); err != nil {
		t.Error(err)
	}
	asked := filepath.Join(root, "lxc.payload.p_ws-u1/memory.reclaim")
	if b, err := os.ReadFile(asked); err != nil || string(b) != "32227846" { // the last 3222784 over the first digits of 16777216
		t.Errorf("%q %v", b, err)
	}
	write(t, root, "lxc.payload.p_ws-u1/cgroup.events", "populated 1\nfrozen 0\n")
	write(t, root, "lxc.payload.p_ws-u1/memory.reclaim", "")
	if _, err := g.Reclaim(t.Context(), "ws-u1"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(asked); err != nil || len(b) != 0 {
		t.Errorf("it took from one that runs: %q %v", b, err)
	}
	write(t, root, "lxc.payload.p_ws-u1/memory.current", "x")
	if _, err := g.Reclaim(t.Context(), "ws-u1"); err == nil || errors.Is(err, ErrNoReclaim) {
		t.Error(err)
	}
}

func TestPossible(t *testing.T) {
	root := t.TempDir()
	g := Groups{Root: root}
	for controllers, want := range map[string]error{"": ErrNoReclaim, "cpu pids memoryless\n": ErrNoReclaim, "cpu memory pids\n": nil} {
		if controllers != "" {
			write(t, root, "cgroup.controllers", controllers)
		}
		if err := g.Possible(); !errors.Is(err, want) {
			t.Errorf("%q: %v", controllers, err)
		}
		_ = os.Remove(filepath.Join(root, "cgroup.controllers"))
	}
}

// What can never be is said at once, and not tried.
func TestNoReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reclaim := func(context.Context, string) (int64, error) { t.Error("it tries"); return 0, nil }
		for after, want := range map[time.Duration]error{time.Minute: ErrNoReclaim, 0: nil} { // 0: nobody wants it
			w := newWorld(t, Options{ReclaimAfter: after}, webspace.Idle{NapAfter: time.Minute})
			k := New(Options{ReclaimAfter: after}, Parts{Reclaim: reclaim, NoReclaim: ErrNoReclaim})
			w.k.reclaim, w.k.stats.NoReclaim = k.reclaim, k.stats.NoReclaim
			w.run(t, time.Hour)
			if s := w.k.Stats(); !errors.Is(s.NoReclaim, want) || s.Napping != 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Memory is taken once per nap, and only of one that has napped for a while.
func TestReclaimsOncePerNap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{ReclaimAfter: time.Minute}, webspace.Idle{NapAfter: time.Minute}, webspace.Idle{})
		n := 0
		w.k.reclaim = func(context.Context, string) (int64, error) { n++; return 1, nil }
		w.run(t, 115*time.Second)
		if n != 0 {
			t.Error("it naps only for a minute at most")
		}
		w.run(t, time.Hour)
		if n != 1 {
			t.Error(n)
		}
		w.set(func() { w.spaces[1].Status = webspace.Running })
		w.used(1)
		w.run(t, time.Hour)
		if n != 2 || w.k.Stats().Reclaimed != 2 {
			t.Error(n)
		}
		w.k.reclaim = func(context.Context, string) (int64, error) { n++; return 0, ErrNoReclaim }
		w.set(func() { w.spaces[1].Status = webspace.Running })
		w.used(1)
		w.run(t, time.Hour)
		w.set(func() { w.spaces[1].Status = webspace.Running })
		w.used(1)
		w.run(t, time.Hour)
		if n != 3 {
			t.Error("it tries what the kernel cannot", n)
		}
	})
}
