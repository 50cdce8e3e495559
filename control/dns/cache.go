package dns

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	shards = 16 // a power of two
	// entryCost is what an entry takes beside its bytes, about: structures, map, slice headers.
	entryCost = 224
	// maxEntry bounds one answer: a longer one is given, but not kept.
	maxEntry = 16 << 10
)

// entry is an answer of others, as it was digested: never changed.
type entry struct {
	body
	key     string
	ttls    []uint16 // where TTLs are in records
	born    int64    // of the server's clock
	expires int64
	hot     int64 // from here on an asked name is fetched again; 0: never
	hash    uint64
	at      int // in the shard's ring, under its lock

	used     atomic.Bool // since the hand of the clock last passed
	fetching atomic.Bool
}

func (e *entry) cost() int { return len(e.key) + len(e.records) + 2*len(e.ttls) + entryCost }

// cache is bounded by bytes. Which entry goes is decided by a clock with a hand: one that was not used since the hand
// last passed.
type cache struct {
	seed  maphash.Seed
	shard [shards]shard
}

type shard struct {
	mu    sync.Mutex
	byKey map[uint64]*entry // by hash: two keys of one hash take each other's place
	ring  []*entry
	hand  int
	bytes int
	most  int
	_     [64]byte // shards do not share a cache line
}

func newCache(bytes int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shard {
		c.shard[i].byKey = make(map[uint64]*entry)
		c.shard[i].most = bytes / shards
	}
	return c
}

func (c *cache) get(key []byte, now int64) *entry {
	h := maphash.Bytes(c.seed, key)
	s := &c.shard[h&(shards-1)]
	s.mu.Lock()
	e := s.byKey[h]
	s.mu.Unlock()
	if e == nil || e.expires <= now || e.key != string(key) {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// put keeps an entry, in the place of an older one of its key.
func (c *cache) put(e *entry) {
	if len(e.records) > maxEntry || e.expires <= e.born {
		return
	}
	e.hash = maphash.String(c.seed, e.key)
	s := &c.shard[e.hash&(shards-1)]
	if e.cost() > s.most {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byKey[e.hash]; old != nil {
		s.bytes -= old.cost()
		e.at = old.at
		s.ring[e.at] = e
	} else {
		e.at = len(s.ring)
		s.ring = append(s.ring, e)
	}
	s.byKey[e.hash] = e
	s.bytes += e.cost()
	for s.bytes > s.most {
		s.evict(e)
	}
}

// evict moves the hand to the next entry that may go. keep was just put.
func (s *shard) evict(keep *entry) {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		if e == keep || e.expires > keep.born && e.used.Swap(false) {
			s.hand++
			continue
		}
		last := len(s.ring) - 1
		s.ring[s.hand] = s.ring[last]
		s.ring[s.hand].at = s.hand
		s.ring[last] = nil
		s.ring = s.ring[:last]
		delete(s.byKey, e.hash)
		s.bytes -= e.cost()
		return
	}
}

// size counts entries and their cost in bytes.
func (c *cache) size() (entries, bytes int) {
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		entries += len(s.ring)
		bytes += s.bytes
		s.mu.Unlock()
	}
	return entries, bytes
}

// cached answers from the cache, with what is left of each TTL.
func (s *Server) cached(out, msg []byte, q *query, limit int, now int64) ([]byte, rcode, bool) {
	e := s.cache.get(q.key(), now)
	if e == nil {
		return nil, 0, false
	}
	if e.hot != 0 && now >= e.hot && q.flags&flagRD != 0 && !e.fetching.Swap(true) {
		s.prefetch(q, msg)
	}
	return e.write(q, out, msg, limit, now), e.code, true
}

// write gives the entry as an answer to a query.
func (e *entry) write(q *query, out, msg []byte, limit int, now int64) []byte {
	out = q.write(out, msg, &e.body, limit)
	if len(out) < q.end+len(e.records) {
		return out // cut off
	}
	age := uint32((now - e.born) / 1e9)
	if age == 0 {
		return out
	}
	for _, at := range e.ttls {
		t := out[q.end+int(at):]
		ttl := binary.BigEndian.Uint32(t)
		binary.BigEndian.PutUint32(t, ttl-min(ttl, age))
	}
	return out
}
