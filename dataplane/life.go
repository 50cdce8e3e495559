package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
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

// UnmarshalText reads what MarshalText wrote.
func (l *Life) UnmarshalText(b []byte) error {
	i := slices.Index(lifeNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("no life has the name %q", b)
	}
	*l = Life(i)
	return nil
}

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
// With each change what an earlier life noted (ports that have answered) is forgotten, except from booting to awake.
func (d *Dataplane) SetLife(ip netip.Addr, life Life) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	e, ok := d.local(ip)
	if !ok {
		return fmt.Errorf("set the life of %v to %v: %w", ip, life, ErrNoEndpoint)
	}
	before := d.lifeOf(&e)
	if life == LifeUnset {
		delete(d.lives, ip)
	} else {
		if d.lives == nil {
			d.lives = map[netip.Addr]Life{}
		}
		d.lives[ip] = life
	}
	if err := d.writeLife(&e, before); err != nil {
		d.stale = true // the next Apply looks at what is there
		return fmt.Errorf("set the life of %v to %v: %w", ip, life, err)
	}
	return nil
}

// Life is what is in force for an endpoint of this node; LifeUnset when there is none.
func (d *Dataplane) Life(ip netip.Addr) Life {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.local(ip)
	if !ok {
		return LifeUnset
	}
	return d.lifeOf(&e)
}

// local is the endpoint of this node with an address. mu is held.
func (d *Dataplane) local(ip netip.Addr) (Endpoint, bool) {
	e, ok := d.wanted.endpoint(wire(ip))
	return e, ok && !e.VTEP.IsValid()
}

// lifeOf is the life of a local endpoint as the programs should see it.
func (d *Dataplane) lifeOf(e *Endpoint) Life {
	life := e.Life
	if set, ok := d.lives[e.IP]; ok {
		life = set
	}
	if e.Ifindex == 0 && (life == LifeAwake || life == LifeNapping) {
		return LifeBooting // there is nothing yet to deliver to
	}
	return life
}

// endpointEntry is an endpoint as the programs see it.
func (d *Dataplane) endpointEntry(e *Endpoint) bpf.TcEndpoint {
	v := bpf.TcEndpoint{
		Ip: wire(e.IP), Vtep: wire(e.VTEP), Mac: toMAC(e.MAC), State: uint8(bpf.TcEndpointStateENDPOINT_AWAKE),
	}
	if e.Infra {
		v.Flags |= uint8(bpf.TcEndpointFlagsENDPOINT_INFRA)
	}
	if e.VTEP.IsValid() {
		return v
	}
	v.Slot, v.Port, v.Wake = d.slots.owner[e.Owner], uint32(e.Ifindex), uint8(e.Wake)
	switch life := d.lifeOf(e); {
	case life == LifeAwake, life == LifeUnset && e.Ifindex != 0:
		v.Ifindex = v.Port
	case life == LifeUnset:
		v.State, v.Wake = uint8(bpf.TcEndpointStateENDPOINT_UNREACHABLE), 0
	default:
		v.State = uint8(life) // the same numbers
	}
	return v
}

// portEntry is a port as the programs see it.
func (d *Dataplane) portEntry(p *Port) bpf.TcPort {
	v := bpf.TcPort{Ip: wire(p.IP), Mac: toMAC(p.MAC), Kind: uint8(p.Kind), Slot: d.slots.owner[p.Owner]}
	if e, ok := d.local(p.IP); ok && e.Ifindex == p.Ifindex && d.lifeOf(&e) == LifeBooting {
		v.Flags = uint8(bpf.TcPortFlagsPORT_BOOTING)
	}
	return v
}

// writeLife writes the entries of one endpoint anew. mu is held.
func (d *Dataplane) writeLife(e *Endpoint, before Life) error {
	life := d.lifeOf(e)
	if life != before && !(before == LifeBooting && life == LifeAwake) {
		if err := d.forgetAnswers(e.IP); err != nil {
			return err
		}
	}
	v := d.endpointEntry(e)
	write := func() error {
		return errors.Join(putOne(d.tables.endpoints, v.Ip, v), putOne(d.tables.macs, mac(v.Mac).key(), v))
	}
	// Refusals are held back before packets are, and until none are any more.
	first := life != LifeBooting
	if first {
		if err := write(); err != nil {
			return err
		}
	}
	if p, ok := d.wanted.ports[e.Ifindex]; ok {
		if err := putOne(d.tables.ports, uint32(e.Ifindex), d.portEntry(&p)); err != nil {
			return err
		}
	}
	if first {
		return nil
	}
	return write()
}

// putOne writes an entry that is there already, unless it is the same. One that is not there Apply could not write.
func putOne[K, V comparable](t *table[K, V], k K, v V) error {
	if old, ok := t.shadow[k]; !ok || old == v {
		return nil
	}
	_, err := t.write(&change[K, V]{keys: []K{k}, values: []V{v}})
	return err
}

// forgetAnswers removes what an endpoint's earlier life has noted.
func (d *Dataplane) forgetAnswers(ip netip.Addr) error {
	m := d.maps["answered"]
	keys, err := allKeys(m)
	if err != nil {
		return fmt.Errorf("read map answered: %w", err)
	}
	own := wire(ip)
	for _, k := range keys {
		if !bytes.Equal(k[:len(own.Ip)], own.Ip[:]) {
			continue
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("write map answered: %w", err)
		}
	}
	return nil
}

// pruneLives forgets what was set for endpoints that are not on this node any more.
func (d *Dataplane) pruneLives() {
	for ip := range d.lives {
		if _, ok := d.local(ip); !ok {
			delete(d.lives, ip)
		}
	}
}
