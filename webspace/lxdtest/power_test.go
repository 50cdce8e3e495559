package lxdtest

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func power(t *testing.T, s *webspace.Service, n *lab.Node) {
	const uid = 310
	ctx := t.Context()
	create(t, s, webspace.CreateSpec{UID: uid})
	want := func(what string, err, kind error) {
		t.Helper()
		if !errors.Is(err, kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"get": second(s.Get(ctx, 9999)), "boot": s.Boot(ctx, 9999), "shutdown": s.Shutdown(ctx, 9999), "reboot": s.Reboot(ctx, 9999), "delete": s.Delete(ctx, 9999),
		"state": second(s.State(ctx, 9999)), "log": second(s.ConsoleLog(ctx, 9999)), "exec": second(s.Output(ctx, 9999, []string{"x"}, nil)),
		"ensure": second(s.EnsureStarted(ctx, 9999)), "port": second(s.AddPort(ctx, 9999, webspace.TCP, 0, 22)), "sync": s.Sync(ctx, 9999),
		"sample": second(s.Sample(ctx, 9999)), "files": second(s.ReadDir(ctx, 9999, "/")), "domain": s.RemoveDomain(ctx, 9999, "u", "a.example"),
	} {
		want(what+" of nobody", err, webspace.ErrNotFound)
	}
	want("shutdown of a new one", s.Shutdown(ctx, uid), webspace.ErrNotRunning)
	want("reboot of a new one", s.Reboot(ctx, uid), webspace.ErrNotRunning)
	if st, err := s.State(ctx, uid); err != nil || st.Running || st.Uptime != 0 || len(st.Interfaces) != 0 || st.Disks == nil {
		t.Errorf("state of a new one: %+v, %v", st, err)
	}
	want("boot", s.Boot(ctx, uid), nil)
	want("boot twice", s.Boot(ctx, uid), webspace.ErrRunning)
	st, err := s.State(ctx, uid)
	if err != nil || !st.Running || st.Uptime <= 0 || st.Uptime > limit || st.Processes < 1 || st.Interfaces["eth0"].MAC == "" {
		t.Errorf("state: %+v, %v", st, err)
	}
	if _, ok := st.Interfaces["lo"]; ok {
		t.Error("lo is shown")
	}
	if all, err := s.Samples(ctx); err != nil || len(all) == 0 {
		t.Errorf("samples: %v, %v", all, err)
	}
	pid := output(t, s, uid, "cat", "/proc/sys/kernel/random/boot_id")
	before, err := s.Get(ctx, uid)
	if err != nil {
		t.Fatal(err)
	}
	want("reboot", s.Reboot(ctx, uid), nil)
	after, err := s.Get(ctx, uid)
	if err != nil || after.Status != webspace.Running || !after.Started.After(before.Started) {
		t.Errorf("rebooted: %+v, %v; %s", after, err, pid)
	}
	name := s.Store().Name(uid)
	want("freeze", s.Store().Freeze(ctx, name), nil)
	if st, err := s.State(ctx, uid); err != nil || !st.Running || st.Status != webspace.Frozen {
		t.Errorf("napping: %+v, %v", st, err)
	}
	want("boot of a napping one", s.Boot(ctx, uid), nil)
	want("freeze", s.Store().Freeze(ctx, name), nil)
	want("shutdown of a napping one", s.Shutdown(ctx, uid), nil)
	if got := status(t, s, uid); got != webspace.Stopped {
		t.Error(got)
	}
	t.Run("wedged", func(t *testing.T) { wedged(t, n) })
	t.Run("ensure", func(t *testing.T) { ensure(t, n, uid) })
	want("delete", s.Delete(ctx, uid), nil)
	want("delete twice", s.Delete(ctx, uid), webspace.ErrNotFound)
}

// wedged: init does not hear, and somebody already waits for it without a limit.
func wedged(t *testing.T, n *lab.Node) {
	ctx := t.Context()
	s := service(t, Socket(n), func(o *webspace.ServiceOptions) {
		o.StopGrace = time.Second
		o.InstanceConfig["raw.lxc"] = "lxc.signal.halt=SIGWINCH"
	})
	const uid = 311
	create(t, s, webspace.CreateSpec{UID: uid})
	for name, end := range map[string]func() error{
		"shutdown": func() error { return s.Shutdown(ctx, uid) }, "reboot": func() error { return s.Reboot(ctx, uid) }, "delete": func() error { return s.Delete(ctx, uid) },
	} {
		if name == "delete" {
			continue // last
		}
		if status(t, s, uid) == webspace.Stopped {
			if err := s.Boot(ctx, uid); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(); err != nil {
			t.Errorf("%s of a wedged one: %v", name, err)
		}
	}
	if status(t, s, uid) == webspace.Stopped {
		if err := s.Boot(ctx, uid); err != nil {
			t.Fatal(err)
		}
	}
	stop, cancel := context.WithCancel(ctx)
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		_, _ = n.LXC(stop, "stop", s.Store().Name(uid), "--timeout", "-1")
	}()
	eventually(t, "the stop that hangs", func() error {
		ops, err := s.Store().Operations(ctx)
		for _, op := range ops {
			if op.Instance == s.Store().Name(uid) && op.What == "Stopping instance" {
				return nil
			}
		}
		return errors.Join(err, errors.New("it has not begun"))
	})
	if err := s.Delete(ctx, uid); err != nil {
		t.Errorf("delete under a stop that hangs: %v", err)
	}
	cancel()
	<-stuck
}

// ensure: many at once boot it once, and all wait until the port answers.
func ensure(t *testing.T, n *lab.Node, uid int) {
	var dials atomic.Int32
	s := service(t, Socket(n), func(o *webspace.ServiceOptions) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) {
			if dials.Add(1) < 4 {
				return nil, errors.New("refused")
			}
			a, b := net.Pipe()
			_ = b.Close()
			return a, nil
		}
		o.Defaults.StartupDelay = 60
	})
	delay := 60.0
	if _, _, err := s.PatchConfig(t.Context(), uid, webspace.ConfigPatch{StartupDelay: &delay}); err != nil {
		t.Fatal(err)
	}
	i, err := s.Get(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 20 {
		g.Go(func() error {
			ip, err := s.EnsureStarted(t.Context(), uid)
			if err == nil && ip != i.Record.Address {
				err = errors.New("not its address: " + ip.String())
			}
			if err == nil && dials.Load() < 4 {
				err = errors.New("before it answers")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := dials.Load(); got != 4 {
		t.Errorf("%d looks at its port, by one waiter: want 4", got)
	}
}
