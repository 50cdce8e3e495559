package wake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// wakeFor wakes a webspace by whatever it needs. mu is held.
func (e *Engine) wakeFor(s *space, c ledger.Cause, now time.Time) {
	switch {
	case s.job == nil && s.life == dataplane.LifeNapping:
		e.begin(s, ledger.Thaw, c, now, e.thaw)
	case s.job == nil && s.life != dataplane.LifeAwake:
		e.begin(s, ledger.Wake, c, now, e.boot)
	case s.job == nil:
	case s.job.kind == ledger.Sleep && s.job.next == nil:
		s.job.next = &c
	case s.job.kind == ledger.Nap && s.job.kicked == nil:
		s.job.kicked = &c
		s.job.tell()
	}
}

// boot is the work of a wake: its turn, LXD's start, and what is held sent on as soon as it can be answered.
func (e *Engine) boot(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	turn, cancel := context.WithTimeout(ctx, e.c.Times.Queue)
	leave, err := e.starts.acquire(turn, j.of.UID)
	cancel()
	if err != nil {
		return e.bootFailed(s, ledger.Failed, &webspace.Problem{
			What: "could not wake " + j.of.Name, Cause: fmt.Sprintf("%d others were waiting to be started for %v", e.starts.length(), e.c.Times.Queue),
			Next: "look for what hangs: lxc operation list", Kind: webspace.ErrUnavailable, Err: err})
	}
	e.mu.Lock()
	j.mark(&j.split.Decided)
	e.mu.Unlock()
	if e.c.Hurry != nil {
		defer e.c.Hurry(hurryMost)()
	}
	return e.bring(ctx, s, j, func() error {
		defer leave()
		return e.start(ctx, j.of.Name)
	})
}

// bring attends to a start until what is held is answered. start does it, or waits for it.
func (e *Engine) bring(ctx context.Context, s *space, j *job, start func() error) (ledger.Outcome, error) {
	e.mu.Lock()
	e.setLife(s, dataplane.LifeBooting)
	e.mu.Unlock()
	started := make(chan error, 1)
	e.jobs.Go(func() { started <- start() })
	outcome, err := e.ready(ctx, s, j, started)
	if err != nil {
		return e.bootFailed(s, outcome, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.failures, s.failed, s.retryAt = 0, nil, time.Time{}
	e.setLife(s, dataplane.LifeAwake)
	return outcome, nil
}

// bootFailed gives held clients a clear end, and the webspace a pause.
func (e *Engine) bootFailed(s *space, outcome ledger.Outcome, err error) (ledger.Outcome, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pause := e.c.Times.RetryMost
	if s.failures < 20 {
		pause = min(pause, e.c.Times.RetryFirst<<s.failures)
	}
	s.failures++
	s.failed, s.retryAt = err, time.Now().Add(pause)
	if e.run != nil && e.run.Err() == nil {
		for _, h := range s.hold.all() {
			e.refuse(h)
		}
		e.setLife(s, dataplane.LifeAsleep)
	}
	return outcome, err
}

// start makes LXD start an instance. One that is on its way down, or held by another operation, is waited for.
func (e *Engine) start(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Start)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := e.lxd.Start(ctx, name)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			i, look := e.lxd.Get(ctx, name)
			switch {
			case errors.Is(look, webspace.ErrNotFound):
				return look
			case look == nil && i.Status == webspace.Running:
				return nil // somebody else was quicker
			case look == nil && i.Status == webspace.Frozen:
				if e.lxd.Unfreeze(ctx, name) == nil {
					return nil
				}
			case look == nil && i.Status == webspace.Stopped && !errors.Is(err, webspace.ErrConflict) && !errors.Is(err, webspace.ErrUnavailable):
				return err
			}
		}
		select {
		case <-ctx.Done():
			return &webspace.Problem{What: "could not start " + name, Cause: fmt.Sprintf("LXD did not get it done within %v: %v", e.c.Times.Start, err),
				Next: "see what it waits for: lxc operation list", Kind: webspace.ErrUnavailable, Err: err}
		case <-time.After(wait):
		}
	}
}
