package waketest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
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

func TestAStartThatFails(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{Config: map[string]string{"raw.lxc": "lxc.init.cmd = /no/such/init"}})
	must(t, refused(ctx, external(n1, s.web)))
	must(t, refused(ctx, external(n2, s.web)))
	w, err := s.state(ctx)
	must(t, err)
	if w.Life != "asleep" || w.Error == "" {
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
	must(t, lab.Eventually(ctx, limit, func() error { _, err := n1.LXC(ctx, "config", "unset", s.Name, "raw.lxc"); return err }))
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }))
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

// Whoever comes while somebody stops the webspace is served in the end: by a boot after the stop.
func TestPacketsDuringAShutdown(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, s.echo))
	must(t, err)
	store, err := n1.Store()
	must(t, err)
	var g errgroup.Group
	stopped := make(chan struct{})
	g.Go(func() error { defer close(stopped); return store.Stop(ctx, s.Name, 2*time.Second) })
	for done := false; !done; {
		select {
		case <-stopped:
			done = true
		default: // while it goes down it may answer, refuse, or break off
			_, _ = hello(ctx, shared.Client, external(n1, s.echo))
		}
	}
	must(t, g.Wait())
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }))
	s.is(t, ctx, "awake")
}
