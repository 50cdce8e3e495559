package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Looking again without a hint.
const (
	// A new veth may be there before LXD has written whose it is: look again soon, ever less often, and give up on
	// it after youth. It is then somebody else's.
	lookFirst = 5 * time.Millisecond
	lookMost  = 100 * time.Millisecond
	youth     = 2 * time.Second
	// After a failed Apply.
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
	// Between two passes there is at least as much time as one took, up to this.
	passRest = 100 * time.Millisecond
	// Between two readings of the whole cluster there is at least as much time as one took, up to this.
	restMost = 2 * time.Second
	// Adoption writes to LXD; it is not tried more often than this.
	adoptEvery = 5 * time.Second
)

// Agent is the node agent. Make it with New, give it life with Run.
type Agent struct {
	c      Config
	src    Source
	links  Links
	sink   Sink
	leases Leases
	log    *slog.Logger

	cluster chan struct{} // look at the whole cluster again
	local   chan struct{} // look at this node again

	mu       sync.Mutex
	known    known
	status   Status
	watchers map[chan struct{}]bool
	waiting  []*resync // until the cluster has been read
	read     []*resync // until it is applied
	done     bool      // Run has ended

	applying sync.Mutex // held while the state is built and applied; taken before mu

	// Under applying.
	ports   map[string]int    // name of a webspace's port -> ifindex, as applied last
	born    map[int]time.Time // ifindex of a veth -> when first seen without an owner
	written []byte            // what the cache file holds
	saved   time.Time         // when it was last looked at
	unsaved bool              // it was too soon to look at it again
	looked  time.Time         // when the reading began that known.local is of; zero: it is from the cache
	adopted time.Time         // only used by the goroutine of follow
}

// New makes an agent. leases may be nil. The configuration is checked; a *webspace.Problem says what is wrong with it.
func New(c Config, src Source, links Links, sink Sink, leases Leases, log *slog.Logger) (*Agent, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Agent{
		c: c, src: src, links: links, sink: sink, leases: leases, log: log,
		cluster: make(chan struct{}, 1), local: make(chan struct{}, 1),
		watchers: make(map[chan struct{}]bool), born: make(map[int]time.Time), ports: make(map[string]int),
	}, nil
}

// Run follows LXD until ctx ends, and returns nil then. It needs LXD neither at the start nor later: while it is
// away, what was last known stays in force.
func (a *Agent) Run(ctx context.Context) error {
	defer a.finish()
	k, err := a.load()
	if err != nil {
		a.log.Warn("the cache cannot be used; waiting for LXD", "err", err)
	}
	a.mu.Lock()
	a.known = k
	a.mu.Unlock()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for range a.src.Watch(ctx) {
			hint(a.local)
			hint(a.cluster)
		}
		return nil
	})
	g.Go(func() error {
		for range a.links.Watch(ctx) {
			hint(a.local)
			a.attach(ctx)
		}
		return nil
	})
	g.Go(func() error { a.follow(ctx); return nil })
	g.Go(func() error { a.apply(ctx); return nil })
	return g.Wait()
}

// follow keeps the view of the whole cluster fresh.
func (a *Agent) follow(ctx context.Context) {
	said := "" // an absence of hours is one line in the log, not one every ten seconds
	retry := retryFirst
	for ctx.Err() == nil {
		a.mu.Lock()
		k, waiting := a.known, a.waiting
		a.waiting = nil
		a.mu.Unlock()

		began := time.Now()
		k, err := a.readCluster(ctx, k)
		took := time.Since(began)
		a.mu.Lock()
		a.known.server, a.known.all, a.known.members, a.known.haveAll = k.server, k.all, k.members, k.haveAll
		a.status.heardCluster(k, err)
		for _, w := range waiting {
			w.err = err
		}
		a.read = append(a.read, waiting...)
		a.mu.Unlock()
		hint(a.local)
		switch {
		case err == nil:
			if said != "" {
				a.log.Info("the cluster can be read again")
			}
			said = ""
			a.write(ctx, k)
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			a.log.Warn("the cluster cannot be read; what was last known stays in force", "err", err)
		}
		// LXD that comes back, or a member that does, gives no hint: look again soon.
		next := a.c.Resync
		if err != nil || k.partial() {
			next = min(next, retry)
			retry = min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		if !pause(ctx, a.cluster, next) {
			return
		}
		rest(ctx, max(a.c.Debounce, min(took, restMost)))
	}
}

// write does what this node has to write to LXD: what it says about itself, and as the leader, addresses.
func (a *Agent) write(ctx context.Context, k known) {
	if a.c.Cluster && k.server.Clustered {
		us := webspace.Node{Index: a.c.Index, VTEP: a.c.VTEP, Forwards: a.c.Forwards}
		if !published(k, us) {
			err := a.src.Publish(ctx, k.server.Name, us)
			a.mu.Lock()
			a.status.published = problemOf("this node", err)
			a.mu.Unlock()
		}
	}
	if !k.leader() || time.Since(a.adopted) < adoptEvery || !a.orphans(k) {
		return
	}
	a.adopted = time.Now()
	mtu := 0
	if a.c.MTU != nil {
		mtu = a.c.MTU()
	}
	names, issues, err := a.src.Adopt(ctx, mtu)
	if err != nil {
		a.log.Warn("addresses could not be allocated", "err", err)
	}
	for _, n := range names {
		a.log.Info("adopted a webspace without an address", "webspace", n)
	}
	var problems []Problem
	for _, i := range issues {
		problems = append(problems, Problem{Subject: "webspace " + i.Instance, Err: i.Err})
	}
	a.mu.Lock()
	a.status.adoption = problems
	a.mu.Unlock()
	if len(names) > 0 {
		hint(a.cluster)
		hint(a.local)
	}
}

// orphans says whether any webspace lacks an address.
func (a *Agent) orphans(k known) bool {
	a.mu.Lock()
	k.local = a.known.local
	a.mu.Unlock()
	for _, i := range k.instances() {
		if i.RecordErr == nil && !i.Record.Address.IsValid() {
			return true
		}
	}
	return false
}

// apply turns hints into one pass each, until ctx ends.
func (a *Agent) apply(ctx context.Context) {
	look, retry := lookFirst, retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		young, err := a.pass(ctx)
		took := time.Since(began)
		next := a.c.Resync
		if young {
			next = min(next, look)
			look = min(2*look, lookMost)
		} else {
			look = lookFirst
		}
		if a.unsaved {
			next = min(next, saveEvery)
		}
		if err != nil {
			next = min(next, retry)
			retry = min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		if !pause(ctx, a.local, next) {
			return
		}
		// Many starts at once give hints all the time, and each look costs LXD as much as us.
		rest(ctx, max(a.c.Debounce, min(took, passRest)))
	}
}

// pass looks at this node, builds the state and applies it. young: a veth is there whose owner may still appear.
func (a *Agent) pass(ctx context.Context) (young bool, err error) {
	a.mu.Lock()
	waiting := a.read
	a.read = nil
	a.mu.Unlock()
	began := time.Now()
	list, lxd := a.readLocal(ctx)
	a.applying.Lock()
	defer a.applying.Unlock()
	links, err := a.links.List() // after LXD: an interface that LXD names is there by now

	a.mu.Lock()
	if lxd == nil {
		a.known.local, a.known.haveOurs = list, true
		a.looked = began
	}
	k := a.known
	a.status.heardLocal(lxd)
	a.mu.Unlock()

	var out *dataplane.Changes
	var want Desired
	switch {
	case err != nil:
	case !k.haveAll || !k.haveOurs:
		// Nothing was ever heard, so nothing is known to be gone: the dataplane goes on with what it has.
		if err = lxd; err == nil {
			err = errNotYet
		}
	default:
		young = a.unowned(k.local, links)
		var applied dataplane.Changes
		if want, applied, err = a.put(ctx, k, links); err == nil {
			out = &applied
		}
		if lxd == nil || a.unsaved { // what is still to be saved was heard before LXD went
			if failed := a.save(k); failed != nil {
				a.log.Warn("the cache is not up to date", "err", failed)
			}
		}
	}
	if ctx.Err() != nil && err != nil {
		return false, err // ended by the caller: no failure to report
	}
	a.report(began, want, out, err, lxd, waiting)
	return young, err
}

// put builds the state and applies it. applying is held.
func (a *Agent) put(ctx context.Context, k known, links map[string]Link) (want Desired, applied dataplane.Changes, err error) {
	want = Build(a.c, View{Self: k.self(), Instances: k.instances(), Members: k.members, Links: links})
	if a.leases != nil {
		a.leases.SetReservations(want.Reservations) // first: the port's first packet is a DISCOVER
	}
	if a.c.Waker != nil {
		enliven(&want.State, a.c.Waker.Observe(a.looked, want.Targets))
	}
	if a.c.Names != nil {
		a.c.Names.SetRecords(want.Records)
		a.c.Names.SetNodes(want.Nodes)
	}
	if applied, err = a.sink.Apply(ctx, want.State); err != nil {
		return want, applied, err
	}
	if a.c.Waker != nil {
		a.c.Waker.Applied(want.Targets)
	}
	clear(a.ports)
	for _, p := range want.State.Ports {
		a.ports[p.Name] = p.Ifindex
	}
	return want, applied, nil
}

// attach applies a new link at once when it is known whose it is, without asking LXD: one that the start hook makes comes a moment
// before the container's first packet. A pass follows all the same, and deals with what goes wrong here.
func (a *Agent) attach(ctx context.Context) {
	a.mu.Lock()
	k := a.known
	a.mu.Unlock()
	hooked := func(i webspace.Instance) bool { return i.NICType == webspace.HookNIC }
	if !k.haveAll || !k.haveOurs || !slices.ContainsFunc(k.local, hooked) {
		return
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	links, err := a.links.List()
	isNew := func(i webspace.Instance) bool {
		l, there := links[i.HostInterface]
		return hooked(i) && there && a.ports[l.Name] != l.Index
	}
	if err != nil || !slices.ContainsFunc(k.local, isNew) {
		return
	}
	if _, _, err := a.put(ctx, k, links); err != nil {
		a.log.Debug("a new link waits for the next pass", "err", err)
	}
}

// unowned says whether there is a young veth that no instance claims.
func (a *Agent) unowned(local []webspace.Instance, links map[string]Link) bool {
	owned := make(map[string]bool, len(local))
	for _, i := range local {
		owned[i.HostInterface] = true
	}
	now := time.Now()
	born := make(map[int]time.Time)
	young := false
	for _, l := range links {
		if l.Kind != "veth" || owned[l.Name] {
			continue
		}
		since, seen := a.born[l.Index]
		if !seen {
			since = now
		}
		born[l.Index] = since
		young = young || now.Sub(since) < youth
	}
	a.born = born
	return young
}

// published says whether the cluster has heard us, as the members list tells.
func published(k known, us webspace.Node) bool {
	for _, m := range k.members {
		if m.Name == k.server.Name {
			return m.NodeErr == nil && m.Node.Equal(us)
		}
	}
	return true // not a member (yet): nowhere to write it
}

// pause waits for a hint, but not longer than limit. It is false when ctx has ended.
func pause(ctx context.Context, hints <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-hints:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// rest waits for d, or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
