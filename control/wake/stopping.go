package wake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Stopping tells that somebody has LXD stop a webspace, or restart it, past the engine. Its services end before its kernel does, and
// would refuse whoever comes meanwhile: who comes waits instead. One that is stopped they wake when it has stopped; of one that is
// restarted they are served by its next life, which LXD begins.
func (e *Engine) Stopping(stop webspace.Stop) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.spaces {
		if s.t.Name == stop.Name && s.job == nil && (s.life == dataplane.LifeAwake || s.life == dataplane.LifeNapping) {
			c := ledger.Cause{Via: ledger.Admin, Detail: "LXD was told to stop it"}
			if stop.Restart {
				c = byRestart
			}
			e.begin(s, ledger.Sleep, c, time.Now(), e.attend).restart = stop.Restart
		}
	}
}

var byRestart = ledger.Cause{Via: ledger.Admin, Detail: "LXD was told to restart it"}

// attend is the work of a stop that somebody else does. Nobody waits for it longer than for a place in the queue.
func (e *Engine) attend(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	before := s.life
	e.setLife(s, dataplane.LifeBooting) // as in stop
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Queue)
	defer cancel()
	how, err := e.awaitStopped(ctx, j.of.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch how {
	case runsOn:
		j.restart = false
		e.setLife(s, before) // it answers itself; so it does when nobody knows
		return ledger.Undone, err
	case isStopped:
		s.port = false
	case runsAnew:
		j.restart = true
	}
	e.setLife(s, dataplane.LifeAsleep)
	return ledger.Done, nil
}

// ending is what came of a stop.
type ending int

const (
	runsOn    ending = iota // LXD does not stop it any more, or nobody knows
	isStopped               // if only for a moment
	runsAnew                // that moment was missed
)

// lookMost is the longest pause between two looks at what LXD does with an instance: less than it needs to start one.
const lookMost = 200 * time.Millisecond

// awaitStopped waits until an instance is stopped, or LXD does not stop it any more.
func (e *Engine) awaitStopped(ctx context.Context, name string) (how ending, err error) {
	var life time.Time // its last start, before all this
	for wait := 10 * time.Millisecond; ; wait = min(wait*3/2, lookMost) {
		busy, i, err := e.inspect(ctx, name)
		switch {
		case errors.Is(err, webspace.ErrNotFound):
			return runsOn, err
		case err != nil:
		case i.Status == webspace.Stopped:
			return isStopped, nil
		case !life.IsZero() && i.Started.After(life):
			return runsAnew, nil
		case !busy:
			return runsOn, nil
		default:
			life = i.Started
		}
		select {
		case <-ctx.Done():
			return runsOn, err
		case <-time.After(wait):
		}
	}
}

// reboot is the work of a start that somebody else has LXD do: what is held is sent on as soon as it can be answered.
func (e *Engine) reboot(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	j.mark(&j.split.Decided)
	e.mu.Unlock()
	return e.bring(ctx, s, j, func() error { return e.awaitStarted(ctx, j.of.Name) })
}

// awaitStarted waits until LXD has started an instance that it restarts.
func (e *Engine) awaitStarted(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Start)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(wait*3/2, lookMost) {
		busy, i, err := e.inspect(ctx, name)
		switch {
		case errors.Is(err, webspace.ErrNotFound):
			return err
		case err == nil && !busy && i.Status == webspace.Stopped:
			return &webspace.Problem{What: name + " was not started again", Cause: "LXD's restart failed when it had stopped it",
				Next: "see why: lxc info --show-log " + name, Kind: webspace.ErrUnavailable}
		case err == nil && !busy:
			return nil
		}
		select {
		case <-ctx.Done():
			return &webspace.Problem{What: name + " was not started again", Cause: fmt.Sprintf("LXD did not get it done within %v", e.c.Times.Start),
				Next: "see what it waits for: lxc operation list", Kind: webspace.ErrUnavailable, Err: errors.Join(ctx.Err(), err)}
		case <-time.After(wait):
		}
	}
}

// inspect says whether LXD stops or restarts an instance, and how it is. In this order: what has ended between the two
// has ended in the instance's state.
func (e *Engine) inspect(ctx context.Context, name string) (busy bool, i webspace.Instance, err error) {
	list, err := e.lxd.Operations(ctx)
	if err != nil {
		return false, i, err
	}
	for _, op := range list {
		busy = busy || op.Instance == name && (strings.HasPrefix(op.What, webspace.Stopping) || strings.HasPrefix(op.What, webspace.Restarting))
	}
	i, err = e.lxd.Get(ctx, name)
	return busy, i, err
}
