package dataplane

import (
	"errors"

	"golang.org/x/sys/unix"
)

// full reports whether an error says that a map has no room.
func full(err error) bool { return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) }

// ErrNoEndpoint says that no endpoint of this node has an address.
var ErrNoEndpoint = errors.New("no endpoint of this node has this address")
