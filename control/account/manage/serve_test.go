package manage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/local"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

const (
	password = "correct horse"
	goodKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDzjP1wXXpNj1tV2yHkEJ2gZLQ3Vf9mTq2M3lhbT1cK"
)

// notes is a log that can be read while it is written.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

func open(t testing.TB) *local.Accounts {
	t.Helper()
	a, err := local.Open(local.Options{Path: filepath.Join(t.TempDir(), "accounts.db"), Hash: local.Hash{Memory: 64, Passes: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// serve gives a client of accounts that are served on a socket until the test ends, and what they logged.
func serve(t *testing.T, a manage.Manager) (*manage.Client, *notes) {
	t.Helper()
	dir, err := os.MkdirTemp("", "accounts") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	var logged notes
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manage.Serve(ctx, a, socket, slog.New(slog.NewTextHandler(&logged, nil))) }()
	c := manage.NewClient(socket)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	limit := time.Now().Add(time.Minute)
	for {
		_, err := c.List(t.Context())
		if err == nil {
			return c, &logged
		}
		if !errors.Is(err, manage.ErrNoDaemon) || time.Now().After(limit) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if e, ok := errors.AsType[*account.Error](err); err != nil && (!ok || e.What == "" || e.Cause == "" || e.Next == "") {
		t.Errorf("%s: an error without three parts: %v", what, err)
	}
}

func TestSocket(t *testing.T) {
	a := open(t)
	c, logged := serve(t, a)
	if info, err := os.Stat(manage.SocketOf(c)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	got, err := c.Add(t.Context(), manage.New{Username: "ada", Password: password, Admin: true})
	if err != nil || got.UID != 1 || !got.Admin {
		t.Fatalf("%+v %v", got, err)
	}
	if _, _, err := a.Login(t.Context(), "ada", password); err != nil {
		t.Fatal(err)
	}
	next, no, keys := "another horse", false, []string{goodKey}
	change := manage.Change{Password: &next, Admin: &no, SSHKeys: &keys}
	if got, err := c.Set(t.Context(), "ada", change); err != nil || got.Admin || got.Sessions != 0 || len(got.SSHKeys) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	if list, err := c.List(t.Context()); err != nil || len(list) != 1 || list[0].Username != "ada" {
		t.Errorf("%+v %v", list, err)
	}
	_, err = c.Add(t.Context(), manage.New{Username: "ada", Password: password})
	wantKind(t, "twice", err, account.ErrExists)
	_, err = c.Add(t.Context(), manage.New{Username: "bob", Password: "short"})
	wantKind(t, "short", err, account.ErrInvalid)
	_, err = c.Set(t.Context(), "../bob", manage.Change{})
	wantKind(t, "unknown", err, account.ErrNotFound)
	if err := c.Remove(t.Context(), "ada"); err != nil {
		t.Error(err)
	}
	wantKind(t, "removed", c.Remove(t.Context(), "ada"), account.ErrNotFound)
	if err := manage.CallOf(c, t.Context(), "POST", "/accounts", map[string]int{"other": 1}, nil); !errors.Is(err, account.ErrInvalid) {
		t.Errorf("an unknown field: %v", err)
	}
	for _, want := range []string{"added", "password", "removed", "account=ada"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("not logged: %s", want)
		}
	}
	for _, secret := range []string{password, next, "argon2id"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("logged: %s", secret)
		}
	}
}

func TestSocketInTheWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := manage.Serve(t.Context(), open(t), file, slog.New(slog.DiscardHandler))
	wantKind(t, "a file in the way", err, account.ErrUnavailable)
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("%q %v", b, err)
	}
	_, err = manage.NewClient(file + "x").List(t.Context())
	wantKind(t, "no daemon", err, manage.ErrNoDaemon)
}

// FuzzSocket feeds bodies to the socket's handler: it never fails inside.
func FuzzSocket(f *testing.F) {
	h := manage.HandlerOf(open(f), slog.New(slog.DiscardHandler))
	for _, s := range []string{`{"username":"ada","password":"correct horse"}`, `{`, `[]`, `{"uid":1e9}`, `{"sshKeys":["\u0000"]}`} {
		f.Add("ada", s)
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		for _, method := range []string{"POST", "PATCH"} {
			r := httptest.NewRequest(method, "/accounts", strings.NewReader(body))
			if method == "PATCH" {
				r.URL.Path += "/" + name
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s %q: %d %s", method, body, w.Code, w.Body)
			}
		}
	})
}
