package library

import (
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// Status is how a repository is.
type Status struct {
	Repo       simplestreams.Repo
	View       *View // nil: none
	Err        error // of the last refresh
	Tried      time.Time
	Failing    time.Time // since when every refresh has failed; zero: the last one succeeded
	Refreshing bool
}

// Status of all repositories that were asked for, sorted by name.
func (l *Library) Status() []Status {
	var out []Status
	for _, r := range l.known() {
		l.mu.Lock()
		if e := l.repos[r]; e != nil {
			out = append(out, Status{Repo: r, View: e.view, Err: e.err, Tried: e.tried, Failing: e.failing, Refreshing: e.flight != nil})
		}
		l.mu.Unlock()
	}
	return out
}
