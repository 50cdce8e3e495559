package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/offers"
	"github.com/lanyard-project/lanyard/control/sleep"
	"github.com/lanyard-project/lanyard/control/starthook"
	"github.com/lanyard-project/lanyard/control/supervise"
	"github.com/lanyard-project/lanyard/dataplane"
)

// Node is a daemon with all its parts, for the servers that show them.
type Node struct {
	config  config.Config
	version string
	started time.Time
	log     *slog.Logger

	plane      plane
	agent      follower
	dhcp       leaser
	dns        namer // nil: not enabled
	waker      waker // nil: not enabled
	supervisor *supervise.Supervisor
	ledger     history // nil: nobody is woken
	keeper     keeper  // nil: nobody is put to sleep
	options    []option
}

// option is something that was asked for and may not be possible.
type option struct {
	key     string // of the configuration
	problem func() error
}

// Run runs a node until ctx ends, and then returns nil; traffic flows on. c must be resolved. An error means that the
// node could not start at all. ready is called once the programs are in place; by then offer, which may be nil, has what
// other roles of this process can use.
func Run(ctx context.Context, c config.Config, version string, log *slog.Logger, offer *offers.Offers, ready func()) error {
	store, err := Connect(c)
	if err != nil {
		return err
	}
	own, err := ownAddresses(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Paths.State, 0o700); err != nil {
		return &config.Error{What: "cannot use paths.state", Cause: err.Error(), Next: "give a folder that lanyardd can write to", Err: err}
	}
	supervisor := supervise.New(log)
	names, err := newNaming(c, own, supervisor, log)
	if err != nil {
		return err
	}
	defer names.stop() // after all else
	names.recall(agentConfig(c, own, nil))
	d, err := dataplane.Open(ctx, dataplaneConfig(c, version), log.With("part", "dataplane"))
	if err != nil {
		return &config.Error{What: "cannot set the dataplane up", Cause: err.Error(), Next: "look for what is missing: lanyard check", Err: err}
	}
	defer func() {
		if err := d.Close(); err != nil {
			log.Warn("the dataplane was not closed cleanly; what is pinned goes on", "err", err)
		}
	}()
	wakes := newWaking(c, store, d, log)
	dhcpSettings, agentSettings := dhcpConfig(c, d.MTU), agentConfig(c, own, d.MTU)
	wakes.connect(c, &dhcpSettings, &agentSettings)
	leases, err := dhcp.New(dhcpSettings, log.With("part", "dhcp"))
	if err != nil {
		return err
	}
	if names != nil {
		agentSettings.Names = names.server
	}
	follow, err := agent.New(agentSettings, store, agent.NewLinks(), d, leases, log.With("part", "agent"))
	if err != nil {
		return err
	}
	n := &Node{config: c, version: version, started: time.Now(), log: log, plane: d, agent: follow, dhcp: leases,
		supervisor: supervisor}
	log.Info("the dataplane is in place", "node", c.Node.Name, "index", c.Node.Index, "ip", c.Node.IP, "vtep", c.Underlay.Address,
		"underlay", c.Underlay.Interface, "uplink", c.Uplink.Interface, "mtu", d.MTU(), "version", version)
	holds := new(sleep.Holds)
	offer.Set(offered(wakes, holds))
	if ready != nil {
		ready()
	}

	g, ctx := errgroup.WithContext(ctx)
	start := func(name string, part func(context.Context) error) {
		g.Go(func() error { n.supervisor.Run(ctx, name, part); return nil })
	}
	start("dataplane", d.Run)
	start("dhcp", leases.Run)
	if names != nil {
		n.dns = names.server
		names.start()
	}
	if wakes != nil {
		n.waker, n.ledger = wakes.engine, wakes.ledger
		wakes.start(start)
		if wakes.expedite != nil {
			n.options = append(n.options, option{"wake.expedite", wakes.expedite.Problem})
		}
	}
	hook := &starthook.Keeper{Call: c.Wake.Enabled && c.Wake.StartHook, Veth: c.Wake.Enabled && c.Wake.VethHook, Store: store, Local: follow.Local, Log: log.With("part", "start hook")}
	start("start hook", hook.Run)
	asked := "wake.start_hook"
	if !c.Wake.StartHook {
		asked = "wake.veth_hook"
	}
	n.options = append(n.options, option{asked, hook.Problem})
	if k := newKeeper(c, store, d, follow, wakes, holds, log); k != nil {
		n.keeper = k
		start("sleep", k.Run)
	}
	start("admin", n.serveAdmin)
	if c.Metrics.Address != "" {
		start("metrics", n.serveMetrics)
	}
	if c.Peers.From == config.PeersLXD && c.Peers.Port != 0 {
		start("peers", n.servePeers)
	}
	// The agent has an end of its own that it does not come back from; it only ends with ctx.
	g.Go(func() error { return follow.Run(ctx) })
	err = g.Wait()
	log.Info("ended; traffic flows on", "err", err)
	return err
}

// Teardown removes all that a node ever made: devices, programs, maps, the admin socket and the cache. The
// configuration need not be resolved: it may be the machine's addresses that are gone.
func Teardown(ctx context.Context, c config.Config, log *slog.Logger) error {
	if err := dataplane.Teardown(ctx, dataplaneConfig(c, ""), log.With("part", "dataplane")); err != nil {
		return &config.Error{What: "could not take everything down", Cause: err.Error(),
			Next: "stop the daemon first (systemctl stop lanyardd-node), then try again", Err: err}
	}
	var errs error
	for _, name := range []string{c.Admin.Socket, cacheFile(c), ledgerFile(c)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, fmt.Errorf("remove: %w", err))
		}
	}
	// Only when nothing else is in it.
	_ = os.Remove(c.Paths.State)
	return errs
}
