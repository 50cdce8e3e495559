package node

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/supervise"
	"github.com/lanyard-project/lanyard/control/systemd"
)

// naming is the name server. It lives longer than the rest of the node: it answers from what was last known before the
// programs are in place, which may take half a second after an upgrade, and until every other part has ended.
type naming struct {
	server     *dns.Server
	supervisor *supervise.Supervisor
	once       sync.Once
	ctx        context.Context
	end        context.CancelFunc
	all        sync.WaitGroup
}

// newNaming makes it with the sockets that an earlier daemon left; nil: not enabled.
func newNaming(c config.Config, own []netip.Addr, supervisor *supervise.Supervisor, log *slog.Logger) (*naming, error) {
	sockets := systemd.Inherit()
	if !c.DNS.Enabled {
		if err := sockets.Close(); err != nil {
			log.Warn("sockets of an earlier daemon are still kept", "err", err)
		}
		return nil, nil
	}
	settings, err := dnsConfig(c, own)
	if err != nil {
		return nil, err
	}
	settings.Sockets = sockets
	n := &naming{supervisor: supervisor}
	if n.server, err = dns.New(settings, log.With("part", "dns")); err != nil {
		return nil, err
	}
	n.ctx, n.end = context.WithCancel(context.Background())
	return n, nil
}

// recall starts it with what the cache knows, if that is anything.
func (n *naming) recall(c agent.Config) {
	if n == nil {
		return
	}
	if records, nodes, ok := agent.Recall(c); ok {
		n.server.SetRecords(records)
		n.server.SetNodes(nodes)
		n.start()
	}
}

// start starts it, unless it runs.
func (n *naming) start() {
	n.once.Do(func() {
		n.all.Go(func() { n.supervisor.Run(n.ctx, "dns", n.server.Run) })
	})
}

// stop ends it.
func (n *naming) stop() {
	if n != nil {
		n.end()
		n.all.Wait()
	}
}
