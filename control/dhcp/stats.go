package dhcp

import (
	"maps"
	"sync"
)

// Drop says why a message got no answer.
type Drop string

// The reasons of drops, as they appear in metrics.
const (
	DropShort       Drop = "short"        // cut off in a header
	DropNotDHCP     Drop = "not_dhcp"     // not a DHCP request at all
	DropMalformed   Drop = "malformed"    // contradicts itself or RFC 2131
	DropNotOurs     Drop = "not_ours"     // not redirected to this node by a port
	DropUnknown     Drop = "unknown_mac"  // no reservation
	DropIdentity    Drop = "identity"     // speaks for another MAC or address than the sender's own
	DropRelay       Drop = "relay"        // giaddr: there are no relays on this LAN
	DropOtherServer Drop = "other_server" // a client that chose another server
	DropRateLimit   Drop = "rate_limit"   // too many from this port
	DropNoPort      Drop = "no_port"      // the webspace has no port now
	DropSend        Drop = "send"         // the kernel did not take the answer
	DropKernel      Drop = "kernel"       // the queue of the socket was full
)

// Drops are all reasons.
var Drops = []Drop{DropShort, DropNotDHCP, DropMalformed, DropNotOurs, DropUnknown, DropIdentity, DropRelay,
	DropOtherServer, DropRateLimit, DropNoPort, DropSend, DropKernel}

// Stats counts messages since the server was made. Keys are lower-case message types (RFC 2132, section 9.6) and
// values of Drop.
type Stats struct {
	Received map[string]uint64 // of known webspaces
	Sent     map[string]uint64
	Dropped  map[string]uint64
}

type counts struct {
	mu sync.Mutex
	s  Stats
}

func newCounts() *counts {
	c := &counts{s: Stats{Received: map[string]uint64{}, Sent: map[string]uint64{}, Dropped: map[string]uint64{}}}
	for _, t := range []string{"discover", "request", "decline", "release", "inform"} {
		c.s.Received[t] = 0
	}
	for _, t := range []string{"offer", "ack", "nak"} {
		c.s.Sent[t] = 0
	}
	for _, d := range Drops {
		c.s.Dropped[string(d)] = 0
	}
	return c
}

func (c *counts) received(t string) { c.add(c.s.Received, t, 1) }
func (c *counts) sent(t string)     { c.add(c.s.Sent, t, 1) }
func (c *counts) dropped(d Drop, n uint64) {
	c.add(c.s.Dropped, string(d), n)
}

func (c *counts) add(m map[string]uint64, key string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[key] += n
}

func (c *counts) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Received: maps.Clone(c.s.Received), Sent: maps.Clone(c.s.Sent), Dropped: maps.Clone(c.s.Dropped)}
}
