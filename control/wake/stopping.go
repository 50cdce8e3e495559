package wake

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Stopping tells that somebody has LXD stop a webspace, past the engine. Its services end before its kernel does, and would
// refuse whoever comes meanwhile: who comes waits instead, and wakes it when it has stopped.
func (e *Engine) Stopping(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.spaces {
		if s.t.Name == name && s.job == nil && (s.life == dataplane.LifeAwake || s.life == dataplane.LifeNapping) {
			e.begin(s, ledger.Sleep, ledger.Cause{Via: ledger.Admin, Detail: "LXD was told to stop it"}, time.Now(), e.attend)
		}
	}
}

// attend is the work of a stop that somebody else does. Nobody waits for it longer than for a place in the queue.
func (e *Engine) attend(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	before := s.life
	e.setLife(s, dataplane.LifeBooting) // as in stop
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Queue)
	defer cancel()
	stopped, err := e.awaitStopped(ctx, j.of.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !stopped {
		e.setLife(s, before) // it runs on, and answers itself; so it does when nobody knows
		return ledger.Undone, err
	}
	s.port = false
	e.setLife(s, dataplane.LifeAsleep)
	return ledger.Done, nil
}

// awaitStopped waits until an instance is stopped, or LXD does not stop it any more.
func (e *Engine) awaitStopped(ctx context.Context, name string) (bool, error) {
	for wait := 10 * time.Millisecond; ; wait = min(wait*3/2, 500*time.Millisecond) {
		// In this order: what has ended between the two has ended in the instance's state.
		busy, err := e.stopping(ctx, name)
		if err == nil {
			var i webspace.Instance
			if i, err = e.lxd.Get(ctx, name); err == nil && i.Status == webspace.Stopped {
				return true, nil
			}
		}
		if err == nil && !busy || errors.Is(err, webspace.ErrNotFound) {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(wait):
		}
	}
}

// stopping says whether LXD is stopping an instance.
func (e *Engine) stopping(ctx context.Context, name string) (bool, error) {
	list, err := e.lxd.Operations(ctx)
	for _, op := range list {
		if op.Instance == name && strings.HasPrefix(op.What, webspace.Stopping) {
			return true, nil
		}
	}
	return false, err
}
