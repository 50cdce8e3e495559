// Command nap runs in the virtual machine of hack/verifier, whose kernel has the control groups that most machines have (version
// 2): it freezes a process as LXC does, takes its memory back and lets it go on as lanyardd does, and looks at what that did.
// It exits with 0 when all was as it should be.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/sleep"
	"github.com/lanyard-project/lanyard/control/wake"
)

const (
	name   = "ws-u1"
	groups = "/sys/fs/cgroup"
	group  = groups + "/lxc.payload." + name
	file   = "/disk/file"
	size   = 24 << 20 // bytes of the process's own memory, and as many of a file
)

func main() {
	err := errors.New("this is for the virtual machine of hack/verifier, and mounts control groups; run `go test ./hack/verifier` instead")
	if line, _ := os.ReadFile("/proc/cmdline"); bytes.Contains(line, []byte("rdinit=/init")) {
		if len(os.Args) == 2 && os.Args[1] == "member" {
			err = member()
		} else {
			err = judge()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nap:", err)
		os.Exit(1)
	}
}

func judge() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := prepare(ctx); err != nil {
		return err
	}
	m, err := begin(ctx)
	if err != nil {
		return err
	}
	defer m.end()

	// Of one that runs nothing is taken, whatever it has.
	if freed, err := (sleep.Groups{}).Reclaim(ctx, name); err != nil || freed > size/8 {
		return fmt.Errorf("%d bytes of one that runs were taken back: %w", freed, err)
	}
	before, err := number("memory.current")
	if err != nil {
		return err
	}
	if before < 2*size {
		return fmt.Errorf("the process has %d bytes; it should have %d at least", before, 2*size)
	}
	if err := write(group+"/cgroup.freeze", "1"); err != nil {
		return err
	}
	if err := until(ctx, func() error { return has(group+"/cgroup.events", "frozen 1") }); err != nil {
		return err
	}
	if err := m.ask(); err != nil { // which it must not hear yet
		return err
	}
	began := time.Now()
	freed, err := sleep.Groups{}.Reclaim(ctx, name)
	if err != nil {
		return err
	}
	after, err := number("memory.current")
	if err != nil {
		return err
	}
	swapped, err := number("memory.swap.current")
	if err != nil {
		return err
	}
	fmt.Printf("nap: %d of %d bytes were taken back in %v, %d of them to swap\n", freed, before, time.Since(began).Round(time.Millisecond), swapped)
	// Half of either kind, at least: what the kernel spares it has just used.
	if after > before-size || freed < size || swapped < size/2 || freed-swapped < size/2 {
		return fmt.Errorf("of %d bytes %d are left, said to be %d less, %d are in swap", before, after, freed, swapped)
	}
	if err := m.silent(); err != nil {
		return err
	}
	if err := wake.NewContainers("default").Thaw(name); err != nil {
		return err
	}
	if err := until(ctx, func() error { return has(group+"/cgroup.events", "frozen 0") }); err != nil {
		return err
	}
	return m.answer(ctx)
}

// prepare mounts a file system of a disk, swap and the control groups.
func prepare(ctx context.Context) error {
	// Both by drivers that are built in. Which is which is not decided by their order: the kernel looks at both at once.
	disk, swap := "/dev/nvme0n1", "/dev/nvme0n2"
	if err := until(ctx, func() error {
		_, err := os.Stat(disk)
		_, err2 := os.Stat(swap)
		return errors.Join(err, err2)
	}); err != nil {
		return err
	}
	if b, err := os.ReadFile("/sys/block/nvme0n1/nsid"); err == nil && string(b) != "1\n" {
		disk, swap = swap, disk
	}
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, filepath.Dir(file), "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	path, err := unix.BytePtrFromString(swap)
	if err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0); e != 0 {
		return fmt.Errorf("swapon: %w", e)
	}
	if err := unix.Mount("cgroup2", groups, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount control groups: %w", err)
	}
	return errors.Join(write(groups+"/cgroup.subtree_control", "+memory"), os.Mkdir(group, 0o755))
}

// process is the member of the group, which answers a line with a line.
type process struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines chan string
}

func begin(ctx context.Context) (*process, error) {
	dir, err := os.Open(group)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p := &process{cmd: exec.Command("/proc/self/exe", "member"), lines: make(chan string, 8)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("begin the process in its group: %w", err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p, errors.Join(p.ask(), p.answer(ctx))
}

func (p *process) end() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() }

// ask asks whether it has what it had, and answer waits for the answer that it has.
func (p *process) ask() error {
	_, err := fmt.Fprintln(p.in, "?")
	return err
}

func (p *process) answer(ctx context.Context) error {
	select {
	case line := <-p.lines:
		if line != "intact" {
			return fmt.Errorf("the process said %q", line)
		}
		return nil
	case <-ctx.Done():
		return errors.New("the process does not answer")
	}
}

// silent checks that it has said nothing, as one that is frozen must not.
func (p *process) silent() error {
	select {
	case line := <-p.lines:
		return fmt.Errorf("the process is frozen, and said %q", line)
	default:
		return nil
	}
}

// member has memory of its own and a file's, and says for each line that it reads whether both are as they were.
func member() error {
	own, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	text, want := make([]byte, 1<<20), make([]byte, 1<<20)
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	for n := range size / len(text) {
		pattern(text, uint32(n))
		copy(own[n*len(text):], text)
		if _, err := f.Write(text); err != nil {
			return err
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		said := "intact"
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		for n := range size / len(text) {
			if _, err := io.ReadFull(f, text); err != nil {
				return err
			}
			pattern(want, uint32(n))
			if !bytes.Equal(own[n*len(want):(n+1)*len(want)], want) {
				said = "its memory is not what it was"
			}
			if !bytes.Equal(text, want) {
				said = "its file is not what it was"
			}
		}
		_ = f.Close()
		fmt.Println(said)
	}
	return nil
}

// pattern fills b with what no two pages have in common.
func pattern(b []byte, seed uint32) {
	x := seed*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(group, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

func write(file, text string) error { return os.WriteFile(file, []byte(text), 0) }

func has(file, line string) error {
	b, err := os.ReadFile(file)
	if err == nil && !strings.Contains("\n"+string(b), "\n"+line+"\n") {
		err = fmt.Errorf("%s says %q", file, b)
	}
	return err
}

// until asks until there is no error.
func until(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
