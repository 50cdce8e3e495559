// Package faults stands before the socket of an LXD, and does to requests what a test wants.
package faults

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy passes requests on to an LXD.
type Proxy struct {
	Socket string // where it listens

	mu    sync.Mutex
	count int
	fault func(n int, r *http.Request) Fault
	gate  chan struct{} // closed when what is held goes on
}

// Fault is what happens to one request.
type Fault int

// The faults.
const (
	None       Fault = iota
	Lost             // it never reaches LXD
	Unanswered       // LXD does it, but the answer is lost
	Silent           // it never reaches LXD, and the connection stays open
	Held             // it reaches LXD once Set is called again
)

// New stands before the LXD whose socket is given, for the length of a test.
func New(t *testing.T, lxd string) *Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "lxd") // t.TempDir may be longer than the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Socket: filepath.Join(dir, "s"), gate: make(chan struct{})}
	l, err := net.Listen("unix", p.Socket)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", lxd)
	}}
	target, err := url.Parse("http://lxd")
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	ended, end := context.WithCancel(context.Background())
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, gate := p.next(r)
		switch fault {
		case Lost:
			panic(http.ErrAbortHandler) // the connection is cut
		case Silent:
			<-ended.Done()
			panic(http.ErrAbortHandler)
		case Held:
			select {
			case <-gate:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			case <-ended.Done():
				panic(http.ErrAbortHandler)
			}
		case Unanswered:
			if strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
				panic(http.ErrAbortHandler) // what is not answered was not opened
			}
			out := r.Clone(context.WithoutCancel(r.Context()))
			out.URL.Scheme, out.URL.Host, out.RequestURI = "http", "lxd", ""
			if resp, err := transport.RoundTrip(out); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		end()
		_ = srv.Close()
		serving.Wait()
		transport.CloseIdleConnections()
		_ = os.RemoveAll(dir)
	})
	return p
}

func (p *Proxy) next(r *http.Request) (Fault, <-chan struct{}) {
	p.mu.Lock()
	p.count++
	n, fault, gate := p.count, p.fault, p.gate
	p.mu.Unlock()
	if fault == nil {
		return None, gate
	}
	return fault(n, r), gate
}

// Set begins to count anew, and lets go what is held. fault is asked about each request, the first is 1; it may take its
// time. nil: all is well.
func (p *Proxy) Set(fault func(n int, r *http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gate)
	p.count, p.fault, p.gate = 0, fault, make(chan struct{})
}

// Nth makes one request fail.
func Nth(which int, how Fault) func(int, *http.Request) Fault {
	return func(n int, _ *http.Request) Fault {
		if n == which {
			return how
		}
		return None
	}
}
