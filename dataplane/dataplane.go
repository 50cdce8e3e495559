package dataplane

import (
	"errors"
	"log/slog"
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
	drops hub

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
	problems []Problem
	applied  time.Time
	// deniedChanged asks the next sweep to look for flows towards what is denied now.
	deniedChanged bool
	fill          fills
}

// Close lets go of everything. What is pinned stays, and goes on forwarding.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	if d.shared != nil {
		errs = append(errs, d.shared.close())
	}
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
