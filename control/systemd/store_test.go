package systemd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test's binary a daemon that inherits a socket and says where it is bound.
const childEnv = "LANYARD_TEST_INHERIT"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		// LISTEN_PID can only be known by now: a manager sets it between fork and exec.
		if os.Getenv("LISTEN_PID") == "own" {
			os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		}
		s := Inherit()
		f := s.Take("b")
		if f == nil {
			os.Stdout.WriteString("nothing")
		} else if l, err := net.FileListener(f); err != nil {
			os.Stdout.WriteString(err.Error())
		} else {
			os.Stdout.WriteString(l.Addr().String() + " " + os.Getenv("LISTEN_FDS"))
		}
		if err := s.Close(); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// manager listens as a service manager does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_ = l.SetReadDeadline(time.Now().Add(60 * time.Second))
	return l
}

// message is what the manager hears, and the descriptor that came with it (or nil).
func message(t *testing.T, l *net.UnixConn) (string, *os.File) {
	t.Helper()
	b, oob := make([]byte, 256), make([]byte, 256)
	n, on, _, _, err := l.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	list, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(list) == 0 {
		return string(b[:n]), nil
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	return string(b[:n]), os.NewFile(uintptr(fds[0]), "kept")
}

func TestSocketsSurvive(t *testing.T) {
	l := manager(t)
	a, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s := Inherit()
	if err := s.Keep("b", f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if text, _ := message(t, l); text != "FDSTOREREMOVE=1\nFDNAME=b" {
		t.Errorf("%q", text)
	}
	text, kept := message(t, l)
	if text != "FDSTORE=1\nFDNAME=b\nFDPOLL=0" || kept == nil {
		t.Fatalf("%q %v", text, kept)
	}
	defer kept.Close()
	at := a.Addr().String()
	a.Close() // the daemon ends

	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	child := func(env ...string) string {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), append([]string{childEnv + "=1"}, env...)...)
		cmd.ExtraFiles = []*os.File{null, kept}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if got := child("LISTEN_PID=own", "LISTEN_FDS=2", "LISTEN_FDNAMES=x:b"); got != at {
		t.Errorf("the next daemon has %q, want %s", got, at)
	}
	if text, _ := message(t, l); text != "FDSTOREREMOVE=1\nFDNAME=x" {
		t.Errorf("what nobody took: %q", text)
	}
	for _, env := range [][]string{{"LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=x:b"}, {"LISTEN_PID=own", "LISTEN_FDS=-1"},
		{"LISTEN_PID=own", "LISTEN_FDS=99999999", "LISTEN_FDNAMES=b"}, {"LISTEN_PID=own", "LISTEN_FDS=x"}, {"LISTEN_PID=own", "LISTEN_FDS=2"}} {
		if got := child(env...); got != "nothing" {
			t.Errorf("%v: %q", env, got)
		}
	}
}

func TestKeepWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := Inherit()
	if err := s.Keep("a", f); err != nil || s.Take("a") != nil || s.Close() != nil {
		t.Error(err)
	}
	if s.Keep("a:b", f) == nil {
		t.Error("a name that cannot be passed on")
	}
}
