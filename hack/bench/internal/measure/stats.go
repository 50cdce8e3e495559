package measure

import "slices"

// Spread is the middle and the ends of some figures.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Ratio is the CPU time of Slow over the CPU time of Fast, each round for itself.
type Ratio struct {
	Slow string  `json:"slow"`
	Fast string  `json:"fast"`
	Goal float64 `json:"goal,omitempty"` // 0: none was set
	Spread
}

// Reached reports whether the median is at the goal, to the two digits that goals are given in.
func (r Ratio) Reached() bool { return r.Median+0.005 >= r.Goal }

func cpu(samples []Sample) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, s.CPU)
	}
	return out
}

// SpreadOf finds the middle and the ends of x.
func SpreadOf(x []float64) Spread {
	if len(x) == 0 {
		return Spread{}
	}
	x = slices.Clone(x)
	slices.Sort(x)
	mid := len(x) / 2
	m := x[mid]
	if len(x)%2 == 0 {
		m = (x[mid-1] + x[mid]) / 2
	}
	return Spread{Median: m, Min: x[0], Max: x[len(x)-1]}
}

// ratios compares what Goals name, and beside it every variant with the first one.
func ratios(c Case, samples map[string][]Sample) []Ratio {
	var out []Ratio
	add := func(g Goal) {
		slow, fast := samples[g.Slow], samples[g.Fast]
		if len(slow) == 0 || len(fast) == 0 {
			return
		}
		var each []float64
		for i := range min(len(slow), len(fast)) {
			each = append(each, slow[i].CPU/fast[i].CPU)
		}
		out = append(out, Ratio{Slow: g.Slow, Fast: g.Fast, Goal: g.Min, Spread: SpreadOf(each)})
	}
	for _, g := range c.Goals {
		add(g)
	}
	for _, v := range c.Variants[1:] {
		g := Goal{Slow: v.Name, Fast: c.Variants[0].Name}
		if !slices.ContainsFunc(out, func(r Ratio) bool { return r.Slow == g.Slow && r.Fast == g.Fast }) {
			add(g)
		}
	}
	return out
}
