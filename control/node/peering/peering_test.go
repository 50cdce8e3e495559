package peering

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/keypair/keypairtest"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// limit of everything that a test waits for.
const limit = 60 * time.Second

// folder is LXD's, with a new cluster's certificate.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	renew(t, dir)
	return dir
}

func renew(t *testing.T, dir string) {
	t.Helper()
	keypairtest.Write(t, filepath.Join(dir, "cluster.crt"), filepath.Join(dir, "cluster.key"))
}

func anyPort() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:0") }

// serve serves with the identity of a folder, and returns where. What gets as far as a request is handled by h.
func serve(t *testing.T, dir string, h http.HandlerFunc) netip.AddrPort {
	t.Helper()
	l, err := New(dir).Listen(t.Context(), anyPort())
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: limit, ErrorLog: nil}
	s.SetKeepAlivesEnabled(false)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func woken(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != nodeapi.PathWoken {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = io.WriteString(w, `{"woken":{"3":7}}`)
}

// nobody fails a test when a request is read.
func nobody(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("a request of a stranger was read") }
}

func ask(t *testing.T, dir string, at netip.AddrPort) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	got, err := New(dir).Client(at).Woken(ctx)
	if err == nil && got.Woken[3] != 7 {
		t.Errorf("the answer is %v", got)
	}
	return err
}

func TestNodesOfOneCluster(t *testing.T) {
	dir := folder(t)
	at := serve(t, dir, woken)
	if err := ask(t, dir, at); err != nil {
		t.Fatal(err)
	}

	t.Log("the certificate is exchanged: neither has to be started again")
	us := New(dir)
	if _, err := us.Client(at).Woken(t.Context()); err != nil {
		t.Fatal(err)
	}
	renew(t, dir)
	if _, err := us.Client(at).Woken(t.Context()); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}

	t.Log("half of it is exchanged: the last one is still good")
	other, _ := keypairtest.New(t)
	if err := os.WriteFile(filepath.Join(dir, "cluster.crt"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := us.Client(at).Woken(t.Context()); err != nil {
		t.Errorf("with half of a certificate: %v", err)
	}

	t.Log("the machine left its cluster")
	if err := os.Remove(filepath.Join(dir, "cluster.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := us.Client(at).Woken(t.Context()); !errors.Is(err, ErrNone) || !nodeapi.HasCode(err, nodeapi.CodeUnreachable) {
		t.Errorf("without a certificate: %v", err)
	}
}

// Of strangers no byte of a request is read, and what they say is not believed.
func TestStrangers(t *testing.T) {
	dir, foreign := folder(t), folder(t)
	at := serve(t, dir, nobody(t))
	if err := ask(t, foreign, at); !nodeapi.HasCode(err, nodeapi.CodeUnreachable) || !errors.Is(err, errStranger) {
		t.Errorf("a node of another cluster asks: %v", err)
	}
	if err := ask(t, folder(t), serve(t, foreign, nobody(t))); !errors.Is(err, errStranger) {
		t.Errorf("a node of another cluster answers: %v", err)
	}

	// A stranger need not look at whom it asks.
	pair, err := New(foreign).certificate()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := New(dir).certificate()
	if err != nil {
		t.Fatal(err)
	}
	stolen := tls.Certificate{Certificate: ours.Certificate, PrivateKey: pair.PrivateKey} // our certificate is no secret, its key is
	for name, config := range map[string]*tls.Config{
		"without a certificate":        {},
		"another certificate":          {Certificates: []tls.Certificate{*pair}},
		"our certificate, another key": {GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stolen, nil }},
		"an older TLS":                 {MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*ours}},
	} {
		config.InsecureSkipVerify = true
		get(t, name, at, func(c net.Conn) net.Conn { return tls.Client(c, config) })
	}
	get(t, "without TLS", at, func(c net.Conn) net.Conn { return c })
}

// get sends a request as fast as it can, and fails if the answer is one to it.
func get(t *testing.T, name string, at netip.AddrPort, wrap func(net.Conn) net.Conn) {
	t.Helper()
	plain, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_ = plain.SetDeadline(time.Now().Add(limit))
	c := wrap(plain)
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: node\r\n\r\n", nodeapi.PathWoken); err != nil {
		return
	}
	// Go's server answers what is plainly HTTP with a 400 of its own, before its handler.
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && r.StatusCode != http.StatusBadRequest {
		t.Errorf("%s: %s", name, r.Status)
	}
}

// What a node answers is bounded, and so is the time that it has.
func TestBadAnswers(t *testing.T) {
	dir := folder(t)
	long := strings.Repeat("x", 1<<20)
	for name, h := range map[string]http.HandlerFunc{
		"giant": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`)
			for range 2 * maxAnswer >> 20 {
				_, _ = io.WriteString(w, long)
			}
			_, _ = io.WriteString(w, `","woken":{"3":7}}`)
		},
		"a giant header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", long)
			_, _ = io.WriteString(w, "{}")
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
	} {
		if err := ask(t, dir, serve(t, dir, h)); err == nil {
			t.Errorf("%s: it is taken", name)
		} else if e := (*nodeapi.Error)(nil); !errors.As(err, &e) || e.What == "" || e.Cause == "" || e.Next == "" {
			t.Errorf("%s: %v", name, err)
		}
	}

	begun := make(chan struct{})
	at := serve(t, dir, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := New(dir).Client(at).Woken(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a node that says nothing: %v", err)
	}
}

// Who says nothing holds one place of a few, and does not keep nodes of the cluster out while there is another.
func TestSilentConnections(t *testing.T) {
	dir := folder(t)
	at := serve(t, dir, woken)
	var silent []net.Conn
	for range connections - 1 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	if err := ask(t, dir, at); err != nil {
		t.Errorf("with %d silent ones: %v", len(silent), err)
	}
}

// Before there is a cluster nothing listens; when it is made, something does.
func TestBeforeTheCluster(t *testing.T) {
	dir := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := New(dir).Listen(ended, anyPort()); l != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v", l, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := New(dir).Listen(t.Context(), anyPort()); l != nil || err == nil || errors.Is(err, ErrNone) {
		t.Errorf("%v %v", l, err)
	}
	renew(t, dir)
	l, err := New(dir).Listen(t.Context(), anyPort())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := New(dir).Listen(t.Context(), l.Addr().(*net.TCPAddr).AddrPort()); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("the port is taken: %v", err)
	}
}
