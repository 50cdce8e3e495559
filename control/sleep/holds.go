package sleep

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Holds are sessions of Lanyard's own that LXD does not show as an operation, or not soon enough: a transfer of files,
// an exec that is about to begin. Who has one holds its webspace awake. The zero value is ready; safe for concurrent use.
type Holds struct {
	mu   sync.Mutex
	last uint64
	held map[int]map[uint64]Held // by uid
	away map[int]time.Time       // when the last hold of a uid ended
}

// Held is one session.
type Held struct {
	What  string // exec, console, files
	Since time.Time
}

// Hold keeps a webspace awake until release is called. It does not wake it. release may be called more than once.
func (h *Holds) Hold(uid int, what string) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held, h.away = make(map[int]map[uint64]Held), make(map[int]time.Time)
	}
	if h.held[uid] == nil {
		h.held[uid] = make(map[uint64]Held)
	}
	h.last++
	id := h.last
	h.held[uid][id] = Held{What: what, Since: time.Now()}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.held[uid][id]; !ok {
			return
		}
		delete(h.held[uid], id)
		h.away[uid] = time.Now()
		if len(h.held[uid]) == 0 {
			delete(h.held, uid)
		}
	}
}

// Of gives what holds a webspace now, the oldest first.
func (h *Holds) Of(uid int) []Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.held[uid]), func(a, b Held) int { return a.Since.Compare(b.Since) })
}

// released gives when the last hold of a webspace ended, and forgets those of webspaces that are not in keep.
func (h *Holds) released(keep func(uid int) bool) map[int]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.away, func(uid int, _ time.Time) bool { return !keep(uid) })
	return maps.Clone(h.away)
}
