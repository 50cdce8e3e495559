package wake

import (
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// event takes what the dataplane has seen. It is a hint: it may come twice, or not at all.
func (e *Engine) event(v dataplane.Event) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.spaces[v.IP]
	if s == nil {
		return
	}
	switch v.Kind {
	case dataplane.EventKicked:
		if s.life == dataplane.LifeNapping || s.job != nil && s.job.kind == ledger.Nap {
			e.wakeFor(s, e.causeOf(s, v.Proto, netip.AddrPortFrom(v.Peer, v.PeerPort), v.Port), now)
		}
	case dataplane.EventVerified:
		e.verified(s, v, now)
	default:
		if s.job != nil && s.job.kind == ledger.Wake {
			s.job.hear(v, s)
		}
	}
}

// hear takes an event about a booting webspace. mu is held.
func (j *job) hear(v dataplane.Event, s *space) {
	p := Port{v.Proto, v.Port}
	switch v.Kind {
	case dataplane.EventListen, dataplane.EventBind:
		j.open[p], j.fresh = true, true
		if _, awaited := s.hold.oldest(p); awaited {
			j.mark(&j.split.Open)
		}
	case dataplane.EventFirstFrame:
		j.addressed, j.fresh = true, true
	case dataplane.EventAnswered:
		j.addressed, j.answered[p] = true, true
		j.mark(&j.split.Open)
		j.mark(&j.split.Delivered)
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
	s.job.fresh = true
	s.job.mark(&s.job.split.Lease)
	s.job.tell()
}

// Reachable tells that an address, or a way to answer from it, has come up somewhere. Anybody's webspace may say so: it makes
// a try worth while, and is no proof.
func (e *Engine) Reachable(addr netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.spaces[addr]; s != nil && s.job != nil && s.job.kind == ledger.Wake {
		s.job.fresh = true
		s.job.tell()
	}
}

// verified: the sender of a held SYN is there. mu is held.
func (e *Engine) verified(s *space, v dataplane.Event, now time.Time) {
	t := tuple{dataplane.TCP, netip.AddrPortFrom(v.Peer, v.PeerPort), v.Port}
	var found *dataplane.Frame
	for n := range s.hold.list {
		if f := &s.hold.list[n]; tupleOf(*f) == t {
			f.Unverified, found = false, f
		}
	}
	f := dataplane.Frame{IP: v.IP, Proto: dataplane.TCP, Peer: v.Peer, PeerPort: v.PeerPort, Port: v.Port}
	if found != nil {
		f = *found
	} else { // its SYN has not been read yet, or was lost in a flood: it will be known when it comes (again), and found awake
		s.proved = append(s.proved[max(0, len(s.proved)-provedMost+1):], proof{t, now})
	}
	if s.job != nil && s.job.admits() {
		s.job.tell()
		return
	}
	if s.job == nil && s.life == dataplane.LifeAwake {
		return // by now
	}
	if what, why := e.judge(s, f, now); what == wakes {
		e.wakeFor(s, e.causeOf(s, f.Proto, t.peer, f.Port), now)
	} else {
		s.hold.take(func(f dataplane.Frame) bool { return tupleOf(f) == t })
		if found == nil {
			e.stats.Denied[why]++
			return
		}
		e.deny(f, why)
	}
}

// proof that a sender is there whose SYN is not held.
type proof struct {
	tuple
	at time.Time
}

const provedMost = 64

// hasProved says whether the sender of a SYN has proved since then that it is there. mu is held.
func (s *space) hasProved(t tuple, since time.Time) bool {
	for _, p := range s.proved {
		if p.tuple == t && p.at.After(since) {
			return true
		}
	}
	return false
}
