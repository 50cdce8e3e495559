package node

import (
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/wake"
)

// waker is what the servers need of the engine.
type waker interface {
	States() []wake.State
	Stats() wake.Stats
}

// waking is the part of a status about waking.
func (n *Node) waking() nodeapi.Waking {
	if n.waker == nil {
		return nodeapi.Waking{Webspaces: []nodeapi.WakingState{}, Denied: map[string]uint64{}}
	}
	s := n.waker.Stats()
	return nodeapi.Waking{
		Enabled: true, Queued: s.Queued, HeldFrames: s.HeldFrames, HeldBytes: s.HeldBytes,
		Parked: s.Parked, Strange: s.Strange, Dropped: s.Dropped, Unproven: s.Unproven, Injected: s.Injected,
		Refused: s.Refused, Denied: s.Denied,
		Webspaces: convert(n.waker.States(), func(w wake.State) nodeapi.WakingState {
			return nodeapi.WakingState{Webspace: w.Name, UID: w.UID, IP: w.Addr, Life: w.Life.String(), Since: w.Since,
				Doing: string(w.Doing), Held: w.Held, Error: text(w.Err), RetryAt: w.RetryAt}
		}),
	}
}

// failedStarts are webspaces whose last start failed: single bad items.
func (n *Node) failedStarts(add func(nodeapi.Problem)) {
	if n.waker == nil {
		return
	}
	for _, w := range n.waker.States() {
		if w.Err != nil {
			add(nodeapi.Problem{Subject: "webspace " + w.Name, Error: w.Err.Error() + "; tried again for a packet after " +
				w.RetryAt.UTC().Format(time.RFC3339)})
		}
	}
}

// lives are all states that a webspace of this node can be in.
var lives = []string{"awake", "asleep", "booting", "napping", "unreachable"}

// wake gives what waking counts.
func (c *collector) wake(give giver) {
	if c.n.waker == nil {
		return
	}
	count := map[string]int{}
	for _, w := range c.n.waker.States() {
		count[w.Life.String()]++
	}
	for _, l := range lives {
		give(mWakeWebspaces, float64(count[l]), l)
	}
	s := c.n.waker.Stats()
	give(mWakeQueued, float64(s.Queued))
	give(mWakeHeld, float64(s.HeldFrames))
	give(mWakeHeldBytes, float64(s.HeldBytes))
	give(mWakeParked, float64(s.Parked))
	give(mWakeInjected, float64(s.Injected))
	give(mWakeRefused, float64(s.Refused))
	for reason, n := range map[string]uint64{"strange": s.Strange, "full": s.Dropped, "unverified": s.Unproven} {
		give(mWakeDropped, float64(n), reason)
	}
	for _, reason := range wake.Denials() {
		give(mWakeDenied, float64(s.Denied[reason]), reason)
	}
}
