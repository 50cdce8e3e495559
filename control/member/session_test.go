package member

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

const mebibyte = 1 << 20

// TestPipes: 1 MiB each way, and to both outputs, arrives complete, and so does the exit code.
func TestPipes(t *testing.T) {
	s := withWebspace(t)
	in := make([]byte, mebibyte)
	_, _ = rand.Read(in)
	cmd := s.command(t, "ws", "exec", "--", "sh", "-c", "tee /dev/stderr; exit 3")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("%v", err)
	}
	if !bytes.Equal(out.Bytes(), in) || !bytes.Equal(errs.Bytes(), in) {
		t.Errorf("%d and %d bytes of %d", out.Len(), errs.Len(), len(in))
	}
}

// TestInputThatEnds: the command goes on after the end of its input.
func TestInputThatEnds(t *testing.T) {
	s := withWebspace(t)
	cmd := s.command(t, "ws", "exec", "--", "sh", "-c", "cat; echo end; exit 4")
	cmd.Stdin = strings.NewReader("begin\n")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 || string(out) != "begin\nend\n" {
		t.Errorf("%q %v", out, err)
	}
}

// TestSignals: without a terminal they are the command's.
func TestSignals(t *testing.T) {
	s := withWebspace(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1} {
		cmd := s.command(t, "ws", "exec", "--", "sh", "-c", `trap 'echo int; exit 11' INT; trap 'echo term; exit 12' TERM; trap 'echo usr; exit 13' USR1; echo ready; while :; do sleep 0.02; done`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, out, "ready\n")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(out)
		err = cmd.Wait()
		want := map[syscall.Signal]int{syscall.SIGINT: 11, syscall.SIGTERM: 12, syscall.SIGUSR1: 13}[sig]
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != want {
			t.Errorf("%v: %v %q", sig, err, rest)
		}
	}
}

// waitFor reads until a text has come, and gives all that came.
func waitFor(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var all []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(all), text) {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			t.Fatalf("waiting for %q: %v, after %q", text, err, all)
		}
	}
	return string(all)
}

// terminal starts the program on a terminal of this size. The process is killed at the limit, which ends all reads.
func terminal(t *testing.T, cmd *exec.Cmd, rows, cols uint16) *os.File {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	if err := tty.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return tty
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// TestTerminal: what is typed and the terminal's size arrive; the stand-in for the webspace tells the size in its output.
func TestTerminal(t *testing.T) {
	s := withWebspace(t)
	cmd := s.command(t, "ws", "exec", "--", "sh", "-c", "echo ready; read line; echo got $line; read line; exit 7")
	tty := terminal(t, cmd, 30, 100)
	waitFor(t, tty, "ready")
	write(t, tty, "hello\n")
	waitFor(t, tty, "got hello")
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, tty, "size 120x40")
	write(t, tty, "\n")
	_, _ = io.Copy(io.Discard, tty) // ends with EIO
	if code := exitOf(t, cmd); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

// TestConsole: attach, detach with Ctrl-] q, attach again; only one can be attached.
func TestConsole(t *testing.T) {
	s := withWebspace(t)
	for range 2 {
		cmd := s.command(t, "ws", "console")
		tty := terminal(t, cmd, 24, 80)
		waitFor(t, tty, "size 80x24")
		write(t, tty, "typed\n")
		waitFor(t, tty, "typed")
		second := s.command(t, "ws", "console")
		if _, err := second.StdinPipe(); err != nil { // one that does not end: its end would be a way to leave
			t.Fatal(err)
		}
		out, err := second.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 255 || !strings.Contains(string(out), "console") {
			t.Errorf("a second one: %v %s", err, out)
		}
		write(t, tty, "\x1dx\x1d\x1d") // neither leaves
		waitFor(t, tty, "x\x1d")
		write(t, tty, "\x1d")
		write(t, tty, "q")
		_, _ = io.Copy(io.Discard, tty)
		if code := exitOf(t, cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestNothingIsRunAfterTheClient: who is killed leaves no process behind.
func TestNothingIsRunAfterTheClient(t *testing.T) {
	s := withWebspace(t)
	file := t.TempDir() + "/alive"
	cmd := s.command(t, "ws", "exec", "--", "sh", "-c", `echo $$; exec sleep 1000 3<>"$0"`, file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(waitFor(t, out, "\n"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the command lives on")
		}
	}
}

func TestLeaving(t *testing.T) {
	for _, c := range []struct {
		in    []string
		out   string
		leave bool
	}{
		{[]string{"abc"}, "abc", false}, {[]string{"a\x1dq"}, "a", true}, {[]string{"a\x1d", "qb"}, "a", true}, {[]string{"\x1d\x1dq"}, "\x1dq", false},
		{[]string{"\x1dx", "q"}, "\x1dxq", false}, {[]string{"\x1d", "\x1d", "\x1dq"}, "\x1d", true},
	} {
		var l leaving
		out, leave := "", false
		for _, in := range c.in {
			b, yes := l.filter([]byte(in))
			out, leave = out+string(b), leave || yes
		}
		if out != c.out || leave != c.leave {
			t.Errorf("%q: %q %v", c.in, out, leave)
		}
	}
}

func TestRootShell(t *testing.T) {
	for in, want := range map[string]string{
		"root:x:0:0:root:/root:/bin/bash\n": "/bin/bash", "": "/bin/sh", "a:b": "/bin/sh", "root:x:0:0:root:/root:": "/bin/sh", "root:x:0:0:root:/root:sh -c evil": "/bin/sh",
	} {
		if got := rootShell(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
