package wake

import (
	"context"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// job is a wake, thaw, nap or sleep that is under way. The engine's mutex guards it.
type job struct {
	kind  ledger.Kind
	of    Target // as it was at the beginning: its name, uid and address stay what they are
	cause ledger.Cause
	began time.Time
	split ledger.Split
	news  chan struct{} // something below has changed
	done  chan struct{} // closed at the end
	err   error         // then

	started   bool          // LXD's start has returned
	startedAt time.Time     // when
	stopped   bool          // it has stopped again by itself
	addressed bool          // its address is up
	fresh     bool          // something happened that makes a try worth while at once
	open      map[Port]bool // sockets that are there
	answered  map[Port]bool // ports that have answered
	http      bool          // somebody waits for the HTTP port
	next      *ledger.Cause // sleep: somebody wants it awake as soon as it is stopped
	restart   bool          // sleep: LXD starts it again
	kicked    *ledger.Cause // nap: the same

	held, dropped int
}

// admits: a packet needs no permission any more, because the webspace is on its way already.
func (j *job) admits() bool {
	return j.kind == ledger.Wake || j.kind == ledger.Thaw || j.next != nil || j.restart
}

// tell says that something has changed.
func (j *job) tell() {
	select {
	case j.news <- struct{}{}:
	default:
	}
}

// mark notes when a step was reached, the first time.
func (j *job) mark(step *time.Duration) {
	if *step == 0 {
		*step = max(time.Since(j.began), 1)
	}
}

// begin starts a job in a goroutine of its own. mu is held; nothing is under way. work returns without mu held.
func (e *Engine) begin(s *space, kind ledger.Kind, c ledger.Cause, began time.Time, work func(context.Context, *space, *job) (ledger.Outcome, error)) *job {
	j := &job{kind: kind, of: s.t, cause: c, began: began, news: make(chan struct{}, 1), done: make(chan struct{}),
		open: make(map[Port]bool), answered: make(map[Port]bool)}
	if e.run == nil || e.run.Err() != nil {
		j.err = errNotRunning
		close(j.done)
		return j
	}
	ctx := e.run
	j.held = len(s.hold.list)
	s.job = j
	e.jobs.Go(func() {
		outcome, err := work(ctx, s, j)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.finish(ctx, s, j, outcome, err)
	})
	return j
}

// finish ends a job. mu is held.
func (e *Engine) finish(ctx context.Context, s *space, j *job, outcome ledger.Outcome, err error) {
	now := time.Now()
	s.job, s.changed = nil, now
	j.err = err
	close(j.done)
	if ctx.Err() != nil {
		return // the daemon ends; the next one sees what LXD made of it
	}
	r := ledger.Record{Time: j.began, UID: s.t.UID, Instance: s.t.Name, Kind: j.kind, Cause: j.cause, Outcome: outcome,
		Took: now.Sub(j.began), Split: j.split, Held: j.held, Dropped: j.dropped}
	if err != nil {
		r.Error = err.Error()
		e.log.Warn("a webspace did not come to where it should", "webspace", s.t.Name, "what", string(j.kind), "outcome", string(outcome), "err", err)
	} else {
		e.log.Info("webspace", "webspace", s.t.Name, "what", string(j.kind), "via", string(j.cause.Via), "outcome", string(outcome), "took", r.Took)
	}
	e.ledger.Add(r)
	if j.kind == ledger.Wake && !s.t.Watched || s.gone {
		if err := e.plane.UnwatchNetns(j.of.Addr); err != nil {
			e.log.Debug("sockets of a webspace are still watched", "webspace", j.of.Name, "err", err)
		}
	}
	if s.gone {
		s.hold.all()
		delete(e.spaces, s.t.Addr)
		return
	}
	for _, h := range s.hold.all() { // came between the last look and now
		switch {
		case s.life == dataplane.LifeAwake || s.life == dataplane.LifeNapping:
			e.inject(h)
		case err != nil:
			e.refuse(h)
		case j.kind == ledger.Wake: // which came to nothing
			e.arrive(s, h, now)
		default:
			e.keep(s, h)
		}
	}
	switch {
	case j.restart:
		e.begin(s, ledger.Wake, byAdmin("restart"), now, e.reboot).http = true
	case j.next != nil && s.life == dataplane.LifeAsleep:
		e.wakeFor(s, *j.next, now)
	}
}
