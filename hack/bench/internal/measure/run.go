package measure

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Variant is one way of doing the work of a case.
type Variant struct {
	Name string
	// Run does n operations and returns when all are done.
	Run func(ctx context.Context, n int) error
	// Clocks are of those in whose context the work is done.
	Clocks []Clock
}

// Case is one path, and the ways that are compared on it.
type Case struct {
	Name  string // stable, for files and --case
	Title string
	Unit  string // what one operation is
	// Goals by "variant/base": CPU time of variant over CPU time of base.
	Goals    []Goal
	Variants []Variant
	// Setup brings the worlds into the state that the case needs; it returns the way back.
	Setup func(ctx context.Context) (undo func() error, err error)
	// Fixed is the number of operations of a round; 0: found by trying, so that a round takes Plan.Round.
	Fixed int
}

// Goal is the ratio that the design wants: CPU time of Slow over CPU time of Fast, at least Min.
type Goal struct {
	Slow string  `json:"slow"`
	Fast string  `json:"fast"`
	Min  float64 `json:"min"`
}

// Plan says how long to measure.
type Plan struct {
	Rounds int           // of each case
	Round  time.Duration // CPU time of one variant in one round, about
	Kernel Clock         // of ksoftirqd of the measured CPU
	Limit  time.Duration // of one variant's round by the wall clock: longer means that the path is broken
}

// Sample is one variant in one round.
type Sample struct {
	CPU  float64 `json:"cpu_ns_per_op"`
	Wall float64 `json:"wall_ns_per_op"`
}

// Result is everything that was measured of one case.
type Result struct {
	Name    string              `json:"name"`
	Title   string              `json:"title"`
	Unit    string              `json:"unit"`
	N       int                 `json:"operations_per_round"`
	Order   []string            `json:"variants"`
	Samples map[string][]Sample `json:"samples"`
	Stats   map[string]Spread   `json:"cpu_ns_per_op"`
	Ratios  []Ratio             `json:"ratios"`
}

// Run measures one case: all variants in each round, in the opposite order every other round.
func (p Plan) Run(ctx context.Context, c Case) (r Result, err error) {
	if c.Setup != nil {
		undo, err := c.Setup(ctx)
		if err != nil {
			return Result{}, fmt.Errorf("%s: set up: %w", c.Name, err)
		}
		defer func() {
			if e := undo(); e != nil && err == nil {
				err = fmt.Errorf("%s: undo its set-up: %w", c.Name, e)
			}
		}()
	}
	r = Result{Name: c.Name, Title: c.Title, Unit: c.Unit, Samples: map[string][]Sample{}, Stats: map[string]Spread{}}
	for _, v := range c.Variants {
		r.Order = append(r.Order, v.Name)
	}
	if r.N, err = p.calibrate(ctx, c); err != nil {
		return r, fmt.Errorf("%s: %w", c.Name, err)
	}
	turn := slices.Clone(c.Variants)
	for range p.Rounds {
		for _, v := range turn {
			s, err := p.once(ctx, v, r.N)
			if err != nil {
				return r, fmt.Errorf("%s: %s: %w", c.Name, v.Name, err)
			}
			r.Samples[v.Name] = append(r.Samples[v.Name], s)
		}
		slices.Reverse(turn)
	}
	for _, v := range c.Variants {
		r.Stats[v.Name] = SpreadOf(cpu(r.Samples[v.Name]))
	}
	r.Ratios = ratios(c, r.Samples) // of the variants that are there
	return r, nil
}

// calibrate finds the number of operations, with the slowest variant, and warms all of them up.
func (p Plan) calibrate(ctx context.Context, c Case) (int, error) {
	const first, smallest = 256, 64
	n := 0
	for _, v := range c.Variants {
		try := c.Fixed
		if try == 0 {
			try = first
		}
		s, err := p.once(ctx, v, try)
		for err == nil && c.Fixed == 0 && s.CPU*float64(try) < float64(p.Round)/8 {
			try *= 4
			s, err = p.once(ctx, v, try)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: warm up: %w", v.Name, err)
		}
		if fit := int(float64(p.Round) / s.CPU); n == 0 || fit < n {
			n = fit
		}
	}
	if c.Fixed != 0 {
		return c.Fixed, nil
	}
	return max(n/smallest, 1) * smallest, nil
}

func (p Plan) once(ctx context.Context, v Variant, n int) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	before, err := p.used(v.Clocks)
	if err != nil {
		return Sample{}, err
	}
	start := time.Now()
	if err := v.Run(ctx, n); err != nil {
		return Sample{}, err
	}
	wall := time.Since(start)
	after, err := p.used(v.Clocks)
	if err != nil {
		return Sample{}, err
	}
	return Sample{CPU: float64(after-before) / float64(n), Wall: float64(wall) / float64(n)}, nil
}

func (p Plan) used(clocks []Clock) (time.Duration, error) {
	var sum time.Duration
	for _, c := range append([]Clock{p.Kernel}, clocks...) {
		t, err := c()
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}
