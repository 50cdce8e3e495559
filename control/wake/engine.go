package wake

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/ledger"
)

// Engine wakes the webspaces of one node. Make it with New, give it life with Run.
type Engine struct {
	c      Config
	lxd    LXD
	plane  Plane
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
	life    Life      // what the dataplane was told last
	since   time.Time // it is in that life
	changed time.Time // an observation that began before this is out of date
	port    bool      // the dataplane can deliver to it
	hold    hold
	job     *job // what is under way; nil: nothing
	gone    bool // LXD no longer has it

	failures int // in a row
	failed   error
	retryAt  time.Time
}

// Stats counts since New.
type Stats struct {
	Parked     uint64 // frames that came from the dataplane
	Strange    uint64 // of them, not for a webspace of this node, or not understood
	Dropped    uint64 // of them, not held for want of room
	Injected   uint64 // sent on, repetitions included
	Refused    uint64 // answered with a reset
	Challenged uint64
	Unproven   uint64            // held, and dropped because nobody proved anything
	Denied     map[string]uint64 // packets that were not let wake, by reason
}

// New makes an engine. box may be nil; then everything that has a slower way takes it.
func New(c Config, lxd LXD, plane Plane, box Containers, led Ledger, log *slog.Logger) *Engine {
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if box == nil {
		box = blind{}
	}
	return &Engine{
		c: c, lxd: lxd, plane: plane, box: box, ledger: led, log: log, starts: newQueue(c.Starts),
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
	e.mu.Unlock()
	g.Go(func() error { return e.plane.Frames(ctx, e.frame) })
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
				}
			}
			e.mu.Unlock()
		}
	}
}

// frame takes a parked frame.
func (e *Engine) frame(frame []byte) {
	now := time.Now()
	p, ok := parse(frame)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Parked++
	s := e.spaces[p.tuple.dst.Addr()]
	if !ok || s == nil {
		e.stats.Strange++
		return
	}
	if s.job == nil && s.life == Awake {
		e.inject(frame) // it was parked a moment before the switch
		return
	}
	if p.ack && (s.job == nil || s.job.kind != ledger.Wake) {
		return // of a connection that is over: the dataplane answers it
	}
	proved := false
	if s.job == nil || !s.job.admits() {
		v, why := e.judge(s, p, false, now)
		switch v {
		case ends, waits:
			e.stats.Denied[why]++
			e.refuse(p, frame)
			return
		case proves:
			e.keep(s, p, frame, now, false)
			e.stats.Challenged++
			if err := e.plane.Challenge(frame); err != nil {
				e.log.Debug("could not challenge", "webspace", s.t.Name, "err", err)
			}
			return
		}
		proved = true
	}
	if !e.keep(s, p, frame, now, true) && s.job == nil {
		return // no room at all: a boot for a packet that is lost helps nobody
	}
	if proved {
		e.wakeFor(s, e.causeOf(s, p), now)
	}
	if s.job != nil {
		s.job.tell()
	}
}

// keep holds a frame. mu is held.
func (e *Engine) keep(s *space, p packet, frame []byte, now time.Time, verified bool) bool {
	kept := s.hold.add(p, frame, now, verified, e.c.Hold)
	if !kept {
		e.stats.Dropped++
	}
	if j := s.job; j != nil {
		if kept {
			j.held++
		} else {
			j.dropped++
		}
	}
	return kept
}

// inject sends a frame on. The dataplane counts what it cannot deliver.
func (e *Engine) inject(frame []byte) {
	e.stats.Injected++
	if err := e.plane.Inject(frame); err != nil {
		e.log.Debug("could not send a held packet on", "err", err)
	}
}

// refuse ends a TCP client's wait. mu is held.
func (e *Engine) refuse(p packet, frame []byte) {
	if !p.syn {
		return
	}
	e.stats.Refused++
	if err := e.plane.Refuse(frame); err != nil {
		e.log.Debug("could not refuse a held packet", "err", err)
	}
}

// setLife tells the dataplane. mu is held, so that no two tell it different things.
func (e *Engine) setLife(s *space, l Life) {
	if s.life == l {
		return
	}
	s.life, s.since = l, time.Now()
	if err := e.plane.SetLife(s.t.Addr, l); err != nil {
		e.log.Warn("the dataplane does not know how a webspace is; the next look at LXD tells it again",
			"webspace", s.t.Name, "life", l.String(), "err", err)
	}
}
