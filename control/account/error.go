package account

import (
	"errors"
	"strings"
	"time"
)

// Kinds of failure, for errors.Is. The HTTP status is what clients of the seed's API expect for it.
var (
	ErrToken       = errors.New("token not accepted")   // 401: malformed, unsigned, foreign, wrong audience, bad signature
	ErrExpired     = errors.New("token expired")        // 403: it was good once
	ErrRevoked     = errors.New("token revoked")        // 403: logged out, password changed, account removed or refused
	ErrPassword    = errors.New("incorrect password")   // 401: name or password is wrong
	ErrRateLimited = errors.New("too many attempts")    // 429
	ErrNotFound    = errors.New("user does not exist")  // 404
	ErrExists      = errors.New("already exists")       // 409
	ErrInvalid     = errors.New("invalid")              // 400: no acceptable name, number, key or password
	ErrUnavailable = errors.New("accounts unavailable") // 503: the provider does not answer, or not sensibly
)

// Error is a failure in three parts: what failed, the likely cause, the next step. What and Cause can be shown to the
// caller; Err is for the log.
type Error struct {
	What       string
	Cause      string
	Next       string
	Kind       error         // one of the Err… values
	RetryAfter time.Duration // of ErrRateLimited and ErrUnavailable, if known
	Err        error         // what lies beneath, or nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	switch {
	case e.Cause != "":
		b.WriteString(": " + e.Cause)
	case e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	}
	if e.Next != "" {
		b.WriteString(" (" + e.Next + ")")
	}
	return b.String()
}

// Unwrap makes both the kind and the underlying error visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
