package wake

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

var (
	// ErrBusy: something else is being done to the webspace right now.
	ErrBusy = errors.New("it is being woken or put to sleep already")
	// ErrUndone: a packet arrived before it slept.
	ErrUndone = errors.New("a packet arrived meanwhile")

	errNotRunning = errors.New("the engine does not run")
)

// Sleep stops a webspace: gracefully for as long as grace, then by force. What arrives for it meanwhile is held, and
// wakes it when it has stopped.
func (e *Engine) Sleep(ctx context.Context, addr netip.Addr, c ledger.Cause, grace time.Duration) error {
	return e.lay(ctx, addr, ledger.Sleep, c, func(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
		return e.stop(ctx, s, j, grace)
	})
}

func (e *Engine) stop(ctx context.Context, s *space, j *job, grace time.Duration) (ledger.Outcome, error) {
	e.mu.Lock()
	before := s.life
	e.setLife(s, dataplane.LifeBooting) // new packets are parked, and its refusals while it goes down are nobody's business
	e.mu.Unlock()
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, grace+e.c.Times.Stop)
	defer cancel()
	err := e.lxd.Stop(limit, j.of.Name, grace)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.setLife(s, before)
		return ledger.Failed, err
	}
	s.port = false
	e.setLife(s, dataplane.LifeAsleep)
	if grace == 0 || time.Since(began) > grace {
		return ledger.Forced, nil
	}
	return ledger.Done, nil
}

// lay runs a job that puts a webspace to rest, and waits for its end.
func (e *Engine) lay(ctx context.Context, addr netip.Addr, kind ledger.Kind, c ledger.Cause, work func(context.Context, *space, *job) (ledger.Outcome, error)) error {
	undone := false
	e.mu.Lock()
	s := e.spaces[addr]
	switch {
	case s == nil:
		e.mu.Unlock()
		return notHere(addr.String())
	case s.job != nil:
		e.mu.Unlock()
		return ErrBusy
	case kind == ledger.Nap && s.life != dataplane.LifeAwake, s.life == dataplane.LifeAsleep:
		e.mu.Unlock()
		return nil // it rests already
	}
	j := e.begin(s, kind, c, time.Now(), func(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
		outcome, err := work(ctx, s, j)
		undone = outcome == ledger.Undone
		return outcome, err
	})
	e.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-j.done:
	}
	if j.err == nil && undone {
		return ErrUndone
	}
	return j.err
}

func notHere(who string) error {
	return &webspace.Problem{What: "there is no webspace " + who + " on this node", Cause: "it is on another node, or does not exist",
		Next: "see where it is: lxc list", Kind: webspace.ErrNotFound}
}
