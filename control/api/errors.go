package api

import "errors"

// ErrCursor: a cursor was not one that an earlier page gave.
var ErrCursor = errors.New("not a cursor")
