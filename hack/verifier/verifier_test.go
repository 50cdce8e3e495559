package verifier

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/verifier/report"
)

// TestOlderKernel is the acceptance test on a 6.12-class kernel: its verifier accepts every program, and the packet
// tables give the same results there.
func TestOlderKernel(t *testing.T) {
	if testing.Short() {
		t.Log("-short has no effect here: the verdict of another kernel cannot be had in less")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // it is emulated, beside other tests
	defer cancel()

	root := repository(t)
	kernel, err := Fetch(ctx, filepath.Join(root, ".cache", "kernel"))
	if err != nil {
		t.Fatal(err)
	}

	files := Initramfs{"/init": build(ctx, t, "build", "./guest")}
	objects, err := filepath.Glob(filepath.Join(root, "bpf", "*_bpfel.o"))
	if err != nil || len(objects) == 0 {
		t.Fatalf("no objects in bpf/ (%v): not generated; run `go generate ./bpf`", err)
	}
	for _, o := range objects {
		data, err := os.ReadFile(o)
		if err != nil {
			t.Fatal(err)
		}
		files["/bpf/"+filepath.Base(o)] = data
	}
	for _, name := range []string{"ip6_udp_tunnel", "udp_tunnel", "veth", "vxlan"} { // for the packet tables; in the order of their names
		if files["/modules/"+name+".ko"], err = kernel.Module(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	// Not a test of a package, but called like one.
	files["/tests/nap/nap.test"] = build(ctx, t, "build", "./nap")
	files["/tests/bpf/bpf.test"] = build(ctx, t, "test", "-c", filepath.Join(root, "bpf"))
	if files["/tests/bpf/budget.txt"], err = os.ReadFile(filepath.Join(root, "bpf", "budget.txt")); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	drives := disks(ctx, t)
	lines, err := Boot(ctx, kernel, files, drives, func(line string) { t.Log(line) })
	if err == nil && len(lines) == 0 {
		// Now and then a boot ends so, in code that the kernel patches meanwhile (int3): the emulator runs two processors.
		t.Log("the guest said nothing: it is booted again")
		lines, err = Boot(ctx, kernel, files, drives, func(line string) { t.Log(line) })
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %.0f s", kernel.Name, time.Since(start).Seconds())
	judge(t, lines)
}

func judge(t *testing.T, lines []report.Line) {
	t.Helper()
	var release string
	var programs, tests int
	var done bool
	for _, l := range lines {
		switch {
		case l.Kernel != "":
			release = l.Kernel
		case l.Program != "":
			programs++
		case l.Test != "":
			tests++
		case l.Done:
			done = true
		}
		if l.Error != "" {
			t.Errorf("%s%s: %s", l.Program, l.Test, l.Error)
		}
	}
	if !strings.HasPrefix(release, series+".") && os.Getenv("LANYARD_TEST_KERNEL") == "" {
		t.Errorf("the guest ran kernel %q, not one of %s", release, series)
	}
	if programs == 0 || tests != 2 || !done {
		t.Errorf("the guest gave %d programs to the verifier, ran %d test binaries, and finished: %v; see the console above", programs, tests, done)
	}
}

// disks are a file system and swap, for what takes memory back (nap).
func disks(ctx context.Context, t *testing.T) []string {
	t.Helper()
	var out []string
	for _, mk := range [][]string{{"mkfs.ext4", "-q", "-O", "^has_journal"}, {"mkswap", "--quiet"}} {
		disk := filepath.Join(t.TempDir(), "disk")
		f, err := os.OpenFile(disk, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			err = errors.Join(f.Truncate(128<<20), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, "/usr/sbin/"+mk[0], append(mk[1:], disk)...) // where who is not root does not look
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(mk, " "), err, text)
		}
		out = append(out, disk)
	}
	return out
}

// build makes a static binary for the guest, which has no C library.
func build(ctx context.Context, t *testing.T, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "binary")
	args = append(args[:len(args)-1:len(args)-1], "-trimpath", "-ldflags=-s -w", "-o", out, args[len(args)-1])
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// repository is the folder that holds go.mod.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above this package: the test must run inside the repository")
	return ""
}
