package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.etcd.io/bbolt"

	"github.com/lanyard-project/lanyard/control/account"
)

const (
	issuer      = "lanyard"
	audience    = "auth" // as in the seed's tokens
	maxToken    = 4096
	maxSessions = 64 // of one account; the oldest is revoked then
)

// extra are claims that the seed's clients read.
type extra struct {
	Admin   bool `json:"is_admin"`
	Version int  `json:"version"`
}

// issue makes a session and its token for whoever knew the password of known; rehashed replaces its hash.
func (a *Accounts) issue(uid int, known *record, rehashed string) (token string, expires time.Time, err error) {
	now := a.options.Now().UTC().Truncate(time.Second)
	expires = now.Add(a.options.Lifetime)
	id := rand.Text()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: a.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", time.Time{}, a.wrap(err)
	}
	token, err = jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: strconv.Itoa(uid), Audience: jwt.Audience{audience}, ID: id,
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
	}).Claims(extra{known.Admin, 1}).Serialize()
	if err != nil {
		return "", time.Time{}, a.wrap(err)
	}
	err = a.update(func(tx *bbolt.Tx) error {
		// The password was checked outside of this transaction: it, or the account, may have gone meanwhile.
		r, err := get(tx, uid)
		if err != nil {
			return err
		}
		if r == nil || r.Version != known.Version {
			return wrongPassword()
		}
		if rehashed != "" {
			r.Password = rehashed
			if err := put(tx, uid, r); err != nil {
				return err
			}
		}
		if err := prune(tx, uid, now); err != nil {
			return err
		}
		b, err := json.Marshal(session{now, expires})
		if err != nil {
			return err
		}
		return tx.Bucket(sessionsBucket).Put(sessionKey(uid, id), b)
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, nil
}

func sessionKey(uid int, id string) []byte { return append(uidKey(uid), id...) }

// sessions lists the keys and values of an account's sessions.
func sessions(tx *bbolt.Tx, uid int) (keys [][]byte, list []session) {
	prefix := uidKey(uid)
	c := tx.Bucket(sessionsBucket).Cursor()
	for k, v := c.Seek(prefix); len(k) > 8 && string(k[:8]) == string(prefix); k, v = c.Next() {
		var s session
		_ = json.Unmarshal(v, &s) // a damaged one has expired in the year 1
		keys, list = append(keys, append([]byte(nil), k...)), append(list, s)
	}
	return keys, list
}

// prune removes what has expired, and the oldest if there are too many to add one.
func prune(tx *bbolt.Tx, uid int, now time.Time) error {
	keys, list := sessions(tx, uid)
	left, oldest := 0, -1
	for i, s := range list {
		if !s.Expires.After(now) {
			if err := tx.Bucket(sessionsBucket).Delete(keys[i]); err != nil {
				return err
			}
			continue
		}
		left++
		if oldest < 0 || s.Issued.Before(list[oldest].Issued) {
			oldest = i
		}
	}
	if left < maxSessions {
		return nil
	}
	return tx.Bucket(sessionsBucket).Delete(keys[oldest])
}

// revoke removes all sessions of an account.
func revoke(tx *bbolt.Tx, uid int) error {
	keys, _ := sessions(tx, uid)
	for _, k := range keys {
		if err := tx.Bucket(sessionsBucket).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// verify checks everything about a token that the token itself says, and only then gives what it says.
func (a *Accounts) verify(token string) (uid int, id string, err error) {
	refuse := func(cause string, kind, err error) (int, string, error) {
		return 0, "", &account.Error{What: "token not accepted", Cause: cause, Kind: kind, Next: "lanyard login", Err: err}
	}
	if len(token) > maxToken {
		return refuse("it is too long", account.ErrToken, nil)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return refuse("it is no token of this installation", account.ErrToken, err)
	}
	var c jwt.Claims
	if err := parsed.Claims(a.key, &c); err != nil {
		return refuse("it was not signed by this installation", account.ErrToken, err)
	}
	err = c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: a.options.Now()}, 0)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return refuse("it has expired", account.ErrExpired, err)
	case err != nil:
		return refuse("it is not meant for this", account.ErrToken, err)
	}
	uid, err = strconv.Atoi(c.Subject)
	if err != nil || uid < 1 || c.ID == "" || c.Expiry == nil {
		return refuse("it names no account", account.ErrToken, err)
	}
	return uid, c.ID, nil
}

// Authenticate implements account.Provider.
func (a *Accounts) Authenticate(_ context.Context, bearer string) (account.Identity, error) {
	uid, id, err := a.verify(bearer)
	if err != nil {
		return account.Identity{}, err
	}
	var who account.Identity
	err = a.view(func(tx *bbolt.Tx) error {
		if tx.Bucket(sessionsBucket).Get(sessionKey(uid, id)) == nil {
			return revoked()
		}
		r, err := get(tx, uid)
		if err != nil {
			return err
		}
		if r == nil {
			return revoked()
		}
		who = r.identity(uid)
		return nil
	})
	return who, err
}

func revoked() error {
	return &account.Error{What: "token not accepted", Cause: "it has been revoked", Kind: account.ErrRevoked, Next: "lanyard login"}
}

// Logout implements account.Passwords.
func (a *Accounts) Logout(_ context.Context, bearer string) error {
	uid, id, err := a.verify(bearer)
	if err != nil {
		return err
	}
	return a.update(func(tx *bbolt.Tx) error {
		key := sessionKey(uid, id)
		if tx.Bucket(sessionsBucket).Get(key) == nil {
			return revoked()
		}
		return tx.Bucket(sessionsBucket).Delete(key)
	})
}
