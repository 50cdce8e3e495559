package wake

import (
	"context"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// ready sends what is held on as soon as the webspace answers, and returns when nothing is left to do.
//
// Two things must be true before a SYN can succeed: the address is up, and the port listens. Events tell the moment of
// each, but not reliably of both, in either order. So the oldest SYN for a port is tried at each event and every few
// milliseconds besides; the port program drops the refusals meanwhile. A datagram must not be sent twice, so that it
// waits until both are known to be true.
func (e *Engine) ready(ctx context.Context, s *space, j *job, started <-chan error) (ledger.Outcome, error) {
	r := &readiness{e: e, s: s, j: j, pause: e.c.Times.RepeatFirst}
	tick := time.NewTimer(r.pause)
	defer tick.Stop()
	var limit <-chan time.Time
	due := false
	for {
		r.look(time.Now())
		shots, done, err := r.aim(due)
		if err != nil {
			return ledger.Failed, err
		}
		if !e.shoot(ctx, shots) {
			return ledger.Failed, ctx.Err()
		}
		if done {
			return ledger.Done, nil
		}
		due = false
		select {
		case <-ctx.Done():
			return ledger.Failed, ctx.Err()
		case err := <-started:
			if err != nil {
				return ledger.Failed, err
			}
			started = nil
			limit = time.After(e.startupDelay(s, j))
			due = true
		case <-j.news:
		case <-tick.C:
			due = true
			tick.Reset(r.nextPause())
		case <-limit:
			return e.giveUp(ctx, s, j)
		}
	}
}

// startupDelay notes that LXD's start has returned, and gives how long the rest may take.
func (e *Engine) startupDelay(s *space, j *job) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	j.started, j.startedAt = true, time.Now()
	j.mark(&j.split.Started)
	return min(max(s.t.StartupDelay, e.c.Times.LeastDelay), e.c.Times.MaxStartup)
}

// giveUp lets the webspace itself answer what is still held, be it with a refusal. Where nobody has come it has missed nobody: not
// every webspace serves the web.
func (e *Engine) giveUp(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	e.setLife(s, dataplane.LifeAwake)
	rest, came := s.hold.all(), j.held > 0
	e.mu.Unlock()
	if !e.shoot(ctx, rest) {
		return ledger.Failed, ctx.Err()
	}
	if !came {
		return ledger.Done, nil
	}
	return ledger.Timeout, nil
}

// readiness is what one boot knows, beside its job.
type readiness struct {
	e       *Engine
	s       *space
	j       *job
	pause   time.Duration
	carrier time.Time
	pid     Container
	looked  time.Time // at its sockets
	rest    time.Duration
	sought  time.Time // the container, while there was none
	watched bool      // the kernel tells of its sockets: a port that has not been heard of does not listen
	blindly time.Time // ports that are not known to listen have been tried
}

// What is done in vain takes the processors away from the start that is waited for.
const (
	// seekEvery is between two looks for the container.
	seekEvery = 10 * time.Millisecond
	// blindEvery is between two tries of a port that is not known to listen, where that would have been heard of.
	blindEvery = 50 * time.Millisecond
)

// lookLeast is between two looks, whatever is said to have happened.
const lookLeast = time.Millisecond

// nextPause is RepeatFirst for a while, then ever more.
func (r *readiness) nextPause() time.Duration {
	t := &r.e.c.Times
	if !r.carrier.IsZero() && time.Since(r.carrier) > t.Fast {
		r.pause = min(r.pause*3/2, t.RepeatMost)
	}
	return r.pause
}

// look looks at the container itself, where an event would be missed or there is none: without mu, because it reads files.
func (r *readiness) look(now time.Time) {
	e, s, j := r.e, r.s, r.j
	e.mu.Lock()
	port, needs, fresh := s.port, r.needsSockets(), j.fresh
	e.mu.Unlock()
	if !port {
		return
	}
	began := false
	if r.pid.Pid == 0 {
		if now.Sub(r.sought) < seekEvery {
			return
		}
		r.sought = now
		c, err := e.box.Find(j.of.Name)
		if err != nil || c.Pid == 0 {
			return
		}
		r.pid = c
		if c.Netns != 0 {
			if err := e.plane.WatchNetns(j.of.Addr, c.Netns, true); err != nil {
				e.log.Debug("sockets of a webspace are not watched", "webspace", j.of.Name, "err", err)
			} else {
				r.watched, began = true, true // one look for what has happened before
			}
		}
	}
	rest := r.rest
	if fresh { // it says that something has come
		rest = min(rest, lookLeast)
	}
	if !began && (!needs || now.Sub(r.looked) < rest) {
		return
	}
	sockets, err := e.box.Sockets(r.pid, j.of.Addr)
	r.looked, r.rest = now, min(max(r.rest*3/2, e.c.Times.RepeatFirst), e.c.Times.RepeatMost/2)
	if err != nil {
		r.watched = r.watched && !began
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	j.addressed = j.addressed || sockets.Addressed
	for p := range sockets.Open {
		j.open[p] = true
	}
}

// needsSockets: something waits that a repeated SYN cannot find out. mu is held.
func (r *readiness) needsSockets() bool {
	web := Port{dataplane.TCP, r.s.t.HTTPPort}
	if r.j.http && !r.j.open[web] && !r.j.answered[web] {
		return true
	}
	return r.s.hold.rest > 0
}

// aim chooses what to send now. due: it is time to repeat.
func (r *readiness) aim(due bool) (shots []dataplane.Frame, done bool, err error) {
	e, s, j := r.e, r.s, r.j
	e.mu.Lock()
	defer e.mu.Unlock()
	if j.stopped {
		return nil, false, &webspace.Problem{What: s.t.Name + " stopped again at once", Cause: "its init ended",
			Next: "see what it says: lxc console --show-log " + s.t.Name}
	}
	web := Port{dataplane.TCP, s.t.HTTPPort}
	done = j.started && (!j.http || j.open[web] || j.answered[web])
	if !s.port {
		return nil, done && len(s.hold.ports()) == 0, nil
	}
	if r.carrier.IsZero() {
		r.carrier = time.Now()
		j.mark(&j.split.Carrier)
	}
	now := time.Now()
	fresh, blindly := j.fresh, !r.watched || now.Sub(r.blindly) >= blindEvery
	due = due || fresh
	j.fresh = false
	if due && blindly {
		r.blindly = now
	}
	for _, p := range s.hold.ports() {
		same := func(f dataplane.Frame) bool { return portOf(f) == p && !f.Unverified }
		switch {
		case j.answered[p], p.Proto == dataplane.UDP && j.addressed && j.open[p], p.Proto != dataplane.TCP && p.Proto != dataplane.UDP && j.addressed:
			shots = append(shots, s.hold.take(same)...)
		case p.Proto == dataplane.TCP && due && (fresh || blindly || j.open[p]):
			if f, ok := s.hold.oldest(p); ok {
				shots = append(shots, f)
			}
		}
	}
	return shots, done && len(s.hold.ports()) == 0, nil
}

// shoot sends frames on, with pauses between them. It is false when ctx has ended.
func (e *Engine) shoot(ctx context.Context, list []dataplane.Frame) bool {
	for n, h := range list {
		if n > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(e.c.Times.Pace):
			}
		}
		e.mu.Lock()
		e.inject(h)
		e.mu.Unlock()
	}
	return true
}
