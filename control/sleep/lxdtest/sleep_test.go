package lxdtest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// A napping webspace is an ordinary frozen instance for an admin, and one that answers for everybody else.
func TestNap(t *testing.T) {
	ctx := testContext(t)
	s := start(t, ctx)
	s.idle(t, ctx, time.Second, 0)

	s.is(t, ctx, webspace.Frozen)
	if out, err := s.Exec(ctx, "true"); err == nil {
		t.Errorf("an exec in a frozen webspace said %q", out)
	}
	_, err := node.LXC(ctx, "snapshot", s.Name, "s1")
	must(t, err)
	s.is(t, ctx, webspace.Frozen)

	// Its connection keeps it awake, whatever comes first: LXD's own word for it, or the end of the nap.
	c, err := s.open(ctx)
	must(t, err)
	s.is(t, ctx, webspace.Running)
	must(t, c.Close())

	s.is(t, ctx, webspace.Frozen)
	_, err = node.LXC(ctx, "start", s.Name)
	must(t, err)
	s.is(t, ctx, webspace.Frozen) // again, after it ran

	_, err = node.LXC(ctx, "stop", s.Name)
	must(t, err)
	s.is(t, ctx, webspace.Stopped)

	got := kinds(s.wakes(t, ctx))
	for _, want := range []string{"nap idle done", "thaw forward done"} {
		if !strings.Contains(got, want) {
			t.Errorf("the ledger has no %q: %s", want, got)
		}
	}
}

// A connection and an exec hold, however silent, while a neighbour with the same policy comes and goes.
func TestHeld(t *testing.T) {
	ctx := testContext(t)
	flow, command, other := start(t, ctx), start(t, ctx), start(t, ctx)
	c, err := flow.open(ctx)
	must(t, err)
	defer c.Close()

	cat := node.Command(ctx, "lxc", "exec", "-T", command.Name, "--", "cat")
	in, err := cat.StdinPipe()
	must(t, err)
	out, err := cat.StdoutPipe()
	must(t, err)
	must(t, cat.Start())
	_, err = in.Write([]byte("hello\n"))
	must(t, err)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatal(line, err)
	}

	for _, s := range []space{flow, command, other} {
		s.idle(t, ctx, 0, time.Second)
	}
	other.is(t, ctx, webspace.Stopped)
	// By now they may be due. When the neighbour was woken and has gone to sleep again, they were looked at since.
	must(t, lab.Eventually(ctx, limit, func() error {
		if at := flow.awake(t, ctx).SleepAt; at.IsZero() || time.Now().Before(at) {
			return fmt.Errorf("it is not due before %v", at)
		}
		return nil
	}))
	other.use(t, ctx)
	other.is(t, ctx, webspace.Stopped)
	for _, s := range []space{flow, command} {
		s.is(t, ctx, webspace.Running)
		if got := kinds(s.wakes(t, ctx)); got != "" {
			t.Errorf("%s: %s", s.Name, got)
		}
	}
	if a := flow.awake(t, ctx); len(a.Reasons) != 1 || a.Reasons[0].Kind != "flow" || a.Reasons[0].Remote.Addr().String() != lab.ClientAddr {
		t.Errorf("%+v", a)
	}
	if a := command.awake(t, ctx); len(a.Reasons) != 1 || a.Reasons[0].Kind != "operation" {
		t.Errorf("%+v", a)
	}

	must(t, c.Close())
	flow.is(t, ctx, webspace.Stopped)
	command.is(t, ctx, webspace.Running)
	must(t, in.Close())
	must(t, cat.Wait())
	command.is(t, ctx, webspace.Stopped)
	if got := kinds(other.wakes(t, ctx)); got != "sleep idle done, wake forward done, sleep idle done" {
		t.Error(got)
	}
}

// When memory is short the idlest sleeps first, whatever its policy says, and one that is marked is spared.
func TestPressure(t *testing.T) {
	ctx := testContext(t)
	spared, first, second, held := start(t, ctx), start(t, ctx), start(t, ctx), start(t, ctx)
	_, err := node.LXC(ctx, "config", "set", spared.Name, webspace.OOMSkipKey, "true")
	must(t, err)
	c, err := held.open(ctx)
	must(t, err)
	defer c.Close()
	first.use(t, ctx)
	second.use(t, ctx)

	// Nothing but this one file of the kernel is untrue, and only for this node.
	file := filepath.Join(node.Dir, "meminfo")
	must(t, os.WriteFile(file, []byte("MemTotal: 8388608 kB\nMemAvailable: 1024 kB\n"), 0o600))
	_, err = node.Exec(ctx, "mount", "--bind", file, "/proc/meminfo")
	must(t, err)
	restore := func() error { _, err := node.Exec(ctx, "umount", "/proc/meminfo"); return err }
	defer func() {
		if restore != nil {
			must(t, restore())
		}
	}()
	first.is(t, ctx, webspace.Stopped)
	second.is(t, ctx, webspace.Stopped)
	must(t, lab.Eventually(ctx, limit, func() error {
		out, err := node.Lanyard(ctx, "status", "--json")
		if err == nil && !strings.Contains(out, "no webspace may be put to sleep") {
			err = fmt.Errorf("the status does not say that memory is short")
		}
		return err
	}))
	must(t, restore())
	restore = nil
	spared.is(t, ctx, webspace.Running)
	held.is(t, ctx, webspace.Running)

	one, two := first.wakes(t, ctx), second.wakes(t, ctx)
	if kinds(one) != "sleep pressure done" || kinds(two) != "sleep pressure done" || one[0].ID > two[0].ID {
		t.Errorf("%+v\n%+v", one, two)
	}
	if !strings.Contains(one[0].Detail, "1 MiB of memory were available, fewer than 64") {
		t.Error(one[0].Detail)
	}
	first.use(t, ctx) // the memory is there again: it boots, and stays
	first.is(t, ctx, webspace.Running)
}

// What is remembered survives a daemon that is killed, and what naps is still woken by its successor.
func TestTheDaemonIsKilled(t *testing.T) {
	ctx := testContext(t)
	s := start(t, ctx)
	s.idle(t, ctx, time.Second, 0)
	s.is(t, ctx, webspace.Frozen)
	var before string
	must(t, lab.Eventually(ctx, limit, func() error { // it is written a moment later
		if before = kinds(s.wakes(t, ctx)); before != "nap idle done" {
			return fmt.Errorf("the ledger has %q", before)
		}
		return nil
	}))
	must(t, node.KillLanyardd(ctx))
	must(t, node.StartLanyardd(ctx))
	if after := kinds(s.wakes(t, ctx)); after != before {
		t.Errorf("it remembers %q, not %q", after, before)
	}
	c, err := s.open(ctx)
	must(t, err)
	defer c.Close()
	s.is(t, ctx, webspace.Running)
	must(t, lab.Eventually(ctx, limit, func() error {
		if got := kinds(s.wakes(t, ctx)); got != "nap idle done, thaw forward done" {
			return fmt.Errorf("the ledger has %q", got)
		}
		return nil
	}))
}
