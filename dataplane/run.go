package dataplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/bpf"
)

const (
	epochEvery  = 5 * time.Second
	resyncEvery = time.Minute
	// settle is how long news of routes and links gather before they are looked at: they come in swarms.
	settle = 20 * time.Millisecond
	// laziness keeps a machine whose routes never rest from spending more than one tenth of a CPU on them here.
	laziness = 10
	// countEvery is how many sweeps pass between two counts of the maps that programs fill.
	countEvery = 6
)

// Run keeps next hops, flows, forwarding entries and the MTU true until ctx ends, and returns nil then. It is run once.
func (d *Dataplane) Run(ctx context.Context) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	news := make(chan news, 64)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return watch(ctx, d.log, news) })
	g.Go(func() error { return d.follow(ctx, news) })
	g.Go(func() error { return d.expire(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// follow keeps everything that depends on the kernel's tables.
func (d *Dataplane) follow(ctx context.Context, in <-chan news) error {
	epoch, resync := time.NewTicker(epochEvery), time.NewTicker(resyncEvery)
	defer epoch.Stop()
	defer resync.Stop()
	var pending news
	var due <-chan time.Time
	var rest time.Time // until then the last look has cost enough
	later := func(n news) {
		pending.merge(n)
		if due == nil {
			due = time.After(max(settle, time.Until(rest)))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-in:
			d.hearNeighbours(n)
			if n.routes || n.lost || len(n.links) > 0 {
				n.neighbours = nil
				later(n)
			}
		case <-due:
			due = nil
			began := time.Now()
			d.react(ctx, pending)
			pending = news{}
			rest = time.Now().Add(laziness * time.Since(began))
		case <-epoch.C:
			d.locked(func() error { return d.bumpEpoch() }, "renew the epoch of next hops")
		case <-resync.C:
			d.resync(ctx)
		}
	}
}

// locked runs f with mu held, and notes its failure: the next turn tries again.
func (d *Dataplane) locked(f func() error, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := f(); err != nil {
		d.log.Error("could not "+what, "err", err)
	}
}

// hearNeighbours takes news of neighbours at once: they are what makes a peer ready, or a next hop wrong. It costs what
// the change costs, not what there is.
func (d *Dataplane) hearNeighbours(n news) {
	if len(n.neighbours) == 0 {
		return
	}
	d.locked(func() error {
		bump := false
		want := map[bpf.TcAddr]bpf.TcPeer{}
		for i := range n.neighbours {
			e := &n.neighbours[i]
			if e.LinkIndex == d.dev.bridge {
				continue // our own entries, for our own ports
			}
			peers, changed := d.hops.learn(&e.Neigh, !e.gone)
			if changed {
				for vtep := range peers {
					want[wire(vtep)] = d.hops.entry(vtep)
				}
			}
			bump = d.hops.moved(&e.Neigh, !e.gone) || changed || bump
		}
		if err := d.writePeers(want); err != nil {
			return err
		}
		if bump {
			return d.bumpEpoch()
		}
		return nil
	}, "follow the neighbours")
}

// writePeers updates the entries of some peers; the others stay as they are.
func (d *Dataplane) writePeers(some map[bpf.TcAddr]bpf.TcPeer) error {
	t := d.tables.peers
	var c change[bpf.TcAddr, bpf.TcPeer]
	for k, v := range some {
		if old, ok := t.shadow[k]; ok && old != v {
			c.keys, c.values = append(c.keys, k), append(c.values, v)
		}
	}
	_, err := t.write(&c)
	return err
}

// react looks again at routes, links and the MTU.
func (d *Dataplane) react(ctx context.Context, n news) {
	d.locked(func() error {
		if n.lost {
			return errors.Join(d.reviewMTU(), d.heal(ctx))
		}
		failed := func(subject string, err error) { d.log.Warn("next hop", "subject", subject, "err", err) }
		if d.concerns(n.links) {
			u, err := findUplinks(d.nl, &d.cfg)
			if err != nil {
				return err // it is gone; its return is news again
			}
			if err := d.reviewMTU(); err != nil {
				return err
			}
			if err := d.attachNode(u); err != nil {
				return err
			}
		} else if !n.routes {
			return d.checkMembers(ctx, n.links)
		}
		d.hops.rerouteAll(failed)
		if err := d.writePeers(d.hops.entries()); err != nil {
			return err
		}
		if err := d.bumpEpoch(); err != nil {
			return err
		}
		return d.checkMembers(ctx, n.links)
	}, "follow routes and links")
}

// concerns reports whether one of the links is one that programs or next hops depend on.
func (d *Dataplane) concerns(links map[int]linkNews) bool {
	for index, l := range links {
		if _, ok := d.hops.links[index]; ok || l.name == d.cfg.Underlay || l.name == d.cfg.Uplink {
			return true
		}
	}
	return false
}

// checkMembers puts a port back into the bridge when somebody took it out, and the devices back when they are gone.
func (d *Dataplane) checkMembers(ctx context.Context, links map[int]linkNews) error {
	for index, l := range links {
		_, port := d.kernel.ports.shadow[index]
		ours := index == d.dev.bridge || index == d.dev.vxlan || index == d.dev.parking
		if ours && l.gone || port && !l.gone && l.master != d.dev.bridge {
			return d.heal(ctx)
		}
	}
	return nil
}

func (d *Dataplane) resync(ctx context.Context) {
	d.locked(func() error { return d.heal(ctx) }, "make the kernel equal to the state again")
}

// heal compares everything with the kernel, and repairs what has drifted. mu is held.
func (d *Dataplane) heal(ctx context.Context) error {
	u, err := findUplinks(d.nl, &d.cfg)
	if err != nil {
		return err
	}
	dev, err := openDevices(d.nl, &d.cfg, d.MTU(), &d.tap)
	if err != nil {
		return err
	}
	d.dev = dev
	if env := d.env; env.bridge != dev.bridge || env.vxlan != dev.vxlan || env.parking != dev.parking {
		env.bridge, env.vxlan, env.parking = dev.bridge, dev.vxlan, dev.parking
		if err := d.installPrograms(env); err != nil {
			return err
		}
	}
	if err := d.attachNode(u); err != nil {
		return err
	}
	d.hops.rerouteAll(func(subject string, err error) { d.log.Warn("next hop", "subject", subject, "err", err) })
	d.stale = true
	if d.last == nil {
		return nil
	}
	c, err := d.apply(ctx, d.last)
	if err != nil {
		return err
	}
	if !c.Empty() {
		d.log.Warn("the kernel had drifted from the state, and was repaired", "changes", fmt.Sprintf("%+v", c.Tables))
	}
	return nil
}

// expire sweeps the flows, and frees what webspaces that are gone have held.
func (d *Dataplane) expire(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var a audit
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.sweepOnce(ctx, &a, turn%countEvery == 0); err != nil && ctx.Err() == nil {
			d.log.Error("could not expire flows", "err", err)
		}
	}
}

// sweepOnce is one turn of expire.
func (d *Dataplane) sweepOnce(ctx context.Context, a *audit, count bool) error {
	s, err := d.sweepFlows(ctx)
	if err != nil {
		return err
	}
	if n := a.correct(d.shared, s); n > 0 {
		d.log.Warn("shares of flows were wrong, and were corrected", "webspaces", n)
	}
	var f fills
	if count {
		if f, err = countFills(d.maps); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !count {
		f = d.fill
	}
	f.flows, f.entries = s.total(), s.seen
	d.fill = f
	for slot := range d.slots.leaving {
		// A slot that began to leave during the sweep waits for the next one.
		if !s.leaving[slot] || d.shared.flows(slot) > 0 {
			continue
		}
		if err := d.wipe(slot); err != nil {
			return err
		}
		if err := d.slots.free(slot); err != nil {
			return err
		}
	}
	return nil
}
