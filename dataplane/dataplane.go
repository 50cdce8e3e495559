package dataplane

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/lanyard-project/lanyard/bpf"
)

// Dataplane is the kernel side of one node. Its methods may be called from several goroutines.
type Dataplane struct {
	cfg   Config
	log   *slog.Logger
	objs  objects
	pins  *pins
	nl    *netlink.Handle
	dev   *devices
	maps  map[string]*ebpf.Map
	mtu   atomic.Int32
	drops hub[Sample]
	tap   tap
	ticks ticks

	events hub[Event]

	closing context.Context // ends with Close
	endAll  context.CancelFunc
	users   sync.WaitGroup

	mu       sync.Mutex // all below
	closed   bool
	env      environ
	progs    programs
	tables   tables
	kernel   *kernel
	hops     *hops
	slots    *slots
	shared   *shareMemory
	settings bpf.TcSettings
	stale    bool // the shadows may differ from the kernel
	last     *State
	wanted   *wanted
	built    *built
	problems []Problem
	applied  time.Time
	// deniedChanged asks the next sweep to look for flows towards what is denied now.
	deniedChanged bool
	fill          fills
	lives         map[netip.Addr]Life // set above the State's
	tracers       tracers
}

// enter notes a user of the maps. Close ends its context and waits for it to leave.
func (d *Dataplane) enter(ctx context.Context) (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, errClosed
	}
	d.users.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
		d.users.Done()
	}, nil
}

var errClosed = errors.New("the dataplane is closed")

// Close ends Run and all readers, and lets go of everything. What is pinned stays, and goes on forwarding.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	d.endAll()
	d.users.Wait()

	var errs []error
	if d.shared != nil {
		errs = append(errs, d.shared.close())
	}
	errs = append(errs, d.tap.close(), d.ticks.close())
	d.tracers.close()
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	d.progs.close()
	if d.nl != nil {
		d.nl.Close()
	}
	d.pins.close()
	return errors.Join(errs...)
}
