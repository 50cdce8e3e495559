package dns

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// flights are the questions that upstreams are being asked now, each once.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight
	base  context.Context // of the Run that they belong to; nil: none runs
	all   sync.WaitGroup
}

type flight struct {
	key     string
	waiters []waiter
}

// waiter is who gets the answer.
type waiter struct {
	q     query
	msg   []byte // the header and the question
	limit int
	who   who
	began int64
	reply func([]byte)
}

// ask has upstreams asked about a question that is not known. reply is called once, from another goroutine,
// with nil when the server ends before, and must not wait. The result is false when the asker, or all together, have too many questions open.
func (s *Server) ask(msg []byte, q *query, limit int, w who, now int64, reply func([]byte)) bool {
	if !s.limits.wait(w) {
		return false
	}
	return s.join(q, &waiter{q: *q, msg: append([]byte(nil), msg[:q.end]...), limit: limit, who: w, began: now, reply: reply}, w)
}

// prefetch asks again about a name that is still in the cache, but not for long.
func (s *Server) prefetch(q *query, _ []byte) {
	if s.limits.wait(-1) && s.join(q, nil, -1) {
		s.counts.prefetched.Add(1)
	}
}

// join adds a waiter (nil: nobody) to the flight of its question, which it begins if there is none. The place among
// those that wait, of w, goes to the flight.
func (s *Server) join(q *query, in *waiter, w who) bool {
	key := q.key()
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	f := s.flights.byKey[string(key)]
	if f == nil {
		if s.flights.base == nil {
			s.limits.done(w)
			return false
		}
		f = &flight{key: string(key)}
		s.flights.byKey[f.key] = f
		base := s.flights.base
		s.flights.all.Go(func() { s.fly(base, f) })
	} else if in == nil {
		s.limits.done(w)
		return false
	} else {
		s.counts.coalesced.Add(1)
	}
	if in != nil {
		f.waiters = append(f.waiters, *in)
	} else {
		f.waiters = append(f.waiters, waiter{who: w})
	}
	return true
}

// fly asks, keeps the answer, and gives it to all who wait.
func (s *Server) fly(ctx context.Context, f *flight) {
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout)
	e := s.resolveSafely(limited, f.key)
	cancel()
	if ctx.Err() == nil {
		s.cache.put(e)
	}
	s.flights.mu.Lock()
	delete(s.flights.byKey, f.key) // from here on the cache answers
	waiters := f.waiters
	s.flights.mu.Unlock()
	now := s.now()
	for i := range waiters {
		w := &waiters[i]
		switch {
		case w.reply == nil:
		case ctx.Err() != nil:
			w.reply(nil)
		default:
			out := e.write(&w.q, make([]byte, min(w.limit, headerLen+w.q.end+len(e.records)+64)), w.msg, w.limit, max(now, e.born))
			s.counts.answer(fromUpstream, e.code)
			s.logQuery(&w.q, w.who, fromUpstream, e.code)
			w.reply(out)
		}
		s.limits.done(w.who)
	}
}

// resolveSafely is resolve, and survives whatever an upstream's message may do to those who read it.
func (s *Server) resolveSafely(ctx context.Context, key string) (e *entry) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("dns: an upstream's message made trouble", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			e = s.failure(key, edeNetwork)
		}
	}()
	return s.resolve(ctx, key)
}

// failureTTL keeps a question that failed from being asked again at once (RFC 2308, section 7).
const failureTTL = time.Second

// failure is the entry of a question that nobody answers.
func (s *Server) failure(key string, ede uint16) *entry {
	now := s.now()
	return &entry{key: key, born: now, expires: now + int64(failureTTL), body: body{code: rcodeFailure, ede: ede}}
}

// attemptTimes is how long an upstream has, in the first round and in the later ones.
var attemptTimes = []time.Duration{800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond}

// resolve asks one upstream after the other, the healthy ones first, until one answers or ctx ends.
func (s *Server) resolve(ctx context.Context, key string) *entry {
	ask := newQuestion(key)
	failed := false // somebody answered, but with a failure
	for round := 0; ; round++ {
		limit := s.attempts[min(round, len(s.attempts)-1)]
		quick := true
		for _, u := range s.inOrder() {
			began := time.Now()
			try, cancel := context.WithTimeout(ctx, limit)
			m, err := u.exchange(try, ask)
			cancel()
			if err == nil {
				u.answered(time.Since(began))
				var e *entry
				if e, err = s.digest(ask, m); err == nil {
					return e
				}
				failed = true
				u.bad.Add(1)
				s.log.Debug("dns: an upstream's answer is of no use", "upstream", u.String(), "err", err)
				continue
			}
			if ctx.Err() != nil && try.Err() != nil && time.Since(began) < limit {
				break // it had no full attempt: that says nothing about it
			}
			quick = quick && time.Since(began) < limit/2
			u.failed(err, s.log)
		}
		// An answer that is a failure will not get better, and who refuses at once will do so again.
		if ctx.Err() != nil || failed || quick {
			break
		}
	}
	if failed {
		return s.failure(key, 0)
	}
	return s.failure(key, edeNetwork)
}
