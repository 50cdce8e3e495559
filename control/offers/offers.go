// Package offers is how the role node of a process lets its other roles use what only it can do: wake webspaces without
// losing a packet, and keep them awake.
package offers

import (
	"context"
	"sync"

	"github.com/lanyard-project/lanyard/webspace"
)

// Node is what a node offers. What is nil is not offered.
type Node struct {
	// EnsureStarted starts or thaws a webspace of this node and returns when it is ready; webspace.ErrNotFound for one
	// that is not on this node.
	EnsureStarted func(ctx context.Context, uid int) error
	// Hold keeps a webspace from being put to sleep until release is called. what is for people, e.g. "a session".
	Hold func(uid int, what string) (release func())
}

// Offers is what there is at the moment. The nil Offers, and the zero one, have nothing. Safe for concurrent use.
type Offers struct {
	mu   sync.RWMutex
	node Node
}

// Set replaces what the node offers.
func (o *Offers) Set(n Node) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.node = n
}

func (o *Offers) get() Node {
	if o == nil {
		return Node{}
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.node
}

// EnsureStarted is webspace.Waker's: without a node, ErrNotFound, and the service starts it itself.
func (o *Offers) EnsureStarted(ctx context.Context, uid int) error {
	if start := o.get().EnsureStarted; start != nil {
		return start(ctx, uid)
	}
	return webspace.ErrNotFound
}

// CanHold says that there is a node which holds.
func (o *Offers) CanHold() bool { return o.get().Hold != nil }

// Hold is a webspace.HoldFunc.
func (o *Offers) Hold(uid int) (release func()) {
	if hold := o.get().Hold; hold != nil {
		return hold(uid, "the API")
	}
	return func() {}
}

var (
	_ webspace.Waker    = (*Offers)(nil)
	_ webspace.HoldFunc = (*Offers)(nil).Hold
)
