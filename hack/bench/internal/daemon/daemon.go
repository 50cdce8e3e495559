// Package daemon runs package dataplane inside a cell, in the place of lanyardd: the State comes from the benchmark
// instead of LXD.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
)

// None is an empty argument or result.
type None struct{}

// Node is the dataplane of one cell.
type Node struct {
	cfg  dataplane.Config
	dp   *dataplane.Dataplane
	stop context.CancelFunc
	ran  chan error
	said *bytes.Buffer
	// states are desired states that were handed over beforehand, so that reading them is not part of what is timed.
	states map[string]dataplane.State
}

// Ops are the operations of a cell that is a node.
func (n *Node) Ops() map[string]cell.Handler {
	n.states = map[string]dataplane.State{}
	n.said = &bytes.Buffer{}
	return map[string]cell.Handler{
		"node.open":   cell.Op(n.open),
		"node.state":  cell.Op(n.state),
		"node.apply":  cell.Op(n.apply),
		"node.batch":  cell.Op(n.batch),
		"node.reopen": cell.Op(n.reopen),
		"node.status": cell.Op(n.status),
		"node.drops":  cell.Op(n.drops),
	}
}

// Took is how long something took, by the wall clock and in CPU time of this process.
type Took struct {
	Wall time.Duration `json:"wall_ns"`
	CPU  time.Duration `json:"cpu_ns"`
}

func timed(f func() error) (Took, error) {
	var before, after unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &before); err != nil {
		return Took{}, err
	}
	start := time.Now()
	err := f()
	wall := time.Since(start)
	if e := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &after); e != nil {
		err = errors.Join(err, e)
	}
	return Took{Wall: wall, CPU: time.Duration(after.Nano() - before.Nano())}, err
}

func (n *Node) open(cfg dataplane.Config) (Took, error) {
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"); err != nil {
		return Took{}, fmt.Errorf("mount a bpffs of this cell: %w", err)
	}
	n.cfg = cfg
	return timed(n.start)
}

func (n *Node) start() error {
	log := slog.New(slog.NewTextHandler(n.said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, stop := context.WithCancel(context.Background())
	dp, err := dataplane.Open(ctx, n.cfg, log)
	if err != nil {
		stop()
		return fmt.Errorf("%w\n%s", err, n.said)
	}
	n.dp, n.stop, n.ran = dp, stop, make(chan error, 1)
	go func() { n.ran <- dp.Run(ctx) }()
	return nil
}

// reopen is what a restart or an upgrade of the daemon does: let go, and adopt what is there.
func (n *Node) reopen(None) (Took, error) {
	n.stop()
	if err := <-n.ran; err != nil {
		return Took{}, fmt.Errorf("run: %w", err)
	}
	if err := n.dp.Close(); err != nil {
		return Took{}, err
	}
	return timed(n.start)
}

// Desired is a state under a name.
type Desired struct {
	Name  string          `json:"name"`
	State dataplane.State `json:"state"`
}

func (n *Node) state(d Desired) (None, error) {
	n.states[d.Name] = d.State
	return None{}, nil
}

// Name of a state.
type Name struct {
	Name string `json:"name"`
}

// Applied is what an Apply did and what it took.
type Applied struct {
	Took
	Changes dataplane.Delta `json:"changes"`
}

func (n *Node) apply(a Name) (Applied, error) {
	s, ok := n.states[a.Name]
	if !ok {
		return Applied{}, fmt.Errorf("no state %q", a.Name)
	}
	var c dataplane.Changes
	took, err := timed(func() (err error) {
		c, err = n.dp.Apply(context.Background(), s)
		return err
	})
	for _, p := range c.Problems {
		err = errors.Join(err, p)
	}
	return Applied{Took: took, Changes: c.Total()}, err
}

func (n *Node) status(None) (dataplane.Status, error) { return n.dp.Status() }

func (n *Node) drops(None) (string, error) {
	d, err := n.dp.Drops()
	var b bytes.Buffer
	for _, x := range d {
		fmt.Fprintf(&b, "%s %v %d; ", x.Owner, x.Reason, x.Packets)
	}
	b.Write(n.said.Bytes())
	return b.String(), err
}
