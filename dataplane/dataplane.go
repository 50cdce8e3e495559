package dataplane

import (
	"context"
	"errors"
	"log/slog"
)

var errUnfinished = errors.New("not built yet")

// Dataplane is the kernel side of one node. Its methods may be called from several goroutines.
type Dataplane struct {
	cfg Config
	log *slog.Logger
}

// Open creates the node's devices, maps and programs, or adopts what an earlier daemon left, and holds a lock
// against a second daemon until Close. It must run in the network namespace of the node.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Dataplane, error) {
	return nil, errUnfinished
}

// Apply makes the kernel equal to s and touches only differences. Single bad items are skipped and reported in
// Changes.Problems; an error means that the kernel refused something that should have worked, and that the next
// Apply tries it again.
func (d *Dataplane) Apply(ctx context.Context, s State) (Changes, error) {
	return Changes{}, errUnfinished
}

// Run keeps next hops, flows, forwarding entries and the MTU true until ctx ends. It returns nil when ctx ended.
func (d *Dataplane) Run(ctx context.Context) error { return errUnfinished }

// MTU of the LAN in bytes, as it is now.
func (d *Dataplane) MTU() int { return 0 }

// Close lets go of everything. What is pinned stays, and goes on forwarding.
func (d *Dataplane) Close() error { return errUnfinished }

// Teardown removes all that Open and Apply ever made. It is no error when nothing is there.
func Teardown(ctx context.Context, cfg Config, log *slog.Logger) error { return errUnfinished }
