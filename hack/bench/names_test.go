package main

import (
	"testing"

	"github.com/lanyard-project/lanyard/hack/bench/internal/names"
)

// Both name servers are measured once, for a second each. No figure is judged.
func TestNameServers(t *testing.T) {
	results, err := names.Run(t.Context(), names.Plan{Rounds: 1, Seconds: 1, Rate: 500}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.PerCPU[names.Lanyard].Median <= 0 || r.PerCPU[names.Dnsmasq].Median <= 0 || r.P99[names.Lanyard].Median <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(results) != 2 {
		t.Errorf("%d results", len(results))
	}
}
