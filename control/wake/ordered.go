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

// Ordered tells that somebody has LXD start, stop or restart a webspace, perhaps past the engine. Its services end before its kernel
// does, and come later, and would be missed by whoever comes meanwhile: who comes waits instead. One that is stopped they wake when
// it has stopped; of one that is started or restarted they are served by its next life, which LXD begins.
//
// The engine's own orders come back by this way as well, and find it at work.
func (e *Engine) Ordered(o webspace.Order) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.spaces {
		if s.t.Name != o.Name || s.job != nil {
			continue
		}
		up := s.life == dataplane.LifeAwake || s.life == dataplane.LifeNapping
		switch {
		case o.What == webspace.Starting && s.life == dataplane.LifeAsleep:
			e.begin(s, ledger.Wake, byAdmin("start"), time.Now(), e.attendStart).http = true
		case o.What == webspace.Stopping && up:
			e.begin(s, ledger.Sleep, byAdmin("stop"), time.Now(), e.attendStop)
		case o.What == webspace.Restarting && up:
			e.begin(s, ledger.Sleep, byAdmin("restart"), time.Now(), e.attendStop).restart = true
		}
	}
}

func byAdmin(what string) ledger.Cause {
	return ledger.Cause{Via: ledger.Admin, Detail: "LXD was told to " + what + " it"}
}

// attendStop is the work of a stop that somebody else does. Nobody waits for it longer than for a place in the queue.
func (e *Engine) attendStop(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
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

// attendStart is the work of a start that somebody else has LXD do. An order that is over when it is heard of, and has left
// nothing running, is none any more.
func (e *Engine) attendStart(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	if busy, i, err := e.inspect(ctx, j.of.Name); err == nil && !busy && i.Status == webspace.Stopped {
		return ledger.Undone, nil
	}
	return e.reboot(ctx, s, j)
}

// reboot is the work of the second half of a restart: what is held is sent on as soon as it can be answered.
func (e *Engine) reboot(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	j.mark(&j.split.Decided)
	e.mu.Unlock()
	return e.bring(ctx, s, j, func() error { return e.awaitStarted(ctx, j.of.Name) })
}

// awaitStarted waits until LXD has started an instance that it starts or restarts.
func (e *Engine) awaitStarted(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Start)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(wait*3/2, lookMost) {
		busy, i, err := e.inspect(ctx, name)
		switch {
		case errors.Is(err, webspace.ErrNotFound):
			return err
		case err == nil && !busy && i.Status == webspace.Stopped:
			return &webspace.Problem{What: name + " was not started", Cause: "LXD's start failed",
				Next: "see why: lxc info --show-log " + name, Kind: webspace.ErrUnavailable}
		case err == nil && !busy:
			return nil
		}
		select {
		case <-ctx.Done():
			return &webspace.Problem{What: name + " was not started", Cause: fmt.Sprintf("LXD did not get it done within %v", e.c.Times.Start),
				Next: "see what it waits for: lxc operation list", Kind: webspace.ErrUnavailable, Err: errors.Join(ctx.Err(), err)}
		case <-time.After(wait):
		}
	}
}

// inspect says whether LXD starts, stops or restarts an instance, and how it is. In this order: what has ended between the two
// has ended in the instance's state.
func (e *Engine) inspect(ctx context.Context, name string) (busy bool, i webspace.Instance, err error) {
	list, err := e.lxd.Operations(ctx)
	if err != nil {
		return false, i, err
	}
	for _, op := range list {
		for _, what := range []string{webspace.Starting, webspace.Stopping, webspace.Restarting} {
			busy = busy || op.Instance == name && strings.HasPrefix(op.What, what)
		}
	}
	i, err = e.lxd.Get(ctx, name)
	return busy, i, err
}
