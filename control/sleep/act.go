package sleep

import (
	"context"
	"errors"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/webspace"
)

// After a step that failed, before it is tried again.
const (
	retryFirst = 30 * time.Second
	retryMost  = 30 * time.Minute
)

// maxStep bounds a step beyond its grace: LXD's own work.
const maxStep = 2 * time.Minute

// begin begins a step, unless something keeps the webspace awake, one is under way for it, or too many are at all.
func (k *Keeper) begin(ctx context.Context, s Step, ops map[string][]webspace.Operation, grace time.Duration) bool {
	if len(k.keeps(s.Seen, ops[s.Seen.Name])) > 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	uid := s.Seen.UID
	if ctx.Err() != nil || k.under[uid] || len(k.under) >= k.o.Parallel || time.Now().Before(k.failed[uid].before) {
		return false
	}
	k.under[uid] = true
	k.steps.Add(1)
	go func() {
		defer k.steps.Done()
		err := k.step(ctx, s, grace)
		k.ended(ctx, s, err)
	}()
	return true
}

func (k *Keeper) ended(ctx context.Context, s Step, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	uid := s.Seen.UID
	delete(k.under, uid)
	switch {
	case err == nil, errors.Is(err, errKept), errors.Is(err, wake.ErrUndone), errors.Is(err, wake.ErrBusy):
		delete(k.failed, uid)
	case ctx.Err() == nil:
		f := k.failed[uid]
		f.before = time.Now().Add(min(retryFirst<<min(f.times, 10), retryMost))
		f.times++
		k.failed[uid] = f
		k.log.Warn("a webspace could not be put to sleep", "webspace", s.Seen.Name, "cause", s.Cause.Via, "err", err, "again_after", f.before)
	}
}

// errKept: something keeps the webspace awake that was not there at the look.
var errKept = errors.New("something keeps it awake")

// step puts one webspace to sleep. Between the look and now an exec may have begun, so that everything is asked again.
func (k *Keeper) step(ctx context.Context, s Step, grace time.Duration) error {
	// The end of the daemon does not leave a webspace half stopped: LXD's work goes on, and so does ours, for so long.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+maxStep)
	defer cancel()
	now, err := k.lxd.Get(ctx, s.Seen.Name)
	if err != nil {
		return err
	}
	if now.Status != s.Seen.Status || now.RecordErr != nil || now.Record.Address != s.Seen.Addr || now.HeldUntil.After(time.Now()) {
		return errKept // it is no longer what was decided about; the next look decides anew
	}
	if err := k.still(ctx, s); err != nil {
		return err
	}
	if s.Depth == Asleep {
		k.log.Info("puts a webspace to sleep", "webspace", s.Seen.Name, "cause", s.Cause.Via, "detail", s.Cause.Detail)
		return k.power.Sleep(ctx, s.Seen.Addr, s.Cause, grace)
	}
	k.log.Info("lets a webspace nap", "webspace", s.Seen.Name, "cause", s.Cause.Via, "detail", s.Cause.Detail)
	if err := k.power.Nap(ctx, s.Seen.Addr, s.Cause); err != nil {
		return err
	}
	// What began while it was being frozen now hangs; LXD refuses what comes later. (Packets the engine looks after.)
	if err := k.unkept(ctx, s.Seen); err != nil {
		_, up := k.power.EnsureStarted(ctx, s.Seen.UID, ledger.Cause{Via: ledger.API, Detail: "it was used while it was put to sleep"})
		return errors.Join(err, up)
	}
	return nil
}

// still says whether nothing keeps it awake and nobody has used it since the look.
func (k *Keeper) still(ctx context.Context, s Step) error {
	if err := k.unkept(ctx, s.Seen); err != nil {
		return err
	}
	activity, err := k.plane.Activity()
	if err != nil {
		return err
	}
	if activity[s.Seen.Addr].LastPacket.After(s.Seen.LastPacket) {
		return errKept
	}
	return nil
}

// unkept says whether nothing keeps it awake.
func (k *Keeper) unkept(ctx context.Context, s Seen) error {
	ops, err := k.lxd.Operations(ctx)
	if err != nil {
		return err
	}
	var mine []webspace.Operation
	for _, op := range ops {
		if op.Instance == s.Name {
			mine = append(mine, op)
		}
	}
	if len(k.keeps(s, mine)) > 0 {
		return errKept
	}
	return nil
}
