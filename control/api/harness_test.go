package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
)

// limit of everything that a test waits for.
const limit = 90 * time.Second

// world is a server with stand-ins behind it, and a client before it.
type world struct {
	t      *testing.T
	spaces *apitest.Webspaces
	people *apitest.Accounts
	url    string // http://127.0.0.1:port
	log    *lines
	http   *http.Client
	base   context.Context
	conns  []*websocket.Conn // closed once the server has ended
}

// The members of every test: dev has an SSH key, new has none, and no webspace.
var (
	dev   = account.Identity{UID: 3, Username: "dev", SSHKeys: []string{"ssh-ed25519 AAAA dev"}}
	other = account.Identity{UID: 4, Username: "other"}
	fresh = account.Identity{UID: 5, Username: "fresh"}
	admin = account.Identity{UID: 1, Username: "admin", Admin: true}
)

// lines is a log that tests can read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newWorld(t *testing.T, change func(*api.Options, *api.Listeners)) *world {
	t.Helper()
	w := &world{t: t, spaces: apitest.NewWebspaces(t.TempDir()), people: apitest.NewAccounts(dev, other, fresh, admin), log: &lines{},
		http: &http.Client{Transport: &http.Transport{}, Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	base, endBase := context.WithTimeout(context.Background(), limit)
	w.base = base
	o := api.Options{Webspaces: w.spaces, Accounts: w.people, Log: w.logger(),
		UserRate: 1e6, UserBurst: 1e6, AddressRate: 1e6, AddressBurst: 1e6, SampleEvery: time.Hour}
	at := api.Listeners{Address: "127.0.0.1:0"}
	if change != nil {
		change(&o, &at)
	}
	s := api.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- s.Serve(ctx, at, func(a net.Addr) { listening <- a }) }()
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error("serve:", err)
			}
		case <-time.After(limit):
			t.Error("the server does not end")
		}
		for _, c := range w.conns {
			c.CloseNow()
		}
		endBase()
		if strings.Contains(w.log.String(), "made the API panic") {
			t.Error(w.log.String())
		}
	})
	select {
	case a := <-listening:
		if a != nil {
			w.url = "http://" + a.String()
		}
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(limit):
		t.Fatal("the server does not listen")
	}
	return w
}

// reply is an answer that was read.
type reply struct {
	*http.Response
	body string
}

// ask sends a request; auth is a member's name, or a whole Authorization header with a space in it, or "".
func (w *world) ask(method, path, auth, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	switch {
	case strings.Contains(auth, " "):
		r.Header.Set("Authorization", auth)
	case auth != "":
		r.Header.Set("Authorization", "Bearer token-"+auth)
	}
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	resp, err := w.http.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp, string(b)}
}

// want asks, and compares the status and the body: JSON as JSON ("…" in a text stands for anything), other text as it is.
func (w *world) want(method, path, auth, body string, status int, answer string) reply {
	w.t.Helper()
	r := w.ask(method, path, auth, body)
	if r.StatusCode != status {
		w.t.Fatalf("%s %s as %q: status %d, not %d: %s", method, path, auth, r.StatusCode, status, r.body)
	}
	kind := r.Header.Get("Content-Type")
	if status >= 400 {
		if kind != "application/problem+json" {
			w.t.Errorf("%s %s: Content-Type %q", method, path, kind)
		}
		var e struct{ Message, Code, Type, Title, Next, Request string }
		if err := json.Unmarshal([]byte(r.body), &e); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, r.body)
		}
		if !strings.Contains(e.Message, answer) {
			w.t.Errorf("%s %s: message %q, not %q", method, path, e.Message, answer)
		}
		if e.Code == "" || e.Type != "urn:lanyard:problem:"+e.Code || e.Title == "" || e.Next == "" || e.Request != r.Header.Get("X-Request-Id") {
			w.t.Errorf("%s %s: %s", method, path, r.body)
		}
		return r
	}
	if strings.HasPrefix(answer, "{") || strings.HasPrefix(answer, "[") {
		if kind != "application/json" {
			w.t.Errorf("%s %s: Content-Type %q", method, path, kind)
		}
		w.same(r.body, answer)
	} else if r.body != answer {
		w.t.Errorf("%s %s: %q, not %q", method, path, r.body, answer)
	}
	return r
}

// same says whether got has all that want has, at least.
func (w *world) same(got, want string) {
	w.t.Helper()
	var g, x any
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(want), &x) != nil {
		w.t.Fatalf("no JSON: %s\nor: %s", got, want)
	}
	if !covers(g, x) {
		w.t.Errorf("it is  %s\nand not %s", got, want)
	}
}

// covers: objects may have more members than were wanted, since the API grows; all else must be equal.
func covers(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range want {
			if !ok || !covers(g[k], v) {
				return false
			}
		}
		return ok
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return false
		}
		for n := range want {
			if !covers(g[n], want[n]) {
				return false
			}
		}
		return true
	case string:
		if want == "…" {
			return got != nil
		}
	}
	return got == want
}

// eventually polls.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// ctx ends with the test's limit, or when the server has ended.
func (w *world) ctx() context.Context { return w.base }

// alive says whether a process is there, and no zombie.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}
