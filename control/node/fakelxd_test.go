package node

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fakeLXD answers the few questions that a node asks a standalone LXD, over a unix socket. Its events end at once, so
// that the node looks by itself.
type fakeLXD struct {
	path string

	mu        sync.Mutex
	instances []any
	server    *http.Server
}

func newFakeLXD(t *testing.T) *fakeLXD {
	t.Helper()
	f := &fakeLXD{path: filepath.Join(t.TempDir(), "lxd.sock")}
	t.Cleanup(f.stop)
	return f
}

func (f *fakeLXD) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "sync", "status": "Success", "status_code": 200, "metadata": v})
	}
	mux.HandleFunc("GET /1.0", func(w http.ResponseWriter, _ *http.Request) {
		say(w, map[string]any{"api_version": "1.0", "auth": "trusted",
			"environment": map[string]any{"server": "lxd", "server_name": "node1", "server_version": "5.0.2", "server_clustered": false}})
	})
	mux.HandleFunc("GET /1.0/cluster", func(w http.ResponseWriter, _ *http.Request) { say(w, map[string]any{"enabled": false}) })
	mux.HandleFunc("GET /1.0/instances", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		say(w, f.instances)
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	f.mu.Lock()
	f.server = s
	f.mu.Unlock()
	go func() { _ = s.Serve(l) }() // ends with stop
}

func (f *fakeLXD) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		_ = f.server.Close()
		f.server = nil
	}
}

// webspace adds a running webspace.
func (f *fakeLXD) webspace(uid int, record, host, mac string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instances = append(f.instances, map[string]any{
		"name": "ws-u" + strconv.Itoa(uid), "type": "container", "status": "Running", "status_code": 103, "location": "none",
		"created_at":       "2026-01-01T00:00:00Z",
		"config":           map[string]string{"user.lanyard": record, "volatile.eth0.host_name": host},
		"expanded_devices": map[string]any{"eth0": map[string]string{"type": "nic", "nictype": "p2p", "name": "eth0", "hwaddr": mac}},
	})
}
