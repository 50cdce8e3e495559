package wake

import (
	"context"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// LXD is what the engine asks of LXD; *webspace.Store is one.
type LXD interface {
	// Start starts an instance and returns when LXD has.
	Start(ctx context.Context, name string) error
	// Stop stops it: gracefully for as long as grace, then by force. grace 0: by force at once.
	Stop(ctx context.Context, name string, grace time.Duration) error
	Freeze(ctx context.Context, name string) error
	Unfreeze(ctx context.Context, name string) error
	// Get reads one instance.
	Get(ctx context.Context, name string) (webspace.Instance, error)
	// Operations are what LXD is doing on this node.
	Operations(ctx context.Context) ([]webspace.Operation, error)
}

// Plane is what the engine asks of the dataplane; *dataplane.Dataplane is one. None of its methods blocks for long,
// except Events.
type Plane interface {
	SetLife(ip netip.Addr, life dataplane.Life) error
	Life(ip netip.Addr) dataplane.Life
	Events(ctx context.Context, f func(dataplane.Event)) error
	WatchNetns(ip netip.Addr, inum uint32, fresh bool) error
	UnwatchNetns(ip netip.Addr) error
}

// Parking is where frames for sleeping webspaces come out, and go in again; *dataplane.Parking is one.
type Parking interface {
	Read(ctx context.Context, f func(dataplane.Frame)) error
	Inject(frame []byte) error
	Refuse(f dataplane.Frame) error
}

// Ledger is where each wake, thaw, nap and sleep is written when it has ended; *ledger.Ledger is one.
type Ledger interface{ Add(ledger.Record) }

// Containers is what the engine looks at without LXD, because LXD would take too long; see NewContainers. All of it
// is optional: an error means that the slower way is taken.
type Containers interface {
	// Find gives a container that runs.
	Find(name string) (Container, error)
	// Sockets gives what a container can answer on. addr is its address on the LAN.
	Sockets(c Container, addr netip.Addr) (Sockets, error)
	// Thaw lets the processes of a frozen container go on.
	Thaw(name string) error
}

// Sockets are those of one network namespace.
type Sockets struct {
	Addressed bool          // the address is up
	Open      map[Port]bool // listening TCP and bound UDP sockets, those of loopback left out
}

// Container is one that runs.
type Container struct {
	Pid   int    // of its first process, in this process's pid namespace
	Netns uint32 // inode of its network namespace; 0: unknown
}
