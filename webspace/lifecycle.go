package webspace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Get reads one webspace from LXD.
func (s *Service) Get(ctx context.Context, uid int) (Instance, error) {
	i, err := s.store.Get(ctx, s.store.Name(uid))
	if errors.Is(err, ErrNotFound) {
		return Instance{}, s.notFound(uid, err)
	}
	return i, err
}

// List reads all webspaces of the cluster from LXD, by uid.
func (s *Service) List(ctx context.Context) ([]Instance, error) { return s.look(ctx) }

// change does one thing at a time with a webspace, which must exist.
func (s *Service) change(ctx context.Context, uid int, do func(i Instance) error) error {
	unlock, err := s.work.lock(ctx, s.store.Name(uid))
	if err != nil {
		return err
	}
	defer unlock()
	i, err := s.Get(ctx, uid)
	if err != nil {
		return err
	}
	return do(i)
}

// Boot starts a webspace; ErrRunning when it runs. One that naps is thawed.
func (s *Service) Boot(ctx context.Context, uid int) error {
	return s.change(ctx, uid, func(i Instance) error {
		if i.Status == Running {
			return &Problem{What: "could not boot webspace " + i.Name, Cause: "it is running", Next: "nothing to do; see: lanyard ws status", Kind: ErrRunning}
		}
		return s.wake(ctx, i)
	})
}

// Shutdown asks a webspace to end, and stops it when it does not within StopGrace; ErrNotRunning when it does not run.
func (s *Service) Shutdown(ctx context.Context, uid int) error {
	return s.change(ctx, uid, func(i Instance) error {
		if !i.Active() {
			return stopped("shut down", i)
		}
		return s.stop(ctx, i, s.o.StopGrace)
	})
}

// Reboot shuts a webspace down as Shutdown does and starts it; ErrNotRunning when it does not run.
func (s *Service) Reboot(ctx context.Context, uid int) error {
	return s.change(ctx, uid, func(i Instance) error {
		if !i.Active() {
			return stopped("reboot", i)
		}
		if err := s.stop(ctx, i, s.o.StopGrace); err != nil {
			return err
		}
		// Whoever wants it to be down must not find it so just because the client has gone half-way.
		return s.start(context.WithoutCancel(ctx), i)
	})
}

func stopped(what string, i Instance) error {
	if i.Status == Errored {
		return &Problem{What: "could not " + what + " webspace " + i.Name, Cause: "its cluster member does not answer", Next: "see: lxc cluster list", Kind: ErrUnavailable}
	}
	return &Problem{What: "could not " + what + " webspace " + i.Name, Cause: "it does not run", Next: "start it: lanyard ws boot", Kind: ErrNotRunning}
}

// Delete removes a webspace with its data, ports and domains, running or not, wedged or not.
func (s *Service) Delete(ctx context.Context, uid int) error {
	return s.change(ctx, uid, func(i Instance) error {
		s.sessions.end(ctx, uid)
		if err := s.insist(ctx, func(ctx context.Context) error {
			err := s.store.Delete(ctx, i.Name)
			if errors.Is(err, ErrNotFound) {
				return nil // another has been faster, or an earlier try has succeeded late
			}
			return err
		}); err != nil {
			return err
		}
		s.index.forget(uid)
		return nil
	})
}

// stop ends the processes of a webspace: gracefully while grace lasts, then by force.
func (s *Service) stop(ctx context.Context, i Instance, grace time.Duration) error {
	// LXD 5.0 crashes when a console ends while it writes to it: detach ours first.
	s.sessions.end(ctx, i.UID)
	if grace > 0 {
		polite, cancel := context.WithTimeout(ctx, grace+5*time.Second)
		err := s.thaw(polite, i) // what is frozen cannot hear
		if err == nil {
			err = s.store.ask(polite, i.Name, grace)
		}
		cancel()
		if err == nil || errors.Is(err, ErrNotRunning) {
			return nil
		}
		if now, look := s.store.Get(ctx, i.Name); look == nil && now.Status == Stopped {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return s.insist(ctx, func(ctx context.Context) error {
		err := s.store.Stop(ctx, i.Name, 0)
		if errors.Is(err, ErrNotRunning) {
			return nil
		}
		if now, look := s.store.Get(ctx, i.Name); err != nil && look == nil && now.Status == Stopped {
			return nil
		}
		return err
	})
}

// insist repeats what LXD refuses because it is busy with the instance, or does not finish, until ForceTime is over.
func (s *Service) insist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.ForceTime)
	defer cancel()
	pause := s.o.RetryPause
	for {
		try, end := context.WithTimeout(ctx, max(s.o.ForceTime/4, time.Second))
		err := do(try)
		end()
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrRefused) {
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			return err
		}
	}
}

// awake makes sure that a webspace has processes that can run.
func (s *Service) awake(ctx context.Context, uid int) (Instance, error) {
	i, err := s.Get(ctx, uid)
	if err != nil || i.Status == Running {
		return i, err
	}
	if i.Status == Frozen {
		return i, s.thaw(ctx, i)
	}
	return i, s.wake(ctx, i)
}

func (s *Service) thaw(ctx context.Context, i Instance) error {
	if i.Status != Frozen {
		return nil
	}
	err := s.store.Unfreeze(ctx, i.Name)
	if now, look := s.store.Get(ctx, i.Name); err != nil && look == nil && now.Status == Running {
		return nil // somebody else has thawed it
	}
	return err
}

// wake starts or thaws a webspace, through the node's engine where there is one. However many ask for it at once, it is
// done once, and all wait for its end.
func (s *Service) wake(ctx context.Context, i Instance) error {
	return s.starts.do(ctx, i.UID, func(ctx context.Context) error { return s.start(ctx, i) })
}

func (s *Service) start(ctx context.Context, i Instance) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.StartTime)
	defer cancel()
	if s.o.Waker != nil {
		err := s.o.Waker.EnsureStarted(ctx, i.UID)
		if !errors.Is(err, ErrNotFound) { // that of another node
			return err
		}
	}
	pause := s.o.RetryPause
	for {
		now, err := s.store.Get(ctx, i.Name)
		switch {
		case err != nil:
		case now.Status == Running:
			return nil
		case now.Status == Frozen:
			err = s.thaw(ctx, now)
		default:
			err = s.store.Start(ctx, i.Name)
		}
		if err == nil || errors.Is(err, ErrRunning) {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		select { // LXD is busy with it: somebody stops or changes it
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			return err
		}
	}
}

// EnsureStarted starts or thaws a webspace unless it runs, waits until its HTTP port answers or its startup delay is
// over, and returns its address. Many at once cause one start, and all wait for the same.
func (s *Service) EnsureStarted(ctx context.Context, uid int) (netip.Addr, error) {
	i, err := s.Get(ctx, uid)
	if err != nil {
		return netip.Addr{}, err
	}
	if i.RecordErr != nil {
		return netip.Addr{}, i.RecordErr
	}
	ip := i.Record.Address
	if !ip.IsValid() {
		return netip.Addr{}, &Problem{What: "webspace " + i.Name + " cannot be reached", Cause: "it has no address yet",
			Next: "wait until the leading node has given it one; see: lanyard status", Kind: ErrNoAddress}
	}
	if i.Status == Running { // perhaps just now: whoever comes while it starts waits as long as the first
		if _, err := s.ready.join(ctx, uid); err != nil {
			return netip.Addr{}, err
		}
		return ip, nil
	}
	err = s.ready.do(ctx, uid, func(ctx context.Context) error {
		if err := s.wake(ctx, i); err != nil || i.Status == Frozen {
			return err
		}
		s.answers(ctx, i)
		return nil
	})
	return ip, err
}

// answers waits until a webspace's HTTP port accepts a connection, at most for its startup delay. One that never does is
// no error: it may serve something else.
func (s *Service) answers(ctx context.Context, i Instance) {
	delay := min(i.Record.Config.StartupDelay, s.o.MaxStartupDelay)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(delay*float64(time.Second)))
	defer cancel()
	to := netip.AddrPortFrom(i.Record.Address, i.Record.Config.HTTPPort).String()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		// A lost SYN is repeated after a second; a new one is sooner.
		try, end := context.WithTimeout(ctx, 250*time.Millisecond)
		c, err := s.o.Dial(try, "tcp", to)
		end()
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// uptime is how long an instance has been running.
func uptime(i Instance, now time.Time) time.Duration {
	if !i.Active() || i.Started.IsZero() {
		return 0
	}
	return max(0, now.Sub(i.Started))
}

// badUID is the error of a uid that can have no webspace.
func badUID(uid int) error {
	return &Problem{What: "could not create a webspace", Cause: fmt.Sprintf("uid %d is not between 0 and %d", uid, MaxUID), Kind: ErrInvalid}
}
