package local

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

// Add adds an account. ErrExists: its name or number is taken.
func (a *Accounts) Add(ctx context.Context, n manage.New) (manage.Account, error) {
	keys, err := checkNew(n)
	if err != nil {
		return manage.Account{}, err
	}
	var inUse []int
	if a.options.InUse != nil && n.UID == 0 {
		if inUse, err = a.options.InUse(ctx); err != nil {
			return manage.Account{}, &account.Error{What: "cannot choose a number for " + n.Username, Kind: account.ErrUnavailable, Err: err,
				Cause: "which numbers webspaces have cannot be told: " + err.Error(), Next: "try again, or give one with --uid"}
		}
	}
	hash, err := a.hasher.make(ctx, n.Password)
	if err != nil {
		return manage.Account{}, err
	}
	r := &record{Username: n.Username, Admin: n.Admin, SSHKeys: keys, Password: hash, Version: 1,
		Created: a.options.Now().UTC().Truncate(time.Second)}
	uid := n.UID
	err = a.update(func(tx *bbolt.Tx) error {
		names := tx.Bucket(namesBucket)
		if names.Get([]byte(n.Username)) != nil {
			return exists("name " + n.Username)
		}
		var err error
		if uid == 0 {
			if uid, err = nextUID(tx, inUse); err != nil {
				return err
			}
		} else if tx.Bucket(accountsBucket).Get(uidKey(uid)) != nil {
			return exists(fmt.Sprintf("number %d", uid))
		}
		if err := names.Put([]byte(n.Username), uidKey(uid)); err != nil {
			return err
		}
		return put(tx, uid, r)
	})
	if err != nil {
		return manage.Account{}, err
	}
	return r.account(uid, 0), nil
}

func exists(what string) error {
	return &account.Error{What: "cannot add the account", Cause: "the " + what + " is taken", Kind: account.ErrExists, Next: "lanyardd account list"}
}

func checkNew(n manage.New) (keys []string, err error) {
	if err := account.CheckName(n.Username); err != nil {
		return nil, err
	}
	if n.UID != 0 {
		if err := account.CheckUID(n.UID); err != nil {
			return nil, err
		}
	}
	if err := CheckPassword(n.Password); err != nil {
		return nil, err
	}
	return checkKeys(n.SSHKeys)
}

func checkKeys(lines []string) ([]string, error) {
	if len(lines) > 32 {
		return nil, &account.Error{What: "cannot keep so many SSH keys", Cause: fmt.Sprintf("%d are more than 32", len(lines)), Kind: account.ErrInvalid, Next: "give fewer"}
	}
	var out []string
	for _, l := range lines {
		key, err := account.CheckKey(l)
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

// nextUID counts on from the last number that it gave: one whose account was removed does not come back, or its webspace
// would have a new owner.
func nextUID(tx *bbolt.Tx, inUse []int) (int, error) {
	uid := 1
	meta := tx.Bucket(metaBucket)
	if b := meta.Get(nextKey); len(b) == 8 {
		uid = int(binary.BigEndian.Uint64(b))
	}
	for slices.Contains(inUse, uid) || tx.Bucket(accountsBucket).Get(uidKey(uid)) != nil {
		uid++
	}
	if err := account.CheckUID(uid); err != nil {
		return 0, err
	}
	return uid, meta.Put(nextKey, uidKey(uid+1))
}

// Set changes an account. ErrNotFound.
func (a *Accounts) Set(ctx context.Context, name string, c manage.Change) (manage.Account, error) {
	var hash string
	if c.Password != nil {
		err := CheckPassword(*c.Password)
		if err == nil {
			hash, err = a.hasher.make(ctx, *c.Password)
		}
		if err != nil {
			return manage.Account{}, err
		}
	}
	var keys []string
	if c.SSHKeys != nil {
		var err error
		if keys, err = checkKeys(*c.SSHKeys); err != nil {
			return manage.Account{}, err
		}
	}
	var out manage.Account
	err := a.update(func(tx *bbolt.Tx) error {
		uid, r, err := find(tx, name)
		if err != nil {
			return err
		}
		if c.Admin != nil {
			r.Admin = *c.Admin
		}
		if c.SSHKeys != nil {
			r.SSHKeys = keys
		}
		if c.Password != nil {
			r.Password, r.Version = hash, r.Version+1
			if err := revoke(tx, uid); err != nil {
				return err
			}
		}
		left, _ := sessions(tx, uid)
		out = r.account(uid, len(left))
		return put(tx, uid, r)
	})
	return out, err
}

// Remove removes an account and its sessions; its webspace stays. ErrNotFound.
func (a *Accounts) Remove(_ context.Context, name string) error {
	return a.update(func(tx *bbolt.Tx) error {
		uid, _, err := find(tx, name)
		if err != nil {
			return err
		}
		if err := revoke(tx, uid); err != nil {
			return err
		}
		if err := tx.Bucket(namesBucket).Delete([]byte(name)); err != nil {
			return err
		}
		return tx.Bucket(accountsBucket).Delete(uidKey(uid))
	})
}

// List gives all accounts by number.
func (a *Accounts) List(context.Context) ([]manage.Account, error) {
	out := []manage.Account{}
	err := a.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(accountsBucket).ForEach(func(k, v []byte) error {
			var r record
			if err := json.Unmarshal(v, &r); err != nil || len(k) != 8 {
				return nil // reported by ByName and ByUID; the others can still be seen
			}
			uid := int(binary.BigEndian.Uint64(k))
			keys, _ := sessions(tx, uid)
			out = append(out, r.account(uid, len(keys)))
			return nil
		})
	})
	return out, err
}

func (r *record) account(uid, sessions int) manage.Account {
	keys := r.SSHKeys
	if keys == nil {
		keys = []string{}
	}
	return manage.Account{UID: uid, Username: r.Username, Admin: r.Admin, SSHKeys: keys, Created: r.Created, Sessions: sessions}
}
