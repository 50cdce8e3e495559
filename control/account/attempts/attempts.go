// Package attempts counts failed logins, so that passwords cannot be guessed.
package attempts

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
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

type key struct {
	name string
	peer netip.Addr
}

// Default lets people mistype.
var Default = Limits{Pair: Rate{5, time.Minute}, Peer: Rate{20, 15 * time.Second}, Name: Rate{50, 30 * time.Second}}

// Counter counts failures as leaking buckets: each is held as the time at which it is empty again.
type Counter struct {
	limits Limits
	now    func() time.Time
	mu     sync.Mutex
	empty  map[key]time.Time
}

// New makes a counter.
func New(l Limits, now func() time.Time) *Counter {
	return &Counter{limits: l, now: now, empty: map[key]time.Time{}}
}

type bucket struct {
	key
	rate Rate
}

func (c *Counter) buckets(name string, peer netip.Addr) []bucket {
	if !peer.IsValid() {
		return []bucket{{key{name: name}, c.limits.Name}}
	}
	if peer.Is6() { // whoever has one IPv6 address has 2^64
		p, _ := peer.WithZone("").Prefix(64)
		peer = p.Addr()
	}
	return []bucket{{key{name, peer}, c.limits.Pair}, {key{peer: peer}, c.limits.Peer}, {key{name: name}, c.limits.Name}}
}

// Take counts an attempt of the context's peer as failed before it is known, so that parallel ones cannot slip through
// together. ErrRateLimited: there were too many; that attempt is not counted.
func (c *Counter) Take(ctx context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	buckets := c.buckets(name, account.Peer(ctx))
	var wait time.Duration
	for _, b := range buckets {
		if at := c.empty[b.key]; at.After(now) { // the zero time is too far away to subtract
			wait = max(wait, at.Sub(now)-time.Duration(b.rate.Burst-1)*b.rate.Every)
		}
	}
	if wait > 0 {
		return &account.Error{What: "cannot log in", Cause: "too many wrong passwords", Kind: account.ErrRateLimited,
			Next: "wait " + max(wait.Round(time.Second), time.Second).String(), RetryAfter: wait}
	}
	for _, b := range buckets {
		at := c.empty[b.key]
		if at.Before(now) {
			at = now
		}
		c.empty[b.key] = at.Add(b.rate.Every)
	}
	c.shrink(now)
	return nil
}

// Forgive takes back what Take counted: the password was right, or was not checked.
func (c *Counter) Forgive(ctx context.Context, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.buckets(name, account.Peer(ctx)) {
		if at, ok := c.empty[b.key]; ok {
			c.empty[b.key] = at.Add(-b.rate.Every)
		}
	}
}

// shrink keeps the counters bounded: those that are empty go first, and then any, an eighth at a time.
func (c *Counter) shrink(now time.Time) {
	if len(c.empty) <= maxCounters {
		return
	}
	for k, at := range c.empty {
		if !at.After(now) {
			delete(c.empty, k)
		}
	}
	for k := range c.empty {
		if len(c.empty) <= maxCounters*7/8 {
			return
		}
		delete(c.empty, k)
	}
}
