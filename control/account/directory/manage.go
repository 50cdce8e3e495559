package directory

import (
	"context"
	"encoding/json"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

// Add implements manage.Manager: it cannot.
func (d *Directory) Add(context.Context, manage.New) (manage.Account, error) {
	return manage.Account{}, elsewhere()
}

// Set implements manage.Manager: it cannot.
func (d *Directory) Set(context.Context, string, manage.Change) (manage.Account, error) {
	return manage.Account{}, elsewhere()
}

func elsewhere() error {
	return &account.Error{What: "cannot change accounts here", Cause: "accounts.provider says that they are kept elsewhere", Kind: account.ErrInvalid,
		Next: "change them at that provider; what it says counts at the next request"}
}

// Remove implements manage.Manager: it forgets a member, whose name and number are free then.
func (d *Directory) Remove(_ context.Context, name string) error {
	return d.update(func(tx *bbolt.Tx) error {
		subject := tx.Bucket(namesBucket).Get([]byte(name))
		if subject == nil {
			return unknown(name)
		}
		subject = slices.Clone(subject) // bbolt's own memory changes with the first delete
		if e, ok := get(tx, subject); ok {
			if err := tx.Bucket(uidsBucket).Delete(uidKey(e.UID)); err != nil {
				return err
			}
		}
		if err := tx.Bucket(namesBucket).Delete([]byte(name)); err != nil {
			return err
		}
		return tx.Bucket(subjectsBucket).Delete(subject)
	})
}

// List implements manage.Manager.
func (d *Directory) List(context.Context) ([]manage.Account, error) {
	out := []manage.Account{}
	err := d.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(subjectsBucket).ForEach(func(_, v []byte) error {
			var e entry
			if json.Unmarshal(v, &e) != nil {
				return nil // the others can still be seen
			}
			keys := e.SSHKeys
			if keys == nil {
				keys = []string{}
			}
			out = append(out, manage.Account{UID: e.UID, Username: e.Username, Admin: e.Admin, SSHKeys: keys, Created: e.First})
			return nil
		})
	})
	slices.SortFunc(out, func(a, b manage.Account) int { return a.UID - b.UID })
	return out, err
}
