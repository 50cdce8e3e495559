package dhcp

import (
	"sync"
	"time"
)

// A port may send a burst of messages, and then so many per second. A client in a start, a retry and a renewal
// together stays far below; a flood costs one hash lookup per frame.
const (
	limitBurst = 20
	limitRate  = 5 // per second
)

// bucket is a token bucket. Its zero value is full.
type bucket struct {
	mu    sync.Mutex
	used  float64 // tokens that are missing
	since time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if elapsed := now.Sub(b.since).Seconds(); elapsed > 0 {
		b.used = max(0, b.used-elapsed*limitRate)
		b.since = now
	}
	if b.used+1 > limitBurst {
		return false
	}
	b.used++
	return true
}

func (b *bucket) copyFrom(o *bucket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.used, b.since = o.used, o.since
}
