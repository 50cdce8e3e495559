package webspace

import (
	"errors"
	"strings"
)

// Kinds of failure, for errors.Is.
var (
	// ErrInvalid: the record, name or option is not acceptable; trying again cannot help.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such webspace, image or member.
	ErrNotFound = errors.New("not found")
	// ErrExists: the webspace exists already.
	ErrExists = errors.New("already exists")
	// ErrConflict: somebody else changed it at the same time, more often than we tried.
	ErrConflict = errors.New("changed by somebody else")
	// ErrUnavailable: LXD did not answer in time, or not at all.
	ErrUnavailable = errors.New("LXD unavailable")
	// ErrExhausted: no address is left.
	ErrExhausted = errors.New("exhausted")
	// ErrRefused: LXD does not trust us, or forbids it.
	ErrRefused = errors.New("refused")
)

// Finer kinds, for what a member asks of a Service. Each is also of the coarser kind that it names, and its text is the
// seed system's, which clients print.
var (
	ErrUsed          error = &kind{"used by a webspace", ErrExists}
	ErrRunning       error = &kind{"already running", nil}
	ErrNotRunning    error = &kind{"not running", nil}
	ErrUnverified    error = &kind{"verification failed", ErrInvalid}
	ErrDefaultDomain error = &kind{"cannot remove the default domain", ErrInvalid}
	ErrTooManyPorts  error = &kind{"port forward limit reached", ErrInvalid}
	ErrBadPort       error = &kind{"invalid port", ErrInvalid}
	ErrBadValue      error = &kind{"invalid value for configuration option", ErrInvalid}
	ErrNoSSHKey      error = &kind{"user has no SSH public key", ErrInvalid}
	ErrNoAddress     error = &kind{"IPv4 address not found", ErrUnavailable}
	ErrNoConsole     error = &kind{"the console is in use", ErrConflict}
)

// kind is a kind of failure within a coarser one.
type kind struct {
	text   string
	within error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.within }

// Problem is an error in the three parts that a person needs: what failed, the likely cause, the next command.
type Problem struct {
	What  string
	Cause string
	Next  string
	Kind  error // one of the Err… values above, or nil
	Err   error // what lies beneath, or nil
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
