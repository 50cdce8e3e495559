package dataplane

import (
	"context"
	"net/netip"
	"time"
)

// Frame is a parked frame: one that arrived for an endpoint which cannot take it now, with the addresses that its
// webspace will see (a forward's destination is translated already).
type Frame struct {
	Data     []byte // from the Ethernet header on, checksums complete. It is hostile, and the receiver's to keep
	Time     time.Time
	Owner    string     // the webspace
	IP       netip.Addr // its address
	Peer     netip.Addr // who sent it
	Proto    Proto
	Port     uint16 // of the webspace; 0 for ICMP and later fragments
	PeerPort uint16
	// Unverified marks a SYN that was answered with a challenge (WakeVerified): EventVerified follows when its sender is real.
	Unverified bool
}

// Parking is where frames for sleeping webspaces come out, and go in again.
type Parking struct{ d *Dataplane }

// Parking gives the node's parking.
func (d *Dataplane) Parking() *Parking { return &Parking{d} }

// Read calls f for every parked frame until ctx ends, and then returns nil. There is one reader at a time; what is parked
// while there is none is lost, as on a wire. f must be quick: the queue behind it is a few thousand frames.
func (p *Parking) Read(ctx context.Context, f func(Frame)) error { return errNotYet }

// Inject sends a frame on: one *to* an endpoint (as it was parked) is delivered to its port, in whatever life that is, or
// through the tunnel when it has moved; one *from* a local endpoint (an answer in its name) goes the way its own would. It
// does not block. A frame for an endpoint without a port is counted and dropped.
func (p *Parking) Inject(frame []byte) error { return errNotYet }

// Refuse answers a parked TCP SYN with a reset in the webspace's name, and a parked UDP datagram with ICMP port
// unreachable. Other frames are left alone.
func (p *Parking) Refuse(f Frame) error { return errNotYet }
