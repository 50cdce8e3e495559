package main

import (
	"context"
	"errors"
	"maps"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cases"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/daemon"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

// operations of a cell: it may generate load, or be a node, or both.
func operations() map[string]cell.Handler {
	var s load.Set
	var n daemon.Node
	ops := s.Ops()
	maps.Copy(ops, n.Ops())
	return ops
}

// builder makes worlds until the first error, and takes down all that it has made.
type builder struct {
	cpus     world.CPUs
	baseline bool
	worlds   []*world.World
	err      error
}

func (b *builder) keep(w *world.World, err error) *world.World {
	if err != nil {
		b.err = errors.Join(b.err, err)
		return nil
	}
	b.worlds = append(b.worlds, w)
	return w
}

func (b *builder) bare(name string, nic bool) *world.World {
	if b.err != nil {
		return nil
	}
	return b.keep(world.Bare(name, nic, b.cpus))
}

func (b *builder) kernel(name string, nic bool) *world.World {
	if b.err != nil {
		return nil
	}
	return b.keep(world.Kernel(name, nic, b.cpus, cases.Forwards()))
}

func (b *builder) lanyard(ctx context.Context, name string, nic bool, xdp dataplane.XDPMode) *world.World {
	if b.err != nil || b.baseline {
		return nil
	}
	if xdp == "" {
		xdp = dataplane.XDPOff
	}
	return b.keep(world.Lanyard(ctx, name, nic, xdp, b.cpus, cases.Forwards()))
}

// close takes everything down. When something failed it first asks the nodes what they have dropped, and why.
func (b *builder) close(ctx context.Context, failed error) error {
	errs := []error{failed}
	for _, w := range b.worlds {
		if failed != nil && ctx.Err() == nil {
			errs = append(errs, w.Drops(ctx))
		}
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
