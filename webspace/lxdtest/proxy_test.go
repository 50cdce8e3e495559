package lxdtest

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

// faults stands before LXD's socket, and does to requests what a test wants.
type faults struct {
	Socket string

	mu    sync.Mutex
	count int
	fault func(n int, r *http.Request) fault
}

// fault is what happens to one request.
type fault int

const (
	none       fault = iota
	lost             // it never reaches LXD
	unanswered       // LXD does it, but the answer is lost
	silent           // it never reaches LXD, and the connection stays open
)

// proxy is before the LXD whose socket is given.
func proxy(t *testing.T, lxd string) *faults {
	t.Helper()
	dir, err := os.MkdirTemp("", "lxd") // t.TempDir may be longer than the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	f := &faults{Socket: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", f.Socket)
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
		switch f.next(r) {
		case lost:
			panic(http.ErrAbortHandler) // the connection is cut
		case silent:
			<-ended.Done()
			panic(http.ErrAbortHandler)
		case unanswered:
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
	return f
}

func (f *faults) next(r *http.Request) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.fault == nil {
		return none
	}
	return f.fault(f.count, r)
}

// set begins to count anew.
func (f *faults) set(fault func(n int, r *http.Request) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count, f.fault = 0, fault
}

// nth makes one request fail.
func nth(which int, how fault) func(int, *http.Request) fault {
	return func(n int, _ *http.Request) fault {
		if n == which {
			return how
		}
		return none
	}
}
