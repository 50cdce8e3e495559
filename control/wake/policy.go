package wake

import (
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
)

// verdict is what becomes of a packet for an asleep webspace.
type verdict uint8

const (
	wakes  verdict = iota // it wakes
	proves                // its sender must first prove that it is there
	ends                  // it must not wake
	waits                 // not now: too often, or too soon after a failure
)

// judge says what a packet may do. It spends budgets only when the packet wakes.
func (e *Engine) judge(s *space, p packet, proved bool, now time.Time) (verdict, string) {
	from := p.tuple.src.Addr()
	neighbour, infra := e.c.LAN.neighbour(from), e.c.LAN.infra(from)
	policy, own := s.t.Forwards[p.tuple.port()]
	if !own || neighbour {
		policy = s.t.Policy
	}
	if policy.Mode == "" {
		policy = e.c.DefaultPolicy
	}
	switch policy.Mode {
	case Never:
		return ends, "its policy is never"
	case Allowlist:
		allowed := neighbour
		for _, a := range policy.Allow {
			allowed = allowed || a.Contains(from)
		}
		if !allowed {
			return ends, "the sender is not on its list"
		}
	case Verified:
		if !neighbour && !proved {
			if !p.syn {
				return ends, "its policy is verified, and this protocol proves nothing"
			}
			return proves, ""
		}
	}
	if now.Before(s.retryAt) {
		return waits, "its last start failed a short time ago"
	}
	if !infra {
		if !e.perWebspace.take(s.t.UID, now) {
			return waits, "it was woken too often in the last hour"
		}
		if !e.perSource.take(from, now) {
			return waits, "the sender woke too many in the last minute"
		}
	}
	return wakes, ""
}

// causeOf names the packet that wakes.
func (e *Engine) causeOf(s *space, p packet) ledger.Cause {
	c := ledger.Cause{Via: ledger.Forward, Peer: p.tuple.src, Proto: p.tuple.proto.String(), Port: p.tuple.dst.Port()}
	switch from := p.tuple.src.Addr(); {
	case e.c.LAN.infra(from) && p.tuple.proto == TCP && c.Port == s.t.HTTPPort:
		c.Via = ledger.HTTP
	case e.c.LAN.infra(from):
		c.Via = ledger.Node
	case e.c.LAN.neighbour(from):
		c.Via = ledger.LAN
	}
	return c
}
