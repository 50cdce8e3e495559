package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// TestALabLeavesNothing builds a second lab beside the shared one and takes it down, once in good order and once by Clean
// alone, as after a kill.
func TestALabLeavesNothing(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	links := func() string {
		out, err := exec.Command("ip", "-br", "link").Output()
		must(t, err)
		return string(out)
	}
	mounts := func() string {
		b, err := os.ReadFile("/proc/self/mounts")
		must(t, err)
		return string(b)
	}
	beforeLinks, beforeMounts := links(), mounts()
	for _, end := range []string{"close", "clean"} {
		dir := filepath.Join(t.TempDir(), "lab")
		l, err := lab.New(ctx, lab.Options{ID: "tdown", Nodes: 1, Dir: dir, NoLXD: true, NoDaemon: true, Detached: end == "clean"})
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
			must(t, lab.Clean("tdown", dir))
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: files are left", end)
		}
		if groups, _ := filepath.Glob("/sys/fs/cgroup/*/lanyard-lab-tdown-*"); len(groups) > 0 {
			t.Errorf("%s: cgroups are left: %v", end, groups)
		}
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil && strings.HasPrefix(string(b), "bash") {
			t.Errorf("%s: the holder still runs", end)
		}
	}
	if after := links(); after != beforeLinks {
		t.Errorf("the machine's interfaces changed:\n%s\nnow:\n%s", beforeLinks, after)
	}
	if after := mounts(); after != beforeMounts {
		t.Errorf("the machine's mounts changed:\n%s\nnow:\n%s", beforeMounts, after)
	}
}
