package dns

import (
	"net/netip"
	"sync/atomic"
)

// askers are at most so many places in the tables of limits; in a larger LAN some webspaces share one.
const askers = 1 << 16

// limits gives each webspace its part. The node itself has no limit but that of all together.
type limits struct {
	mask     uint32
	interval int64 // nanoseconds between two queries of an even flow; 0: no limit
	burst    int64 // nanoseconds that a webspace may be ahead of it

	due   []atomic.Int64 // when the next query would be due in an even flow (the generic cell rate algorithm)
	waits []atomic.Int32 // questions that wait for upstreams
	conns []atomic.Int32

	open, tcp         atomic.Int32
	openMost, tcpMost int32
	share, connShare  int32
}

func newLimits(c *Config) *limits {
	n := min(1<<(32-c.Prefix.Bits()), askers)
	l := &limits{mask: uint32(n - 1), due: make([]atomic.Int64, n), waits: make([]atomic.Int32, n), conns: make([]atomic.Int32, n),
		share: int32(c.Share), connShare: int32(c.TCPShare), openMost: int32(c.Open), tcpMost: int32(c.TCP)}
	if c.Rate > 0 {
		l.interval = int64(1e9) / int64(c.Rate)
		l.burst = 2 * int64(1e9)
	}
	return l
}

// who is an asker's place in the tables; -1 is the node itself.
type who int32

func (l *limits) place(ip uint32) who { return who(ip & l.mask) }

// rate says whether one more query is within the webspace's rate.
func (l *limits) rate(w who, now int64) bool {
	if w < 0 || l.interval == 0 {
		return true
	}
	p := &l.due[w]
	for {
		was := p.Load()
		due := max(was, now)
		if due-now > l.burst {
			return false
		}
		if p.CompareAndSwap(was, due+l.interval) {
			return true
		}
	}
}

// wait takes a place among the questions that wait, and done gives it back.
func (l *limits) wait(w who) bool {
	return take(l.waits, w, l.share, &l.open, l.openMost)
}

func (l *limits) done(w who) { give(l.waits, w, &l.open) }

// connect takes a place among the connections, and closed gives it back.
func (l *limits) connect(w who) bool {
	return take(l.conns, w, l.connShare, &l.tcp, l.tcpMost)
}

func (l *limits) closed(w who) { give(l.conns, w, &l.tcp) }

func take(each []atomic.Int32, w who, share int32, all *atomic.Int32, most int32) bool {
	if all.Add(1) > most {
		all.Add(-1)
		return false
	}
	if w >= 0 && each[w].Add(1) > share {
		each[w].Add(-1)
		all.Add(-1)
		return false
	}
	return true
}

func give(each []atomic.Int32, w who, all *atomic.Int32) {
	all.Add(-1)
	if w >= 0 {
		each[w].Add(-1)
	}
}

// allowed says who may ask: the LAN and the node itself. ip is IPv4 in host order.
func (s *Server) allowed(ip uint32) (who, bool) {
	if ip>>24 == 127 {
		return -1, true
	}
	if ip&s.lanMask == s.lan {
		if ip == s.gateway || s.ownInLAN(ip) {
			return -1, true
		}
		return s.limits.place(ip), true
	}
	for _, a := range s.own {
		if a == ip {
			return -1, true
		}
	}
	return 0, false
}

func (s *Server) ownInLAN(ip uint32) bool {
	for _, a := range s.own {
		if a == ip {
			return true
		}
	}
	return false
}

func hostOrder(a netip.Addr) uint32 {
	b := a.Unmap().As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
