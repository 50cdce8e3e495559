package wake

import (
	"context"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/webspace"
)

// LXD is what the engine asks of LXD; *webspace.Store has it (see FromStore).
type LXD interface {
	// Start starts an instance and returns when LXD has.
	Start(ctx context.Context, name string) error
	// Stop stops it: gracefully for as long as grace, then by force. grace 0: by force at once.
	Stop(ctx context.Context, name string, grace time.Duration) error
	Freeze(ctx context.Context, name string) error
	Unfreeze(ctx context.Context, name string) error
	// Get reads one instance.
	Get(ctx context.Context, name string) (webspace.Instance, error)
}

// Plane is what the engine asks of the dataplane. None of its methods blocks for long.
type Plane interface {
	// SetLife says in which state an endpoint of this node is, at once.
	SetLife(addr netip.Addr, l Life) error
	// Frames gives every parked frame to f, until ctx ends. f must not keep the slice.
	Frames(ctx context.Context, f func(frame []byte)) error
	// Events gives every event to f, until ctx ends.
	Events(ctx context.Context, f func(Event)) error
	// Inject sends a parked frame on to the webspace that it is for.
	Inject(frame []byte) error
	// Refuse answers a parked TCP segment with a reset, as the webspace would.
	Refuse(frame []byte) error
	// Challenge asks the sender of a parked SYN to prove that it is there: an EventVerified follows if it does.
	Challenge(frame []byte) error
	// Watch makes events of the sockets in a network namespace come as those of addr. inode 0 ends it.
	Watch(addr netip.Addr, inode uint32) error
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
	Pid   int       // of its first process, in this process's pid namespace
	Netns uint32    // inode of its network namespace; 0: unknown
	Began time.Time // of its first process; zero: unknown
}

// Life is the state of an endpoint, as packets meet it.
type Life uint8

// The lives.
const (
	Awake       Life = iota // packets go to it
	Asleep                  // stopped: packets are parked
	Booting                 // packets are parked, its refusals are dropped, its first answer makes it awake
	Napping                 // frozen: packets go to it, the first one raises EventKicked
	Unreachable             // nothing can be done: packets are dropped
)

func (l Life) String() string {
	switch l {
	case Awake:
		return "awake"
	case Asleep:
		return "asleep"
	case Booting:
		return "booting"
	case Napping:
		return "napping"
	}
	return "unreachable"
}

// EventKind is what the dataplane has seen.
type EventKind uint8

// The kinds of events.
const (
	EventListen     EventKind = iota + 1 // a TCP socket of the webspace listens on Port
	EventBind                            // a UDP socket of the webspace is bound to Port
	EventAnswered                        // the webspace has answered on Port: it is awake
	EventFirstFrame                      // the webspace has sent from its own address: the address is up
	EventKicked                          // a packet for a napping one
	EventVerified                        // Peer has proved that it is there, after a Challenge
)

// Event is one of them.
type Event struct {
	Kind  EventKind
	Addr  netip.Addr // of the webspace
	Proto Proto
	Port  uint16         // of the webspace
	Peer  netip.AddrPort // of the packet, when there is one
}

// Proto is an IP protocol number.
type Proto uint8

// The protocols.
const (
	ICMP Proto = 1
	TCP  Proto = 6
	UDP  Proto = 17
)

func (p Proto) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return "ip"
}
