package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// stream gives an open stream its context. It ends with parent, with the server, by cancel, or when the caller may not have
// the stream any more, because the token has expired or was revoked, the account is gone, or an admin is none any more;
// see lost. release must be called: it cancels, and waits until nobody watches any more.
func (s *Server) stream(parent context.Context, username string) (ctx context.Context, cancel, release func()) {
	ctx, end := context.WithCancelCause(parent)
	cancel = func() { end(nil) }
	stop := context.AfterFunc(s.open, cancel)
	var watcher sync.WaitGroup
	watcher.Go(func() { end(s.unwelcome(ctx, username)) })
	return ctx, cancel, func() { stop(); cancel(); watcher.Wait() }
}

// lost says why a stream's caller may not have it any more; nil: that is not what has ended its context.
func lost(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// unwelcome waits until the caller may not have a stream any more, and says why. nil: ctx has ended first. Accounts that
// do not answer are no reason to end what was allowed.
func (s *Server) unwelcome(ctx context.Context, username string) error {
	c := callOf(ctx)
	if c.local {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(s.o.RecheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.recheck(ctx, *c, username); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (s *Server) recheck(ctx context.Context, c call, username string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.ReadTime)
	defer cancel()
	who, err := s.o.Accounts.Authenticate(ctx, c.token)
	if err != nil {
		final := []error{account.ErrToken, account.ErrExpired, account.ErrRevoked, account.ErrNotFound}
		if slices.ContainsFunc(final, func(kind error) bool { return errors.Is(err, kind) }) {
			return err
		}
		return nil
	}
	if who.UID != c.caller.UID {
		return fail(codeTokenInvalid, "", "")
	}
	c.caller = who
	_, err = s.target(context.WithValue(ctx, callKey{}, &c), username)
	if f := (*failure)(nil); errors.As(err, &f) && f.code == codeForeign {
		return err
	}
	return nil
}
