package wake

import (
	"net/netip"
	"time"
)

// budgets are token buckets: each source may wake so many webspaces in a while. The table is bounded; who is not in it
// has a full bucket, and one that has filled up again is forgotten. When the table is full of sources that have spent
// something, strangers share one bucket.
type budgets[K comparable] struct {
	size  float64       // tokens of a full bucket
	refil time.Duration // until an empty one is full again
	most  int
	m     map[K]bucket
	rest  bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newBudgets[K comparable](size int, refil time.Duration, most int) *budgets[K] {
	return &budgets[K]{size: float64(size), refil: refil, most: most, m: make(map[K]bucket)}
}

func (b *budgets[K]) now(k bucket, now time.Time) float64 {
	if k.at.IsZero() {
		return b.size
	}
	return min(b.size, k.tokens+b.size*now.Sub(k.at).Seconds()/b.refil.Seconds())
}

// take spends one token of k, if it has one.
func (b *budgets[K]) take(k K, now time.Time) bool {
	old, known := b.m[k]
	if !known && len(b.m) >= b.most {
		for other, o := range b.m {
			if b.now(o, now) >= b.size {
				delete(b.m, other)
			}
		}
		if len(b.m) >= b.most {
			return b.spend(&b.rest, now)
		}
	}
	ok := b.spend(&old, now)
	b.m[k] = old
	return ok
}

func (b *budgets[K]) spend(k *bucket, now time.Time) bool {
	t := b.now(*k, now)
	ok := t >= 1
	if ok {
		t--
	}
	*k = bucket{tokens: t, at: now}
	return ok
}

// Nets tell who sends a packet.
type Nets struct {
	Prefix netip.Prefix   // the LAN
	Infra  []netip.Prefix // nodes, ingress, gateway: in it
}

// neighbour: on the LAN, where the dataplane lets nobody send from another's address.
func (n Nets) neighbour(a netip.Addr) bool { return n.Prefix.IsValid() && n.Prefix.Contains(a) }

// infra: a node or an ingress.
func (n Nets) infra(a netip.Addr) bool {
	for _, p := range n.Infra {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
