package api

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bound how often, and how much at once, members and addresses ask.
type limits struct {
	mu        sync.Mutex
	users     buckets[int]
	addresses buckets[netip.Prefix]

	streams    map[int]int // open streams by uid
	all        int
	most, each int
}

func newLimits(o Options) *limits {
	return &limits{
		users:     newBuckets[int](o.UserRate, o.UserBurst),
		addresses: newBuckets[netip.Prefix](o.AddressRate, o.AddressBurst),
		streams:   make(map[int]int), most: o.Streams, each: o.UserStreams,
	}
}

// user counts a request, and says how long to wait when it is one too many.
func (l *limits) user(uid int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.users.take(uid, time.Now())
}

// address does so for where it comes from: an IPv4 address, or an IPv6 network, of which one customer has 2^64 addresses.
func (l *limits) address(a netip.Addr) time.Duration {
	if !a.IsValid() {
		return 0
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addresses.take(p, time.Now())
}

// stream counts an open stream until release is called; ok is false when there are too many.
func (l *limits) stream(uid int) (release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.streams[uid] >= l.each {
		return nil, false
	}
	l.all++
	l.streams[uid]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.streams[uid]--; l.streams[uid] == 0 {
			delete(l.streams, uid)
		}
	}), true
}

// buckets are token buckets by key. One that is full again is forgotten.
type buckets[K comparable] struct {
	rate  rate.Limit
	burst int
	all   map[K]*rate.Limiter
	swept time.Time
}

const maxBuckets = 1 << 16

func newBuckets[K comparable](perSecond, burst int) buckets[K] {
	return buckets[K]{rate: rate.Limit(perSecond), burst: burst, all: make(map[K]*rate.Limiter)}
}

func (b *buckets[K]) take(key K, now time.Time) time.Duration {
	if len(b.all) >= maxBuckets || now.Sub(b.swept) > time.Minute {
		b.swept = now
		for k, l := range b.all {
			if l.TokensAt(now) >= float64(b.burst) {
				delete(b.all, k)
			}
		}
		if len(b.all) >= maxBuckets { // a flood of addresses: begin anew rather than grow
			clear(b.all)
		}
	}
	l := b.all[key]
	if l == nil {
		l = rate.NewLimiter(b.rate, b.burst)
		b.all[key] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	r := l.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	r.CancelAt(now)
	return max(wait, time.Second)
}
