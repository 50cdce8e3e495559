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

// unfreezeTries: LXD must not believe for long that something is frozen which is not.
const unfreezeTries = 5

// thaw is the work of a thaw: its processes go on at once, then LXD hears of it.
func (e *Engine) thaw(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	direct := e.box.Thaw(j.of.Name)
	e.mu.Lock()
	j.mark(&j.split.Decided)
	if direct == nil {
		j.mark(&j.split.Delivered)
		e.setLife(s, dataplane.LifeAwake)
	}
	e.mu.Unlock()
	if direct != nil {
		e.log.Debug("could not thaw past LXD", "webspace", j.of.Name, "err", direct)
	}
	err := e.unfreeze(ctx, j.of.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	j.mark(&j.split.Started)
	if err != nil {
		return ledger.Failed, err // the next look at LXD decides in which life it is
	}
	j.mark(&j.split.Delivered)
	e.setLife(s, dataplane.LifeAwake)
	return ledger.Done, nil
}

// unfreeze makes LXD let an instance go on, unless it does already.
func (e *Engine) unfreeze(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.c.Times.Start)
	defer cancel()
	var err error
	for try := range unfreezeTries {
		if err = e.lxd.Unfreeze(ctx, name); err == nil {
			return nil
		}
		if i, look := e.lxd.Get(ctx, name); look == nil && i.Status == webspace.Running {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try+1) * 20 * time.Millisecond):
		}
	}
	return err
}

// Nap freezes a webspace that is awake. A packet that arrives meanwhile lets it go on: then it returns ErrUndone.
func (e *Engine) Nap(ctx context.Context, addr netip.Addr, c ledger.Cause) error {
	return e.lay(ctx, addr, ledger.Nap, c, e.nap)
}

func (e *Engine) nap(ctx context.Context, s *space, j *job) (ledger.Outcome, error) {
	e.mu.Lock()
	e.setLife(s, dataplane.LifeNapping) // first: what arrives from now on raises an event
	e.mu.Unlock()
	limit, cancel := context.WithTimeout(ctx, e.c.Times.Start)
	defer cancel()
	err := e.lxd.Freeze(limit, j.of.Name)
	e.mu.Lock()
	kicked := j.kicked
	if err == nil && kicked == nil {
		e.mu.Unlock()
		return ledger.Done, nil
	}
	e.mu.Unlock()
	if direct := e.box.Thaw(j.of.Name); direct != nil && err == nil {
		e.log.Debug("could not thaw past LXD", "webspace", j.of.Name, "err", direct)
	}
	again := e.unfreeze(ctx, j.of.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if again == nil {
		e.setLife(s, dataplane.LifeAwake)
	}
	switch {
	case err != nil:
		return ledger.Failed, errors.Join(err, again)
	case again != nil:
		return ledger.Failed, again
	}
	return ledger.Undone, nil
}
