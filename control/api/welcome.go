package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// unwelcome waits until the caller of an open stream may not have it any more, because the token has expired or was
// revoked, the account is gone, or an admin is none any more; it says why. nil: ctx has ended first. Accounts that do not
// answer are no reason to end what was allowed.
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
