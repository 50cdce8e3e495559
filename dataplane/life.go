package dataplane

import (
	"fmt"
	"net/netip"
)

// Life says what becomes of packets for an endpoint of this node. Of an endpoint behind a peer only the peer's node knows
// it: packets travel there whatever Life says.
type Life uint8

const (
	// LifeUnset is awake with a port or behind a peer, and otherwise absent: packets are dropped. It is for nodes without waking.
	LifeUnset Life = iota
	// LifeAwake: packets are delivered. Without a port they are parked, as for a booting one.
	LifeAwake
	// LifeAsleep: ARP is answered for it, packets that may wake it are parked, TCP segments of old connections are reset.
	LifeAsleep
	// LifeBooting is as asleep, but its port (when it has one) gets everything that it may have asked for itself, and what
	// is for a TCP or UDP port that has answered. Its refusals (RST to a SYN, ICMP port unreachable) are held back.
	LifeBooting
	// LifeNapping: packets are delivered to the frozen webspace, whose kernel still answers, and raise EventKicked.
	LifeNapping
	// LifeUnreachable: nothing is parked; packets are dropped, or refused with WakeRefuse.
	LifeUnreachable
)

var lifeNames = [...]string{"unset", "awake", "asleep", "booting", "napping", "unreachable"}

func (l Life) String() string {
	if int(l) < len(lifeNames) {
		return lifeNames[l]
	}
	return fmt.Sprintf("life_%d", uint8(l))
}

// MarshalText is for JSON.
func (l Life) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// WakePolicy is a set of bits: which packets for a sleeping endpoint are parked (or kick a napping one). Zero: none.
//
// Whatever the policy, only TCP SYNs, UDP datagrams and (with WakePing) ICMP echo requests wake, never what the gateway
// itself sends (DHCP, DNS), nor answers of outbound connections. Which forward, port or address it was is in the frame, for
// user space to judge (allow lists, budgets).
type WakePolicy uint8

const (
	// WakeForward: from outside, for one of its forwards (entering at whichever node).
	WakeForward WakePolicy = 1 << iota
	// WakeLAN: from another webspace of the LAN.
	WakeLAN
	// WakeNode: from infrastructure: the node itself, other nodes, pods such as an ingress.
	WakeNode
	// WakePing: ICMP echo requests too, from wherever the bits above allow (except forwards, which have none).
	WakePing
	// WakeVerified: a SYN for a forward is not enough. It is answered with a challenge (a SYN-ACK that acknowledges a wrong
	// number; RFC 9293 section 3.10.7.3 makes a client that exists answer with a reset that carries that number, and keep
	// trying), and the right answer raises EventVerified. The SYN itself is parked meanwhile, as Frame.Unverified. UDP
	// cannot be verified, and does not wake.
	WakeVerified
	// WakeRefuse: a SYN that may not wake it (or, of an unreachable one, any) is answered with a reset instead of silence.
	WakeRefuse
)

// ForwardWake is a forward's own word on waking, above its endpoint's policy. When several forwards lead to one target
// port the strictest counts for all of them.
type ForwardWake uint8

const (
	ForwardWakeDefault  ForwardWake = iota // as the endpoint's WakePolicy says
	ForwardWakeAny                         // without verification
	ForwardWakeVerified                    // only once verified
	ForwardWakeNever
)

// SetLife changes what becomes of packets for a local endpoint at once, without an Apply. It stays in force, whatever Life
// later States give that endpoint, until SetLife with LifeUnset gives the word back to the State, or the endpoint leaves
// the State or this node; a new daemon begins with the State's word. When the endpoint is not known (yet) it is an error,
// ErrNoEndpoint.
//
// Before LifeBooting and LifeNapping what an earlier life noted (ports that have answered, kicks) is forgotten.
func (d *Dataplane) SetLife(ip netip.Addr, life Life) error {
	return fmt.Errorf("set the life of %v to %v: %w", ip, life, errNotYet)
}

// Life is what is in force for an endpoint of this node; LifeUnset when there is none.
func (d *Dataplane) Life(ip netip.Addr) Life { return LifeUnset }
