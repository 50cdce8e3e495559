package node

import (
	"context"
	"log/slog"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/offers"
	"github.com/lanyard-project/lanyard/control/sleep"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// newKeeper makes what puts webspaces to sleep; nil: not enabled. Without waking nothing sleeps: nobody could reach it.
func newKeeper(c config.Config, store *webspace.Store, d *dataplane.Dataplane, follow *agent.Agent, w *waking, holds *sleep.Holds, log *slog.Logger) *sleep.Keeper {
	if w == nil || !c.Sleep.Enabled {
		return nil
	}
	containers := wake.NewContainers(c.LXD.Project)
	sockets := sleep.Sockets{Pid: func(name string) (int, error) {
		found, err := containers.Find(name)
		return found.Pid, err
	}}
	groups := sleep.Groups{Project: c.LXD.Project}
	return sleep.New(sleepOptions(c.Sleep), sleep.Parts{
		Local: follow.Local, LXD: store, Plane: d, Power: w.engine, Holds: holds, Sockets: sockets.Flows,
		Reclaim: groups.Reclaim, NoReclaim: groups.Possible(), Log: log.With("part", "sleep"),
	})
}

// sleepOptions are the keeper's view of its section.
func sleepOptions(s config.Sleep) sleep.Options {
	return sleep.Options{
		Check: s.Check, Grace: s.Grace, ShortGrace: s.PressureGrace, Stale: s.Stale, ReclaimAfter: s.ReclaimAfter,
		Pressure: sleep.Thresholds{MinFree: uint64(s.MinFree) << 20, Stalled: float64(s.Stalled)},
	}
}

// offered is what this node lets other roles of its process use.
func offered(w *waking, holds *sleep.Holds) offers.Node {
	o := offers.Node{Hold: holds.Hold}
	if w != nil {
		o.EnsureStarted = func(ctx context.Context, uid int) error {
			_, err := w.engine.EnsureStarted(ctx, uid, ledger.Cause{Via: ledger.API})
			return err
		}
	}
	return o
}

// keeperProblems are for the status.
func (n *Node) keeperProblems() []nodeapi.Problem {
	if n.keeper == nil {
		return nil
	}
	var out []nodeapi.Problem
	s := n.keeper.Stats()
	if s.Err != nil {
		out = append(out, nodeapi.Problem{Subject: "sleep", Error: "cannot see who is idle: " + s.Err.Error()})
	}
	if s.Stuck {
		out = append(out, nodeapi.Problem{Subject: "memory", Error: s.Short + ", and no webspace may be put to sleep; see: lanyard awake"})
	}
	if s.NoReclaim != nil && s.Napping > 0 {
		out = append(out, nodeapi.Problem{Subject: "memory of napping webspaces", Error: "stays until they sleep: " + s.NoReclaim.Error() + "; see: lanyard check"})
	}
	return out
}
