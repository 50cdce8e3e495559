package local

import (
	"net/netip"
	"sync"
	"time"
)

// Rate allows Burst failures at once, and one more after each Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Limits bound failed logins: of one address to one account, of one address, and to one account by everybody. The last
// is generous, or strangers could lock a member out. A login without a known address counts for its account only.
type Limits struct{ Pair, Peer, Name Rate }

// maxCounters bounds memory; beyond it some are forgotten.
const maxCounters = 16384

type counterKey struct {
	name string
	peer netip.Addr
}

// limiter counts failures as leaking buckets: each holds the time at which it is empty again.
type limiter struct {
	limits Limits
	mu     sync.Mutex
	empty  map[counterKey]time.Time
}

type bucket struct {
	key  counterKey
	rate Rate
}

func (l *limiter) buckets(name string, peer netip.Addr) []bucket {
	if !peer.IsValid() {
		return []bucket{{counterKey{name: name}, l.limits.Name}}
	}
	if peer.Is6() { // whoever has one IPv6 address has 2^64
		p, _ := peer.WithZone("").Prefix(64)
		peer = p.Addr()
	}
	return []bucket{{counterKey{name, peer}, l.limits.Pair}, {counterKey{peer: peer}, l.limits.Peer}, {counterKey{name: name}, l.limits.Name}}
}

// take counts an attempt as failed before it is known, so that parallel ones cannot slip through together. It gives how
// long to wait if there were too many; that attempt is not counted.
func (l *limiter) take(now time.Time, name string, peer netip.Addr) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	buckets := l.buckets(name, peer)
	for _, b := range buckets {
		if at := l.empty[b.key]; at.After(now) { // the zero time is too far away to subtract
			wait = max(wait, at.Sub(now)-time.Duration(b.rate.Burst-1)*b.rate.Every)
		}
	}
	if wait > 0 {
		return wait
	}
	for _, b := range buckets {
		at := l.empty[b.key]
		if at.Before(now) {
			at = now
		}
		l.empty[b.key] = at.Add(b.rate.Every)
	}
	l.shrink(now)
	return 0
}

// forgive takes back what take counted: the password was right, or was not checked.
func (l *limiter) forgive(name string, peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets(name, peer) {
		if at, ok := l.empty[b.key]; ok {
			l.empty[b.key] = at.Add(-b.rate.Every)
		}
	}
}

// shrink keeps the counters bounded: those that are empty go first, and then any, an eighth at a time.
func (l *limiter) shrink(now time.Time) {
	if len(l.empty) <= maxCounters {
		return
	}
	for key, at := range l.empty {
		if !at.After(now) {
			delete(l.empty, key)
		}
	}
	for key := range l.empty {
		if len(l.empty) <= maxCounters*7/8 {
			return
		}
		delete(l.empty, key)
	}
}
