// Command guest is the only process of the virtual machine that hack/verifier boots: it gives every program of every
// object in /bpf to the kernel's verifier, runs the test binaries in /tests, reports each on the console and powers off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/verifier/report"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is process 1 of a virtual machine and powers it off; run `go test ./hack/verifier` instead")
		os.Exit(2)
	}
	err := run()
	send(report.Line{Done: true}, err)
	unix.Sync()
	// With -no-reboot qemu leaves at this.
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	fmt.Fprintln(os.Stderr, "guest: reboot:", err)
	select {}
}

func send(l report.Line, err error) {
	if err != nil {
		l.Error = err.Error()
	}
	text, err := json.Marshal(l)
	if err != nil {
		text = fmt.Appendf(nil, `{"error":%q}`, err)
	}
	fmt.Printf("%s%s\n", report.Mark, text)
}

func run() error {
	for _, m := range []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"},
		{"sysfs", "/sys", "sysfs"},
		{"bpf", "/sys/fs/bpf", "bpf"},
		{"devtmpfs", "/dev", "devtmpfs"},
		{"tmpfs", "/tmp", "tmpfs"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount of %s: %w", m.target, err)
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	send(report.Line{Kernel: unix.ByteSliceToString(name.Release[:])}, nil)
	// bpf(2) returns on a JIT that is off much later and with another code; be sure to test what users run.
	if err := os.WriteFile("/proc/sys/net/core/bpf_jit_enable", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}

	if err := modules(); err != nil {
		return err
	}
	objects, _ := filepath.Glob("/bpf/*.o")
	if len(objects) == 0 {
		return errors.New("no objects to load")
	}
	for _, o := range objects {
		if err := load(o); err != nil {
			return err
		}
	}
	return tests()
}

func modules() error {
	files, _ := filepath.Glob("/modules/*.ko")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := unix.InitModule(data, ""); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("module %s: %w", f, err)
		}
	}
	return nil
}

// load gives the programs of an object to the verifier one by one, so that each gets its own verdict.
func load(object string) error {
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(spec.Programs))
	for name := range spec.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line := report.Line{Program: filepath.Base(object) + "/" + name, Type: spec.Programs[name].Type.String()}
		send(verify(spec, name, line))
	}
	return nil
}

func verify(spec *ebpf.CollectionSpec, name string, line report.Line) (report.Line, error) {
	one := spec.Copy()
	for other := range one.Programs {
		if other != name {
			delete(one.Programs, other)
		}
	}
	for _, m := range one.Maps {
		m.Pinning = ebpf.PinNone
	}
	coll, err := ebpf.NewCollection(one)
	if err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) { // the end of the log is where the reason stands
			return line, fmt.Errorf("%w\n%s", err, strings.Join(v.Log[max(0, len(v.Log)-30):], "\n"))
		}
		return line, err
	}
	defer coll.Close()
	info, err := coll.Programs[name].Info()
	if err != nil {
		return line, err
	}
	line.Insns, _ = info.VerifiedInstructions()
	line.Xlated, err = info.TranslatedSize()
	return line, err
}

// tests runs the test binaries, each in the folder that holds its testdata.
func tests() error {
	binaries, _ := filepath.Glob("/tests/*/*.test")
	for _, b := range binaries {
		cmd := exec.Command(b, "-test.short", "-test.timeout=240s")
		cmd.Dir = filepath.Dir(b)
		cmd.Env = []string{"HOME=/tmp", "TMPDIR=/tmp", "PATH=/bin"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		send(report.Line{Test: filepath.Base(b)}, cmd.Run())
	}
	return nil
}
