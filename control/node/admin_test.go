package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/dataplane"
)

// serve runs the admin socket of a node until the test ends.
func serve(t *testing.T, n *Node) *nodeapi.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.serveAdmin(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Error("the admin socket does not end")
		}
	})
	client := nodeapi.New(n.config.Admin.Socket)
	t.Cleanup(client.Close)
	wait(t, "the socket", func() bool { _, err := client.Status(ctx); return err == nil })
	return client
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time:", what)
		}
	}
}

func TestStatus(t *testing.T) {
	n, p, _ := fakeNode(t)
	client := serve(t, n)
	s, err := client.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"node":     s.Node.Name == "node1" && s.Node.IP.String() == "172.24.0.1" && s.Node.MTU == 1450 && s.Version == "v1",
		"ready":    s.Readiness.Ready && len(s.Readiness.Checks) >= 6,
		"programs": len(s.Programs) == 4 && s.Programs[0].Tag == "a1",
		"maps":     len(s.Maps) == 2 && s.Maps[0].Entries == 7,
		"peers":    len(s.Peers) == 2 && s.Peers[0].Name == "node2" && s.Peers[1].Detail == "no answer",
		"tables":   len(s.Ports) == 1 && len(s.Endpoints) == 1 && len(s.Forwards) == 1 && s.Forwards[0].External.Port() == 50000,
		"counters": s.Counters["ws-u1"].RxPackets == 10,
		"drops":    len(s.Drops) == 2 && s.Drops[0].Packets == 4,
		"dhcp":     s.DHCP.Running && s.DHCP.Received["discover"] == 3,
		"dns":      s.DNS.Running && s.DNS.Records == 4 && s.DNS.Queries["A"] == 9 && len(s.DNS.Upstreams) == 2 && s.DNS.Upstreams[0].Up,
		"problems": len(s.Problems) == 2 && s.Problems[0].Subject == "webspace ws-u3" && s.Problems[1].Subject == "webspace ws-u9",
		"wake":     s.Wake.Enabled && len(s.Wake.Webspaces) == 2 && s.Wake.Webspaces[0].Life == "asleep" && s.Wake.HeldFrames == 2,
		"errors":   len(s.Errors) == 0,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, s)
		}
	}
	info, err := os.Stat(n.config.Admin.Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}

	p.mu.Lock()
	p.err, p.status = errors.New("a map is gone"), dataplane.Status{}
	p.mu.Unlock()
	s, err = client.Status(context.Background())
	if err != nil || len(s.Errors) != 3 || s.Readiness.Ready || s.Ports == nil {
		t.Errorf("%+v %v", s, err)
	}
}

func TestResync(t *testing.T) {
	n, _, a := fakeNode(t)
	a.result = agent.Result{Duration: time.Millisecond, Changes: map[string]dataplane.Delta{"ports": {Added: 1}}}
	client := serve(t, n)
	r, err := client.Resync(context.Background())
	if err != nil || r.Changes["ports"].Added != 1 || r.Problems == nil {
		t.Errorf("%+v %v", r, err)
	}
	a.err = errors.New("LXD does not answer")
	_, err = client.Resync(context.Background())
	if e, ok := errors.AsType[*nodeapi.Error](err); !ok || e.Code != nodeapi.CodeStarting || !strings.Contains(e.Cause, "LXD") || e.Next == "" {
		t.Error(err)
	}
}

func TestOnlyRoot(t *testing.T) {
	n, _, _ := fakeNode(t)
	h := n.adminHandler()
	for _, who := range []any{nil, -1, 12345} {
		r := httptest.NewRequest(http.MethodGet, nodeapi.PathStatus, nil)
		if who != nil {
			r = r.WithContext(context.WithValue(r.Context(), caller{}, who))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), nodeapi.CodeDenied) || strings.Contains(w.Body.String(), "172.24") {
			t.Errorf("%v: %d %s", who, w.Code, w.Body)
		}
	}
}

func TestUnknownPath(t *testing.T) {
	n, _, _ := fakeNode(t)
	for _, one := range []string{"GET /", "DELETE " + nodeapi.PathStatus, "GET " + nodeapi.PathResync, "GET /v1/node/../../etc/passwd"} {
		method, path, _ := strings.Cut(one, " ")
		r := httptest.NewRequest(method, path, nil)
		w := httptest.NewRecorder()
		n.adminHandler().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), caller{}, 0)))
		if w.Code < 300 {
			t.Errorf("%s: %d %s", one, w.Code, w.Body)
		}
	}
}

func TestDrops(t *testing.T) {
	n, p, _ := fakeNode(t)
	client := serve(t, n)
	for i := range 4 {
		p.samples <- dataplane.Sample{Owner: fmt.Sprintf("ws-u%d", i%2), Ifindex: i, Reason: 3, Data: []byte{1, 2, 3}, Length: 60}
	}
	enough := errors.New("enough")
	var got []nodeapi.Drop
	err := client.Drops(context.Background(), "ws-u1", func(d nodeapi.Drop) error {
		if got = append(got, d); len(got) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || got[0].Webspace != "ws-u1" || got[1].Ifindex != 3 || len(got[0].Data) != 3 || got[0].Reason == "" {
		t.Errorf("%+v %v", got, err)
	}
	wait(t, "the reader of samples ends with its client", func() bool { return p.reading() == 0 })

	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- client.Drops(ctx, "", func(nodeapi.Drop) error { return nil }) }()
	wait(t, "the stream", func() bool { return p.reading() == 1 })
	cancel()
	if err := <-over; err != nil {
		t.Error("ended by the caller, with", err)
	}

	go func() {
		over <- client.Drops(context.Background(), "", func(nodeapi.Drop) error { return nil })
	}()
	wait(t, "the stream", func() bool { return p.reading() == 1 })
	close(p.samples)
	if err := <-over; !nodeapi.HasCode(err, nodeapi.CodeUnreachable) {
		t.Error(err)
	}
}

func TestTooManyTraces(t *testing.T) {
	n, p, _ := fakeNode(t)
	client := serve(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, maxStreams)
	for range maxStreams {
		go func() { over <- client.Drops(ctx, "", func(nodeapi.Drop) error { return nil }) }()
	}
	wait(t, "all streams", func() bool { return p.reading() == maxStreams })
	if err := client.Drops(ctx, "", nil); !nodeapi.HasCode(err, nodeapi.CodeStarting) {
		t.Error(err)
	}
	cancel()
	for range maxStreams {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	for range 2 {
		_, err := nodeapi.New(path).Status(context.Background())
		if e, ok := errors.AsType[*nodeapi.Error](err); !ok || e.Code != nodeapi.CodeUnreachable || e.Cause == "" || e.Next == "" {
			t.Error(err)
		}
		// The second time: a socket that nobody listens on.
		l, err := net.Listen("unix", path)
		if err == nil {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			l.Close()
		}
	}
	if l, err := listenAdmin(path); err != nil {
		t.Error("a left-over socket is in the way:", err)
	} else {
		l.Close()
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenAdmin(path); err == nil {
		t.Error("a file was deleted to make room for the socket")
	}
}
