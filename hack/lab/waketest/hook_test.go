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
	"github.com/lanyard-project/lanyard/webspace"
)

// What the start hook does, in every way to start and to stop, without its daemon, without its program, and turned off again.
func TestStartHook(t *testing.T) {
	t.Run("tells LXD of the start", func(t *testing.T) { startHook(t, "start_hook: true", 1, false) })
	t.Run("makes the interface", func(t *testing.T) { startHook(t, "veth_hook: true", 1, false) })
	t.Run("both", func(t *testing.T) { startHook(t, "start_hook: true, veth_hook: true", 2, true) })
}

// startHook tries options with which the hook runs so many times in each start; every: in all ways to start and to stop.
func startHook(t *testing.T, options string, runs int, every bool) {
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
	alive := true // lanyardd, which gives addresses
	cycle := func(what string, runs int, start func() error) {
		t.Helper()
		had := calls()
		if err := start(); err != nil {
			t.Fatalf("start %s: %v", what, err)
		}
		if got := calls() - had; got != runs {
			t.Errorf("start %s: our hook ran %d times, not %d", what, got, runs)
		}
		must(t, lab.Eventually(ctx, limit, func() error { // its interface is what LXD's is, and it has its address
			out, err := n1.LXC(ctx, "exec", "-T", s.Name, "--", "ip", "addr", "show", "eth0")
			parts := []string{",UP", "mtu 1450", webspace.MAC(s.IP).String(), s.IP.String() + "/"}
			if !alive {
				parts = parts[:3]
			}
			for _, part := range parts {
				if err == nil && !strings.Contains(out, part) {
					err = fmt.Errorf("start %s: no %q in %s", what, part, out)
				}
			}
			return err
		}))
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

	must(t, n1.Reconfigure(ctx, config[:len(config)-2]+", "+options+"}\n"))
	hooked(true)
	cycle("by a packet", runs, packet)
	stopped(lxc("stop", "-f", s.Name))
	s.is(t, ctx, "asleep")
	if every {
		cycle("by an admin", runs, lxc("start", s.Name))
		s.is(t, ctx, "awake")
		stopped(lxc("stop", s.Name))
		s.is(t, ctx, "asleep")
		cycle("by a packet, again", runs, packet)
		cycle("by a restart", runs, lxc("restart", "-f", s.Name))
		stopped(func() error { // its init dies
			pid, err := s.Pid(ctx)
			if err == nil {
				_, err = n1.Exec(ctx, "kill", "-9", pid)
			}
			return err
		})
		s.is(t, ctx, "asleep")
		cycle("by a packet, after it died", runs, packet)
		cycle("by itself", runs, func() error { // it reboots
			had := calls()
			_, _ = n1.LXC(ctx, "exec", "-T", s.Name, "--", "reboot", "-f") // ends in the middle
			return lab.Eventually(ctx, limit, func() error {
				if calls()-had < runs {
					return errors.New("our hook has not run")
				}
				return nil
			})
		})
		stopped(lxc("stop", "-f", s.Name))
		// A copy starts with a hook of its own, and takes nothing from the one it was copied from.
		must(t, lxc("copy", s.Name, "copy")())
		cycle("by a packet, beside a copy", 2*runs, func() error { return errors.Join(lxc("start", "copy")(), packet()) })
		must(t, lxc("delete", "-f", "copy")())
		must(t, packet())
		stopped(lxc("stop", "-f", s.Name))
		must(t, n1.KillLanyardd(ctx))
		alive = false
		cycle("while the daemon is dead", runs, lxc("start", s.Name))
		stopped(lxc("stop", "-f", s.Name))
		program := filepath.Join(shared.BinDir(), starthook.Program)
		must(t, os.Rename(program, program+".away"))
		cycle("while the program is missing", 0, lxc("start", s.Name))
		stopped(lxc("stop", "-f", s.Name))
		must(t, os.Rename(program+".away", program))

		must(t, n1.StartLanyardd(ctx))
		alive = true
	}
	must(t, n1.Reconfigure(ctx, config))
	hooked(false)
	s.is(t, ctx, "asleep")
	cycle("when it is off", 0, packet)
	stopped(lxc("stop", "-f", s.Name))
	if out, err := n1.LXC(ctx, "config", "get", s.Name, "raw.lxc"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("raw.lxc is left: %q, %v", out, err)
	}
	if out, err := n1.LXC(ctx, "config", "device", "get", s.Name, "eth0", "nictype"); err != nil || strings.TrimSpace(out) != "p2p" {
		t.Errorf("LXD's NIC is not back: %q, %v", out, err)
	}
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
