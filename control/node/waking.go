package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/control/wake/expedite"
	"github.com/lanyard-project/lanyard/control/wake/reach"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// waking is what boots webspaces when a packet arrives for them; nil: not enabled.
type waking struct {
	store    *webspace.Store
	engine   *wake.Engine
	ledger   *ledger.Ledger
	expedite *expedite.Switch // nil: not wanted
}

func newWaking(c config.Config, store *webspace.Store, d *dataplane.Dataplane, log *slog.Logger) *waking {
	if !c.Wake.Enabled {
		return nil
	}
	w := &waking{store: store, ledger: ledger.New(ledger.Options{File: ledgerFile(c), PerWebspace: c.Ledger.PerWebspace, Total: c.Ledger.PerNode}, log.With("part", "ledger"))}
	settings := wakeConfig(c)
	if c.Wake.Expedite {
		w.expedite = expedite.New(filepath.Join(c.Paths.State, "rcu_expedited"), log.With("part", "wake"))
		settings.Hurry = w.expedite.Hurry
	}
	w.engine = wake.New(settings, store, d, d.Parking(), wake.NewContainers(c.LXD.Project), w.ledger, log.With("part", "wake"))
	return w
}

// ledgerFile is where the ledger is when the configuration does not say: in the service's folder, which a reboot leaves
// alone, or else beside the cache.
func ledgerFile(c config.Config) string {
	switch folder := os.Getenv("STATE_DIRECTORY"); {
	case c.Ledger.File != "":
		return c.Ledger.File
	case filepath.IsAbs(folder):
		return filepath.Join(folder, "ledger.db")
	}
	return filepath.Join(c.Paths.State, "ledger.db")
}

// connect lets the parts know each other before any of them runs.
func (w *waking) connect(c config.Config, d *dhcp.Config, a *agent.Config) {
	if w == nil {
		return
	}
	d.Acked = w.engine.Leased
	a.Waker, a.Wake = w.engine, wakeRule(c)
}

func (w *waking) start(start func(name string, part func(context.Context) error)) {
	start("ledger", w.ledger.Run)
	start("wake", w.engine.Run)
	start("reach", func(ctx context.Context) error { return reach.Watch(ctx, w.engine.Reachable) })
	start("orders", func(ctx context.Context) error {
		for o := range w.store.Orders(ctx) {
			w.engine.Ordered(o)
		}
		return nil
	})
}
