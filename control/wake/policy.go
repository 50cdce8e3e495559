package wake

import (
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// verdict is what becomes of a packet for an asleep webspace.
type verdict uint8

const (
	wakes  verdict = iota // it wakes
	proves                // its sender must first prove that it is there
	ends                  // it must not wake, or not now
)

// Reasons why a packet did not wake. They are labels of a metric.
const (
	deniedNever     = "never"      // its rule says so
	deniedList      = "allowlist"  // the sender is not on it
	deniedUnproven  = "unverified" // a datagram cannot prove where it comes from
	deniedFailed    = "backoff"    // the last start failed a short time ago
	deniedWebspace  = "webspace"   // it was woken too often in the last hour
	deniedSource    = "source"     // the sender woke too many in the last minute
	deniedNoPackets = "full"       // there is no room to hold the packet
)

// Denials are all reasons.
func Denials() []string {
	return []string{deniedNever, deniedList, deniedUnproven, deniedFailed, deniedWebspace, deniedSource, deniedNoPackets}
}

// Rules of dataplane and engine together: the programs park only what a rule may let wake (WakeBits), and challenge the
// senders of SYNs where it asks for proof; the engine judges by address, and keeps the budgets.

// judge says what a packet may do. It spends budgets only when the packet wakes. mu is held.
func (e *Engine) judge(s *space, f dataplane.Frame, now time.Time) (verdict, string) {
	neighbour, infra := e.c.LAN.neighbour(f.Peer), e.c.LAN.infra(f.Peer)
	rule, own := s.t.Forwards[portOf(f)]
	if !own || neighbour {
		rule = s.t.Rule
	}
	if rule.Policy == webspace.WakeDefault {
		rule = e.c.Rule
	}
	switch rule.Policy {
	case webspace.WakeNever:
		return ends, deniedNever
	case webspace.WakeAllowlist:
		if !neighbour && !contains(rule.Allow, f.Peer) {
			return ends, deniedList
		}
	case webspace.WakeVerified:
		if !neighbour && f.Proto != dataplane.TCP {
			return ends, deniedUnproven
		}
	}
	if f.Unverified {
		return proves, ""
	}
	if now.Before(s.retryAt) {
		return ends, deniedFailed
	}
	if !infra {
		if !e.perSource.take(f.Peer, now) {
			return ends, deniedSource
		}
		if !e.perWebspace.take(s.t.UID, now) {
			return ends, deniedWebspace
		}
	}
	return wakes, ""
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// causeOf names the packet that wakes.
func (e *Engine) causeOf(s *space, proto dataplane.Proto, peer netip.AddrPort, port uint16) ledger.Cause {
	c := ledger.Cause{Via: ledger.Forward, Peer: peer, Proto: protoName(proto), Port: port}
	switch {
	case e.c.LAN.infra(peer.Addr()) && proto == dataplane.TCP && port == s.t.HTTPPort:
		c.Via = ledger.HTTP
	case e.c.LAN.infra(peer.Addr()):
		c.Via = ledger.Node
	case e.c.LAN.neighbour(peer.Addr()):
		c.Via = ledger.LAN
	}
	return c
}

func protoName(p dataplane.Proto) string {
	switch p {
	case dataplane.TCP:
		return "tcp"
	case dataplane.UDP:
		return "udp"
	case dataplane.ICMP:
		return "icmp"
	}
	return ""
}

// Bits are what the dataplane is told about a rule: which packets come to the engine at all. fallback stands for a rule
// that is not set.
func Bits(rule, fallback webspace.WakeRule) dataplane.WakePolicy {
	if rule.Policy == webspace.WakeDefault {
		rule = fallback
	}
	const all = dataplane.WakeForward | dataplane.WakeLAN | dataplane.WakeNode | dataplane.WakePing | dataplane.WakeRefuse
	switch rule.Policy {
	case webspace.WakeNever:
		return dataplane.WakeRefuse
	case webspace.WakeVerified:
		return all | dataplane.WakeVerified
	}
	return all
}

// ForwardBits are those of a forward's own rule.
func ForwardBits(rule webspace.WakeRule) dataplane.ForwardWake {
	switch rule.Policy {
	case webspace.WakeAny, webspace.WakeAllowlist:
		return dataplane.ForwardWakeAny
	case webspace.WakeVerified:
		return dataplane.ForwardWakeVerified
	case webspace.WakeNever:
		return dataplane.ForwardWakeNever
	}
	return dataplane.ForwardWakeDefault
}
