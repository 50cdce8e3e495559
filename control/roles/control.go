package roles

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/account/setup"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/node/peering"
	"github.com/lanyard-project/lanyard/control/sleep"
	"github.com/lanyard-project/lanyard/control/supervise"
	"github.com/lanyard-project/lanyard/control/wakes"
	"github.com/lanyard-project/lanyard/control/webspaces"
	"github.com/lanyard-project/lanyard/webspace"
)

// runControl is the role control: webspaces as members know them, their accounts, and the API over both. There is one in
// a cluster: it alone gives out addresses and external ports.
func runControl(ctx context.Context, m *Machine, ready func()) error {
	c := m.Config
	if err := c.CheckControl(); err != nil {
		return err
	}
	options, err := webspaces.Options(c, m.Log.With("part", "webspaces"))
	if err != nil {
		return err
	}
	leases := sleep.NewLeases(func(ctx context.Context, uid int, until time.Time) error {
		return options.Store.SetHeld(ctx, options.Store.Name(uid), until)
	}, m.Log.With("part", "leases"))
	options.Waker, options.Hold = &m.Offers, func(uid int) (release func()) {
		if m.Offers.CanHold() && c.Peers.From != config.PeersLXD { // every webspace is on the node of this process
			return m.Offers.Hold(uid)
		}
		here, elsewhere := m.Offers.Hold(uid), leases.Hold(uid)
		return func() { here(); elsewhere() }
	}
	service, err := webspace.NewService(options)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Accounts.Path), 0o700); err != nil {
		return &config.Error{What: "cannot use accounts.path", Cause: err.Error(), Next: "give a file in a folder that lanyardd can write to", Err: err}
	}
	accounts, manager, err := setup.Provider(c.Accounts, setup.Of(options.Store))
	if err != nil {
		return err
	}
	if closer, ok := accounts.(account.Closer); ok {
		defer func() {
			if err := closer.Close(); err != nil {
				m.Log.Warn("the accounts were not closed cleanly", "err", err)
			}
		}()
	}
	keep := supervise.New(m.Log)
	g, ctx := errgroup.WithContext(ctx)
	start := func(name string, part func(context.Context) error) {
		g.Go(func() error { keep.Run(ctx, name, part); return nil })
	}
	start("webspaces", service.Run)
	start("leases", leases.Run)
	start("accounts", func(ctx context.Context) error {
		return manage.Serve(ctx, manager, c.Accounts.Socket, m.Log.With("part", "accounts"))
	})
	log := m.Log.With("part", "api")
	history := wakes.New(histories(c, options.Store))
	start("api", func(ctx context.Context) error {
		o := apiOptions(c.API)
		o.WakeRule = webspace.WakeRule{Policy: webspace.Policy(c.Wake.Policy), Allow: c.Wake.Allow}
		o.Webspaces, o.Accounts, o.Wakes, o.Log = api.Service{Service: service}, accounts, history, log
		at := api.Listeners{Address: c.API.Address, CertFile: c.API.TLSCert, KeyFile: c.API.TLSKey, Socket: c.API.Socket}
		return api.New(o).Serve(ctx, at, func(a net.Addr) {
			log.Info("the API is served", "address", a, "socket", c.API.Socket, "accounts", c.Accounts.Provider)
			ready()
		})
	})
	return g.Wait()
}

// apiOptions are the API's view of its section.
func apiOptions(a config.API) api.Options {
	return api.Options{
		Origins: a.Origins, TrustedProxies: a.Proxies, UserRate: a.UserRate, UserBurst: a.UserBurst, AddressRate: a.AddressRate,
		AddressBurst: a.AddressBurst, UserStreams: a.UserStreams, Streams: a.Streams, MaxFile: int64(a.MaxFile) << 20,
		ReadTime: a.ReadTimeout, WriteTime: a.WriteTimeout, ExecTime: a.ExecTimeout, SampleEvery: a.SampleEvery,
	}
}

// histories are what nodes remember: this machine's, in this process or another, and those of the cluster's others.
func histories(c config.Config, store *webspace.Store) wakes.Options {
	o := wakes.Options{Here: nodeapi.New(c.Admin.Socket), Name: c.Node.Name, Cluster: store}
	if c.Peers.Port != 0 {
		us := peering.New(c.LXD.Folder())
		o.There = func(vtep netip.Addr) wakes.Node { return us.Client(netip.AddrPortFrom(vtep, c.Peers.Port)) }
	}
	return o
}
