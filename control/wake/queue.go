package wake

import (
	"context"
	"sync"
	"time"
)

// queue limits starts that run at the same time. Whoever has started least in the last while is next, then who has
// waited longest: a webspace that goes down and is woken over and over does not keep out the others.
type queue struct {
	now func() time.Time

	mu      sync.Mutex
	free    int
	waiting []*ticket
	recent  map[int][]time.Time // uid -> its starts within the last recentFor
}

type ticket struct {
	uid   int
	ready chan struct{}
}

const recentFor = 10 * time.Minute

func newQueue(size int) *queue {
	return &queue{now: time.Now, free: size, recent: make(map[int][]time.Time)}
}

// acquire waits for a place. leave gives it back, once.
func (q *queue) acquire(ctx context.Context, uid int) (leave func(), err error) {
	t := &ticket{uid: uid, ready: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, t)
	q.next()
	q.mu.Unlock()
	select {
	case <-t.ready:
	case <-ctx.Done():
		q.mu.Lock()
		defer q.mu.Unlock()
		select {
		case <-t.ready: // given at the same moment
			q.free++
			q.next()
		default:
			for n, w := range q.waiting {
				if w == t {
					q.waiting = append(q.waiting[:n], q.waiting[n+1:]...)
					break
				}
			}
		}
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.free++
		q.next()
	}), nil
}

// next gives free places away. mu is held.
func (q *queue) next() {
	now := q.now()
	for q.free > 0 && len(q.waiting) > 0 {
		best, least := 0, -1
		for n, t := range q.waiting {
			if c := q.count(t.uid, now); least < 0 || c < least {
				best, least = n, c
			}
		}
		t := q.waiting[best]
		q.waiting = append(q.waiting[:best], q.waiting[best+1:]...)
		q.recent[t.uid] = append(q.recent[t.uid], now)
		q.free--
		close(t.ready)
	}
	if len(q.recent) > 4096 { // forget who has started nothing lately
		for uid := range q.recent {
			q.count(uid, now)
		}
	}
}

// count is how often a uid has started lately.
func (q *queue) count(uid int, now time.Time) int {
	list := q.recent[uid]
	for len(list) > 0 && now.Sub(list[0]) > recentFor {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(q.recent, uid)
	} else {
		q.recent[uid] = list
	}
	return len(list)
}

// length is how many wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
