package wake

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/dataplane"
)

// Engine wakes the webspaces of one node. Make it with New, give it life with Run.
type Engine struct {
	c      Config
	lxd    LXD
	plane  Plane
	park   Parking
	box    Containers
	ledger Ledger
	log    *slog.Logger
	starts *queue
	jobs   sync.WaitGroup

	mu          sync.Mutex
	run         context.Context // of Run; nil while it does not
	spaces      map[netip.Addr]*space
	total       totals
	perSource   *budgets[netip.Addr]
	perWebspace *budgets[int]
	stats       Stats
}

// space is one webspace.
type space struct {
	t       Target
	life    dataplane.Life // what the dataplane was told last
	since   time.Time      // it is in that life
	changed time.Time      // an observation that began before this is out of date
	port    bool           // the dataplane can deliver to it
	hold    hold
	job     *job // what is under way; nil: nothing
	gone    bool // LXD no longer has it
	proved  []proof

	failures int // in a row
	failed   error
	retryAt  time.Time
}

// Stats counts since New.
type Stats struct {
	Parked   uint64            // frames that came from the dataplane
	Strange  uint64            // of them, not for a webspace of this node, or not understood
	Dropped  uint64            // of them, not held for want of room
	Injected uint64            // sent on, repetitions included
	Refused  uint64            // answered with a reset
	Unproven uint64            // held, and dropped because nobody proved anything
	Denied   map[string]uint64 // packets that were not let wake, by reason

	Queued, HeldFrames, HeldBytes int // now
}

// New makes an engine. box may be nil; then everything that has a slower way takes it.
func New(c Config, lxd LXD, plane Plane, park Parking, box Containers, led Ledger, log *slog.Logger) *Engine {
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if box == nil {
		box = blind{}
	}
	return &Engine{
		c: c, lxd: lxd, plane: plane, park: park, box: box, ledger: led, log: log, starts: newQueue(c.Starts),
		spaces:      make(map[netip.Addr]*space),
		perSource:   newBudgets[netip.Addr](c.PerSource, time.Minute, c.SourcesKnown),
		perWebspace: newBudgets[int](c.PerWebspace, time.Hour, c.SourcesKnown),
		stats:       Stats{Denied: make(map[string]uint64)},
	}
}

// Run serves until ctx ends, and returns nil then. What is under way then is left to LXD; the next engine finds out
// what came of it.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	e.mu.Lock()
	e.run = ctx
	for _, s := range e.spaces {
		e.resume(s)
	}
	e.mu.Unlock()
	g.Go(func() error { return e.park.Read(ctx, e.frame) })
	g.Go(func() error { return e.plane.Events(ctx, e.event) })
	g.Go(func() error { e.sweep(ctx); return nil })
	err := g.Wait()
	e.mu.Lock()
	e.run = nil
	e.mu.Unlock()
	e.jobs.Wait()
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return nil
	}
	return err
}

// sweep drops what has waited for nothing.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(e.c.Times.Unverified / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.mu.Lock()
			for _, s := range e.spaces {
				if s.job == nil {
					e.stats.Unproven += uint64(s.hold.expire(now.Add(-e.c.Times.Unverified)))
					old := now.Add(-e.c.Times.Queue)
					for _, f := range s.hold.take(func(f dataplane.Frame) bool { return f.Time.Before(old) }) {
						e.refuse(f)
					}
				}
			}
			e.mu.Unlock()
		}
	}
}

// frame takes a parked frame.
func (e *Engine) frame(f dataplane.Frame) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Parked++
	s := e.spaces[f.IP]
	if s == nil || !opens(f) {
		e.stats.Strange++
		return
	}
	e.arrive(s, f, now)
}

// arrive decides about a frame for a webspace of this node. mu is held.
func (e *Engine) arrive(s *space, f dataplane.Frame, now time.Time) {
	if s.job == nil && s.life == dataplane.LifeAwake {
		if s.port {
			e.inject(f) // it was parked a moment before the switch
		} else {
			e.keep(s, f) // its interface is gone: for a moment, or because it goes down. The next look at LXD tells
		}
		return
	}
	f.Unverified = f.Unverified && !s.hasProved(tupleOf(f), now.Add(-e.c.Times.Unverified))
	if s.job != nil && s.job.admits() {
		e.keep(s, f)
		s.job.tell()
		return
	}
	switch v, why := e.judge(s, f, now); v {
	case ends:
		e.deny(f, why)
	case proves:
		e.keep(s, f)
	case wakes:
		if !e.keep(s, f) { // a boot for a packet that is lost helps nobody
			e.deny(f, deniedNoPackets)
			return
		}
		e.wakeFor(s, e.causeOf(s, f.Proto, tupleOf(f).peer, f.Port), now)
	}
}

// deny ends the wait of who must not wake. mu is held.
func (e *Engine) deny(f dataplane.Frame, why string) {
	e.stats.Denied[why]++
	if why != deniedUnproven { // an answer would go to whoever was named as its sender
		e.refuse(f)
	}
}

// keep holds a frame. mu is held.
func (e *Engine) keep(s *space, f dataplane.Frame) bool {
	kept, gone := s.hold.add(f, e.c.Hold)
	lost := gone
	if !kept {
		lost++
	}
	e.stats.Dropped += uint64(lost)
	if j := s.job; j != nil {
		j.dropped += lost
		if kept {
			j.held++
		}
	}
	return kept
}

// inject sends a frame on. The dataplane counts what it cannot deliver. mu is held.
func (e *Engine) inject(f dataplane.Frame) {
	e.stats.Injected++
	if err := e.park.Inject(f.Data); err != nil {
		e.log.Debug("could not send a held packet on", "err", err)
	}
}

// refuse ends a client's wait. mu is held.
func (e *Engine) refuse(f dataplane.Frame) {
	e.stats.Refused++
	if err := e.park.Refuse(f); err != nil {
		e.log.Debug("could not refuse a held packet", "err", err)
	}
}

// setLife tells the dataplane. mu is held, so that no two tell it different things. An endpoint that the dataplane does
// not know yet gets its life with the next Apply.
func (e *Engine) setLife(s *space, l dataplane.Life) {
	if s.life == l {
		return
	}
	s.life, s.since = l, time.Now()
	if err := e.plane.SetLife(s.t.Addr, l); err != nil && !errors.Is(err, dataplane.ErrNoEndpoint) {
		e.log.Warn("the dataplane does not know how a webspace is", "webspace", s.t.Name, "life", l.String(), "err", err)
	}
}
