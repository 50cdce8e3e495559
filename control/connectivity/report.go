package connectivity

import (
	"strings"
	"time"
)

// Status of one test.
type Status string

const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped" // could not be tried here; Detail says why
)

// Outcome of one test.
type Outcome struct {
	Name   string        `json:"name"`
	From   string        `json:"from"`
	To     string        `json:"to,omitempty"`
	Status Status        `json:"status"`
	Detail string        `json:"detail,omitempty"` // what was measured, or what went wrong
	Do     string        `json:"do,omitempty"`     // after a failure: where to look
	Took   time.Duration `json:"took_ns"`
}

// Report of all tests, in the order in which they ran.
type Report struct {
	Outcomes []Outcome     `json:"outcomes"`
	OK       int           `json:"ok"`
	Failed   int           `json:"failed"`
	Skipped  int           `json:"skipped"`
	Took     time.Duration `json:"took_ns"`
	// Leftovers could not be removed.
	Leftovers []string `json:"leftovers,omitempty"`
}

func (r *Report) add(o Outcome) {
	r.Outcomes = append(r.Outcomes, o)
	switch o.Status {
	case OK:
		r.OK++
	case Failed:
		r.Failed++
	default:
		r.Skipped++
	}
}

// Good says whether nothing failed and nothing is left.
func (r Report) Good() bool { return r.Failed == 0 && len(r.Leftovers) == 0 }

// noLease ends the Detail of tests that were skipped because DHCP had failed before.
const noLease = " has no lease"

// Consequence says whether the test was skipped because of a failure that is in the report already.
func (o Outcome) Consequence() bool {
	return o.Status == Skipped && strings.HasSuffix(o.Detail, noLease)
}

// skip is the error of a test that cannot be tried here.
type skip string

func (s skip) Error() string { return string(s) }
