package webspace

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lxc/incus/shared/api"
)

// hooks is a Store that has LXD's own socket, and an instance as LXD shows it.
func hooks(t *testing.T, project string) (*Store, func(status string, config map[string]string, eth0 map[string]string) Instance) {
	t.Helper()
	s := &Store{o: Options{Prefix: "ws-", Project: project}, socket: "/var/lib/lxd/unix.socket"}
	return s, func(status string, config, eth0 map[string]string) Instance {
		record, err := json.Marshal(map[string]any{"version": 1, "user": 3, "address": "172.24.118.10"})
		if err != nil {
			t.Fatal(err)
		}
		config[Key] = string(record)
		raw := api.Instance{Name: "ws-u3", Status: status, ExpandedDevices: map[string]map[string]string{"eth0": eth0}}
		raw.Config = config
		i, ok := s.instance(&raw)
		if !ok || i.RecordErr != nil {
			t.Fatalf("%+v, %v", i, i.RecordErr)
		}
		return i
	}
}

var (
	lxdsNIC = map[string]string{"type": "nic", "nictype": "p2p", "name": "eth0", "hwaddr": "02:4c:ac:18:76:0a", "mtu": "1450"}
	noNIC   = map[string]string{"type": "none"}
	both    = StartHook{Program: "/usr/bin/lanyard-hook", LXD: "/usr/bin/lxd", IP: "/usr/sbin/ip"}
)

// What the hook makes is found again, and LXD gets back just what it had.
func TestHookNICComesAndGoes(t *testing.T) {
	s, instance := hooks(t, "default")
	i := instance("Stopped", map[string]string{}, lxdsNIC)
	text, eth0 := s.rawLXC(i, both)
	if eth0["type"] != "none" || !strings.Contains(text, "lxc.hook.pre-start =") || s.HasStartHook(i, both) {
		t.Fatalf("eth0 %v, raw.lxc %q", eth0, text)
	}
	hooked := instance("Stopped", map[string]string{rawLXCKey: text}, noNIC)
	if hooked.NICType != HookNIC || hooked.HostInterface != "lyac18760a" || hooked.MAC.String() != "02:4c:ac:18:76:0a" || hooked.MTU != 1450 || !s.HasStartHook(hooked, both) {
		t.Fatalf("%+v", hooked)
	}
	if text, eth0 := s.rawLXC(hooked, StartHook{}); text != "" || len(eth0) != len(lxdsNIC) || eth0["hwaddr"] != lxdsNIC["hwaddr"] || eth0["mtu"] != "1450" {
		t.Errorf("turned off: eth0 %v, raw.lxc %q", eth0, text)
	}
	callOnly := both
	callOnly.IP = ""
	if text, eth0 := s.rawLXC(hooked, callOnly); !strings.Contains(text, "pre-start") || strings.Contains(text, "start-host") || eth0["nictype"] != "p2p" {
		t.Errorf("one turned off: eth0 %v, raw.lxc %q", eth0, text)
	}
	// The interface of one that runs stays.
	runs := instance("Running", map[string]string{rawLXCKey: text}, noNIC)
	if text, eth0 := s.rawLXC(runs, callOnly); !strings.Contains(text, "start-host") || eth0 != nil {
		t.Errorf("turned off while it runs: eth0 %v, raw.lxc %q", eth0, text)
	}
	if text, eth0 := s.rawLXC(instance("Running", map[string]string{}, lxdsNIC), both); strings.Contains(text, "start-host") || eth0 != nil {
		t.Errorf("turned on while it runs: eth0 %v, raw.lxc %q", eth0, text)
	}
	// A copy of it, even as a webspace, has not its interface.
	copied := instance("Running", map[string]string{rawLXCKey: strings.ReplaceAll(text, "= ws-u3 &&", "= ws-u7 &&")}, noNIC)
	if copied.NICType != HookNIC || copied.HostInterface != "" {
		t.Errorf("a copy: %+v", copied)
	}
	// An admin has put LXD's NIC back by hand.
	if again := instance("Stopped", map[string]string{rawLXCKey: text}, lxdsNIC); again.NICType != "p2p" || again.HostInterface != "" || s.HasStartHook(again, both) {
		t.Errorf("with LXD's NIC besides: %+v", again)
	}
}

func TestHookNICIsNotForEveryInstance(t *testing.T) {
	s, instance := hooks(t, "default")
	with := func(key, value string) map[string]string {
		d := map[string]string{key: value}
		for k, v := range lxdsNIC {
			if k != key {
				d[k] = v
			}
		}
		return d
	}
	for name, eth0 := range map[string]map[string]string{
		"another kind": with("nictype", "bridged"), "a limit": with("limits.ingress", "1Mbit"), "another name": with("name", "net0"), "none": {},
	} {
		if text, changed := s.rawLXC(instance("Stopped", map[string]string{}, eth0), both); strings.Contains(text, "start-host") || changed != nil {
			t.Errorf("%s: eth0 %v, raw.lxc %q", name, changed, text)
		}
	}
	if i := instance("Stopped", map[string]string{rawLXCKey: "lxc.hook.start-host = /x echo lyac18760a y address 02:4c:ac:18:76:0a mtu 1450 netns z\n"}, noNIC); i.NICType != "" || !s.HasStartHook(i, both) {
		t.Errorf("an admin's raw.lxc: %+v", i)
	}
	for name, h := range map[string]StartHook{"no program": {LXD: "/usr/bin/lxd"}, "a shell's character": {Program: "/opt/a b", LXD: "/usr/bin/lxd"}, "in ip": {Program: "/x", IP: "/sbin/ip;true"}} {
		if text, changed := s.rawLXC(instance("Stopped", map[string]string{}, lxdsNIC), h); text != "" || changed != nil || s.Hookable(h) {
			t.Errorf("%s: eth0 %v, raw.lxc %q", name, changed, text)
		}
	}
}

// The lines as a shell reads them: with the program and without it, for the instance and for a copy of it.
func TestHookLinesInAShell(t *testing.T) {
	dir := t.TempDir()
	h := StartHook{Program: filepath.Join(dir, "hook"), LXD: filepath.Join(dir, "lxd"), IP: filepath.Join(dir, "ip")}
	for _, p := range []string{h.LXD, h.IP} {
		if err := os.WriteFile(p, []byte("#!/bin/sh\necho ${0##*/} $@\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const pair = " mtu 1450 up type veth peer name eth0 address 02:4c:ac:18:76:0a mtu 1450 netns 77"
	for _, there := range []bool{false, true} {
		ip, lxd := "ip link add ", "lxd callhook /var/lib/lxd "
		if there {
			if err := os.WriteFile(h.Program, []byte("#!/bin/sh\necho ${0##*/} $@\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			ip, lxd = "hook veth ", "hook callhook /var/lib/lxd "
		}
		for _, c := range []struct{ project, lxcName, call, veth string }{
			{"default", "ws-u3", lxd + "default ws-u3 start", ip + "lyac18760a" + pair},
			{"default", "copy", lxd + "default copy start", ip + "ly77" + pair},
			{"web", "web_ws-u3", lxd + "web ws-u3 start", ip + "lyac18760a" + pair},
		} {
			s, instance := hooks(t, c.project)
			text, _ := s.rawLXC(instance("Stopped", map[string]string{}, lxdsNIC), h)
			var got []string
			for line := range strings.Lines(text) {
				key, command, _ := strings.Cut(strings.TrimSpace(line), " = ")
				if key != "lxc.hook.pre-start" && key != "lxc.hook.start-host" || command == "" {
					continue
				}
				sh := exec.Command("sh", "-c", "exec "+command)
				sh.Env = []string{"LXC_NAME=" + c.lxcName, "LXC_PID=77", "PATH=/usr/bin:/bin"}
				out, err := sh.CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v\n%s", command, err, out)
				}
				got = append(got, strings.TrimSpace(string(out)))
			}
			if len(got) != 2 || got[0] != c.call || got[1] != c.veth {
				t.Errorf("%+v, program there %v: %q", c, there, got)
			}
		}
	}
}
