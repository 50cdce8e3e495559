package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

const (
	coarser   = 10             // fine steps to a coarse one
	coarseFor = 24 * time.Hour // how long those are kept
	maxLoad   = 20             // sampling takes at most 1/20 of the time
)

// point is what a webspace used in one step.
type point struct {
	at             int64 // Unix seconds of its end
	cpu            time.Duration
	memory         int64
	processes      int32
	wakes          int32
	received, sent int64
	running        bool
}

// series are the last points of every webspace, in bounded memory: about 15 KB for each that runs.
type series struct {
	step         time.Duration
	fine, coarse int // points kept

	mu   sync.Mutex
	last map[int]webspace.Sample
	woke map[int]int64
	all  map[int]*history
}

type history struct {
	fine, coarse []point
	sum          point // of the coarse step that is being filled
	filled       int
}

func newSeries(step, keep time.Duration) *series {
	return &series{step: step, fine: max(1, int(keep/step)), coarse: max(1, int(coarseFor/(coarser*step))),
		last: make(map[int]webspace.Sample), woke: make(map[int]int64), all: make(map[int]*history)}
}

// sample asks for what all webspaces use, every so often, until ctx ends.
func (s *Server) sample(ctx context.Context) error {
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, max(s.o.SampleEvery, time.Minute))
		samples, err := s.o.Webspaces.Samples(limited)
		if err == nil {
			s.series.add(samples, s.wakeCounts(limited))
		} else if ctx.Err() == nil {
			s.log.Debug("what webspaces use is not known", "err", err)
		}
		cancel()
		wait = max(s.o.SampleEvery-time.Since(began), maxLoad*time.Since(began))
	}
}

func (s *Server) wakeCounts(ctx context.Context) map[int]int64 {
	if s.o.Wakes == nil {
		return nil
	}
	return s.o.Wakes.Counts(ctx)
}

func (s *series) add(samples []webspace.Sample, wakes map[int]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[int]bool, len(samples))
	for _, now := range samples {
		seen[now.UID] = true
		before, known := s.last[now.UID]
		s.last[now.UID] = now
		count, counted := wakes[now.UID]
		woke := int64(0)
		if old, ok := s.woke[now.UID]; ok && counted {
			woke = max(0, count-old)
		}
		if counted {
			s.woke[now.UID] = count
		}
		running := now.Status != webspace.Stopped && now.Status != webspace.Errored
		if !known || !running && woke == 0 && (before.Status == webspace.Stopped || before.Status == webspace.Errored) {
			continue // nothing to compare with, or asleep all the time
		}
		p := point{at: now.Time.Unix(), memory: now.Memory, processes: int32(now.Processes), running: running, wakes: int32(woke),
			cpu: grown(before.CPU, now.CPU), received: grown(before.Received, now.Received), sent: grown(before.Sent, now.Sent)}
		h := s.all[now.UID]
		if h == nil {
			h = &history{}
			s.all[now.UID] = h
		}
		h.add(p, s.fine, s.coarse)
	}
	for uid := range s.last {
		if !seen[uid] { // deleted
			delete(s.last, uid)
			delete(s.woke, uid)
			delete(s.all, uid)
		}
	}
}

// grown is how much a counter grew that begins anew with each boot.
func grown[N ~int64](before, now N) N {
	if now < before {
		return now
	}
	return now - before
}

func (h *history) add(p point, fine, coarse int) {
	h.fine = push(h.fine, p, fine)
	sum := &h.sum
	sum.at, sum.memory, sum.processes = p.at, max(sum.memory, p.memory), max(sum.processes, p.processes)
	sum.cpu, sum.received, sum.sent, sum.wakes = sum.cpu+p.cpu, sum.received+p.received, sum.sent+p.sent, sum.wakes+p.wakes
	sum.running = sum.running || p.running
	if h.filled++; h.filled == coarser {
		h.coarse = push(h.coarse, *sum, coarse)
		h.sum, h.filled = point{}, 0
	}
}

func push(list []point, p point, most int) []point {
	if len(list) >= most {
		copy(list, list[len(list)-most+1:])
		list = list[:most-1]
	}
	return append(list, p)
}

// of gives the points of one webspace in a time, at least step apart.
func (s *series) of(uid int, since, until time.Time, step time.Duration) ([]point, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.step
	var list []point
	if h := s.all[uid]; h != nil {
		list = h.fine
	}
	if step >= coarser*s.step || until.Sub(since) > time.Duration(s.fine)*s.step {
		kept = coarser * s.step
		list = nil
		if h := s.all[uid]; h != nil {
			list = slices.Clone(h.coarse)
			if h.filled > 0 {
				list = append(list, h.sum)
			}
		}
	}
	merge := max(1, int((step+kept-1)/kept))
	var out []point
	n := 0
	for _, p := range list {
		if p.at < since.Unix() || p.at > until.Unix() {
			continue
		}
		if n++; len(out) == 0 || n > merge {
			out, n = append(out, p), 1
			continue
		}
		o := &out[len(out)-1]
		o.at, o.memory, o.processes = p.at, max(o.memory, p.memory), max(o.processes, p.processes)
		o.cpu, o.received, o.sent, o.wakes, o.running = o.cpu+p.cpu, o.received+p.received, o.sent+p.sent, o.wakes+p.wakes, o.running || p.running
	}
	return out, time.Duration(merge) * kept
}
