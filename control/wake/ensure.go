package wake

import (
	"context"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// EnsureStarted makes sure that the webspace of a member is awake, and returns its address. One that is asleep is woken,
// and waited for until its HTTP port listens, or its startupDelay is over. However many ask, it is started once.
func (e *Engine) EnsureStarted(ctx context.Context, uid int, c ledger.Cause) (netip.Addr, error) {
	for {
		e.mu.Lock()
		s := e.byUID(uid)
		switch {
		case s == nil:
			e.mu.Unlock()
			return netip.Addr{}, notHere("of user " + itoa(uid))
		case s.job == nil && s.life == dataplane.LifeAwake:
			addr := s.t.Addr
			e.mu.Unlock()
			return addr, nil
		}
		resting := s.job != nil && (s.job.kind == ledger.Nap || s.job.kind == ledger.Sleep)
		e.wakeFor(s, c, time.Now())
		j := s.job
		if j != nil && j.kind == ledger.Wake {
			j.http = true
			j.tell()
		}
		running := e.run != nil
		e.mu.Unlock()
		if j == nil && !running {
			return netip.Addr{}, errNotRunning
		}
		if j == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return netip.Addr{}, ctx.Err()
		case <-j.done:
		}
		if !resting {
			return j.of.Addr, j.err
		}
	}
}

// byUID finds a webspace. mu is held.
func (e *Engine) byUID(uid int) *space {
	for _, s := range e.spaces {
		if s.t.UID == uid && !s.gone {
			return s
		}
	}
	return nil
}
