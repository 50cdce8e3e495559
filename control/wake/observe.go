package wake

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Observe tells which webspaces are on this node, as a reading of LXD that began at that time shows them, and returns
// in which life each is. What the engine has done since that reading began counts more than the reading.
//
// The agent calls it before it builds the dataplane's state, and Applied when that is in force.
func (e *Engine) Observe(began time.Time, list []Target) map[netip.Addr]dataplane.Life {
	e.mu.Lock()
	defer e.mu.Unlock()
	lives := make(map[netip.Addr]dataplane.Life, len(list))
	for _, t := range list {
		s := e.spaces[t.Addr]
		if s == nil {
			s = &space{t: t, life: e.first(t), since: time.Now()} // the State that is applied next says so
			s.hold.total = &e.total
			e.spaces[t.Addr] = s
		}
		if s.t.Name != t.Name && s.job != nil {
			lives[t.Addr] = s.life // the address has a new owner; when the old one's job has ended it gets it
			continue
		}
		s.t, s.gone = t, false
		if t.Ifindex == 0 {
			s.port = false
		}
		e.resume(s)
		e.observe(s, began)
		lives[t.Addr] = s.life
	}
	for addr, s := range e.spaces {
		if _, here := lives[addr]; here {
			continue
		}
		s.gone = true
		if s.job == nil {
			s.hold.all()
			delete(e.spaces, addr)
		}
	}
	return lives
}

// first is the life of a webspace that nothing was known about. One that an earlier daemon was just waking is still
// booting: its clients are about to repeat themselves.
func (e *Engine) first(t Target) dataplane.Life {
	switch {
	case t.Status == webspace.Frozen:
		return dataplane.LifeNapping
	case t.Status == webspace.Errored:
		return dataplane.LifeUnreachable
	case t.Status == webspace.Stopped && t.Ifindex == 0:
		return dataplane.LifeAsleep
	case e.plane.Life(t.Addr) == dataplane.LifeBooting:
		return dataplane.LifeBooting
	}
	return dataplane.LifeAwake
}

// resume goes on with a boot that nobody attends to: until its HTTP port answers, or its startupDelay is over. mu is held.
func (e *Engine) resume(s *space) {
	if s.life == dataplane.LifeBooting && s.job == nil && !s.gone && e.run != nil {
		c := ledger.Cause{Via: ledger.Node, Detail: "lanyardd was restarted while it booted"}
		e.begin(s, ledger.Wake, c, time.Now(), e.boot).http = true
	}
}

// observe takes over what LXD says, when nothing is under way and the reading is new enough. mu is held.
func (e *Engine) observe(s *space, began time.Time) {
	if j := s.job; j != nil {
		if j.kind == ledger.Wake && j.started && began.After(j.startedAt) && s.t.Status == webspace.Stopped {
			j.stopped = true
			j.tell()
		}
		return
	}
	if !began.After(s.changed) {
		return
	}
	l := s.life
	switch s.t.Status {
	case webspace.Stopped:
		l = dataplane.LifeAsleep
	case webspace.Frozen:
		l = dataplane.LifeNapping
	case webspace.Running:
		l = dataplane.LifeAwake
	case webspace.Errored:
		l = dataplane.LifeUnreachable
	}
	e.setLife(s, l)
	switch {
	case l == dataplane.LifeAwake:
		s.failures, s.failed, s.retryAt = 0, nil, time.Time{}
		e.deliver(s)
	case l == dataplane.LifeAsleep: // what came while it went down is for its next life
		now := time.Now()
		for _, f := range s.hold.take(func(f dataplane.Frame) bool { return !f.Unverified }) {
			e.arrive(s, f, now)
		}
	}
}

// deliver sends on what came while an awake webspace had no interface. mu is held.
func (e *Engine) deliver(s *space) {
	if s.job != nil || s.life != dataplane.LifeAwake || !s.port {
		return
	}
	for _, f := range s.hold.all() {
		e.inject(f)
	}
}

// Applied tells that the dataplane knows the ports of these webspaces now.
func (e *Engine) Applied(list []Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range list {
		s := e.spaces[t.Addr]
		if s == nil || s.t.Name != t.Name || t.Ifindex == 0 || s.port || t.Ifindex != s.t.Ifindex {
			continue
		}
		s.port = true
		if s.job != nil {
			s.job.fresh = true
			s.job.tell()
		}
		e.deliver(s)
	}
}

// State is one webspace, for people.
type State struct {
	UID   int
	Name  string
	Addr  netip.Addr
	Life  dataplane.Life
	Since time.Time
	Doing ledger.Kind // "": nothing
	Held  int         // packets that wait
	// Err is why its last start failed; RetryAt is when a packet may try again.
	Err     error
	RetryAt time.Time
}

// States are all webspaces of this node, by address.
func (e *Engine) States() []State {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]State, 0, len(e.spaces))
	for addr, s := range e.spaces {
		st := State{UID: s.t.UID, Name: s.t.Name, Addr: addr, Life: s.life, Since: s.since, Held: len(s.hold.list), Err: s.failed, RetryAt: s.retryAt}
		if s.job != nil {
			st.Doing = s.job.kind
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b State) int { return a.Addr.Compare(b.Addr) })
	return out
}

// Stats returns a copy.
func (e *Engine) Stats() Stats {
	queued := e.starts.length()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Denied = maps.Clone(e.stats.Denied)
	s.Queued, s.HeldFrames, s.HeldBytes = queued, e.total.frames, e.total.bytes
	return s
}
