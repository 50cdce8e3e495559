package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Status is how the way from LXD into the kernel goes.
type Status struct {
	Connected bool      // LXD answered the last time it was asked about this node
	LXDErr    error     // why not
	LXDSeen   time.Time // of the last good answer about this node
	// ClusterErr says why the other nodes' webspaces could not be read; theirs are then as last known.
	ClusterErr error
	Server     webspace.Server

	Runs, Failures uint64
	LastSync       time.Time     // end of the last pass that was applied
	Duration       time.Duration // of that pass
	Err            error         // of the last pass; nil when it was applied
	// Fresh says that the last pass was applied with answers of LXD, not with what was last known.
	Fresh   bool
	Changes map[string]dataplane.Delta // of the last pass

	Webspaces, Ports, Endpoints, Forwards, Peers int
	PeerNames                                    map[netip.Addr]string // by VTEP; "" when it has none
	Problems                                     []Problem

	published *Problem
	adoption  []Problem
	built     []Problem
}

// errNotYet: LXD has answered about this node, but not yet about the cluster.
var errNotYet = errors.New("waiting for the first answer about the whole cluster")

// Status returns a copy.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Changes, s.PeerNames = maps.Clone(s.Changes), maps.Clone(s.PeerNames)
	s.Problems = slices.Concat(s.built, s.adoption)
	if s.published != nil {
		s.Problems = append(s.Problems, *s.published)
	}
	return s
}

// Subscribe gives a hint after each pass that may have changed the status. cancel ends it.
func (a *Agent) Subscribe() (hints <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers[c] = true
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, c)
	}
}

// Result is what a Resync did.
type Result struct {
	Duration time.Duration
	Changes  map[string]dataplane.Delta
	Problems []Problem
}

type resync struct {
	err  error
	done chan struct{}
	out  Result
}

// Resync looks at everything again, applies it, and waits for that. The error is why what is in force is not fresh.
func (a *Agent) Resync(ctx context.Context) (Result, error) {
	r := &resync{done: make(chan struct{})}
	a.mu.Lock()
	if a.done {
		a.mu.Unlock()
		return Result{}, errEnded
	}
	a.waiting = append(a.waiting, r)
	a.mu.Unlock()
	hint(a.cluster)
	began := time.Now()
	select {
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-r.done:
	}
	r.out.Duration = time.Since(began)
	return r.out, r.err
}

var errEnded = errors.New("the node agent has ended")

// finish lets go of everybody who still waits.
func (a *Agent) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
	for _, r := range append(a.waiting, a.read...) {
		r.err = errEnded
		close(r.done)
	}
	a.waiting, a.read = nil, nil
}

func (s *Status) heardCluster(k known, err error) {
	s.ClusterErr = err
	if err == nil {
		s.Server = k.server
	}
}

func (s *Status) heardLocal(err error) {
	s.Connected, s.LXDErr = err == nil, err
	if err == nil {
		s.LXDSeen = time.Now()
	}
}

// report notes the end of a pass. applied is nil when it failed with err; lxd is the error of LXD, if any.
func (a *Agent) report(began time.Time, want Desired, applied *dataplane.Changes, err, lxd error, waiting []*resync) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.status
	s.Runs++
	if err != nil && !errors.Is(err, errNotYet) { // waiting for the first answer is not a failure
		s.Failures++
		if s.Err == nil || s.Err.Error() != err.Error() {
			a.log.Warn("the dataplane does not follow LXD", "err", err)
		}
	}
	s.Err = err
	if applied != nil {
		s.LastSync = time.Now()
		s.Duration = time.Since(began)
		s.Fresh = lxd == nil && s.ClusterErr == nil
		s.Changes = applied.Tables
		s.Webspaces = len(want.State.Endpoints)
		for _, e := range want.State.Endpoints {
			if e.Owner == "" {
				s.Webspaces--
			}
		}
		s.Ports, s.Endpoints = len(want.State.Ports), len(want.State.Endpoints)
		s.Forwards, s.Peers = len(want.State.Forwards), len(want.State.Peers)
		s.PeerNames = want.Names
		problems := slices.Concat(want.Problems, applied.Problems)
		a.logNew(s.built, problems)
		s.built = problems
	}
	for _, r := range waiting {
		r.err = errors.Join(r.err, err)
		if err == nil && lxd != nil {
			r.err = errors.Join(r.err, lxd)
		}
		if applied != nil {
			r.out.Changes, r.out.Problems = applied.Tables, s.built
		}
		close(r.done)
	}
	for c := range a.watchers {
		hint(c)
	}
}

// logNew writes each problem once, when it appears, and once when it is gone.
func (a *Agent) logNew(before, now []Problem) {
	old := make(map[string]bool, len(before))
	for _, p := range before {
		old[p.Error()] = true
	}
	for _, p := range now {
		if !old[p.Error()] {
			a.log.Warn("skipped", "subject", p.Subject, "err", p.Err)
		}
		delete(old, p.Error())
	}
	for text := range old {
		a.log.Info("no longer a problem", "was", text)
	}
}

func problemOf(subject string, err error) *Problem {
	if err == nil {
		return nil
	}
	return &Problem{Subject: subject, Err: err}
}
