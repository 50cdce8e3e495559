package lxdtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/lanyard-project/lanyard/control/account/local"
	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/member"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/lxdtest"
)

// limit of everything that a test waits for.
const limit = 2 * time.Minute

// TestMain is also the program itself, for the processes that the test starts.
func TestMain(m *testing.M) {
	if os.Getenv("LANYARD_TEST_RUN") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(member.Run(ctx, cli.Standard(), "v1", os.Args[1:]))
}

const password = "correct horse"

// serve runs accounts, webspaces and the API over them until the test ends, and gives the API's address.
func serve(t *testing.T) string {
	t.Helper()
	l := lxdtest.New(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	service, err := webspace.NewService(webspace.ServiceOptions{Store: lxdtest.Store(t, l.Nodes()[0], limit), Domain: "example.org", StopGrace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := local.Open(local.Options{Path: filepath.Join(t.TempDir(), "accounts.db"), Hash: local.Hash{Memory: 64, Passes: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accounts.Close() })
	if _, err := accounts.Add(ctx, manage.New{Username: "ada", UID: 3, Password: password}); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	listening := make(chan net.Addr, 1)
	go func() { ended <- service.Run(running) }()
	go func() {
		s := api.New(api.Options{Webspaces: api.Service{Service: service}, Accounts: accounts, SampleEvery: time.Hour, RecheckEvery: 100 * time.Millisecond})
		ended <- s.Serve(running, api.Listeners{Address: "127.0.0.1:0"}, func(a net.Addr) { listening <- a })
	}()
	t.Cleanup(func() {
		stop()
		for range 2 {
			select {
			case err := <-ended:
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			case <-time.After(limit):
				t.Fatal("the API does not end")
			}
		}
	})
	select {
	case a := <-listening:
		return "http://" + a.String()
	case <-time.After(limit):
		t.Fatal("the API does not listen")
	}
	return ""
}

// user runs the program as a member does.
type user struct {
	t   *testing.T
	env []string
}

func (u user) command(args ...string) *exec.Cmd {
	u.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		u.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	u.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = u.env
	return cmd
}

// run runs a command with this input, and gives its output; it must end with this code.
func (u user) run(code int, input string, args ...string) (stdout, stderr string) {
	u.t.Helper()
	cmd := u.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		u.t.Fatalf("lanyard %v: exit code %d: %.500s %.500s", args, got, &out, &errs)
	}
	return out.String(), errs.String()
}

// TestMember is a member's day. The steps build on each other, and share one LXD.
func TestMember(t *testing.T) {
	u := user{t, append(os.Environ(), "LANYARD_TEST_RUN=1", "LANYARD_SERVER="+serve(t), "LANYARD_CREDENTIALS="+filepath.Join(t.TempDir(), "login"), "TERM=xterm",
		"GORACE=atexit_sleep_ms=0")}
	u.run(0, password+"\n", "login", "ada")
	if out, _ := u.run(0, "", "ws", "images"); !strings.Contains(out, lxdtest.Image) {
		t.Errorf("images: %s", out)
	}
	u.run(0, "", "ws", "init", "--no-password", lxdtest.Image)
	u.run(1, "", "ws", "init", "--no-password", lxdtest.Image)
	if out, _ := u.run(0, "", "ws", "status"); !strings.Contains(out, "asleep") {
		t.Errorf("status: %s", out)
	}
	t.Run("watch", func(t *testing.T) { watch(user{t, u.env}) })
	t.Run("pipes", func(t *testing.T) { pipes(user{t, u.env}) })
	t.Run("signal", func(t *testing.T) { signals(user{t, u.env}) })
	t.Run("terminal", func(t *testing.T) { terminal(user{t, u.env}) })
	t.Run("console", func(t *testing.T) { console(user{t, u.env}) })
	t.Run("files", func(t *testing.T) { files(user{t, u.env}) })
	if out, _ := u.run(0, "", "ws", "status"); !strings.Contains(out, "awake") {
		t.Errorf("status: %s", out)
	}
	u.run(0, "", "ws", "shutdown")
	u.run(1, "", "ws", "shutdown")
	u.run(0, "", "ws", "delete", "--yes")
	u.run(1, "", "ws", "status")
	t.Run("watch ends", func(t *testing.T) { watchEnds(user{t, u.env}) })
	u.run(5, "", "ws", "status")
}

// watch: a line for each change, until it is interrupted.
func watch(u user) {
	cmd := u.command("ws", "watch")
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.wait(out, "asleep, 0 domains, 0 ports\n")
	u.run(0, "", "ws", "ports", "add", "80", "--external", "50080")
	u.wait(out, "asleep, 0 domains, 1 port\n")
	u.run(0, "", "ws", "boot")
	u.wait(out, "awake, 0 domains, 1 port\n")
	u.run(0, "", "ws", "ports", "remove", "50080")
	u.wait(out, "awake, 0 domains, 0 ports\n")
	u.run(0, "", "ws", "shutdown")
	u.wait(out, "asleep, 0 domains, 0 ports\n")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		u.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		u.t.Errorf("exit code %d", code)
	}
	if out, _ := u.run(0, "", "ws", "config"); strings.Join(strings.Fields(out), " ") != "startupDelay 0 httpPort 80 sniPassthrough false "+
		"wake.policy any (the platform's) wake.allow nobody idle.napAfter never idle.sleepAfter never idle.oomSkip false" {
		u.t.Errorf("config: %s", out)
	}
	u.run(0, "", "ws", "config", "set", "idle.napAfter", "15m")
	u.run(0, "", "ws", "config", "set", "wake.policy", "never")
	if out, _ := u.run(0, "", "ws", "config"); !strings.Contains(out, "900\n") || !strings.Contains(out, "never\n") || strings.Contains(out, "platform") {
		u.t.Errorf("config: %s", out)
	}
	u.run(0, "", "ws", "config", "set", "idle.napAfter", "never")
	u.run(1, "", "ws", "why") // no node is in reach here
}

// watchEnds: with the token that it was begun with.
func watchEnds(u user) {
	cmd := u.command("ws", "watch", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.wait(out, `"exists":false`)
	u.run(0, "", "logout")
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 || !strings.Contains(errs.String(), "token-revoked") {
		u.t.Errorf("exit code %d, %s", code, &errs)
	}
}

// pipes: 1 MiB each way and on each output is complete; the webspace is booted by it.
func pipes(u user) {
	in := strings.Repeat("0123456789abcde\n", 1<<16)
	out, errs := u.run(3, in, "ws", "exec", "--", "sh", "-c", "cat; head -c 1048576 /dev/zero >&2; exit 3")
	if out != in || errs != strings.Repeat("\x00", 1<<20) {
		u.t.Errorf("%d and %d bytes", len(out), len(errs))
	}
	if out, _ := u.run(0, "", "ws", "exec", "-e", "A=b c", "--cwd", "/tmp", "--", "sh", "-c", `echo "$A $(pwd) $1"`, "x", `$(id) "'`); out != "b c /tmp $(id) \"'\n" {
		u.t.Errorf("%q", out)
	}
	if out, _ := u.run(7, "", "ws", "exec", "--json", "--", "sh", "-c", "echo o; echo e >&2; exit 7"); !strings.Contains(out, `"exitCode": 7`) {
		u.t.Errorf("%s", out)
	}
}

func signals(u user) {
	cmd := u.command("ws", "exec", "--", "sh", "-c", "trap 'exit 12' TERM; echo ready; while :; do sleep 0.1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.wait(out, "ready")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		u.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 12 {
		u.t.Errorf("exit code %d", code)
	}
}

// wait reads until a text has come. The process is killed at the limit, which ends all reads.
func (u user) wait(r io.Reader, text string) {
	u.t.Helper()
	var all []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(all), text) {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			u.t.Fatalf("waiting for %q: %v, after %q", text, err, all)
		}
	}
}

func (u user) onTerminal(cmd *exec.Cmd, rows, cols uint16) *os.File {
	u.t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { tty.Close() })
	return tty
}

func (u user) write(w io.Writer, text string) {
	u.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		u.t.Fatal(err)
	}
}

// terminal: the size arrives at the start and later, keys arrive as signals, and so does the exit code.
func terminal(u user) {
	cmd := u.command("ws", "exec", "--", "sh", "-c", `trap 'stop=yes' INT; stty size; while [ "$(stty size)" != "40 120" ]; do sleep 0.1; done
		echo resized; while [ -z "$stop" ]; do sleep 0.1; done; echo interrupted; read line; exit 9`) // LXD may lose what is written at the very end
	tty := u.onTerminal(cmd, 30, 100)
	u.wait(tty, "30 100")
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		u.t.Fatal(err)
	}
	u.wait(tty, "resized")
	u.write(tty, "\x03")
	u.wait(tty, "interrupted")
	u.write(tty, "\n")
	_, _ = io.Copy(io.Discard, tty) // ends with EIO
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		u.t.Errorf("exit code %d", code)
	}
}

// console: attach, detach, attach again.
func console(u user) {
	for range 2 {
		cmd := u.command("ws", "console")
		tty := u.onTerminal(cmd, 24, 80)
		u.wait(tty, "Attached")
		u.wait(tty, "udhcpc:") // its DHCP client asks again and again: nobody answers here
		u.write(tty, "\x1dq")
		_, _ = io.Copy(io.Discard, tty)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			u.t.Errorf("exit code %d", code)
		}
	}
}

// files: a folder with a file, permissions and a symlink, there and back.
func files(u user) {
	dir := u.t.TempDir()
	tree := filepath.Join(dir, "tree")
	err := errors.Join(os.MkdirAll(filepath.Join(tree, "sub"), 0o755), os.WriteFile(filepath.Join(tree, "sub", "run.sh"), []byte("#!/bin/sh\nexit 4\n"), 0o600),
		os.Chmod(filepath.Join(tree, "sub", "run.sh"), 0o750), os.Symlink("sub/run.sh", filepath.Join(tree, "link")))
	if err != nil {
		u.t.Fatal(err)
	}
	u.run(0, "", "ws", "cp", "-r", tree, ":/root")
	u.run(4, "", "ws", "exec", "--", "/root/tree/link")
	u.run(0, "", "ws", "cp", "-r", ":tree", filepath.Join(dir, "back"))
	b, err := os.ReadFile(filepath.Join(dir, "back", "link"))
	if err != nil || string(b) != "#!/bin/sh\nexit 4\n" {
		u.t.Errorf("%q %v", b, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "back", "sub", "run.sh")); err != nil || info.Mode() != 0o750 {
		u.t.Errorf("%v %v", info, err)
	}
}
