package waketest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// refused dials until the answer is a refusal: held clients of a start that failed get a clear end.
func refused(ctx context.Context, to string) error {
	c, err := dial(ctx, shared.Client, "tcp4", to)
	if err == nil {
		c.Close()
		return errors.New("it was accepted")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w, and not a refusal", err)
	}
	return nil
}

// A start that fails refuses who waits, says why, and is tried again for the next packet after a pause.
func TestAStartThatFails(t *testing.T) {
	for _, c := range []struct {
		name, why   string
		spoil, mend func(ctx context.Context, s space) error
	}{
		{"broken init", "", // LXD says only that it could not be run
			func(ctx context.Context, s space) error {
				_, err := n1.LXC(ctx, "config", "set", s.Name, "raw.lxc", "lxc.init.cmd = /no/such/init")
				return err
			},
			func(ctx context.Context, s space) error {
				_, err := n1.LXC(ctx, "config", "unset", s.Name, "raw.lxc")
				return err
			}},
		{"storage full", "no space left on device",
			func(ctx context.Context, s space) error { return s.sh(ctx, fillDisk) },
			func(ctx context.Context, s space) error { return s.sh(ctx, "rm $P/fill") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := testContext(t)
			s := asleep(t, ctx, n1, lab.WebspaceOptions{})
			t.Cleanup(func() { // before the webspace is deleted
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				store, err := n1.Store()
				must(t, err)
				_ = store.Stop(ctx, s.Name, 0) // it may not run
				must(t, s.sh(ctx, "! mountpoint -q $P || umount -l $P"))
			})
			must(t, c.spoil(ctx, s))
			must(t, refused(ctx, external(n1, s.web)))
			must(t, refused(ctx, external(n2, s.web)))
			w, err := s.state(ctx)
			must(t, err)
			if w.Life != "asleep" || w.Error == "" || !strings.Contains(w.Error, c.why) || w.RetryAt.IsZero() {
				t.Errorf("%+v", w)
			}
			st, err := status(ctx, n1)
			must(t, err)
			told := false
			for _, p := range st.Problems {
				told = told || p.Subject == "webspace "+s.Name
			}
			if !told {
				t.Errorf("the status does not say that it cannot start: %+v", st.Problems)
			}
			// When it is mended the next packet after the pause wakes it. LXD is busy for a while with what it could not start.
			must(t, lab.Eventually(ctx, limit, func() error { return c.mend(ctx, s) }))
			must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }))
		})
	}
}

// fillDisk puts a webspace on a file system of its own, of a few megabytes, and fills it. LXD writes a copy of its settings
// there at each start.
const fillDisk = `set -e
size=$(du -sk $P | cut -f1)
mkdir -p /run/small
mount -t tmpfs -o size=$((size + 4096))k,mode=$(stat -c %a $P) tmpfs /run/small
chown --reference=$P /run/small
cp -a $P/. /run/small/
mount --bind /run/small $P
umount /run/small
rm -f $P/backup.yaml
dd if=/dev/zero of=$P/fill bs=4k 2>/dev/null || true`

// sh runs a script on its node; $P is where LXD keeps it.
func (s space) sh(ctx context.Context, script string) error {
	_, err := s.Node.Exec(ctx, "env", "P=/var/lib/lxd/storage-pools/default/containers/"+s.Name, "/bin/sh", "-c", script)
	return err
}

func TestAStartThatHangs(t *testing.T) {
	ctx := testContext(t)
	must(t, n2.Reconfigure(ctx, config[:len(config)-2]+", start_timeout: 2s}\n"))
	defer func() { must(t, n2.Reconfigure(ctx, config)) }()
	s := asleep(t, ctx, n2, lab.WebspaceOptions{Config: map[string]string{"raw.lxc": "lxc.hook.start-host = /bin/sleep 8"}})
	must(t, refused(ctx, external(n2, s.web)))
	w, err := s.state(ctx)
	must(t, err)
	if w.Error == "" || w.Held != 0 {
		t.Errorf("%+v", w)
	}
	// LXD goes on with it, and gets there: then it is awake.
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n2, s.echo)); return err }))
	s.is(t, ctx, "awake")
}

// Who may never wake it is refused at once, wherever the packet enters.
func TestNeverIsRefused(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.Wake.Policy = webspace.WakeNever; return nil }))
	resync(t, ctx)
	must(t, refused(ctx, external(n1, s.echo)))
	must(t, refused(ctx, external(n2, s.echo)))
	s.is(t, ctx, "asleep")
}

// A daemon that is killed while packets are held and a start is under way leaves nothing stuck: the clients repeat
// themselves and are served.
func TestTheDaemonIsKilledWhileItWakes(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	var g errgroup.Group
	for range 5 {
		g.Go(func() error {
			_, err := hello(ctx, shared.Client, external(n2, s.echo))
			return err
		})
	}
	must(t, lab.Eventually(ctx, limit, func() error {
		w, err := s.state(ctx)
		if err == nil && w.Life == "asleep" {
			err = errors.New("it is still asleep")
		}
		return err
	}))
	must(t, n1.KillLanyardd(ctx))
	must(t, n1.StartLanyardd(ctx))
	must(t, g.Wait())
	s.is(t, ctx, "awake")
}

// Whoever comes while somebody stops the webspace waits, and wakes it when it has stopped: its services end long before its
// kernel does, which would refuse.
func TestPacketsDuringAShutdown(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{Config: map[string]string{"environment.PROBE_LINGER": "2s"}})
	store, err := n1.Store()
	must(t, err)
	for n, c := range []struct {
		name string
		stop func() error
	}{
		{"lxc stop", func() error { _, err := n1.LXC(ctx, "stop", s.Name); return err }},
		{"lxc stop, on another node", func() error { _, err := n2.LXC(ctx, "stop", s.Name); return err }},
		{"Lanyard", func() error { return store.Stop(ctx, s.Name, limit) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := hello(ctx, shared.Client, external(n1, s.echo))
			must(t, err)
			s.is(t, ctx, "awake")
			var g errgroup.Group
			g.Go(c.stop)
			must(t, lab.Eventually(ctx, limit, func() error {
				w, err := s.state(ctx)
				if err == nil && w.Doing != "sleep" {
					err = fmt.Errorf("nobody has noticed that it is being stopped: %+v", w)
				}
				return err
			}))
			_, err = hello(ctx, shared.Client, external(n2, s.echo))
			must(t, err)
			must(t, g.Wait())
			s.is(t, ctx, "awake")
			if starts := s.starts(t); starts < n+1 {
				t.Errorf("%d starts", starts)
			}
		})
	}
}

// Whoever comes while somebody has LXD restart the webspace waits, and is served by its next life: from the moment when its
// services end to the one when they are there again, nobody is refused.
func TestPacketsDuringARestart(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{Config: map[string]string{"environment.PROBE_LINGER": "2s"}})
	_, err := hello(ctx, shared.Client, external(n1, s.echo))
	must(t, err)
	s.is(t, ctx, "awake")
	for _, n := range []*lab.Node{n1, n2} {
		t.Run("by "+n.Name, func(t *testing.T) {
			before, err := s.Exec(ctx, "cut", "-d", " ", "-f22", "/proc/1/stat")
			must(t, err)
			restarted := make(chan error, 1)
			go func() { _, err := n.LXC(ctx, "restart", s.Name); restarted <- err }()
			must(t, lab.Eventually(ctx, limit, func() error {
				w, err := s.state(ctx)
				if err == nil && w.Doing == "" {
					err = fmt.Errorf("nobody has noticed that it is being restarted: %+v", w)
				}
				return err
			}))
			var g errgroup.Group
			g.SetLimit(16)
			visitors := 0
			for done := false; !done; visitors++ {
				select {
				case err := <-restarted:
					must(t, err)
					done = true
				case <-time.After(100 * time.Millisecond):
				}
				g.Go(func() error {
					_, err := hello(ctx, shared.Client, external(n2, s.echo))
					return err
				})
			}
			must(t, g.Wait())
			s.is(t, ctx, "awake")
			after, err := s.Exec(ctx, "cut", "-d", " ", "-f22", "/proc/1/stat")
			must(t, err)
			if before == after {
				t.Errorf("it was not restarted: %s", after)
			}
			t.Logf("%d visitors", visitors)
		})
	}
}

// Whoever comes while an admin starts the webspace is held until it answers, and the start is among its wakes.
func TestPacketsDuringAnAdminsStart(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	for _, n := range []*lab.Node{n1, n2} { // its own, and another
		t.Run("by "+n.Name, func(t *testing.T) {
			started := make(chan error, 1)
			go func() { _, err := n.LXC(ctx, "start", s.Name); started <- err }()
			must(t, lab.Eventually(ctx, limit, func() error {
				w, err := s.state(ctx)
				if err == nil && w.Life == "asleep" {
					err = fmt.Errorf("nobody has noticed that it is being started: %+v", w)
				}
				return err
			}))
			_, err := hello(ctx, shared.Client, external(n2, s.echo))
			must(t, err)
			must(t, <-started)
			s.is(t, ctx, "awake")
			out, err := n1.Lanyard(ctx, "wakes", s.Name, "--json", "--limit", "1")
			must(t, err)
			if !strings.Contains(out, `"LXD was told to start it"`) {
				t.Errorf("its last wake: %s", out)
			}
			must(t, lab.Eventually(ctx, limit, func() error { _, err := n1.LXC(ctx, "stop", "-f", s.Name); return err }))
			s.is(t, ctx, "asleep")
		})
	}
}
