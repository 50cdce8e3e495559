// Package directory remembers members that a provider of identities has vouched for.
//
// Such a provider says who holds a token, and cannot be asked about anybody else. But a webspace has a name that follows its
// member's, and administrators name members: so whoever was seen is remembered, in one bbolt file. It also keeps a number or
// a name from changing hands: it belongs to the subject that had it first, until an administrator removes that.
package directory

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

// The file: subjects holds members; uids and names give the subject; meta holds the next number to be given.
var (
	subjectsBucket = []byte("subjects")
	uidsBucket     = []byte("uids")
	namesBucket    = []byte("names")
	metaBucket     = []byte("directory")
	nextKey        = []byte("next")
)

// maxMembers bounds the file, should a provider let strangers sign up.
const maxMembers = 1 << 20

// Seen is what a provider vouches for.
type Seen struct {
	Subject  string // never changes, and is never given to another
	UID      int    // 0: the directory chooses
	Username string
	Admin    bool
	SSHKeys  []string
}

type entry struct {
	UID      int       `json:"uid"`
	Username string    `json:"username"`
	Admin    bool      `json:"admin,omitempty"`
	SSHKeys  []string  `json:"sshKeys,omitempty"`
	First    time.Time `json:"first"`
}

func (e entry) identity() account.Identity {
	return account.Identity{UID: e.UID, Username: e.Username, Admin: e.Admin, SSHKeys: e.SSHKeys}
}

// Directory is an open file.
type Directory struct {
	path  string
	db    *bbolt.DB
	inUse func(context.Context) ([]int, error)
}

var _ manage.Manager = (*Directory)(nil)

// Open opens the file, which is made if there is none. InUse are the numbers of webspaces that exist: none of them is given
// to a member without one; nil: none exist.
func Open(path string, inUse func(context.Context) ([]int, error)) (*Directory, error) {
	fail := func(cause, next string, err error) (*Directory, error) {
		return nil, &account.Error{What: "cannot open the members in " + path, Cause: cause, Next: next, Kind: account.ErrUnavailable, Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err.Error(), "correct accounts.path", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fail("another process has it open", "use the socket of that lanyardd (accounts.socket)", err)
	case err != nil:
		return fail(err.Error(), "restore it from a backup, or correct accounts.path", err)
	}
	d := &Directory{path: path, db: db, inUse: inUse}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{subjectsBucket, uidsBucket, namesBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return fail(err.Error(), "restore it from a backup, or correct accounts.path", err)
	}
	return d, nil
}

// Close closes the file.
func (d *Directory) Close() error { return d.db.Close() }

func uidKey(uid int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(uid)) }

func get(tx *bbolt.Tx, subject []byte) (e entry, ok bool) {
	b := tx.Bucket(subjectsBucket).Get(subject)
	return e, b != nil && json.Unmarshal(b, &e) == nil
}

// See remembers a member, and gives who that is. ErrInvalid: the number or the name belongs to somebody else.
func (d *Directory) See(ctx context.Context, s Seen) (account.Identity, error) {
	want := entry{UID: s.UID, Username: s.Username, Admin: s.Admin, SSHKeys: s.SSHKeys}
	var known entry
	var ok bool
	if err := d.view(func(tx *bbolt.Tx) error { known, ok = get(tx, []byte(s.Subject)); return nil }); err != nil {
		return account.Identity{}, err
	}
	if ok && want.UID == 0 {
		want.UID = known.UID
	}
	want.First = known.First
	if ok && reflect.DeepEqual(want, known) { // nearly always: nothing is written
		return known.identity(), nil
	}
	var inUse []int
	if want.UID == 0 && d.inUse != nil {
		var err error
		if inUse, err = d.inUse(ctx); err != nil {
			return account.Identity{}, &account.Error{What: "cannot give a new member a number", Kind: account.ErrUnavailable, Err: err,
				Cause: "which numbers webspaces have cannot be told", Next: "try again"}
		}
	}
	err := d.update(func(tx *bbolt.Tx) error {
		var err error
		want, err = put(tx, s, inUse)
		return err
	})
	if err != nil {
		return account.Identity{}, err
	}
	return want.identity(), nil
}

// put writes a member into the transaction, which sees what others wrote since.
func put(tx *bbolt.Tx, s Seen, inUse []int) (entry, error) {
	subject := []byte(s.Subject)
	old, had := get(tx, subject)
	want := entry{UID: s.UID, Username: s.Username, Admin: s.Admin, SSHKeys: s.SSHKeys, First: old.First}
	if want.UID == 0 {
		want.UID = old.UID
	}
	uids, names := tx.Bucket(uidsBucket), tx.Bucket(namesBucket)
	if !had {
		if tx.Bucket(subjectsBucket).Stats().KeyN >= maxMembers {
			return entry{}, &account.Error{What: "cannot remember another member", Cause: fmt.Sprintf("there are %d", maxMembers),
				Next: "an administrator removes some: lanyardd account remove NAME", Kind: account.ErrUnavailable}
		}
		want.First = time.Now().UTC().Truncate(time.Second)
	}
	if want.UID == 0 {
		var err error
		if want.UID, err = next(tx, inUse); err != nil {
			return entry{}, err
		}
	}
	if holder := uids.Get(uidKey(want.UID)); holder != nil && string(holder) != s.Subject {
		return entry{}, taken(fmt.Sprintf("the number %d", want.UID))
	}
	if holder := names.Get([]byte(want.Username)); holder != nil && string(holder) != s.Subject {
		return entry{}, taken("the name " + want.Username)
	}
	b, err := json.Marshal(want)
	if err != nil {
		return entry{}, err
	}
	if had {
		err = errors.Join(uids.Delete(uidKey(old.UID)), names.Delete([]byte(old.Username)))
	}
	return want, errors.Join(err, uids.Put(uidKey(want.UID), subject), names.Put([]byte(want.Username), subject),
		tx.Bucket(subjectsBucket).Put(subject, b))
}

func taken(what string) error {
	return &account.Error{What: "cannot let this member in", Cause: what + " belongs to somebody else", Kind: account.ErrInvalid,
		Next: "an administrator frees it: lanyardd account remove NAME"}
}

// next counts on from the last number that was given: none is given twice.
func next(tx *bbolt.Tx, inUse []int) (int, error) {
	uid := 1
	if b := tx.Bucket(metaBucket).Get(nextKey); len(b) == 8 {
		uid = int(binary.BigEndian.Uint64(b))
	}
	for slices.Contains(inUse, uid) || tx.Bucket(uidsBucket).Get(uidKey(uid)) != nil {
		uid++
	}
	if err := account.CheckUID(uid); err != nil {
		return 0, err
	}
	return uid, tx.Bucket(metaBucket).Put(nextKey, uidKey(uid+1))
}

// ByName finds a member that was seen. ErrNotFound.
func (d *Directory) ByName(name string) (account.Identity, error) {
	return d.find(namesBucket, []byte(name), fmt.Sprintf("%.70q", name))
}

// ByUID finds a member that was seen. ErrNotFound.
func (d *Directory) ByUID(uid int) (account.Identity, error) {
	return d.find(uidsBucket, uidKey(uid), fmt.Sprint(uid))
}

func (d *Directory) find(bucket, key []byte, who string) (id account.Identity, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		if subject := tx.Bucket(bucket).Get(key); subject != nil {
			if e, ok := get(tx, subject); ok {
				id = e.identity()
				return nil
			}
		}
		return unknown(who)
	})
	return id, err
}

func unknown(who string) error {
	return &account.Error{What: "no member " + who, Cause: "nobody of that name has logged in yet", Kind: account.ErrNotFound, Next: "lanyardd account list"}
}

func (d *Directory) view(f func(*bbolt.Tx) error) error   { return d.wrap(d.db.View(f)) }
func (d *Directory) update(f func(*bbolt.Tx) error) error { return d.wrap(d.db.Update(f)) }

func (d *Directory) wrap(err error) error {
	if _, ok := errors.AsType[*account.Error](err); ok || err == nil {
		return err
	}
	return &account.Error{What: "cannot use the members in " + d.path, Cause: err.Error(), Kind: account.ErrUnavailable,
		Next: "look at the disk, then: systemctl restart lanyardd", Err: err}
}
