package roles

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	quietFor = time.Minute // the same warning is written once in this time
	quietMax = 1024        // different warnings that are remembered
)

// quiet holds back warnings and errors that were just written word for word, and says how many there were when the next
// one is let through: what is retried several times a second should not fill the journal.
type quiet struct {
	slog.Handler
	scope string
	said  *said
}

type said struct {
	mu   sync.Mutex
	last map[string]*repeats
	now  func() time.Time
}

type repeats struct {
	at    time.Time
	since int
}

func newQuiet(h slog.Handler) *quiet {
	return &quiet{Handler: h, said: &said{last: make(map[string]*repeats), now: time.Now}}
}

// Handle is slog.Handler's.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return q.Handler.Handle(ctx, r)
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%s %v %s", q.scope, r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&key, " %v", a)
		return true
	})
	suppressed, ok := q.said.may(key.String())
	if !ok {
		return nil
	}
	if suppressed > 0 {
		r.AddAttrs(slog.Int("held_back", suppressed))
	}
	return q.Handler.Handle(ctx, r)
}

func (s *said) may(key string) (suppressed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if l := s.last[key]; l != nil {
		if now.Sub(l.at) < quietFor {
			l.since++
			return 0, false
		}
		suppressed = l.since
	}
	if len(s.last) >= quietMax {
		for k, l := range s.last {
			if now.Sub(l.at) >= quietFor {
				delete(s.last, k)
			}
		}
		if len(s.last) >= quietMax { // better loud than forgetful without bound
			clear(s.last)
		}
	}
	s.last[key] = &repeats{at: now}
	return suppressed, true
}

// WithAttrs is slog.Handler's.
func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quiet{Handler: q.Handler.WithAttrs(attrs), scope: fmt.Sprint(q.scope, attrs), said: q.said}
}

// WithGroup is slog.Handler's.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{Handler: q.Handler.WithGroup(name), scope: q.scope + "/" + name, said: q.said}
}
