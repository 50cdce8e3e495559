package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/lanyard-project/lanyard/bpf"
)

// EventKind says what happened to a webspace.
type EventKind uint8

const (
	// EventListen: a TCP socket of a watched network namespace listens, on an address that is not loopback.
	EventListen EventKind = iota + 1
	// EventBind: a UDP socket of a watched network namespace was bound to a port of its choice.
	EventBind
	// EventAnswered: a booting webspace sent a SYN-ACK or a UDP datagram from this port. From then on the programs
	// deliver what comes for that port. Once per port and boot.
	EventAnswered
	// EventVerified: the sender of a SYN has answered its challenge. Peer and ports are those of the SYN.
	EventVerified
	// EventKicked: a packet that should thaw it arrived for a napping webspace, and was delivered. Repeated while it naps.
	EventKicked
	// EventFirstFrame: a booting webspace has sent its first ARP or IPv4 packet from its own address: the address is up.
	EventFirstFrame
)

var eventNames = [...]string{"", "listen", "bind", "answered", "verified", "kicked", "first_frame"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && k > 0 {
		return eventNames[k]
	}
	return fmt.Sprintf("event_%d", uint8(k))
}

// Event is a hint: it may come twice, and when too many come at once some are lost. What holds is in the maps.
type Event struct {
	Kind     EventKind
	Time     time.Time
	Owner    string     // the webspace
	IP       netip.Addr // its address
	Proto    Proto
	Port     uint16 // of the webspace: the one that listens, is bound, has answered
	Peer     netip.Addr
	PeerPort uint16
}

// Events calls f for every event until ctx ends, and then returns nil. Several readers may run at once; a slow one loses
// events, and delays nobody.
func (d *Dataplane) Events(ctx context.Context, f func(Event)) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return d.events.follow(ctx, f)
}

// decodeEvent makes sense of one entry of the ring.
func (d *Dataplane) decodeEvent(raw []byte) (Event, bool) {
	var r bpf.TcEvent
	if len(raw) < int(unsafe.Sizeof(r)) {
		return Event{}, false
	}
	r = *(*bpf.TcEvent)(unsafe.Pointer(&raw[0]))
	e := Event{
		Kind: EventKind(r.Kind), Time: wallClock(r.Time), IP: unwire(r.Ip), Proto: Proto(r.Proto), Port: r.Port,
		Peer: unwire(r.Peer), PeerPort: r.PeerPort,
	}
	d.mu.Lock()
	e.Owner = d.slots.name[r.Slot]
	d.mu.Unlock()
	return e, true
}
