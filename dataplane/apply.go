package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/bpf"
)

// tables are the maps that Apply owns: programs only read them.
type tables struct {
	ports     *table[uint32, bpf.TcPort]
	endpoints *table[bpf.TcAddr, bpf.TcEndpoint]
	macs      *table[bpf.TcMacKey, bpf.TcEndpoint]
	peers     *table[bpf.TcAddr, bpf.TcPeer]
	forwards  *table[bpf.TcServiceKey, bpf.TcForward]
	inverses  *table[bpf.TcServiceKey, bpf.TcInverse]
	prefixes  *table[bpf.TcPrefixKey, uint32]
}

// Apply makes the kernel equal to s and touches only differences. Single bad items are skipped and reported in
// Changes.Problems; an error means that the kernel refused something that should have worked, and that the next
// Apply tries it again.
//
// Cost: comparing s with the State before takes some ten nanoseconds for each item. When forwards differ, their table is made
// and compared anew; when peers, ports or endpoints differ, theirs too: some hundred nanoseconds for each item, in memory.
// System calls grow with what changed. The order is such
// that no packet meets half a change: what is referred to is written before what refers to it, and removed after it;
// a port's program runs before its interface joins the bridge.
func (d *Dataplane) Apply(ctx context.Context, s State) (Changes, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return Changes{}, err
	}
	return d.apply(ctx, &s)
}

func (d *Dataplane) usable(ctx context.Context) error {
	if d.closed {
		return errClosed
	}
	return ctx.Err()
}

// apply does the work, with mu held.
func (d *Dataplane) apply(ctx context.Context, s *State) (Changes, error) {
	var c Changes
	var errs []error
	same := sameness{}
	if d.stale {
		if err := d.readBack(); err != nil {
			return c, err
		}
	} else {
		same = compare(d.last, s)
	}
	if s != d.last {
		d.last = s.clone()
	}
	w := validate(&d.cfg, d.last, d.wanted, same)
	d.wanted = w
	if !same.stations {
		d.assignSlots(w)
		d.pruneLives()
		if err := d.pruneWatches(); err != nil {
			errs = append(errs, err)
		}
	}
	b := d.build(w, d.built, same)
	d.built = b
	c.Problems = append(w.allProblems(), b.allProblems()...)
	failed := func(subject string, err error) { c.problem(subject, err) }
	do := func(table string, f func() (Delta, error)) {
		if ctx.Err() != nil {
			return
		}
		delta, err := f()
		c.count(table, delta)
		if err != nil {
			errs = append(errs, err)
		}
	}

	// What others refer to comes first; nothing is removed yet.
	prefixes := d.tables.prefixes.diff(b.prefixes)
	var ports change[uint32, bpf.TcPort]
	var endpoints change[bpf.TcAddr, bpf.TcEndpoint]
	var macs change[bpf.TcMacKey, bpf.TcEndpoint]
	if !same.stations {
		ports, endpoints, macs = d.tables.ports.diff(b.ports), d.tables.endpoints.diff(b.endpoints), d.tables.macs.diff(b.macs)
	}
	var forwards change[bpf.TcServiceKey, bpf.TcForward]
	var inverses change[bpf.TcServiceKey, bpf.TcInverse]
	if !same.services {
		for k, i := range w.forwards {
			d.tables.forwards.compare(&forwards, k, b.services.forward(i))
		}
		d.tables.forwards.unwanted(&forwards, len(w.forwards), func(k bpf.TcServiceKey) bool { _, ok := w.forwards[k]; return ok })
		inverses = d.tables.inverses.diff(b.services.inverses)
	}
	if len(prefixes.keys)+len(prefixes.gone) > 0 {
		d.deniedChanged = true
	}
	do("prefixes", func() (Delta, error) { return d.tables.prefixes.write(&prefixes) })
	do("settings", func() (Delta, error) { return d.writeSettings(d.shares()) })
	d.hops.setPeers(w.peers, failed)
	entries := d.hops.entries()
	cut(d.tables.peers, entries, &c.Problems, "peers")
	peers := d.tables.peers.diff(entries)
	do("peers", func() (Delta, error) { return d.tables.peers.write(&peers) })
	do("ports", func() (Delta, error) { return d.tables.ports.write(&ports) })
	do("links", func() (Delta, error) { return d.addPorts(w, b.kernel, &c), nil })
	do("endpoints", func() (Delta, error) { return d.tables.endpoints.write(&endpoints) })
	do("macs", func() (Delta, error) { return d.tables.macs.write(&macs) })
	do("tunnels", func() (Delta, error) {
		return d.kernel.flood.add(b.flood, d.addFlood, func(ip netip.Addr, _ struct{}, err error) { failed("peer "+ip.String(), err) }), nil
	})
	do("inverses", func() (Delta, error) { return d.tables.inverses.write(&inverses) })
	do("forwards", func() (Delta, error) { return d.tables.forwards.write(&forwards) })

	// And what nobody refers to any more goes, the other way round.
	do("forwards", func() (Delta, error) { return d.tables.forwards.remove(&forwards) })
	do("inverses", func() (Delta, error) { return d.tables.inverses.remove(&inverses) })
	do("tunnels", func() (Delta, error) {
		return d.kernel.flood.prune(b.flood, d.removeFlood, func(ip netip.Addr, _ struct{}, err error) { failed("peer "+ip.String(), err) }), nil
	})
	do("macs", func() (Delta, error) { return d.tables.macs.remove(&macs) })
	do("endpoints", func() (Delta, error) { return d.tables.endpoints.remove(&endpoints) })
	do("links", func() (Delta, error) { return d.removePorts(b.kernel, failed), nil })
	do("ports", func() (Delta, error) { return d.tables.ports.remove(&ports) })
	do("peers", func() (Delta, error) { return d.tables.peers.remove(&peers) })
	do("prefixes", func() (Delta, error) { return d.tables.prefixes.remove(&prefixes) })
	if len(prefixes.keys) > 0 || c.Tables["prefixes"].Removed > 0 {
		// Next hops remember what the prefixes said of them.
		if err := d.bumpEpoch(); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, ctx.Err())

	err := errors.Join(errs...)
	if err != nil {
		d.stale = true // do not trust the shadows after a failure
	} else {
		d.applied = time.Now()
	}
	d.problems = c.Problems
	return c, err
}

// readBack makes the shadows true.
func (d *Dataplane) readBack() error {
	t := &d.tables
	err := errors.Join(t.ports.read(), t.endpoints.read(), t.macs.read(), t.peers.read(), t.forwards.read(),
		t.inverses.read(), t.prefixes.read(), d.kernel.read(d.pins, d.dev))
	if err != nil {
		return fmt.Errorf("read back what the kernel has: %w", err)
	}
	d.stale = false
	return nil
}

func (d *Dataplane) addPorts(w *wanted, want map[int]portState, c *Changes) Delta {
	d.kernel.stay = make(map[netip.Addr]mac, len(want))
	for _, p := range want {
		d.kernel.stay[p.ip] = p.mac
	}
	return d.kernel.ports.add(want, d.join, func(ifindex int, _ portState, err error) {
		if gone(err) || notFound(err) {
			err = fmt.Errorf("its interface is gone: %w", err)
		}
		p := w.ports[ifindex]
		c.problem(p.subject(), err)
	})
}

func (d *Dataplane) removePorts(want map[int]portState, failed func(string, error)) Delta {
	delta := d.kernel.ports.prune(want, d.leave, func(ifindex int, _ portState, err error) {
		failed(fmt.Sprintf("interface %d", ifindex), err)
	})
	delta.Removed += d.tidy(want, failed).Removed
	return delta
}

// assignSlots gives every webspace of this node its slot. A port without one cannot be counted, and is left out.
func (d *Dataplane) assignSlots(w *wanted) {
	w.problems = &w.stations
	local := map[string]bool{}
	for _, p := range w.ports {
		local[p.Owner] = true
	}
	for _, i := range w.endpoints {
		e := &w.state.Endpoints[i]
		if !e.VTEP.IsValid() && e.Owner != "" {
			local[e.Owner] = true
		}
	}
	for owner := range local {
		if _, err := d.slots.give(owner); err != nil {
			w.problem("webspace "+owner, "%w", err)
			delete(local, owner)
		}
	}
	for ifindex, p := range w.ports {
		if !local[p.Owner] {
			delete(w.ports, ifindex)
		}
	}
	d.slots.retain(local)
}
