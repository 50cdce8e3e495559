package api

import (
	"context"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// Wakes knows why webspaces woke, slept, or do not sleep. The node that holds a webspace knows: it is asked, and while it cannot
// say the error is ErrNode. One that can never be asked from here is ErrElsewhere.
type Wakes interface {
	// Wakes gives one page of the history of a webspace, newest first: at most limit records from cursor on ("" is the
	// newest), and the cursor of the next page ("" when there is none). A cursor that is none is ErrCursor.
	Wakes(ctx context.Context, of webspace.Instance, cursor string, limit int) (page wire.WakePage, err error)
	// WhyAwake says what keeps a webspace awake now.
	WhyAwake(ctx context.Context, of webspace.Instance) (wire.WhyAwake, error)
	// Counts is how often each webspace woke since its node knows it (counters that never fall), by uid. Of nodes that cannot say now
	// there is nothing.
	Counts(ctx context.Context) map[int]int64
}
