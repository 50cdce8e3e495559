package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// world is LXD, the links and the kernel of a test, all in one.
type world struct {
	mu        sync.Mutex
	server    webspace.Server
	instances []webspace.Instance
	members   []webspace.Member
	links     map[string]Link
	down      error         // LXD does not answer at all
	slow      chan struct{} // the list of the cluster waits for this
	busy      chan struct{} // that of this node does
	refuse    error         // of the kernel
	adopt     netip.Addr
	published []webspace.Node

	applied []dataplane.State
	leases  []dhcp.Reservation
	lxd     chan struct{}
	link    chan struct{}
}

func newWorld() *world {
	return &world{server: webspace.Server{Name: "n1", Clustered: true}, links: map[string]Link{}, lxd: make(chan struct{}, 1), link: make(chan struct{}, 1)}
}

// change does f, and gives hints as LXD and the kernel would; none for nil.
func (w *world) change(f func(), hints ...chan struct{}) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	for _, h := range hints {
		hint(h)
	}
}

func get[T any](w *world, f func() T) (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		var zero T
		return zero, w.down
	}
	return f(), nil
}

func (w *world) Server(context.Context) (webspace.Server, error) {
	return get(w, func() webspace.Server { return w.server })
}

func (w *world) ListLocal(ctx context.Context) ([]webspace.Instance, error) {
	w.mu.Lock()
	busy := w.busy
	w.mu.Unlock()
	if err := wait(ctx, busy); err != nil {
		return nil, err
	}
	return get(w, func() []webspace.Instance {
		return slices.DeleteFunc(slices.Clone(w.instances), func(i webspace.Instance) bool { return i.Node != w.server.Name })
	})
}

func (w *world) List(ctx context.Context) ([]webspace.Instance, error) {
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	if err := wait(ctx, slow); err != nil {
		return nil, err
	}
	return get(w, func() []webspace.Instance { return slices.Clone(w.instances) })
}

// wait for what may be nil, which is there.
func wait(ctx context.Context, c chan struct{}) error {
	if c == nil {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) Members(context.Context) ([]webspace.Member, error) {
	return get(w, func() []webspace.Member { return slices.Clone(w.members) })
}

func (w *world) Publish(_ context.Context, name string, n webspace.Node) error {
	_, err := get(w, func() bool {
		w.published = append(w.published, n)
		for k := range w.members {
			if w.members[k].Name == name {
				w.members[k].Node, w.members[k].NodeErr = n, nil
			}
		}
		return true
	})
	return err
}

func (w *world) Adopt(context.Context, int) ([]string, []webspace.Issue, error) {
	names, err := get(w, func() (names []string) {
		for k := range w.instances {
			if !w.instances[k].Record.Address.IsValid() {
				w.instances[k].Record.Address = w.adopt
				names = append(names, w.instances[k].Name)
			}
		}
		return names
	})
	return names, nil, err
}

func watch(ctx context.Context, from chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		for {
			select {
			case <-from:
				select {
				case out <- struct{}{}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (w *world) Watch(ctx context.Context) <-chan struct{} { return watch(ctx, w.lxd) }

type worldLinks struct{ *world }

func (w worldLinks) List() (map[string]Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]Link{}
	for k, v := range w.links {
		out[k] = v
	}
	return out, nil
}

func (w worldLinks) Watch(ctx context.Context) <-chan struct{} { return watch(ctx, w.link) }

func (w *world) Apply(_ context.Context, s dataplane.State) (dataplane.Changes, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return dataplane.Changes{}, w.refuse
	}
	w.applied = append(w.applied, s)
	return dataplane.Changes{}, nil
}

func (w *world) SetReservations(r []dhcp.Reservation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases = r
}

// last is the state in force, and how often one was applied.
func (w *world) last() (dataplane.State, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.applied) == 0 {
		return dataplane.State{}, 0
	}
	return w.applied[len(w.applied)-1], len(w.applied)
}
