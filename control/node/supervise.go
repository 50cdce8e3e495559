package node

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

const (
	restartMin = 200 * time.Millisecond
	restartMax = 15 * time.Second
)

// supervisor keeps parts running: one that fails is started again, ever less often, and harms no other.
type supervisor struct {
	log *slog.Logger

	mu     sync.Mutex
	failed map[string]error // parts that are down now, and why
}

func newSupervisor(log *slog.Logger) *supervisor {
	return &supervisor{log: log, failed: make(map[string]error)}
}

// run runs a part until ctx ends.
func (s *supervisor) run(ctx context.Context, name string, part func(context.Context) error) {
	wait := restartMin
	for {
		began := time.Now()
		err := part(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errEnded
		}
		if time.Since(began) > restartMax {
			wait = restartMin
		}
		s.set(name, err)
		s.log.Error("a part of the daemon failed and is started again", "part", name, "err", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, restartMax)
		s.set(name, nil)
	}
}

func (s *supervisor) set(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failed, name)
		return
	}
	s.failed[name] = err
}

// down gives the parts that are down now, and why.
func (s *supervisor) down() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.failed)
}
