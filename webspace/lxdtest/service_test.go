package lxdtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// limit of every wait: far more than anything takes, because the machine may be busy.
const limit = 90 * time.Second

// service on an LXD, with short pauses.
func service(t *testing.T, socket string, change func(*webspace.ServiceOptions)) *webspace.Service {
	t.Helper()
	s, err := newService(socket, change)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newService(socket string, change func(*webspace.ServiceOptions)) (*webspace.Service, error) {
	store, err := webspace.Connect(webspace.Options{Address: socket, Timeout: 60 * time.Second})
	if err != nil {
		return nil, err
	}
	o := webspace.ServiceOptions{
		Store: store, Domain: "webspaces.example", Defaults: webspace.Config{StartupDelay: 3, HTTPPort: 80},
		StopGrace: 20 * time.Second, RetryPause: 20 * time.Millisecond, StartTime: limit, ForceTime: limit, Resolver: proofs{},
		InstanceConfig: map[string]string{"environment.PROBE_NO_DHCP": "1"},
	}
	if change != nil {
		change(&o)
	}
	return webspace.NewService(o)
}

// proofs has the proof of every domain u<uid>.example and below for its uid.
type proofs struct{}

func (proofs) LookupTXT(_ context.Context, name string) ([]string, error) {
	labels := strings.Split(name, ".")
	if owner, ok := strings.CutPrefix(labels[len(labels)-2], "u"); ok && labels[len(labels)-1] == "example" {
		return []string{"v=spf1 -all", "webspace:id:" + owner}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// create makes a webspace of the tiny image.
func create(t *testing.T, s *webspace.Service, spec webspace.CreateSpec) webspace.Instance {
	t.Helper()
	if spec.Image == "" {
		spec.Image = Image
	}
	i, err := s.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// eventually polls until f has no error any more.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: not within %v: %v", what, limit, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// text collects output; safe for concurrent use.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

func (x *text) shows(t *testing.T, want string) {
	t.Helper()
	eventually(t, "output", func() error {
		if got := x.String(); !strings.Contains(got, want) {
			return fmt.Errorf("%q does not have %q", got[max(0, len(got)-500):], want)
		}
		return nil
	})
}

func output(t *testing.T, s *webspace.Service, uid int, command ...string) string {
	t.Helper()
	r, err := s.Output(t.Context(), uid, command, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Succeeded(); err != nil {
		t.Fatalf("%q: %v", command, err)
	}
	return string(r.Stdout)
}

func status(t *testing.T, s *webspace.Service, uid int) webspace.Status {
	t.Helper()
	i, err := s.Get(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	return i.Status
}

// session is a command or console that goes on in the background.
type session struct {
	in      *io.PipeWriter
	out     *text
	control chan webspace.Control
	end     context.CancelFunc
	done    chan struct{}
	code    int
	err     error
}

func begin(t *testing.T, run func(context.Context, webspace.Streams) (int, error)) *session {
	ctx, end := context.WithCancel(t.Context())
	r, w := io.Pipe()
	x := &session{in: w, out: &text{}, control: make(chan webspace.Control), end: end, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.code, x.err = run(ctx, webspace.Streams{Stdin: r, Stdout: x.out, Stderr: x.out, Control: x.control})
	}()
	t.Cleanup(func() { end(); <-x.done })
	return x
}

func (x *session) type_(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(x.in, s); err != nil {
		t.Error(err)
	}
}

func (x *session) wait(t *testing.T) (int, error) {
	t.Helper()
	select {
	case <-x.done:
	case <-time.After(limit):
		t.Fatal("the session does not end")
	}
	return x.code, x.err
}

func (x *session) send(t *testing.T, c webspace.Control) {
	t.Helper()
	select {
	case x.control <- c:
	case <-x.done:
		t.Fatalf("the session has ended: %d, %v", x.code, x.err)
	case <-time.After(limit):
		t.Fatal("nobody takes the control message")
	}
}

func services(t *testing.T, l *lab.Lab) {
	n := l.Node(1)
	s := service(t, Socket(n), nil)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *webspace.Service, *lab.Node)
	}{
		{"exec", execs}, {"console", consoles}, {"power", power}, {"settings", settings}, {"files", files}, {"password", passwords},
		{"ssh", secureShell}, {"steps", steps}, {"killed", killed}, {"crowd", crowd}, {"changes", changes}, {"slow", slow},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s, n) })
	}
}
