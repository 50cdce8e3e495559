package webspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// double is an LXD with instances that can be listed, read, and changed under their ETags, and nothing else. One in a few
// changes is overtaken by somebody else's, as starting and stopping do it.
type double struct {
	mu        sync.Mutex
	instances map[string]*doubled
	order     []string
	changes   int
	refused   int
}

type doubled struct {
	version int
	config  map[string]string
}

func newDouble(t *testing.T, uids int) (*double, *Store) {
	t.Helper()
	d := &double{instances: make(map[string]*doubled)}
	pool := DefaultPool()
	for uid := range uids {
		text, err := Encode(Record{User: uid, Address: address(number(pool.First) + uint32(uid)), Config: Config{HTTPPort: 80}})
		if err != nil {
			t.Fatal(err)
		}
		name := "ws-u" + strconv.Itoa(uid)
		d.instances[name], d.order = &doubled{config: map[string]string{Key: text}}, append(d.order, name)
	}
	socket := filepath.Join(t.TempDir(), "lxd")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /1.0/instances", d.list)
	mux.HandleFunc("GET /1.0/instances/{name}", d.get)
	mux.HandleFunc("PATCH /1.0/instances/{name}", d.patch)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); serving.Wait() })
	s, err := Connect(Options{Address: socket, Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return d, s
}

func say(w http.ResponseWriter, etag string, v any) {
	w.Header().Set("ETag", etag)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "sync", "status": "Success", "status_code": 200, "metadata": v})
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "error", "error_code": status, "error": text})
}

func (d *double) raw(name string) map[string]any {
	return map[string]any{"name": name, "type": "container", "status": "Stopped", "status_code": 102, "location": "none",
		"created_at": "2026-01-01T00:00:00Z", "config": d.instances[name].config}
}

func (d *double) list(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []any
	for _, name := range d.order {
		all = append(all, d.raw(name))
	}
	say(w, "", all)
}

func (d *double) get(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.instances[r.PathValue("name")]
	if i == nil {
		refuse(w, 404, "Instance not found")
		return
	}
	say(w, strconv.Itoa(i.version), d.raw(r.PathValue("name")))
}

func (d *double) patch(w http.ResponseWriter, r *http.Request) {
	var body struct{ Config map[string]string }
	err := json.NewDecoder(r.Body).Decode(&body)
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.instances[r.PathValue("name")]
	if i == nil || err != nil {
		refuse(w, 400, fmt.Sprint(err))
		return
	}
	if d.changes++; d.changes%5 == 0 {
		i.version++
	}
	if r.Header.Get("If-Match") != strconv.Itoa(i.version) {
		d.refused++
		refuse(w, 412, "ETag doesn't match")
		return
	}
	i.version++
	for k, v := range body.Config {
		i.config[k] = v
	}
	say(w, "", map[string]any{})
}

// All ports of the range, asked for at once: no port is given out twice, every one that was given out is in its webspace's
// record, and none that was not.
func TestAllocateAtOnce(t *testing.T) {
	const webspaces, each = 256, 64 // 16,384: the whole range
	d, store := newDouble(t, webspaces)
	s := allocator(t, store)
	allocateAtOnce(t, store, webspaces, each, func(int) *Service { return s })
	if d.refused == 0 {
		t.Error("no change was overtaken")
	}
	// What is wrong with a webspace comes before what is wrong with a port, and that before that it is taken.
	for _, c := range []struct {
		uid, external, internal int
		want                    error
	}{{0, 0, 80, ErrTooManyPorts}, {0, 49152, 80, ErrTooManyPorts}, {0, 1, 80, ErrTooManyPorts}, {webspaces, 0, 0, ErrNotFound}, {webspaces, 49152, 80, ErrNotFound}} {
		if _, err := s.AddPort(t.Context(), c.uid, TCP, c.external, c.internal); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Two Services, as two daemons have them, which for a moment both believe to lead.
func TestAllocateFromTwo(t *testing.T) {
	_, store := newDouble(t, 16)
	two := []*Service{allocator(t, store), allocator(t, store)}
	allocateAtOnce(t, store, 16, 32, func(n int) *Service { return two[n%2] })
}

func allocateAtOnce(t *testing.T, store *Store, webspaces, each int, from func(n int) *Service) {
	t.Helper()
	ctx := t.Context()
	var mu sync.Mutex
	given := make(map[int]int)
	begin := make(chan struct{})
	var g errgroup.Group
	for n := range webspaces * each {
		g.Go(func() error {
			<-begin
			uid := n / each
			port, err := from(n).AddPort(ctx, uid, TCP, 0, 1+n%each)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if other, dup := given[port]; dup {
				return fmt.Errorf("%d and %d both have %d", other, uid, port)
			}
			given[port] = uid
			return nil
		})
	}
	close(begin)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	list, err := store.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, i := range list {
		written += len(i.Record.Ports)
		for port := range i.Record.Ports {
			if uid, ok := given[int(port)]; !ok || uid != i.UID {
				t.Errorf("%s has %d, which %d was given", i.Name, port, uid)
			}
		}
	}
	if _, issues := Settle(list); len(issues) > 0 || written != webspaces*each {
		t.Errorf("%d are written of %d; %v", written, webspaces*each, issues)
	}
}

func allocator(t *testing.T, store *Store) *Service {
	t.Helper()
	s, err := NewService(ServiceOptions{Store: store, Domain: "example.net"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}
