package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// victimDir in the environment makes this program build a lab in that folder and wait to be killed.
const victimDir = "LAB_TEST_VICTIM"

// extraID names a further lab of this run: another run may be going on.
func extraID(pid int) string { return "t" + strconv.FormatInt(int64(pid), 36) }

func beVictim(dir string) {
	l, err := lab.New(context.Background(), lab.Options{ID: extraID(os.Getpid()), Nodes: 1, Dir: dir, NoLXD: true, NoDaemon: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Node(1).Pid)
	select {}
}

// TestAKilledLabDies: the namespaces of a lab end with the process that made them, even if that had no time to clean up.
func TestAKilledLabDies(t *testing.T) {
	ctx := testContext(t, time.Minute)
	dir := filepath.Join(t.TempDir(), "lab")
	victim := exec.CommandContext(ctx, os.Args[0])
	victim.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := victim.StdoutPipe()
	must(t, err)
	must(t, victim.Start())
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatalf("the lab was not built: %v", err)
	}
	must(t, victim.Process.Kill())
	_ = victim.Wait()
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return fmt.Errorf("the holder %d still lives", pid)
		}
		return nil
	}))
	must(t, lab.Clean(extraID(victim.Process.Pid), dir))
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/lanyard-lab-" + extraID(victim.Process.Pid) + "-*"); len(groups) > 0 {
		t.Errorf("cgroups are left: %v", groups)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("files are left")
	}
}

// TestALabLeavesNothing builds a second lab beside the shared one and takes it down, once in good order and once by Clean
// alone, as after a kill.
func TestALabLeavesNothing(t *testing.T) {
	ctx := testContext(t, 5*time.Minute)
	things := func() []string { // interfaces and mounts of this machine
		out, err := exec.Command("ip", "-br", "link").Output()
		must(t, err)
		b, err := os.ReadFile("/proc/self/mounts")
		must(t, err)
		return strings.Split(string(out)+string(b), "\n")
	}
	id := extraID(os.Getpid())
	before := things()
	for _, end := range []string{"close", "clean"} {
		dir := filepath.Join(t.TempDir(), "lab")
		l, err := lab.New(ctx, lab.Options{ID: id, Nodes: 1, Dir: dir, NoLXD: true, NoDaemon: true, Detached: end == "clean"})
		must(t, err)
		if _, err := l.Node(1).Exec(ctx, "ping", "-c", "1", "-W", "2", lab.ServerAddr); err != nil {
			t.Error(err)
		}
		if _, err := l.Node(1).Background("sleeper", "sleep", "100"); err != nil {
			t.Error(err)
		}
		pid := l.Node(1).Pid
		if end == "close" {
			must(t, l.Close())
		} else {
			freeze(t, "lanyard-lab-"+id+"-") // as a killed lab leaves its napping webspaces
			must(t, lab.Clean(id, dir))
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: files are left", end)
		}
		if groups, _ := filepath.Glob("/sys/fs/cgroup/*/lanyard-lab-" + id + "-*"); len(groups) > 0 {
			t.Errorf("%s: cgroups are left: %v", end, groups)
		}
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil && strings.HasPrefix(string(b), "bash") {
			t.Errorf("%s: the holder still runs", end)
		}
	}
	// Other tests may run on this machine: what is theirs comes and goes, what a lab has left would stay.
	left := slices.DeleteFunc(things(), func(s string) bool { return slices.Contains(before, s) })
	must(t, lab.Eventually(ctx, 3*time.Minute, func() error {
		now := things()
		left = slices.DeleteFunc(left, func(s string) bool { return !slices.Contains(now, s) })
		if len(left) > 0 {
			return fmt.Errorf("new on this machine, and still there:\n%s", strings.Join(left, "\n"))
		}
		return nil
	}))
}

// freeze stops all processes of the cgroups whose names begin with prefix.
func freeze(t *testing.T, prefix string) {
	t.Helper()
	frozen := 0
	for file, stopped := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			groups, err := filepath.Glob(pattern + prefix + "*/" + file)
			must(t, err)
			for _, g := range groups {
				must(t, os.WriteFile(g, []byte(stopped), 0o644))
				frozen++
			}
		}
	}
	if frozen == 0 {
		t.Fatal("the lab has no cgroups that can be frozen")
	}
}

// TestOtherTunnelSettings: VNI and port as configured are what is on the wire.
func TestOtherTunnelSettings(t *testing.T) {
	t.Parallel() // with a lab of its own
	ctx := testContext(t, 5*time.Minute)
	l, err := lab.New(ctx, lab.Options{ID: extraID(os.Getpid()) + "v", Nodes: 2, BinDir: shared.BinDir(),
		Config: "lan: {vni: 99}\nunderlay: {port: 8472}\n"})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	a, err := l.Node(1).AddWebspace(ctx, 1, lab.WebspaceOptions{})
	must(t, err)
	b, err := l.Node(2).AddWebspace(ctx, 2, lab.WebspaceOptions{})
	must(t, err)
	var seen struct{ Frames int }
	done := make(chan error, 1)
	// The router's bridge port of n1; a VXLAN header with VNI 99 (RFC 7348 section 5) behind UDP port 8472.
	go func() {
		done <- l.Router.Probe(ctx, &seen, "sniff", "--iface", "n1", "--for", "3s", "--match", "0800000000006300")
	}()
	time.Sleep(500 * time.Millisecond)
	wantPing(t, ctx, a, b.IP.String(), 10)
	must(t, <-done)
	if seen.Frames < 10 {
		t.Errorf("%d frames with the configured VNI were seen, want at least 10", seen.Frames)
	}
	out, err := l.Node(1).Exec(ctx, "ip", "-d", "link", "show", "lanyard0-vx")
	must(t, err)
	if !strings.Contains(out, "vxlan id 99 ") || !strings.Contains(out, "dstport 8472") {
		t.Errorf("the VXLAN device: %s", out)
	}
}
