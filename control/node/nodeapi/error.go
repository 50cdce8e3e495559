package nodeapi

import (
	"errors"
	"strings"
)

// Codes of Error. They are the same in the API, the CLI and the documentation.
const (
	CodeUnreachable = "node-unreachable" // no daemon behind the socket
	CodeDenied      = "node-denied"      // the caller is not root
	CodeStarting    = "node-starting"    // the part asked for cannot answer now
	CodeBadRequest  = "bad-request"      // the request makes no sense
	CodeNotFound    = "not-found"        // there is no such path
	CodeInternal    = "internal"         // the daemon's mistake, or another version
)

// Error is an error in three parts: what failed, its likely cause, and what to do next.
type Error struct {
	Code   string `json:"code"`
	Status int    `json:"status,omitempty"` // HTTP
	What   string `json:"title"`
	Cause  string `json:"detail,omitempty"`
	Next   string `json:"next,omitempty"`
	Err    error  `json:"-"`
}

// Error gives the parts as one line.
func (e *Error) Error() string {
	parts := []string{e.What}
	if e.Cause != "" {
		parts = append(parts, e.Cause)
	}
	if e.Next != "" {
		parts = append(parts, e.Next)
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// HasCode says whether err is, or wraps, an Error with this code.
func HasCode(err error, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}
