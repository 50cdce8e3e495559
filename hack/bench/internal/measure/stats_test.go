package measure

import (
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{5, 1, 3}, Spread{3, 1, 5}},
		{[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4}},
	} {
		in := slices.Clone(c.in)
		if got := SpreadOf(in); got != c.want {
			t.Errorf("SpreadOf(%v) = %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(in, c.in) {
			t.Errorf("SpreadOf changed its argument to %v", in)
		}
	}
}

// A ratio is taken within each round: a disturbance that hits both sides of a round alike changes nothing.
func TestRatiosArePaired(t *testing.T) {
	samples := map[string][]Sample{
		"fast": {{CPU: 100}, {CPU: 1000}, {CPU: 100}},
		"slow": {{CPU: 200}, {CPU: 2000}, {CPU: 200}},
	}
	c := Case{
		Goals:    []Goal{{Slow: "slow", Fast: "fast", Min: 1.9}, {Slow: "absent", Fast: "fast", Min: 5}},
		Variants: []Variant{{Name: "fast"}, {Name: "slow"}},
	}
	got := ratios(c, samples)
	if len(got) != 1 {
		t.Fatalf("%d ratios, want the one whose sides were measured", len(got))
	}
	if want := (Spread{2, 2, 2}); got[0].Spread != want || got[0].Goal != 1.9 || !got[0].Reached() {
		t.Errorf("%+v, want %v, goal 1.9 reached", got[0], want)
	}
}
