package waketest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/starthook"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// The start hook in every way to start and to stop, without its daemon, without its program, and turned off again.
func TestStartHook(t *testing.T) {
	ctx := testContext(t)
	s, admins := asleep(t, ctx, n1, lab.WebspaceOptions{}), asleep(t, ctx, n1, lab.WebspaceOptions{Config: map[string]string{"raw.lxc": "# an admin's"}})
	calls := counted(t)
	hooked := func(want bool) {
		t.Helper()
		must(t, lab.Eventually(ctx, limit, func() error {
			out, err := n1.LXC(ctx, "config", "get", s.Name, "raw.lxc")
			if err == nil && strings.Contains(out, starthook.Program) != want {
				err = fmt.Errorf("raw.lxc of %s is %q", s.Name, out)
			}
			return err
		}))
	}
	before, err := n1.Exec(ctx, "ip", "-o", "link", "show", "type", "veth")
	must(t, err)
	cycle := func(what string, ours bool, start func() error) {
		t.Helper()
		had := calls()
		if err := start(); err != nil {
			t.Fatalf("start %s: %v", what, err)
		}
		if got := calls() - had; (got == 1) != ours || got > 1 {
			t.Errorf("start %s: our hook ran %d times", what, got)
		}
		_, err := n1.LXC(ctx, "exec", "-T", s.Name, "--", "true")
		must(t, err)
	}
	packet := func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }
	lxc := func(args ...string) func() error {
		return func() error { // LXD may still be busy with what it did before
			return lab.Eventually(ctx, limit, func() error {
				_, err := n1.LXC(ctx, args...)
				if err != nil && !strings.Contains(err.Error(), "is busy running") {
					t.Error(err)
					return nil
				}
				return err
			})
		}
	}
	stopped := func(how func() error) {
		t.Helper()
		must(t, how())
		must(t, lab.Eventually(ctx, limit, func() error {
			out, err := n1.LXC(ctx, "list", "-c", "s", "-f", "csv", s.Name)
			if err == nil && strings.TrimSpace(out) != "STOPPED" {
				err = fmt.Errorf("%s is %s", s.Name, out)
			}
			if err != nil {
				return err
			}
			// Nothing of it is left: LXD's own stop hooks have run.
			after, err := n1.Exec(ctx, "ip", "-o", "link", "show", "type", "veth")
			if err == nil && strings.Count(after, "\n") != strings.Count(before, "\n") {
				err = errors.New("an interface is left: " + after)
			}
			return err
		}))
	}

	must(t, n1.Reconfigure(ctx, config[:len(config)-2]+", start_hook: true}\n"))
	hooked(true)
	cycle("by a packet", true, packet)
	stopped(lxc("stop", "-f", s.Name))
	s.is(t, ctx, "asleep")
	cycle("by an admin", true, lxc("start", s.Name))
	s.is(t, ctx, "awake")
	stopped(lxc("stop", s.Name))
	s.is(t, ctx, "asleep")
	cycle("by a packet, again", true, packet)
	cycle("by a restart", true, lxc("restart", "-f", s.Name))
	stopped(func() error { // its init dies
		pid, err := s.Pid(ctx)
		if err == nil {
			_, err = n1.Exec(ctx, "kill", "-9", pid)
		}
		return err
	})
	must(t, n1.KillLanyardd(ctx))
	cycle("while the daemon is dead", true, lxc("start", s.Name))
	stopped(lxc("stop", "-f", s.Name))
	program := filepath.Join(shared.BinDir(), starthook.Program)
	must(t, os.Rename(program, program+".away"))
	cycle("while the program is missing", false, lxc("start", s.Name))
	stopped(lxc("stop", "-f", s.Name))
	must(t, os.Rename(program+".away", program))

	must(t, n1.StartLanyardd(ctx))
	must(t, n1.Reconfigure(ctx, config))
	hooked(false)
	s.is(t, ctx, "asleep")
	cycle("when it is off", false, packet)
	if out, err := n1.LXC(ctx, "config", "get", admins.Name, "raw.lxc"); err != nil || strings.TrimSpace(out) != "# an admin's" {
		t.Errorf("the admin's own raw.lxc is now %q, %v", out, err)
	}
}

// counted puts a script in the place of the hook that counts its calls and then runs it.
func counted(t *testing.T) (calls func() int) {
	t.Helper()
	program, file := filepath.Join(shared.BinDir(), starthook.Program), filepath.Join(t.TempDir(), "calls")
	must(t, os.Rename(program, program+".real"))
	t.Cleanup(func() { must(t, os.Rename(program+".real", program)) })
	must(t, os.WriteFile(program, []byte(fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s\nexec %s.real \"$@\"\n", file, program)), 0o755))
	return func() int {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		return strings.Count(string(b), "\n")
	}
}
