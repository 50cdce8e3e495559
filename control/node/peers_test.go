package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/keypair/keypairtest"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/node/peering"
)

// freePort is one of 127.0.0.1 that nobody has at the moment.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Another node of the cluster asks about one webspace, and gets what the admin socket says.
func TestPeers(t *testing.T) {
	n, _, _ := fakeNode(t)
	dir, at := t.TempDir(), freePort(t)
	keypairtest.Write(t, filepath.Join(dir, "cluster.crt"), filepath.Join(dir, "cluster.key"))
	n.config.LXD.Address = filepath.Join(dir, "unix.socket")
	n.config.Underlay.Address, n.config.Peers.Port = at.Addr(), at.Port()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serving, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.servePeers(serving) }()
	c := peering.New(dir).Client(at)
	var page nodeapi.WakePage
	for { // it listens in a moment
		var err error
		if page, err = c.Wakes(ctx, "2", 0, 10); err == nil {
			break
		} else if ctx.Err() != nil || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(page.Wakes) != 1 || page.Wakes[0].UID != 2 || page.Woken != 7 {
		t.Errorf("%+v", page)
	}
	if l, err := c.Awake(ctx, "1"); err != nil || len(l.Webspaces) != 1 || len(l.Webspaces[0].Reasons) != 1 {
		t.Errorf("%+v %v", l, err)
	}
	if w, err := c.Woken(ctx); err != nil || w.Woken[1] != 7 {
		t.Errorf("%+v %v", w, err)
	}
	if _, err := c.Awake(ctx, "9"); !nodeapi.HasCode(err, nodeapi.CodeNotFound) {
		t.Error(err)
	}
	for what, ask := range map[string]func() error{
		"all wakes":     func() error { _, err := c.Wakes(ctx, "", 0, 10); return err },
		"all webspaces": func() error { _, err := c.Awake(ctx, ""); return err },
	} {
		if err := ask(); !nodeapi.HasCode(err, nodeapi.CodeBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, ask := range map[string]func() error{
		"its status": func() error { _, err := c.Status(ctx); return err },
		"to resync":  func() error { _, err := c.Resync(ctx); return err },
		"drops":      func() error { return c.Drops(ctx, "", func(nodeapi.Drop) error { return nil }) },
	} {
		if err := ask(); !nodeapi.HasCode(err, nodeapi.CodeNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Headers are bounded.
func TestPeerServer(t *testing.T) {
	n, _, _ := fakeNode(t)
	s := httptest.NewUnstartedServer(nil)
	s.Config = peerServer(n.peerHandler(), slog.New(slog.DiscardHandler))
	s.Start()
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+nodeapi.PathWoken, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() int {
		t.Helper()
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if !resp.Close {
			t.Error("the connection is kept")
		}
		return resp.StatusCode
	}
	if code := ask(); code != http.StatusOK {
		t.Error(code)
	}
	r.Header.Set("X", strings.Repeat("x", 64<<10))
	if code := ask(); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(code)
	}
}
