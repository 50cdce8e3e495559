package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const words = "lyac18760a mtu 1450 up type veth peer name eth0 address 02:4c:ac:18:76:0a mtu 1450 netns "

const asHook = "LANYARD_TEST_AS_HOOK"

func TestMain(m *testing.M) {
	if os.Getenv(asHook) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The program and ip make the same pair of the same words, also when the last run's is still there.
func TestVethIsWhatIPMakes(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and its network namespace too
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v; likely cause: not root; next: run the tests as root", err)
	}
	container := func() (pid string, show func() string) {
		c := exec.CommandContext(t.Context(), "unshare", "-n", "sleep", "60")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		pid = fmt.Sprint(c.Process.Pid)
		ours, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if theirs, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && theirs != ours {
				break
			} else if time.Now().After(until) {
				t.Fatalf("no network namespace: %v", err)
			}
		}
		return pid, func() string {
			var all string
			for _, prefix := range [][]string{nil, {"nsenter", "-t", pid, "-n"}} {
				out, err := exec.Command("env", append(prefix, "ip", "-o", "-d", "link", "show", "type", "veth")...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				for _, f := range strings.Fields(string(out)) {
					if strings.HasPrefix(f, "ly") || strings.HasPrefix(f, "eth0") || strings.HasPrefix(f, "<") || strings.HasPrefix(f, "02:4c:") {
						all += f + " "
					}
				}
				all += fmt.Sprint(strings.Count(string(out), "mtu 1450"), "; ")
			}
			return all
		}
	}
	// The hook is a process of its own: it leaves its thread in the container's network namespace.
	hook := func(words string) error {
		c := exec.Command(os.Args[0], append([]string{"veth"}, strings.Fields(words)...)...)
		c.Env = append(os.Environ(), asHook+"=1")
		out, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	pid, show := container()
	if out, err := exec.Command("ip", append([]string{"link", "add"}, strings.Fields(words+pid)...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("nsenter", "-t", pid, "-n", "ip", "link", "set", "eth0", "up").CombinedOutput(); err != nil { // as the container would
		t.Fatalf("%v: %s", err, out)
	}
	want := show()
	if !strings.Contains(want, "02:4c:ac:18:76:0a") || strings.Count(want, "LOWER_UP") != 2 {
		t.Fatalf("ip made %s", want)
	}
	for _, what := range []string{"with the last one's there", "again"} {
		pid, show = container()
		if err := hook(words + pid); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := show(); unnumbered(got) != unnumbered(want) {
			t.Errorf("%s it made\n%s, ip made\n%s", what, got, want)
		}
	}
	// An eth0 of LXD's.
	if err := hook(strings.Replace(words, "lyac18760a", "ly77", 1) + pid); err != nil {
		t.Errorf("a container with an eth0: %v", err)
	}
	if got := show(); strings.Contains(got, "ly77") || !strings.Contains(got, "lyac18760a") {
		t.Errorf("a container with an eth0 got another: %s", got)
	}
	if err := hook(words + "4194305"); err == nil {
		t.Error("no such process, no error")
	}
}

// unnumbered leaves out the numbers of interfaces, and that the kernel has not told everybody of the carrier yet.
func unnumbered(s string) string {
	f := strings.Fields(strings.ReplaceAll(s, "NO-CARRIER,", ""))
	for n := range f {
		f[n], _, _ = strings.Cut(f[n], "@")
	}
	return strings.Join(f, " ")
}

func TestVethArguments(t *testing.T) {
	good := strings.Fields(words + "77")
	if v, err := parseVeth(good); err != nil || v != (veth{"lyac18760a", [6]byte{2, 0x4c, 0xac, 0x18, 0x76, 0xa}, 1450, 77}) {
		t.Fatalf("%+v, %v", v, err)
	}
	for n, bad := range map[int]string{0: "eth0", 1: "link", 2: "1", 8: "eth1", 10: "02:4c:ac:18:76", 12: "1500", 14: "1"} {
		args := append([]string(nil), good...)
		args[n] = bad
		if v, err := parseVeth(args); err == nil {
			t.Errorf("%q is taken for %+v", args, v)
		}
	}
	for _, args := range [][]string{nil, good[:14], append(good, "x")} {
		if _, err := parseVeth(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
