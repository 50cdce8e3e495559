package ledger

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds are the upper bounds of a Histogram's buckets, seconds: a nap ends in one millisecond, a big image boots for
// half a minute.
var Bounds = []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1, 2, 5, 10, 30, 60}

// Event is what records are counted by. It names no member.
type Event struct {
	Kind    Kind
	Via     Via
	Outcome Outcome
}

// StepOf is one step of one kind.
type StepOf struct {
	Kind Kind
	Step string
}

// Histogram counts durations, as Prometheus does.
type Histogram struct {
	Count   uint64
	Sum     float64            // seconds
	Buckets map[float64]uint64 // by upper bound: how many were at most that
}

// Sums are what was added since the ledger was made.
type Sums struct {
	Events map[Event]uint64
	Steps  map[StepOf]Histogram // of wakes and thaws that ended well
	Lost   uint64               // not written: too many waited
}

// Sums gives a copy.
func (l *Ledger) Sums() Sums { return l.sums.copy() }

type sums struct {
	mu sync.Mutex
	s  Sums
}

func newSums() *sums {
	return &sums{s: Sums{Events: make(map[Event]uint64), Steps: make(map[StepOf]Histogram)}}
}

func (s *sums) add(r Record, lost bool) {
	e := Event{r.Kind, r.Cause.Via, r.Outcome}
	if !slices.Contains(Kinds(), e.Kind) || !slices.Contains(Vias(), e.Via) || !slices.Contains(Outcomes(), e.Outcome) {
		e = Event{} // the number of time series is bounded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Events[e]++
	if lost {
		s.s.Lost++
	}
	if !r.woke() {
		return
	}
	for _, step := range r.Split.Steps() {
		if step.After > 0 {
			k := StepOf{r.Kind, step.Name}
			s.s.Steps[k] = s.s.Steps[k].with(step.After)
		}
	}
}

// with gives the histogram with one more observation; it changes the map in place.
func (h Histogram) with(d time.Duration) Histogram {
	if h.Buckets == nil {
		h.Buckets = make(map[float64]uint64, len(Bounds))
		for _, b := range Bounds {
			h.Buckets[b] = 0
		}
	}
	h.Count++
	h.Sum += d.Seconds()
	for _, b := range Bounds {
		if d.Seconds() <= b {
			h.Buckets[b]++
		}
	}
	return h
}

func (s *sums) copy() Sums {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Sums{Events: maps.Clone(s.s.Events), Steps: maps.Clone(s.s.Steps), Lost: s.s.Lost}
	for k, h := range out.Steps {
		h.Buckets = maps.Clone(h.Buckets)
		out.Steps[k] = h
	}
	return out
}
