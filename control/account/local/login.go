package local

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/lanyard-project/lanyard/control/account"
)

func wrongPassword() error {
	return &account.Error{What: "cannot log in", Cause: account.ErrPassword.Error(), Kind: account.ErrPassword,
		Next: "try again; an administrator can set a new one: lanyardd account passwd NAME"}
}

// Login implements account.Passwords. An unknown name costs the same time as a wrong password.
func (a *Accounts) Login(ctx context.Context, name, password string) (token string, expires time.Time, err error) {
	if len(name) > 63 || len(password) > maxPassword {
		return "", time.Time{}, wrongPassword()
	}
	if err := a.attempts.Take(ctx, name); err != nil {
		return "", time.Time{}, err
	}
	var uid int
	var r record
	err = a.view(func(tx *bbolt.Tx) error {
		u, found, err := find(tx, name)
		if err == nil {
			uid, r = u, *found
		}
		return err
	})
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		a.attempts.Forgive(ctx, name)
		return "", time.Time{}, err
	}
	ok, outdated, err := a.hasher.check(ctx, r.Password, password)
	if err != nil {
		a.attempts.Forgive(ctx, name)
		return "", time.Time{}, err
	}
	if !ok {
		return "", time.Time{}, wrongPassword()
	}
	a.attempts.Forgive(ctx, name)
	rehashed := ""
	if outdated { // the cost in the configuration was changed
		if rehashed, err = a.hasher.make(ctx, password); err != nil {
			return "", time.Time{}, err
		}
	}
	return a.issue(uid, &r, rehashed)
}
