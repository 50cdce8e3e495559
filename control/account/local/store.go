package local

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/attempts"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

// The file: meta holds the format, the signing key and the next number; accounts is by number (8 octets, big endian);
// names gives the number of a name; sessions is by number and session, so that an account's are together.
var (
	metaBucket     = []byte("meta")
	accountsBucket = []byte("accounts")
	namesBucket    = []byte("names")
	sessionsBucket = []byte("sessions")

	formatKey, signingKey, nextKey = []byte("format"), []byte("key"), []byte("next")
)

const format = "1"

// record is an account as it is kept.
type record struct {
	Username string    `json:"username"`
	Admin    bool      `json:"admin,omitempty"`
	SSHKeys  []string  `json:"sshKeys,omitempty"`
	Password string    `json:"password"` // hash
	Created  time.Time `json:"created"`
	Version  int       `json:"version"` // how often the password was set
}

// session is a token that was issued.
type session struct {
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// Accounts is the open file. It implements account.Provider and account.Passwords.
type Accounts struct {
	options  Options
	db       *bbolt.DB
	key      []byte
	hasher   hasher
	attempts *attempts.Counter
}

var (
	_ account.Provider  = (*Accounts)(nil)
	_ account.Passwords = (*Accounts)(nil)
	_ account.Closer    = (*Accounts)(nil)
	_ manage.Manager    = (*Accounts)(nil)
)

// Open opens the file, which is made if there is none.
func Open(o Options) (*Accounts, error) {
	o.defaults()
	fail := func(cause, next string, err error) (*Accounts, error) {
		return nil, &account.Error{What: "cannot open the accounts in " + o.Path, Cause: cause, Next: next, Kind: account.ErrUnavailable, Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return fail(err.Error(), "correct accounts.path", err)
	}
	// A file that others can read would give away hashes and the signing key.
	if info, err := os.Stat(o.Path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return fail(fmt.Sprintf("others can read it (mode %04o)", info.Mode().Perm()), "chmod 600 "+o.Path, nil)
	}
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{Timeout: o.OpenWait, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fail("another process has it open", "use the socket of that lanyardd (accounts.socket)", err)
	case err != nil:
		return fail(err.Error(), "restore it from a backup, or correct accounts.path", err)
	}
	a := &Accounts{options: o, db: db, hasher: hasher{cost: o.Hash, slots: make(chan struct{}, o.Hashes)},
		attempts: attempts.New(o.Limits, o.Now)}
	if err := db.Update(a.prepare); err != nil {
		_ = db.Close()
		return fail(err.Error(), "use the version of lanyardd that made it, or restore a backup", err)
	}
	return a, nil
}

// Close closes the file.
func (a *Accounts) Close() error { return a.db.Close() }

func (a *Accounts) prepare(tx *bbolt.Tx) error {
	for _, name := range [][]byte{metaBucket, accountsBucket, namesBucket, sessionsBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(metaBucket)
	if f := meta.Get(formatKey); f == nil {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		if err := errors.Join(meta.Put(formatKey, []byte(format)), meta.Put(signingKey, key)); err != nil {
			return err
		}
	} else if string(f) != format {
		return fmt.Errorf("it has format %.20q, and not %q", f, format)
	}
	a.key = append([]byte(nil), meta.Get(signingKey)...)
	if len(a.key) != 32 {
		return errors.New("its signing key is damaged")
	}
	return nil
}

func uidKey(uid int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(uid)) }

// get reads an account; no record if there is none.
func get(tx *bbolt.Tx, uid int) (*record, error) {
	b := tx.Bucket(accountsBucket).Get(uidKey(uid))
	if b == nil {
		return nil, nil
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, &account.Error{What: fmt.Sprintf("cannot read account %d", uid), Cause: "its record is damaged", Kind: account.ErrUnavailable,
			Next: "restore the file of accounts from a backup", Err: err}
	}
	return &r, nil
}

func put(tx *bbolt.Tx, uid int, r *record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Bucket(accountsBucket).Put(uidKey(uid), b)
}

// find reads an account by name; ErrNotFound.
func find(tx *bbolt.Tx, name string) (int, *record, error) {
	if b := tx.Bucket(namesBucket).Get([]byte(name)); len(b) == 8 {
		uid := int(binary.BigEndian.Uint64(b))
		if r, err := get(tx, uid); r != nil || err != nil {
			return uid, r, err
		}
	}
	return 0, nil, unknown(fmt.Sprintf("%.70q", name))
}

func unknown(who string) error {
	return &account.Error{What: "no account " + who, Cause: account.ErrNotFound.Error(), Kind: account.ErrNotFound, Next: "lanyardd account list"}
}

func (r *record) identity(uid int) account.Identity {
	return account.Identity{UID: uid, Username: r.Username, Admin: r.Admin, SSHKeys: r.SSHKeys}
}

// ByName implements account.Provider.
func (a *Accounts) ByName(_ context.Context, name string) (id account.Identity, err error) {
	err = a.view(func(tx *bbolt.Tx) error {
		uid, r, err := find(tx, name)
		if err == nil {
			id = r.identity(uid)
		}
		return err
	})
	return id, err
}

// ByUID implements account.Provider.
func (a *Accounts) ByUID(_ context.Context, uid int) (id account.Identity, err error) {
	err = a.view(func(tx *bbolt.Tx) error {
		r, err := get(tx, uid)
		if err == nil && r == nil {
			err = unknown(fmt.Sprint(uid))
		}
		if err == nil {
			id = r.identity(uid)
		}
		return err
	})
	return id, err
}

func (a *Accounts) view(f func(*bbolt.Tx) error) error   { return a.wrap(a.db.View(f)) }
func (a *Accounts) update(f func(*bbolt.Tx) error) error { return a.wrap(a.db.Update(f)) }

// wrap makes a *account.Error of what the file itself says.
func (a *Accounts) wrap(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*account.Error](err); ok {
		return err
	}
	return &account.Error{What: "cannot use the accounts in " + a.options.Path, Cause: err.Error(), Kind: account.ErrUnavailable,
		Next: "look at the disk, then: systemctl restart lanyardd", Err: err}
}
