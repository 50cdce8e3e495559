package sleep

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// world is a node with some webspaces: LXD, dataplane, engine and memory in one.
type world struct {
	mu       sync.Mutex
	spaces   map[int]*webspace.Instance
	activity map[netip.Addr]dataplane.Activity
	flowing  map[netip.Addr][]dataplane.Flow
	ops      []webspace.Operation
	memory   Memory
	frees    map[int]uint64 // memory that a webspace holds, by uid
	blind    error          // the dataplane's
	deaf     error          // LXD's
	refuse   error          // of Nap and Sleep
	freezing func()         // called while a webspace is being frozen

	did []string
	k   *Keeper
}

func addr(uid int) netip.Addr { return netip.AddrFrom4([4]byte{172, 24, 1, byte(uid)}) }

func newWorld(t *testing.T, o Options, policies ...webspace.Idle) *world {
	t.Helper()
	w := &world{spaces: map[int]*webspace.Instance{}, activity: map[netip.Addr]dataplane.Activity{},
		flowing: map[netip.Addr][]dataplane.Flow{}, frees: map[int]uint64{}, memory: Memory{Total: 1000 << 20, Available: 900 << 20}}
	for n, p := range policies {
		uid := n + 1
		i := &webspace.Instance{UID: uid, Name: "ws-u" + string(rune('0'+uid)), Status: webspace.Running, Started: time.Now()}
		i.Record.Address, i.Record.Config.Idle = addr(uid), p
		w.spaces[uid] = i
	}
	w.k = New(o, Parts{Local: w.local, LXD: w, Plane: w, Power: w, Gauge: w, Holds: &Holds{}, Sockets: w.sockets})
	return w
}

// run runs the keeper for so long, as its clock shows it.
func (w *world) run(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.k.Run(ctx) }()
	time.Sleep(d)
	synctest.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// used notes a packet, now.
func (w *world) used(uid int) {
	w.set(func() {
		a := w.activity[addr(uid)]
		a.LastPacket = time.Now()
		w.activity[addr(uid)] = a
	})
}

func (w *world) want(t *testing.T, did ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.did, did) {
		t.Errorf("it did %q, want %q", w.did, did)
	}
}

// why asks about one webspace.
func (w *world) why(t *testing.T, uid int) Answer {
	t.Helper()
	list, err := w.k.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.UID == uid {
			return a
		}
	}
	t.Fatalf("ws-u%d is not there", uid)
	return Answer{}
}

func (w *world) local() []webspace.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []webspace.Instance
	for _, i := range w.spaces {
		out = append(out, *i)
	}
	return out
}

func (w *world) Get(_ context.Context, name string) (webspace.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.spaces {
		if i.Name == name {
			return *i, w.deaf
		}
	}
	return webspace.Instance{}, webspace.ErrNotFound
}

func (w *world) Operations(context.Context) ([]webspace.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ops), w.deaf
}

func (w *world) Activity() (map[netip.Addr]dataplane.Activity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[netip.Addr]dataplane.Activity{}
	for a, v := range w.activity {
		out[a] = v
	}
	return out, w.blind
}

func (w *world) Flows(a netip.Addr) ([]dataplane.Flow, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.flowing[a]), w.blind
}

func (w *world) sockets(name string) ([]dataplane.Flow, error) {
	i, err := w.Get(context.Background(), name)
	if err != nil {
		return nil, err
	}
	return w.Flows(i.Record.Address)
}

func (w *world) Memory() (Memory, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memory, nil
}

func (w *world) change(a netip.Addr, what string, to webspace.Status, c ledger.Cause) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		w.did = append(w.did, "failed")
		return w.refuse
	}
	for uid, i := range w.spaces {
		if i.Record.Address != a {
			continue
		}
		w.did = append(w.did, what+" "+i.Name+" "+string(c.Via))
		i.Status = to
		if to == webspace.Stopped {
			w.memory.Available += w.frees[uid]
		}
		return nil
	}
	return errors.New("nobody is there")
}

func (w *world) Nap(_ context.Context, a netip.Addr, c ledger.Cause) error {
	err := w.change(a, "nap", webspace.Frozen, c)
	w.mu.Lock()
	f := w.freezing
	w.mu.Unlock()
	if f != nil {
		f()
	}
	return err
}

func (w *world) Sleep(_ context.Context, a netip.Addr, c ledger.Cause, _ time.Duration) error {
	time.Sleep(300 * time.Millisecond) // it takes its time
	return w.change(a, "sleep", webspace.Stopped, c)
}

func (w *world) EnsureStarted(_ context.Context, uid int, c ledger.Cause) (netip.Addr, error) {
	return addr(uid), w.change(addr(uid), "wake", webspace.Running, c)
}
