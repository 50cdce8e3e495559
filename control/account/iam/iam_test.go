package iam

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// fakeIAM answers as the seed's directory does.
type fakeIAM struct {
	*httptest.Server
	mu      sync.Mutex
	users   map[string]map[string]any // by token
	expired map[string]bool
	broken  int // status of every answer, if not 0
	calls   atomic.Int64
	gate    chan struct{} // if not nil, answers wait for it
}

func newIAM(t *testing.T) *fakeIAM {
	f := &fakeIAM{users: map[string]map[string]any{}, expired: map[string]bool{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeIAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls.Add(1)
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(status int, message string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
	}
	send := func(v any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(v)
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	me := f.users[token]
	path := strings.TrimPrefix(r.URL.Path, "/v1/users/")
	switch {
	case f.broken != 0:
		fail(f.broken, "broken\x1b[31m")
	case r.Method == "POST" && strings.HasSuffix(path, "/login"):
		var in struct{ Password string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		switch {
		case path != "ada/login":
			fail(404, "user does not exist")
		case in.Password != "right":
			fail(401, "incorrect password")
		default:
			send(map[string]string{"token": token3})
		}
	case me == nil:
		fail(401, "invalid token")
	case path == "self/token":
		if f.expired[token] {
			fail(401, "your token has expired")
			return
		}
		w.WriteHeader(204)
	case path == "self":
		send(me)
	case r.Method == "DELETE" && path == "self/login":
		delete(f.users, token)
		w.WriteHeader(204)
	case me["is_admin"] != true:
		fail(403, "only admin users can make use of this endpoint")
	default:
		for _, u := range f.users {
			if path == u["username"] || path == fmt.Sprintf("id:%v", u["id"]) {
				send(u)
				return
			}
		}
		fail(404, "user does not exist")
	}
}

func (f *fakeIAM) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// token makes a JWT of the seed's shape. Its signature is never looked at here: that is for the directory.
func token(claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims)) + "." + enc.EncodeToString(make([]byte, 32))
}

var token3, tokenAdmin = token(`{"sub":"3","is_admin":true,"exp":1}`), token(`{"sub":"1"}`)

func setup(t *testing.T, change func(*Options)) (*fakeIAM, *Directory) {
	f := newIAM(t)
	f.users[token3] = map[string]any{"id": 3, "username": "ada", "is_admin": false, "ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDzjP1wXXpNj1tV2yHkEJ2gZLQ3Vf9mTq2M3lhbT1cK a@b",
		"email": "a@b", "renewed": "2026-01-01T00:00:00Z", "meta": map[string]any{"created": "2026-01-01T00:00:00Z"}}
	f.users[tokenAdmin] = map[string]any{"id": 1, "username": "root_1", "is_admin": true}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tokenAdmin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{URL: f.URL + "/v1/", TokenFile: file}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return f, d
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

func TestDirectory(t *testing.T) {
	_, d := setup(t, nil)
	who, err := d.Authenticate(t.Context(), token3)
	if err != nil || who.UID != 3 || who.Username != "ada" || who.Admin || len(who.SSHKeys) != 1 {
		t.Errorf("the token's own claims must not count: %+v %v", who, err)
	}
	if who, err := d.ByName(t.Context(), "ada"); err != nil || who.UID != 3 {
		t.Errorf("%+v %v", who, err)
	}
	if who, err := d.ByUID(t.Context(), 1); err != nil || who.Username != "root_1" || !who.Admin {
		t.Errorf("%+v %v", who, err)
	}
	for _, name := range []string{"bob", "self", "id:3", "../users/ada", "a/b", "", "ada?x=y", "%61da"} {
		_, err := d.ByName(t.Context(), name)
		wantKind(t, name, err, account.ErrNotFound)
	}
	for _, uid := range []int{0, -3, 77, 1 << 40} {
		_, err := d.ByUID(t.Context(), uid)
		wantKind(t, fmt.Sprint(uid), err, account.ErrNotFound)
	}
}

func TestAttacks(t *testing.T) {
	f, d := setup(t, nil)
	parts := strings.Split(token3, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	odd := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"XS1"}`))
	for name, bearer := range map[string]string{"nothing": "", "garbage": "garbage", "alg none": none + "." + parts[1] + ".",
		"alg none, signed": none + "." + parts[1] + "." + parts[2], "unknown alg": odd + "." + parts[1] + "." + parts[2],
		"huge": strings.Repeat("a.", maxToken), "header injection": "a\r\nX-Admin: 1"} {
		before := f.calls.Load()
		_, err := d.Authenticate(t.Context(), bearer)
		wantKind(t, name, err, account.ErrToken)
		wantKind(t, name+", logout", d.Logout(t.Context(), bearer), account.ErrToken)
		if f.calls.Load() != before {
			t.Errorf("%s: the directory was asked", name)
		}
	}
	_, err := d.Authenticate(t.Context(), token(`{"sub":"4"}`))
	wantKind(t, "foreign", err, account.ErrToken)
	f.set(func() { f.expired[token3] = true })
	_, err = d.Authenticate(t.Context(), token3)
	wantKind(t, "expired", err, account.ErrExpired)
}

func TestLogin(t *testing.T) {
	_, d := setup(t, nil)
	if got, _, err := d.Login(t.Context(), "ada", "right"); err != nil || got != token3 {
		t.Errorf("%.10s %v", got, err)
	}
	for _, name := range []string{"ada", "bob", "../self", "a/b"} {
		_, _, err := d.Login(t.Context(), name, "wrong")
		wantKind(t, name, err, account.ErrPassword)
	}
	if _, err := d.Authenticate(t.Context(), token3); err != nil {
		t.Fatal(err)
	}
	if err := d.Logout(t.Context(), token3); err != nil {
		t.Fatal(err)
	}
	_, err := d.Authenticate(t.Context(), token3)
	wantKind(t, "logged out, although its answer was fresh", err, account.ErrToken)
	for range 60 {
		_, _, err = d.Login(t.Context(), "ada", "wrong")
	}
	wantKind(t, "guessing", err, account.ErrRateLimited)
}

func TestFreshAndStale(t *testing.T) {
	var now atomic.Int64
	f, d := setup(t, func(o *Options) {
		o.Fresh, o.Stale = 10*time.Second, time.Minute
		o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	ask := func() error { _, err := d.Authenticate(t.Context(), token3); return err }
	for range 5 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.calls.Load(); n != 2 {
		t.Errorf("%d calls for five questions", n)
	}
	now.Add(10)
	f.set(func() { f.broken = 502 })
	if err := ask(); err != nil {
		t.Error("the directory's outage is everybody's:", err)
	}
	_, err := d.Authenticate(t.Context(), tokenAdmin)
	wantKind(t, "unknown in an outage", err, account.ErrUnavailable)
	if strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
	now.Add(60)
	wantKind(t, "too old", ask(), account.ErrUnavailable)
	f.set(func() { f.broken = 0 })
	if err := ask(); err != nil {
		t.Error("it did not recover:", err)
	}
	now.Add(10)
	f.set(func() { delete(f.users, token3) })
	wantKind(t, "revoked", ask(), account.ErrToken)
	f.set(func() { f.broken = 502 })
	wantKind(t, "revoked, and then an outage", ask(), account.ErrUnavailable)
}

func TestManyAskOnce(t *testing.T) {
	f, d := setup(t, func(o *Options) { o.Fresh, o.Timeout = time.Hour, time.Hour })
	gate := make(chan struct{})
	f.set(func() { f.gate = gate })
	impatient, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := d.Authenticate(impatient, token3); first <- err }()
	for limit := time.Now().Add(time.Minute); f.calls.Load() == 0 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := d.Authenticate(t.Context(), token3); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	wantKind(t, "who did not wait", <-first, account.ErrUnavailable)
	close(gate)
	wait.Wait()
	if n := f.calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	a := newAnswers(Options{Fresh: time.Hour, Stale: time.Hour, Now: time.Now})
	for i := range 3 * maxAnswers {
		_, _ = a.get(t.Context(), fmt.Sprint(i), func(context.Context) (account.Identity, error) { return account.Identity{UID: 1}, nil })
		if len(a.known) > maxAnswers {
			t.Fatal(len(a.known))
		}
	}
}

func TestBadAnswers(t *testing.T) {
	var body, kind atomic.Value
	var status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/users/self/token" {
			w.WriteHeader(204)
			return
		}
		w.Header().Set("Content-Type", kind.Load().(string))
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(body.Load().(string)))
	}))
	defer server.Close()
	d, err := New(Options{URL: server.URL, Fresh: -1, Stale: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"html": {"text/html", `{"id":3,"username":"ada"}`, 200}, "cut": {"application/json", `{"id":3`, 200},
		"no id": {"application/json", `{"username":"ada"}`, 200}, "negative": {"application/json", `{"id":-1,"username":"ada"}`, 200},
		"path as a name": {"application/json", `{"id":3,"username":"../x"}`, 200}, "self": {"application/json", `{"id":3,"username":"self"}`, 200},
		"redirect": {"application/json", ``, 302}, "teapot": {"text/plain", "no", 418}, "huge": {"application/json", strings.Repeat(" ", maxAnswer+1), 200},
	} {
		body.Store(c.body)
		kind.Store(c.kind)
		status.Store(int64(c.status))
		_, err := d.Authenticate(t.Context(), token3)
		wantKind(t, name, err, account.ErrUnavailable)
	}
}

func TestOwnToken(t *testing.T) {
	f, d := setup(t, nil)
	f.set(func() { f.users[tokenAdmin]["is_admin"] = false })
	_, err := d.ByName(t.Context(), "ada")
	wantKind(t, "not an administrator's", err, account.ErrUnavailable)
	if err := os.Remove(d.options.TokenFile); err != nil {
		t.Fatal(err)
	}
	_, err = d.ByName(t.Context(), "ada")
	wantKind(t, "no file", err, account.ErrUnavailable)
	d.options.TokenFile = ""
	_, err = d.ByName(t.Context(), "ada")
	wantKind(t, "not configured", err, account.ErrUnavailable)
	for _, u := range []string{"", "iam", "ftp://x", "https://", "https://x/?y"} {
		_, err := New(Options{URL: u})
		wantKind(t, u, err, account.ErrInvalid)
	}
}
