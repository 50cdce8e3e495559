// Package cell runs parts of the benchmark in network namespaces of their own. A cell is this same binary, started
// again in a new network and mount namespace and told what to do over a pipe. It lives no longer than its parent, and
// its namespaces, devices and BPF objects go with it: nothing is left on the machine, however the benchmark ends.
package cell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

// Arg is the first argument that makes this binary a cell; main calls Serve when it sees it.
const Arg = "cell"

// Cell is one namespace with the process in it.
type Cell struct {
	Name string
	// Net configures the cell's devices from outside.
	Net *netlink.Handle

	cpus   CPUs
	ns     netns.NsHandle
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *bytes.Buffer
	mu     sync.Mutex
	dead   error
}

type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
}

type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// CPUs of a cell: Main runs its operations, Rest what else its Go runtime does. The clock of the work of a cell whose
// CPUs differ is that of its main thread.
type CPUs struct{ Main, Rest int }

// Start makes a cell. The calling goroutine must be locked to a thread that lives as long as the benchmark does (the
// kernel ends the cell when that thread ends).
func Start(name string, cpus CPUs) (*Cell, error) {
	var was unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return nil, fmt.Errorf("cell %s: read the CPU affinity: %w", name, err)
	}
	var want unix.CPUSet
	want.Set(cpus.Rest)
	cmd := exec.Command("/proc/self/exe", Arg, name, strconv.Itoa(cpus.Main))
	// Asynchronous preemption interrupts the generators' system calls for nothing.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	c := &Cell{Name: name, cpus: cpus, cmd: cmd, stderr: &bytes.Buffer{}}
	cmd.Stderr = c.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewReaderSize(out, 1<<16)
	// A process inherits the affinity of the thread that starts it, before any of its own threads exist.
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return nil, fmt.Errorf("cell %s: run on CPU %d: %w", name, cpus.Rest, err)
	}
	err = cmd.Start()
	if e := unix.SchedSetaffinity(0, &was); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return nil, fmt.Errorf("cell %s: start it in new namespaces: %w (the benchmark needs root)", name, err)
	}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cell) open() error {
	// The first answer shows that the process is inside its namespaces.
	if err := c.Call(context.Background(), "ready", struct{}{}, nil); err != nil {
		return err
	}
	var err error
	if c.ns, err = netns.GetFromPid(c.cmd.Process.Pid); err != nil {
		return fmt.Errorf("cell %s: open its network namespace: %w", c.Name, err)
	}
	if c.Net, err = netlink.NewHandleAt(c.ns); err != nil {
		return fmt.Errorf("cell %s: open netlink in its namespace: %w", c.Name, err)
	}
	lo, err := c.Net.LinkByName("lo")
	if err != nil {
		return err
	}
	return c.Net.LinkSetUp(lo)
}

// Pid of the cell's process.
func (c *Cell) Pid() int { return c.cmd.Process.Pid }

// Clock of the cell's work.
func (c *Cell) Clock() measure.Clock {
	if c.cpus.Main == c.cpus.Rest {
		return measure.Process(c.cmd.Process.Pid)
	}
	return measure.Thread(c.cmd.Process.Pid)
}

// NS is a file descriptor of the cell's network namespace, for moving devices there.
func (c *Cell) NS() int { return int(c.ns) }

// Call runs one operation in the cell and waits for its result (into reply, unless nil). When ctx ends first, the
// cell is killed: what it was doing could not be undone.
func (c *Cell) Call(ctx context.Context, op string, args, reply any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return c.dead
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	line, err := json.Marshal(request{Op: op, Args: raw})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return c.died(op, err)
	}
	text, err := c.out.ReadBytes('\n')
	if err != nil {
		return c.died(op, errors.Join(err, ctx.Err()))
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return c.died(op, err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %s: %s", c.Name, op, a.Error)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(a.Result, reply)
}

func (c *Cell) died(op string, err error) error {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // also ends the copying of stderr
	c.dead = fmt.Errorf("cell %s ended during %s: %w\n%s", c.Name, op, err, c.stderr.String())
	return c.dead
}

// Close ends the cell. Its namespaces vanish with it.
func (c *Cell) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Net != nil {
		c.Net.Close()
		_ = c.ns.Close()
	}
	if c.dead != nil {
		return nil
	}
	c.dead = fmt.Errorf("cell %s is closed", c.Name)
	_ = c.in.Close() // asks it to end
	kill := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		return nil // killed: it is gone, which is what was asked for
	}
	if err != nil {
		return fmt.Errorf("cell %s: %w\n%s", c.Name, err, c.stderr.String())
	}
	return nil
}

// Handler is one operation of a cell.
type Handler func(json.RawMessage) (any, error)

// Op makes a Handler of a function with typed arguments.
func Op[A, R any](f func(A) (R, error)) Handler {
	return func(raw json.RawMessage) (any, error) {
		var a A
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		return f(a)
	}
}

// Serve runs a cell until its parent closes the pipe. Operations run one at a time on the main thread, which must be
// the caller's, on the given CPU.
func Serve(cpu string, ops map[string]Handler) error {
	n, err := strconv.Atoi(cpu)
	if err != nil {
		return fmt.Errorf("CPU: %w", err)
	}
	// Threads that Go starts from now on come from another one, and stay where that is.
	runtime.LockOSThread()
	var main unix.CPUSet
	main.Set(n)
	if err := unix.SchedSetaffinity(0, &main); err != nil {
		return fmt.Errorf("run on CPU %d: %w", n, err)
	}
	// Mounts made in here stay in here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// A sysfs shows the devices of the namespace that it was mounted from.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount a sysfs of the new network namespace: %w", err)
	}
	// A batch task does not preempt the one that wakes it: a receiver takes what has come when the sender is done with
	// its turn, in every world alike, and not packet by packet as chance will have it.
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
		return fmt.Errorf("set the scheduling policy: %w", err)
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if err := out.Encode(run(ops, r)); err != nil {
			return err
		}
	}
}

func run(ops map[string]Handler, r request) answer {
	if r.Op == "ready" {
		return answer{Result: json.RawMessage("{}")}
	}
	op, ok := ops[r.Op]
	if !ok {
		return answer{Error: "no such operation"}
	}
	v, err := op(r.Args)
	if err != nil {
		return answer{Error: err.Error()}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Result: raw}
}
