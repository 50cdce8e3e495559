package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/account/setup"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// machine is one with cheap hashes, and without LXD.
type machine struct {
	t *testing.T
	c config.Config
}

func newMachine(t *testing.T) *machine {
	dir, err := os.MkdirTemp("", "accounts") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := config.Default()
	c.Accounts.Path, c.Accounts.Socket = filepath.Join(dir, "db"), filepath.Join(dir, "s")
	c.Accounts.HashMemory, c.Accounts.HashPasses, c.Accounts.HashThreads = 1, 1, 1
	return &machine{t, c}
}

// run runs one command with this on standard input.
func (m *machine) run(input string, args ...string) (string, error) {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "input")
	if err := os.WriteFile(file, []byte(input), 0o600); err != nil {
		m.t.Fatal(err)
	}
	in, err := os.Open(file)
	if err != nil {
		m.t.Fatal(err)
	}
	defer in.Close()
	cmd := Command(Environment{In: in,
		Load:  func(string) (config.Config, error) { return m.c, nil },
		Store: func(config.Config) (*webspace.Store, error) { return nil, errors.New("no LXD here") },
	})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(m.t.Context())
	return out.String(), err
}

func (m *machine) must(input string, args ...string) string {
	m.t.Helper()
	out, err := m.run(input, args...)
	if err != nil {
		m.t.Fatalf("%v: %v", args, err)
	}
	return out
}

func TestWithoutDaemon(t *testing.T) {
	m := newMachine(t)
	key := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(key, []byte("# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDzjP1wXXpNj1tV2yHkEJ2gZLQ3Vf9mTq2M3lhbT1cK a@b\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := m.must("correct horse\nmore\n", "add", "ada", "--uid", "5", "--admin", "--ssh-key", key); out != "added ada, number 5\n" {
		t.Error(out)
	}
	if out := m.must("", "list"); !strings.Contains(out, "5       ada   yes    1         0") {
		t.Error(out)
	}
	_, err := m.run("correct horse\n", "add", "bob") // whose number needs LXD
	if !errors.Is(err, account.ErrUnavailable) || !strings.Contains(err.Error(), "--uid") {
		t.Error(err)
	}
	m.must("another horse", "passwd", "ada")
	m.must("", "set", "ada", "--admin=false", "--ssh-key", "")
	var list []manage.Account
	if err := json.Unmarshal([]byte(m.must("", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].Admin || len(list[0].SSHKeys) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	a, err := setup.Local(m.c.Accounts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Login(t.Context(), "ada", "another horse"); err != nil {
		t.Error(err)
	}
	a.Close()
	m.must("", "remove", "ada")
	for what, args := range map[string][]string{"gone": {"remove", "ada"}, "no password": {"add", "eve"}, "bad name": {"add", "Eve"}, "no change": {"set", "ada"},
		"no file": {"add", "eve", "--ssh-key", "/nonexistent"}} {
		if out, err := m.run("", args...); err == nil {
			t.Errorf("%s: %s", what, out)
		}
	}
}

func TestWithDaemon(t *testing.T) {
	m := newMachine(t)
	a, err := setup.Local(m.c.Accounts, func(context.Context) ([]int, error) { return []int{1}, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manage.Serve(ctx, a, m.c.Accounts.Socket, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client := manage.NewClient(m.c.Accounts.Socket)
	defer client.Close()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := client.List(t.Context()); err == nil {
			break
		} else if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	if out := m.must("correct horse", "add", "ada"); out != "added ada, number 2\n" {
		t.Error(out)
	}
	if _, _, err := a.Login(t.Context(), "ada", "correct horse"); err != nil {
		t.Error(err)
	}
	if _, err := m.run("correct horse", "add", "ada"); !errors.Is(err, account.ErrExists) {
		t.Error(err)
	}
}

func TestElsewhere(t *testing.T) {
	m := newMachine(t)
	m.c.Accounts.Provider, m.c.Accounts.IAMURL = "iam", "https://iam.example.org/v1"
	if _, err := m.run("", "list"); !errors.Is(err, account.ErrInvalid) {
		t.Error(err)
	}
}
