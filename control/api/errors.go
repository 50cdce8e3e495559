package api

import "errors"

// ErrCursor: a cursor was not one that an earlier page gave.
var ErrCursor = errors.New("not a cursor")

// ErrNode: the node that has a webspace cannot say now.
var ErrNode = errors.New("the webspace's node cannot say now")

// ErrElsewhere: only another node knows the answer, and it can never be asked from here.
var ErrElsewhere = errors.New("known to another node only")
