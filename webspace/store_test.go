package webspace

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestConnect(t *testing.T) {
	for address, want := range map[string]string{"": DefaultSocket, "/a/b": "/a/b", "unix:/a/b": "/a/b", "unix:///a/b": "/a/b"} {
		s, err := Connect(Options{Address: address})
		if err != nil || s.Address() != want {
			t.Errorf("%q: %v, %v", address, s, err)
		}
	}
	if s, err := Connect(Options{Address: "https://192.0.2.1:8443/", ClientCert: "x", ClientKey: "y"}); err != nil || s.Address() != "https://192.0.2.1:8443" {
		t.Error(s, err)
	}
	for _, o := range []Options{
		{Address: "https://192.0.2.1:8443"}, {Address: "http://192.0.2.1", ClientCert: "x", ClientKey: "y"}, {Address: "lxd"},
		{Address: "https://", ClientCert: "x", ClientKey: "y"}, {Address: "https://a/b", ClientCert: "x", ClientKey: "y"},
		{Pool: Pool{First: MustAddr("172.24.1.1")}},
	} {
		if _, err := Connect(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// An LXD that takes connections and says nothing costs no more than the time limit.
func TestSilentLXD(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range open {
			_ = c.Close()
		}
	})
	defer func() { _ = l.Close(); wg.Wait() }()
	s, err := Connect(Options{Address: socket, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(context.Context) error{
		"server":  func(ctx context.Context) error { _, err := s.Server(ctx); return err },
		"list":    func(ctx context.Context) error { _, err := s.List(ctx); return err },
		"members": func(ctx context.Context) error { _, err := s.Members(ctx); return err },
		"update":  func(ctx context.Context) error { return s.Update(ctx, "ws-u1", func(*Record) error { return nil }) },
		"start":   func(ctx context.Context) error { return s.Start(ctx, "ws-u1") },
		"create": func(ctx context.Context) error {
			_, err := s.Create(ctx, CreateOptions{UID: 1, Image: "x"})
			return err
		},
	} {
		began := time.Now()
		if err := call(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	hints := s.Watch(ctx)
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case <-hints: // a last hint, or closed
	case <-time.After(10 * time.Second): // the library's handshake has 5 s
		t.Error("Watch does not end")
	}
}

func TestNoLXD(t *testing.T) {
	s, err := Connect(Options{Address: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
