package api

import (
	"context"

	"github.com/lanyard-project/lanyard/control/api/wire"
)

// Wakes knows why webspaces woke, slept, or do not sleep. The node that holds a webspace knows; without a node in reach
// the API answers 501, with the code "unsupported".
type Wakes interface {
	// Wakes gives one page of the history of a webspace, newest first: at most limit records from cursor on ("" is the
	// newest), and the cursor of the next page ("" when there is none). A cursor that is none is ErrCursor.
	Wakes(ctx context.Context, uid int, cursor string, limit int) (page wire.WakePage, err error)
	// WhyAwake says what keeps a webspace awake now.
	WhyAwake(ctx context.Context, uid int) (wire.WhyAwake, error)
	// Count is how often it woke since the node knows it (a counter that never falls).
	Count(ctx context.Context, uid int) (int64, error)
}
