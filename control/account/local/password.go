package local

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/lanyard-project/lanyard/control/account"
)

const (
	minPassword, maxPassword = 8, 1024 // octets
	saltSize, hashSize       = 16, 32
)

// CheckPassword says whether a password can be an account's.
func CheckPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword || !utf8.ValidString(password) {
		return &account.Error{What: "cannot use this password", Kind: account.ErrInvalid,
			Cause: fmt.Sprintf("it must have between %d and %d octets of UTF-8", minPassword, maxPassword), Next: "choose another"}
	}
	return nil
}

// hasher bounds how many hashes are computed at once: each takes a lot of memory, and anybody can ask for one.
type hasher struct {
	cost  Hash
	slots chan struct{}
}

func (h *hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &account.Error{What: "cannot check passwords now", Cause: "too many are being checked", Kind: account.ErrUnavailable,
			Next: "try again", Err: ctx.Err()}
	}
}

// make hashes a password in the form of the reference implementation: $argon2id$v=19$m=..,t=..,p=..$salt$hash.
func (h *hasher) make(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(password), salt, h.cost.Passes, h.cost.Memory, h.cost.Threads, hashSize)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("%s%s$%s", h.prefix(), enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

func (h *hasher) prefix() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, h.cost.Memory, h.cost.Passes, h.cost.Threads)
}

// check compares a password with its hash, in a time that tells nothing. An empty hash fits no password, but takes as
// long as any. Outdated says that the hash was made at another cost.
func (h *hasher) check(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	cost, salt, want := parseHash(hash)
	if want == nil {
		cost, salt, want = h.cost, make([]byte, saltSize), make([]byte, hashSize)
	}
	if err := h.acquire(ctx); err != nil {
		return false, false, err
	}
	defer func() { <-h.slots }()
	got := argon2.IDKey([]byte(password), salt, cost.Passes, cost.Memory, cost.Threads, uint32(len(want)))
	equal := subtle.ConstantTimeCompare(got, want) == 1
	return equal && hash != "", cost != h.cost, nil
}

// parseHash is the inverse of make; no hash if it is none.
func parseHash(s string) (cost Hash, salt, sum []byte) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return cost, nil, nil
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &cost.Memory, &cost.Passes, &cost.Threads); n != 3 || err != nil {
		return cost, nil, nil
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(sum) < 16 || cost.Passes == 0 || cost.Threads == 0 {
		return cost, nil, nil
	}
	return cost, salt, sum
}
