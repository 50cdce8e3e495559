package api

import "errors"

// ErrCursor: a cursor was not one that an earlier page gave.
var ErrCursor = errors.New("not a cursor")

// ErrElsewhere: only another node knows the answer, and it cannot be asked from here.
var ErrElsewhere = errors.New("known to another node only")
