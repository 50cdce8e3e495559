package sleep

import (
	"context"
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
	What  string         // in words
	Since time.Time      // zero: unknown
	Flow  dataplane.Flow // when Kind is ByFlow
}

// keeps are the reasons against putting a webspace to sleep, its policy and last use aside.
func (k *Keeper) keeps(s Seen, ops []webspace.Operation) []Reason {
	var out []Reason
	for _, h := range k.holds.Of(s.UID) {
		out = append(out, Reason{Kind: BySession, What: h.What, Since: h.Since})
	}
	if s.HeldUntil.After(time.Now()) {
		out = append(out, Reason{Kind: BySession, What: "a session on another node"})
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
		return f.Remote.String() + " -> " + f.Local.String()
	}
	return f.Local.String() + " -> " + f.Remote.String()
}

// Answer says whether a webspace is awake, and why.
type Answer struct {
	Seen
	Idle    time.Duration // since its last use
	Due     time.Time     // of its next step down, if nothing happens; zero: never
	Reasons []Reason      // why it is awake; none: it is not, or it will not be for long
}

// Why looks at one webspace of this node; ok is false when it is not here.
func (k *Keeper) Why(ctx context.Context, uid int) (a Answer, ok bool, err error) {
	list, err := k.see()
	if err != nil {
		return a, false, err
	}
	ops, opsErr := k.operations(ctx, list)
	for _, s := range k.withHeld(list) {
		if s.UID != uid {
			continue
		}
		now := time.Now()
		a = Answer{Seen: s, Due: s.Due(), Reasons: []Reason{}}
		if !s.active() {
			return a, true, nil
		}
		a.Idle = max(0, now.Sub(s.LastUse()))
		a.Reasons = append(a.Reasons, k.keeps(s, ops[s.Name])...)
		if opsErr != nil {
			a.Reasons = append(a.Reasons, Reason{Kind: ByUnknown, What: "what LXD is doing cannot be read: " + opsErr.Error()})
		}
		switch {
		case s.Status == webspace.Running && s.NapAfter == 0 && s.SleepAfter == 0:
			a.Reasons = append(a.Reasons, Reason{Kind: ByPolicy, What: "it has neither a time to nap nor one to sleep"})
		case len(a.Reasons) == 0 && a.Due.After(now):
			a.Reasons = append(a.Reasons, Reason{Kind: ByUse, What: "it was used", Since: s.LastUse()})
		}
		return a, true, nil
	}
	return a, false, nil
}
