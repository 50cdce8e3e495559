package sleep

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Leases hold webspaces awake that are, or may be, on other nodes: sessions are noted in LXD, for a while and again and
// again, so that one whose process has died ends by itself. Execs and consoles every node sees in its own LXD; it is for
// what LXD does not show, transfers of files. Make it with NewLeases, give it life with Run.
type Leases struct {
	mark func(ctx context.Context, uid int, until time.Time) error
	log  *slog.Logger
	wake chan struct{}

	mu   sync.Mutex
	held map[int]*lease // by uid
}

type lease struct {
	users int
	since time.Time
	until time.Time // as it is noted; zero: it is not
}

// Times of leases. A session shorter than leaseAfter is over before anybody's time to nap.
const (
	leaseAfter = 5 * time.Second
	leaseFor   = 3 * time.Minute
	leaseRenew = time.Minute
)

// NewLeases makes Leases. mark notes in LXD until when a webspace is held; the zero time: it is not any more.
func NewLeases(mark func(ctx context.Context, uid int, until time.Time) error, log *slog.Logger) *Leases {
	return &Leases{mark: mark, log: log, wake: make(chan struct{}, 1), held: make(map[int]*lease)}
}

// Hold is a webspace.HoldFunc. It never blocks.
func (l *Leases) Hold(uid int) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[uid]
	if h == nil {
		h = &lease{since: time.Now()}
		l.held[uid] = h
	}
	h.users++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		h.users--
		l.mu.Unlock()
		select {
		case l.wake <- struct{}{}:
		default:
		}
	})
}

// Run keeps LXD's notes until ctx ends; they then run out.
func (l *Leases) Run(ctx context.Context) error {
	tick := time.NewTicker(leaseAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.wake:
		}
		for uid, until := range l.due(time.Now()) {
			if err := l.mark(ctx, uid, until); err != nil && ctx.Err() == nil {
				l.log.Warn("could not note that a webspace is in use; its node may put it to sleep", "uid", uid, "err", err)
			}
		}
	}
}

// due gives what has to be noted, and takes it for noted: what fails is noted with the next renewal.
func (l *Leases) due(now time.Time) map[int]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int]time.Time)
	for uid, h := range l.held {
		switch {
		case h.users == 0:
			delete(l.held, uid)
			if !h.until.IsZero() {
				out[uid] = time.Time{}
			}
		case now.Sub(h.since) >= leaseAfter && h.until.Sub(now) <= leaseFor-leaseRenew:
			h.until = now.Add(leaseFor)
			out[uid] = h.until
		}
	}
	return out
}
