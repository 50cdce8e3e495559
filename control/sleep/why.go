package sleep

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// ReasonKind is what keeps a webspace awake.
type ReasonKind string

// The kinds of reasons.
const (
	ByFlow      ReasonKind = "flow"      // a live TCP connection
	ByOperation ReasonKind = "operation" // LXD works on it: an exec, a console, a backup
	BySession   ReasonKind = "session"   // a session of Lanyard's own, on this node or another
	ByUse       ReasonKind = "use"       // it was used a short time ago
	ByPolicy    ReasonKind = "policy"    // nobody wants it to sleep
	ByUnknown   ReasonKind = "unknown"   // what may keep it awake could not be read
)

// Reason is one thing that keeps a webspace awake.
type Reason struct {
	Kind  ReasonKind
	What  string    // in words
	Since time.Time // zero: unknown
	Until time.Time // zero: unknown
	Flow  dataplane.Flow
}

// keeps are the reasons against putting a webspace to sleep, its policy and last use aside.
func (k *Keeper) keeps(s Seen, ops []webspace.Operation) []Reason {
	var out []Reason
	for _, h := range k.holds.Of(s.UID) {
		out = append(out, Reason{Kind: BySession, What: h.What, Since: h.Since})
	}
	if s.HeldUntil.After(time.Now()) {
		out = append(out, Reason{Kind: BySession, What: "a session on another node", Until: s.HeldUntil})
	}
	for _, op := range ops {
		out = append(out, Reason{Kind: ByOperation, What: op.What, Since: op.Since})
	}
	flows, err := k.flows(s)
	if err != nil {
		return append(out, Reason{Kind: ByUnknown, What: "its connections cannot be read: " + err.Error()})
	}
	if !s.LastPacket.IsZero() && time.Since(s.LastPacket) > k.o.Stale {
		return out
	}
	for _, f := range flows {
		out = append(out, Reason{Kind: ByFlow, What: direction(f), Since: f.Since, Flow: f})
	}
	return out
}

// direction puts who opened a connection first.
func direction(f dataplane.Flow) string {
	if f.Passive {
		return "tcp " + f.Remote.String() + " -> port " + itoa(f.Local.Port())
	}
	return "tcp to " + f.Remote.String()
}

// Answer says whether a webspace is awake, and why. No reasons: it is not, or it will not be for long.
type Answer struct {
	Seen
	Reasons []Reason
}

// All looks at every webspace of this node, the one that was used last first.
func (k *Keeper) All(ctx context.Context) ([]Answer, error) {
	list, err := k.see()
	if err != nil {
		return nil, err
	}
	ops, unread := k.operations(ctx, list)
	out := make([]Answer, 0, len(list))
	for _, s := range k.withHeld(list) {
		a := Answer{Seen: s, Reasons: k.reasons(s, ops[s.Name])}
		if unread != nil && s.active() {
			a.Reasons = append(a.Reasons, Reason{Kind: ByUnknown, What: "what LXD is doing cannot be read: " + unread.Error()})
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Answer) int {
		return cmp.Or(b.LastUse().Compare(a.LastUse()), cmp.Compare(a.UID, b.UID))
	})
	return out, nil
}

func (k *Keeper) reasons(s Seen, ops []webspace.Operation) []Reason {
	if !s.active() {
		return nil
	}
	out := k.keeps(s, ops)
	nap, asleep := s.Due()
	if nap.IsZero() && asleep.IsZero() {
		return append(out, Reason{Kind: ByPolicy, What: "it has neither a time to nap nor one to sleep"})
	}
	next := asleep
	if !nap.IsZero() {
		next = nap
	}
	if len(out) == 0 && s.Status == webspace.Running && next.After(time.Now()) {
		out = append(out, Reason{Kind: ByUse, What: "it was used", Since: s.LastUse(), Until: next})
	}
	return out
}
