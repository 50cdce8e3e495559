package lxdtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

const execUID = 300

func execs(t *testing.T, s *webspace.Service, _ *lab.Node) {
	create(t, s, webspace.CreateSpec{UID: execUID})
	t.Run("exact", func(t *testing.T) { // boots it as well
		r, err := s.Output(t.Context(), execUID, []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, nil)
		if err != nil || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.Code != 7 {
			t.Errorf("%q, %q, %d, %v", r.Stdout, r.Stderr, r.Code, err)
		}
		r, err = s.Output(t.Context(), execUID, []string{"sh", "-c", "kill -9 $$"}, nil)
		if err != nil || r.Code != 137 {
			t.Errorf("killed: %d, %v", r.Code, err)
		}
		if r, err = s.Output(t.Context(), execUID, []string{"/no/such/program"}, nil); err == nil && r.Code != 127 {
			t.Errorf("no program: %d", r.Code)
		}
		for _, bad := range [][]string{nil, {""}} {
			if _, err := s.Output(t.Context(), execUID, bad, nil); !errors.Is(err, webspace.ErrInvalid) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		// No shell is involved: what a shell would change arrives as it is.
		for _, arg := range []string{`$(id)`, "`id`", `a"b'c`, "*", "a\nb", "ä"} {
			if got := output(t, s, execUID, "echo", "-n", arg); got != arg {
				t.Errorf("%q arrived as %q", arg, got)
			}
		}
	})
	t.Run("environment", func(t *testing.T) {
		var out bytes.Buffer
		code, err := s.Exec(t.Context(), execUID, webspace.ExecSpec{
			Command: []string{"sh", "-c", "id -u; id -g; pwd; echo $X"}, User: 12, Group: 34, Dir: "/tmp", Environment: map[string]string{"X": "a b=c"},
		}, webspace.Streams{Stdout: &out})
		if err != nil || code != 0 || out.String() != "12\n34\n/tmp\na b=c\n" {
			t.Errorf("%q, %d, %v", out.String(), code, err)
		}
	})
	t.Run("complete", func(t *testing.T) {
		in := make([]byte, 1<<20)
		rand.Read(in)
		var out, err bytes.Buffer
		code, e := s.Exec(t.Context(), execUID, webspace.ExecSpec{Command: []string{"sh", "-c", "cat > /tmp/x; cat /tmp/x; cat /tmp/x >&2"}},
			webspace.Streams{Stdin: io.NopCloser(bytes.NewReader(in)), Stdout: &out, Stderr: &err})
		if e != nil || code != 0 || !bytes.Equal(out.Bytes(), in) || !bytes.Equal(err.Bytes(), in) {
			t.Errorf("code %d, %v; %d and %d of %d bytes", code, e, out.Len(), err.Len(), len(in))
		}
	})
	t.Run("signal", func(t *testing.T) {
		x := begin(t, func(ctx context.Context, io webspace.Streams) (int, error) {
			return s.Exec(ctx, execUID, webspace.ExecSpec{Command: []string{"sh", "-c", `trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done`}}, io)
		})
		x.out.shows(t, "ready")
		x.send(t, webspace.Control{Signal: 15})
		if code, err := x.wait(t); code != 9 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		x := begin(t, func(ctx context.Context, io webspace.Streams) (int, error) {
			return s.Exec(ctx, execUID, webspace.ExecSpec{Command: []string{"sh", "-c", "stty size; read x; stty size; read x; exit 5"}, Terminal: true, Width: 100, Height: 30}, io)
		})
		x.out.shows(t, "30 100")
		x.send(t, webspace.Control{Width: 132, Height: 43})
		x.type_(t, "\n")
		x.out.shows(t, "43 132")
		x.type_(t, "\n")
		if code, err := x.wait(t); code != 5 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
	})
	for name, terminal := range map[string]bool{"pipes": false, "terminal": true} {
		t.Run("gone with its client: "+name, func(t *testing.T) {
			mark := fmt.Sprintf("12345%d", len(name))
			x := begin(t, func(ctx context.Context, io webspace.Streams) (int, error) {
				return s.Exec(ctx, execUID, webspace.ExecSpec{Command: []string{"sleep", mark}, Terminal: terminal}, io)
			})
			running := func() bool { return strings.Contains(output(t, s, execUID, "ps"), "sleep "+mark) }
			eventually(t, "the command", func() error {
				if !running() {
					return errors.New("it does not run")
				}
				return nil
			})
			x.end()
			if _, err := x.wait(t); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			eventually(t, "the command", func() error {
				if running() {
					return errors.New("it still runs")
				}
				return nil
			})
		})
	}
	t.Run("client fails", func(t *testing.T) { // an endless command whose output nobody takes any more
		_, err := s.Exec(t.Context(), execUID, webspace.ExecSpec{Command: []string{"yes"}}, webspace.Streams{Stdout: &full{room: 1 << 20}})
		if !errors.Is(err, errFull) {
			t.Error(err)
		}
	})
	t.Run("napping", func(t *testing.T) {
		if err := s.Store().Freeze(t.Context(), s.Store().Name(execUID)); err != nil {
			t.Fatal(err)
		}
		if got := status(t, s, execUID); got != webspace.Frozen {
			t.Error(got)
		}
		if got := output(t, s, execUID, "echo", "hello"); got != "hello\n" {
			t.Errorf("%q", got)
		}
	})
}

var errFull = errors.New("full")

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func consoles(t *testing.T, s *webspace.Service, _ *lab.Node) {
	attach := func(t *testing.T) *session {
		return begin(t, func(ctx context.Context, io webspace.Streams) (int, error) {
			return 0, s.Console(ctx, execUID, 80, 24, io)
		})
	}
	for n := range 2 { // attach, detach, and attach again
		x := attach(t)
		eventually(t, "the console", func() error { // it may be attached to a little later
			output(t, s, execUID, "sh", "-c", fmt.Sprintf("echo hello-%d > /dev/console", n))
			if !strings.Contains(x.out.String(), fmt.Sprintf("hello-%d", n)) {
				return fmt.Errorf("it shows %q", x.out.String())
			}
			return nil
		})
		if n == 0 {
			y := attach(t)
			if _, err := y.wait(t); !errors.Is(err, webspace.ErrNoConsole) {
				t.Errorf("a second one: %v", err)
			}
			x.end()
		} else {
			_ = x.in.Close()
		}
		if _, err := x.wait(t); err != nil {
			t.Errorf("detached: %v", err)
		}
	}
	log, err := s.ConsoleLog(t.Context(), execUID)
	if err != nil || !bytes.Contains(log, []byte("hello-1")) {
		t.Errorf("%d bytes of log, %v", len(log), err)
	}
	if err := s.ClearConsoleLog(t.Context(), execUID); err != nil {
		t.Error(err)
	}
	if log, err := s.ConsoleLog(t.Context(), execUID); err != nil || bytes.Contains(log, []byte("hello")) {
		t.Errorf("cleared: %q, %v", log, err)
	}
	// A shutdown under somebody who is attached, and has just been written to: LXD must survive it.
	x := attach(t)
	eventually(t, "the console", func() error {
		output(t, s, execUID, "sh", "-c", "seq 1 2000 > /dev/console")
		if !strings.Contains(x.out.String(), "1999") {
			return errors.New("nothing is shown")
		}
		return nil
	})
	if err := s.Shutdown(t.Context(), execUID); err != nil {
		t.Error(err)
	}
	if _, err := x.wait(t); err != nil {
		t.Errorf("under a shutdown: %v", err)
	}
	if got := status(t, s, execUID); got != webspace.Stopped {
		t.Error(got)
	}
}
