package member

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/webspace"
)

// limit of everything that a test waits for.
const limit = 90 * time.Second

// lanyard is the program that tests run, as a process of its own.
func lanyard() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(Run(ctx, cli.Standard(), "v1", os.Args[1:]))
}

func TestMain(m *testing.M) {
	if os.Getenv("LANYARD_TEST_RUN") != "" {
		lanyard()
	}
	testscript.Main(m, map[string]func(){"lanyard": lanyard})
}

var (
	ada  = account.Identity{UID: 3, Username: "ada", SSHKeys: []string{"ssh-ed25519 AAAA ada"}}
	bob  = account.Identity{UID: 4, Username: "bob"}
	root = account.Identity{UID: 1, Username: "root", Admin: true}
)

// server is the real API over webspaces in memory.
type server struct {
	url    string
	spaces *apitest.Webspaces
	people *apitest.Accounts
}

func newServer(t testing.TB, dir string, cleanup func(func())) *server {
	t.Helper()
	s := &server{spaces: apitest.NewWebspaces(dir), people: apitest.NewAccounts(ada, bob, root)}
	a := api.New(api.Options{Webspaces: s.spaces, Accounts: s.people, UserRate: 1e6, UserBurst: 1e6, AddressRate: 1e6, AddressBurst: 1e6, SampleEvery: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- a.Serve(ctx, api.Listeners{Address: "127.0.0.1:0"}, func(at net.Addr) { listening <- at })
	}()
	cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error("serve:", err)
			}
		case <-time.After(limit):
			t.Error("the server does not end")
		}
	})
	select {
	case at := <-listening:
		s.url = "http://" + at.String()
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(limit):
		t.Fatal("the server does not listen")
	}
	return s
}

// TestScripts runs testdata/*.txtar: the program as members meet it, against the real API over webspaces in memory.
// `exitcode N` runs the rest of its line and wants that code; `txt DOMAIN TEXT` publishes a TXT record; `fail METHOD` makes
// a method of the webspaces fail, and `fail METHOD ok` lets it work again; `log UID TEXT` is what a webspace wrote.
func TestScripts(t *testing.T) {
	type key struct{}
	of := func(ts *testscript.TestScript) *server { return ts.Value(key{}).(*server) }
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireUniqueNames: true, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			s := newServer(t, e.WorkDir+"/webspaces", e.Defer)
			e.Values[key{}] = s
			e.Setenv("LANYARD_SERVER", s.url)
			e.Setenv("SERVER", s.url)
			e.Setenv("LANYARD_CREDENTIALS", e.WorkDir+"/login/credentials.json")
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": exitCodeIs,
			"txt":      func(ts *testscript.TestScript, _ bool, args []string) { of(ts).spaces.TXT(args[0], args[1]) },
			"fail": func(ts *testscript.TestScript, _ bool, args []string) {
				var err error = &webspace.Problem{What: "could not do it", Cause: "the disk is full\x1b[2J", Next: "wait", Kind: webspace.ErrUnavailable}
				if len(args) == 2 {
					err = nil
				}
				of(ts).spaces.Fail(args[0], err)
			},
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Lstat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
					ts.Fatalf("%s has mode %s", args[1], got)
				}
			},
		},
	})
}

func exitCodeIs(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		_, code, ok := strings.Cut(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = code
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// command is a process of this program, logged in as ada.
func (s *server) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), "LANYARD_TEST_RUN=1", "LANYARD_SERVER="+s.url, "LANYARD_TOKEN=token-ada", "LANYARD_CREDENTIALS="+t.TempDir()+"/none", "TERM=xterm", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// withWebspace is a server on which ada has a webspace.
func withWebspace(t *testing.T) *server {
	t.Helper()
	s := newServer(t, t.TempDir(), t.Cleanup)
	if out, err := s.command(t, "ws", "init", "--no-password", apitest.Image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}
