package apitest

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/webspace"
)

// ConsoleLog is api.Webspaces'.
func (w *Webspaces) ConsoleLog(_ context.Context, uid int) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at("ConsoleLog", uid)
	if err != nil {
		return nil, err
	}
	return []byte(s.log), nil
}

// ClearConsoleLog is api.Webspaces'.
func (w *Webspaces) ClearConsoleLog(_ context.Context, uid int) error {
	return w.change("ClearConsoleLog", uid, func(s *space) error { s.log = ""; return nil })
}

// Exec is api.Webspaces'. It runs the command here; a terminal is only a merged output. A new size of the terminal is
// written to its output as "size 80x24\n".
func (w *Webspaces) Exec(ctx context.Context, uid int, spec webspace.ExecSpec, streams webspace.Streams) (int, error) {
	if err := w.change("Exec", uid, func(s *space) error { s.Status = webspace.Running; return nil }); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, spec.Command[0], spec.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Minute
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	for k, v := range spec.Environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out := &sink{w: streams.Stdout, end: cancel}
	cmd.Stdout, cmd.Stderr = out, &sink{w: streams.Stderr, end: cancel}
	if spec.Terminal {
		cmd.Stderr = out
	}
	// A reader must not be in cmd.Stdin: Wait would wait for it.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, &webspace.Problem{What: "could not run a command", Cause: "there is no such program", Kind: webspace.ErrInvalid, Err: err}
	}
	var work sync.WaitGroup
	work.Go(func() {
		defer stdin.Close()
		if streams.Stdin != nil {
			_, _ = io.Copy(stdin, streams.Stdin)
		}
	})
	work.Go(func() {
		for {
			select {
			case c := <-streams.Control:
				if c.Width != 0 {
					_, _ = out.Write([]byte("size " + itoa(c.Width) + "x" + itoa(c.Height) + "\n"))
				}
				if c.Signal != 0 {
					_ = syscall.Kill(-cmd.Process.Pid, syscall.Signal(c.Signal))
				}
			case <-ctx.Done():
				return
			}
		}
	})
	err = cmd.Wait()
	gone := ctx.Err()
	cancel()
	if streams.Stdin != nil {
		_ = streams.Stdin.Close()
	}
	work.Wait()
	var exit *exec.ExitError
	switch {
	case gone != nil:
		return 0, gone
	case errors.As(err, &exit):
		if s := exit.Sys().(syscall.WaitStatus); s.Signaled() {
			return 128 + int(s.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Console is api.Webspaces'. It echoes.
func (w *Webspaces) Console(ctx context.Context, uid, width, height int, streams webspace.Streams) error {
	if err := w.change("Console", uid, func(s *space) error {
		if s.console {
			return problem(webspace.ErrNoConsole, "could not attach", "")
		}
		s.console, s.Status = true, webspace.Running
		return nil
	}); err != nil {
		return err
	}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if s := w.all[uid]; s != nil {
			s.console = false
		}
	}()
	out := &sink{w: streams.Stdout, end: func() {}}
	_, _ = out.Write([]byte("size " + itoa(width) + "x" + itoa(height) + "\n"))
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(out, streams.Stdin) }()
	defer func() { _ = streams.Stdin.Close(); <-done }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			return nil
		case c := <-streams.Control:
			_, _ = out.Write([]byte("size " + itoa(c.Width) + "x" + itoa(c.Height) + "\n"))
		}
	}
}

// sink serialises writes, and ends the session when one fails.
type sink struct {
	mu  sync.Mutex
	w   io.Writer
	end func()
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		return len(b), nil
	}
	n, err := s.w.Write(b)
	if err != nil {
		s.end()
	}
	return n, err
}

// changes are one subscription.
type changes struct {
	w     *Webspaces
	uid   int
	queue chan webspace.Change
}

// Watch is api.Webspaces'.
func (w *Webspaces) Watch(uid int) api.Changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &changes{w, uid, make(chan webspace.Change, 100)}
	w.watch[c] = true
	return c
}

// tell those who watch; w.mu is held.
func (w *Webspaces) tell(c webspace.Change) {
	for s := range w.watch {
		if s.uid == c.UID || s.uid == webspace.Everyone {
			select {
			case s.queue <- c:
			default:
			}
		}
	}
}

func (c *changes) Next(ctx context.Context) (webspace.Change, error) {
	select {
	case x := <-c.queue:
		return x, nil
	case <-ctx.Done():
		return webspace.Change{}, ctx.Err()
	}
}

func (c *changes) Close() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	delete(c.w.watch, c)
}
