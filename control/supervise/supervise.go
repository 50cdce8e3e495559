// Package supervise keeps the parts of a daemon running.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

var errEnded = errors.New("it ended by itself")

const (
	restartMin = 200 * time.Millisecond
	restartMax = 15 * time.Second
)

// Supervisor keeps parts running: one that fails is started again, ever less often, and harms no other.
type Supervisor struct {
	log *slog.Logger

	mu     sync.Mutex
	failed map[string]error // parts that are down now, and why
}

// New makes a supervisor that tells log of parts that fail.
func New(log *slog.Logger) *Supervisor {
	return &Supervisor{log: log, failed: make(map[string]error)}
}

// Run runs a part until ctx ends.
func (s *Supervisor) Run(ctx context.Context, name string, part func(context.Context) error) {
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
		s.Set(name, err)
		s.log.Error("a part of the daemon failed and is started again", "part", name, "err", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, restartMax)
		s.Set(name, nil)
	}
}

// Set notes that a part is down, or with nil that it is not.
func (s *Supervisor) Set(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failed, name)
		return
	}
	s.failed[name] = err
}

// Down gives the parts that are down now, and why.
func (s *Supervisor) Down() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.failed)
}
