package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

//go:embed holder.sh
var holderScript []byte

// Namespace is one machine of the lab: own network, mount, pid, uts and ipc namespaces (a node: cgroup too), held by
// a process that is PID 1 in them.
type Namespace struct {
	Name string
	Pid  int    // of the holder, as this machine sees it
	Born uint64 // the holder's start time in clock ticks since boot: a pid alone may have been given to another
	Dir  string
	env  []string
	end  *os.File // write end of the lifeline
	done chan struct{}
}

// hold starts the holder of a new set of namespaces and waits until it is set up.
func (l *Lab) hold(ctx context.Context, kind, name, cgroup string) (*Namespace, error) {
	ns := &Namespace{Name: name, Dir: filepath.Join(l.Dir, name), done: make(chan struct{})}
	for _, d := range []string{"lxd", "home"} {
		if err := os.MkdirAll(filepath.Join(ns.Dir, d), 0o711); err != nil {
			return nil, err
		}
	}
	ns.env = l.environment(ns)
	script := filepath.Join(l.Dir, "holder.sh")
	output, err := os.Create(filepath.Join(ns.Dir, "holder.log"))
	if err != nil {
		return nil, err
	}
	defer output.Close()

	lifeline := "lifeline"
	if l.detached {
		lifeline = "detached"
	}
	cmd := exec.Command("/bin/bash", script, kind, name, ns.Dir, cgroup, lifeline)
	cmd.Dir, cmd.Env = "/", ns.env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if !l.detached {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		cmd.Stdin, ns.end = r, w
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make namespaces of %s: %w; likely cause: not root; next: run as root", name, err)
	}
	ns.Pid = cmd.Process.Pid
	if ns.Born, err = startTime(ns.Pid); err != nil {
		return nil, fmt.Errorf("holder of %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // it ends by our own signal
		close(ns.done)
	}()
	err = poll(ctx, 60*time.Second, func() error {
		select {
		case <-ns.done:
			said, _ := os.ReadFile(output.Name())
			return stop(fmt.Errorf("it ended: %s", bytes.TrimSpace(said)))
		default:
		}
		_, err := os.Stat(filepath.Join(ns.Dir, "ready"))
		return err
	})
	if err != nil {
		ns.kill()
		return nil, fmt.Errorf("set up namespaces of %s: %w; next: read %s", name, err, output.Name())
	}
	return ns, nil
}

// environment of every program in a namespace: nothing of the caller's.
func (l *Lab) environment(ns *Namespace) []string {
	return []string{
		"PATH=" + l.binDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + filepath.Join(ns.Dir, "home"), "LXD_DIR=/var/lib/lxd", "LC_ALL=C.UTF-8", "TERM=" + os.Getenv("TERM"),
		"LANYARD_CONFIG=" + filepath.Join(ns.Dir, "lanyardd.yaml"),
		// Several daemons would load profiles of the same names.
		"LXD_SECURITY_APPARMOR=false",
	}
}

// Alive says whether the holder still runs.
func (ns *Namespace) Alive() bool {
	born, err := startTime(ns.Pid)
	return err == nil && born == ns.Born
}

// kill ends everything inside and waits for it. Network devices and mounts go with the namespaces.
func (ns *Namespace) kill() {
	if ns.Alive() {
		_ = syscall.Kill(ns.Pid, syscall.SIGKILL)
	}
	if ns.end != nil {
		ns.end.Close()
	}
	for range 1000 { // the kernel reaps the whole pid namespace before PID 1 disappears
		if ns.done != nil {
			select {
			case <-ns.done:
				return
			default:
			}
		}
		if !ns.Alive() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Command prepares a program to be run inside; its context kills it with all its children.
func (ns *Namespace) Command(ctx context.Context, args ...string) *exec.Cmd {
	full := append([]string{"-t", strconv.Itoa(ns.Pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", full...)
	cmd.Dir, cmd.Env = "/", ns.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// nsenter forks to enter the pid namespace: its child is reached by the group.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Exec runs a program inside and returns its standard output. The error carries what it said on standard error.
func (ns *Namespace) Exec(ctx context.Context, args ...string) (string, error) {
	return run(ns.Command(ctx, args...), ns.Name, args)
}

// Input is Exec with something to read.
func (ns *Namespace) Input(ctx context.Context, input string, args ...string) (string, error) {
	cmd := ns.Command(ctx, args...)
	cmd.Stdin = strings.NewReader(input)
	return run(cmd, ns.Name, args)
}

func run(cmd *exec.Cmd, where string, args []string) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), &ExecError{Where: where, Args: args, Err: err, Stdout: out.String(), Stderr: errs.String()}
	}
	return out.String(), nil
}

// ExecError is a program in the lab that failed.
type ExecError struct {
	Where          string
	Args           []string
	Err            error
	Stdout, Stderr string
}

func (e *ExecError) Error() string {
	said := strings.TrimSpace(e.Stderr)
	if said == "" {
		said = strings.TrimSpace(e.Stdout)
	}
	return fmt.Sprintf("%s: %s: %v: %s", e.Where, strings.Join(e.Args, " "), e.Err, said)
}

func (e *ExecError) Unwrap() error { return e.Err }

// Background starts a program inside that runs on until its returned stop function is called or its namespace ends;
// its output goes to a file of that name in the namespace's folder.
func (ns *Namespace) Background(name string, args ...string) (stopIt func(), err error) {
	f, err := os.OpenFile(filepath.Join(ns.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := ns.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("%s: start %s: %w", ns.Name, name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return func() { cancel(); <-ended }, nil
}

// Netns is the path of its network namespace.
func (ns *Namespace) Netns() string { return fmt.Sprintf("/proc/%d/ns/net", ns.Pid) }

// Do calls f on a thread that is in its network namespace (and only there: files are this machine's).
func (ns *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		fd, err := unix.Open(ns.Netns(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			result <- fmt.Errorf("open network namespace of %s: %w", ns.Name, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace of %s: %w", ns.Name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// netlink opens its rtnetlink socket; the caller closes it.
func (ns *Namespace) netlink() (*netlink.Handle, error) {
	h, err := netns.GetFromPid(ns.Pid)
	if err != nil {
		return nil, fmt.Errorf("open network namespace of %s: %w", ns.Name, err)
	}
	defer h.Close()
	return netlink.NewHandleAt(h, unix.NETLINK_ROUTE)
}

// Sysctl sets a key of /proc/sys, of which those under net/ belong to the namespace.
func (ns *Namespace) Sysctl(ctx context.Context, key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	_, err := ns.Exec(ctx, "/bin/sh", "-c", `echo "$2" > "$1"`, "sh", path, value)
	return err
}

// startTime is field 22 of /proc/PID/stat (proc(5)), counted after the command in parentheses.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, errors.New("process has ended")
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
