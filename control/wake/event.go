package wake

import (
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
)

// event takes what the dataplane has seen.
func (e *Engine) event(v Event) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.spaces[v.Addr]
	if s == nil {
		return
	}
	switch v.Kind {
	case EventKicked:
		e.kicked(s, v, now)
		return
	case EventVerified:
		e.verified(s, v, now)
		return
	}
	j := s.job
	if j == nil || j.kind != ledger.Wake {
		return
	}
	switch v.Kind {
	case EventListen, EventBind:
		p := Port{TCP, v.Port}
		if v.Kind == EventBind {
			p.Proto = UDP
		}
		j.open[p], j.fresh = true, true
		if _, ours := s.hold.oldest(p); ours || p.Proto == UDP || len(s.hold.list) == 0 {
			j.mark(&j.split.Open)
		}
	case EventFirstFrame:
		j.addressed, j.fresh = true, true
	case EventAnswered:
		j.addressed = true
		j.answered[Port{v.Proto, v.Port}] = true
		j.mark(&j.split.Open)
		j.mark(&j.split.Delivered)
		// The dataplane has it awake already; this is only for us, and for the next Apply.
		e.setLife(s, Awake)
	default:
		return
	}
	j.tell()
}

// Leased tells that a webspace has just been given its address: within a moment it will be up.
func (e *Engine) Leased(addr netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.spaces[addr]
	if s == nil || s.job == nil || s.job.kind != ledger.Wake {
		return
	}
	j := s.job
	j.leased, j.fresh = true, true
	j.mark(&j.split.Lease)
	j.tell()
}

// verified: the sender of a held SYN is there. mu is held.
func (e *Engine) verified(s *space, v Event, now time.Time) {
	var found *held
	for n := range s.hold.list {
		h := &s.hold.list[n]
		if h.syn && h.tuple.src == v.Peer && (v.Port == 0 || h.tuple.dst.Port() == v.Port) {
			h.verified, found = true, h
		}
	}
	if found == nil || s.job != nil && s.job.admits() {
		return // its SYN is gone; the next one of the same sender is challenged again
	}
	switch what, why := e.judge(s, found.packet, true, now); what {
	case wakes:
		e.wakeFor(s, e.causeOf(s, found.packet), now)
	default:
		e.stats.Denied[why]++
		t := found.tuple
		for _, h := range s.hold.take(func(h held) bool { return h.tuple == t }) {
			e.refuse(h.packet, h.frame)
		}
	}
}

// kicked: a packet has arrived for a napping webspace; its kernel keeps it. mu is held.
func (e *Engine) kicked(s *space, v Event, now time.Time) {
	p := packet{tuple: tuple{proto: v.Proto, src: v.Peer, dst: netip.AddrPortFrom(v.Addr, v.Port)}}
	if s.life == Napping || s.job != nil && s.job.kind == ledger.Nap {
		e.wakeFor(s, e.causeOf(s, p), now)
	}
}
