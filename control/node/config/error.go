package config

import "strings"

// Error is a mistake in the configuration, in three parts.
type Error struct {
	What  string // what failed
	Cause string
	Next  string // what to do
	Err   error
}

func (e *Error) Error() string {
	return strings.Join([]string{e.What, e.Cause, e.Next}, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

const showKeys = "see docs/reference/config.md, or: lanyardd node --print-config"
