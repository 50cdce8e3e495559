package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-project/lanyard/control/ledger"
)

// histogram is a kind of metric beside prometheus's own for single values.
const histogram = prometheus.ValueType(-1)

// No member's name is in these: see lanyard wakes for single ones.
var (
	mPower      = metric{"lanyard_power_events_total", "Wakes, thaws, naps and sleeps since the daemon started, by cause (forward, lan, http, node, api, admin, idle, pressure) and outcome.", counter, []string{"kind", "cause", "outcome"}}
	mWakeStep   = metric{"lanyard_wake_step_seconds", "From the first packet to each step of a wake or thaw that ended well: decided, started, carrier, lease, open, delivered.", histogram, []string{"kind", "step"}}
	mLedgerLost = metric{"lanyard_ledger_lost_total", "Records of wakes and sleeps that were not kept, because too many waited for the disk.", counter, nil}
	mMemory     = metric{"lanyard_memory_available_bytes", "Memory of the node that could be used, when it was last looked who is idle.", gauge, nil}
	mShort      = metric{"lanyard_memory_short", "1: memory is short, so that webspaces are put to sleep; 2: and none of them may be.", gauge, nil}
	mWatched    = metric{"lanyard_idle_watched", "Webspaces of this node that have a time to nap or to sleep.", gauge, nil}
)

// power gives what the ledger and the keeper count.
func (c *collector) power(give giver, out chan<- prometheus.Metric) {
	if c.n.ledger != nil {
		s := c.n.ledger.Sums()
		for e, n := range s.Events {
			if e == (ledger.Event{}) {
				e = ledger.Event{Kind: "other", Via: "other", Outcome: "other"}
			}
			give(mPower, float64(n), string(e.Kind), string(e.Via), string(e.Outcome))
		}
		for k, h := range s.Steps {
			out <- prometheus.MustNewConstHistogram(c.descs[mWakeStep.name], h.Count, h.Sum, h.Buckets, string(k.Kind), k.Step)
		}
		give(mLedgerLost, float64(s.Lost))
	}
	if c.n.keeper != nil {
		s := c.n.keeper.Stats()
		give(mMemory, float64(s.Memory.Available))
		short := truth(s.Short != "")
		if s.Stuck {
			short = 2
		}
		give(mShort, short)
		give(mWatched, float64(s.Watched))
	}
}
