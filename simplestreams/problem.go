package simplestreams

import (
	"errors"
	"strings"
	"time"
)

// Kinds of failure, for errors.Is.
var (
	// ErrNotFound: no such repository, image or file.
	ErrNotFound = errors.New("not found")
	// ErrForbidden: the repository is not on the list of those that are served.
	ErrForbidden = errors.New("not allowed")
	// ErrLimited: the source's rate limit is used up; see Problem.Retry.
	ErrLimited = errors.New("rate limit")
	// ErrUpstream: the source failed or answered nonsense.
	ErrUpstream = errors.New("source failed")
	// ErrCorrupt: bytes are not those that their checksum promises, or an archive is broken or hostile.
	ErrCorrupt = errors.New("corrupt")
	// ErrInvalid: what was asked makes no sense.
	ErrInvalid = errors.New("invalid")
	// ErrBusy: too much is under way.
	ErrBusy = errors.New("busy")
)

// Problem is an error in three parts: what failed, the likely cause, what to do.
type Problem struct {
	What  string
	Cause string
	Next  string
	Kind  error         // one of the Err… values above
	Err   error         // what lies beneath, or nil
	Retry time.Duration // with ErrLimited and ErrBusy: not before; 0: unknown
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.What)
	switch {
	case p.Cause != "":
		b.WriteString(": " + p.Cause)
	case p.Err != nil:
		b.WriteString(": " + p.Err.Error())
	}
	if p.Next != "" {
		b.WriteString(" (" + p.Next + ")")
	}
	return b.String()
}

// Unwrap makes both the kind and the underlying error visible to errors.Is and errors.As.
func (p *Problem) Unwrap() []error {
	var errs []error
	if p.Kind != nil {
		errs = append(errs, p.Kind)
	}
	if p.Err != nil {
		errs = append(errs, p.Err)
	}
	return errs
}
