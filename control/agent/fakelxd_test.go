package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// fakeLXD answers the requests of a webspace.Store from fixed texts. A path without one is 404.
type fakeLXD struct {
	socket string
	mu     sync.Mutex
	texts  map[string]string
}

func newFakeLXD(t *testing.T) *fakeLXD {
	t.Helper()
	f := &fakeLXD{socket: filepath.Join(t.TempDir(), "lxd.socket"), texts: map[string]string{
		"/1.0":         `{"environment":{"server_name":"one","server_clustered":false}}`,
		"/1.0/cluster": `{"enabled":false}`,
	}}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-served })
	return f
}

func (f *fakeLXD) answer(path string, metadata []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts[path] = string(metadata)
}

func (f *fakeLXD) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	text, ok := f.texts[r.URL.Path]
	f.mu.Unlock()
	if !ok || r.Method != http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"type":"error","error_code":404,"error":"Not Found"}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "sync", "status": "Success", "status_code": 200, "metadata": json.RawMessage(text)})
}

func (f *fakeLXD) store(t *testing.T) *webspace.Store {
	t.Helper()
	s, err := webspace.Connect(webspace.Options{Address: f.socket, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
