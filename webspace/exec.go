package webspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/lxc/incus/shared/api"
)

// MaxOutput of one command whose output is returned as a whole, for each stream, bytes. What is beyond is lost.
const MaxOutput = 1 << 20

// ExecResult is what a command in a webspace left behind.
type ExecResult struct {
	Code           int // exit code; 128 and more: killed by a signal
	Stdout, Stderr []byte
}

// killTime is how long a command may take to end after its client has gone, before it is killed without mercy.
const killTime = time.Second

// Exec runs a command in a running webspace, without input or terminal, and waits for its end. A command that fails is
// no error: see Code. The end of ctx ends the command.
func (s *Store) Exec(ctx context.Context, name string, command []string) (ExecResult, error) {
	var stdout, stderr limited
	code, err := s.Session(ctx, name, ExecSpec{Command: command}, Streams{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return ExecResult{}, err
	}
	return ExecResult{Code: code, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

// Session runs a command in a running webspace until it ends, connected to streams, and returns its exit code. When ctx
// ends the command gets SIGHUP, and SIGKILL when it is still there after a second.
func (s *Store) Session(ctx context.Context, name string, spec ExecSpec, io Streams) (code int, err error) {
	defer closeInput(io.Stdin)
	what := "run a command in webspace " + name
	path, err := s.path(name)
	if err != nil {
		return 0, err
	}
	if err := spec.check(); err != nil {
		return 0, err
	}
	names := []string{"control", "0", "1", "2"} // control first: from then on it can be killed
	if spec.Terminal {
		names = []string{"control", "0"}
	}
	op, sockets, err := s.open(ctx, what, path+"/exec", api.InstanceExecPost{
		Command: spec.Command, WaitForWS: true, Interactive: spec.Terminal, Environment: spec.Environment,
		Width: spec.Width, Height: spec.Height, User: spec.User, Group: spec.Group, Cwd: spec.Dir,
	}, names...)
	if err != nil {
		return 0, err
	}
	x := &session{store: s, what: what, op: op, sockets: sockets, over: make(chan struct{})}
	return x.run(ctx, spec.Terminal, io)
}

func (e ExecSpec) check() error {
	bad := func(cause string) error {
		return &Problem{What: "this command cannot be run", Cause: cause, Next: "name a program and its arguments", Kind: ErrInvalid}
	}
	size := len(e.Dir)
	for _, a := range e.Command {
		size += len(a) + 1
	}
	for k, v := range e.Environment {
		size += len(k) + len(v) + 2
		if k == "" || bytes.ContainsAny([]byte(k), "=\x00") || bytes.ContainsRune([]byte(v), 0) {
			return bad("its environment has a name or value that no program can have")
		}
	}
	switch {
	case len(e.Command) == 0 || e.Command[0] == "":
		return bad("it is empty")
	case size > 128<<10:
		return bad("it is longer than 128 KiB")
	case e.Width < 0 || e.Height < 0 || e.Width > math.MaxUint16 || e.Height > math.MaxUint16:
		return bad("the terminal's size is not between 0 and 65535")
	}
	return nil
}

// session is a command that runs.
type session struct {
	store   *Store
	what    string
	op      *api.Operation
	sockets map[string]*socket
	over    chan struct{} // closed when everything is to end
}

// run connects everything, waits for the end of the command or of ctx, and leaves no goroutine behind.
func (x *session) run(ctx context.Context, terminal bool, io Streams) (code int, err error) {
	var in, out, rest sync.WaitGroup // input, output, and what only accompanies them
	failed := make(chan error, 2)
	output := func(name string, w writer) {
		out.Go(func() {
			if err := x.sockets[name].copyTo(orDiscard(w)); err != nil {
				failed <- err
			} else if terminal { // input and output are one: LXD waits until we have closed it
				x.sockets[name].close()
			}
		})
	}
	control := x.sockets["control"]
	rest.Go(control.drain)
	rest.Go(func() { control.controls(io.Control, x.over) })
	if terminal {
		output("0", io.Stdout)
	} else {
		output("1", io.Stdout)
		output("2", io.Stderr)
		rest.Go(x.sockets["0"].drain)
	}
	in.Go(func() {
		if io.Stdin == nil {
			if !terminal {
				_ = x.sockets["0"].write(textFrame, nil, controlIn)
			}
			return
		}
		_ = x.sockets["0"].copyFrom(io.Stdin)
	})
	ended := make(chan error, 1)
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	rest.Go(func() { ended <- x.store.await(waiting, x.what, x.op) })
	written := make(chan struct{})
	go func() { out.Wait(); close(written) }()

	err = x.wait(ctx, ended, written, failed)
	stop()
	close(x.over)
	for _, k := range x.sockets {
		k.close()
	}
	closeInput(io.Stdin)
	<-written
	in.Wait()
	rest.Wait()
	if err != nil {
		return 0, err
	}
	return exitCode(x.what, x.op)
}

// wait returns when the command has ended and all of its output is written, or why it had to be ended before.
func (x *session) wait(ctx context.Context, ended <-chan error, written <-chan struct{}, failed <-chan error) error {
	var cause error
	select {
	case err := <-ended:
		if err != nil {
			return err
		}
		select { // what LXD had sent before is still on its way to a slow client
		case <-written:
		case err = <-failed:
			return x.gone(err)
		case <-ctx.Done():
			return x.store.failed(x.what, ctx.Err())
		}
		select {
		case err = <-failed:
			return x.gone(err)
		default:
			return nil
		}
	case cause = <-failed:
	case <-ctx.Done():
		cause = ctx.Err()
	}
	control := x.sockets["control"]
	for _, signal := range []int{1, 9} {
		_ = control.control(Control{Signal: signal})
		select {
		case <-ended:
			return x.gone(cause)
		case <-time.After(killTime):
		}
	}
	return x.gone(cause)
}

func (x *session) gone(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return x.store.failed(x.what, err)
	}
	return &Problem{What: "could not " + x.what, Cause: "its output could not be delivered", Err: err}
}

func exitCode(what string, op *api.Operation) (int, error) {
	code, ok := op.Metadata["return"].(float64)
	if !ok {
		return 0, &Problem{What: "could not " + what, Cause: "LXD gave no exit code", Next: "see: lxc info --show-log, and LXD's log"}
	}
	return int(code), nil
}

type writer = io.Writer

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func closeInput(r io.Closer) {
	if r != nil {
		_ = r.Close()
	}
}

// limited keeps the first MaxOutput bytes; a webspace must not fill our memory.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := MaxOutput - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// Succeeded turns a failed command into an error.
func (r ExecResult) Succeeded() error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %.300q", r.Code, bytes.TrimSpace(r.Stderr))
}
