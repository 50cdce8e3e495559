package webspaces

import (
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// tunnelOverhead is what a tunnel takes of the underlay's MTU, bytes: outer Ethernet's payload loses IPv4, UDP, VXLAN and
// the inner Ethernet header.
const tunnelOverhead = 50

// Store is the LXD of the configuration. It reads certificates; LXD need not be there.
func Store(c config.Config) (*webspace.Store, error) {
	o := webspace.Options{Address: c.LXD.Address, Project: c.LXD.Project, Prefix: c.LXD.Prefix, Timeout: c.LXD.Timeout,
		Profiles: c.Webspaces.Profiles, Pool: webspace.Pool{First: c.LAN.Pool.First, Last: c.LAN.Pool.Last}}
	for _, f := range []struct {
		key, name string
		into      *string
	}{{"lxd.server_cert", c.LXD.ServerCert, &o.ServerCert}, {"lxd.client_cert", c.LXD.ClientCert, &o.ClientCert},
		{"lxd.client_key", c.LXD.ClientKey, &o.ClientKey}} {
		if f.name == "" {
			continue
		}
		b, err := os.ReadFile(f.name)
		if err != nil {
			return nil, &config.Error{What: "cannot use " + f.key, Cause: err.Error(), Next: "give the path of a PEM file that lanyardd can read", Err: err}
		}
		*f.into = string(b)
	}
	return webspace.Connect(o)
}

// Options of the service as configured. The caller adds what is not configuration: Waker, Hold, Resolver.
func Options(c config.Config, log *slog.Logger) (webspace.ServiceOptions, error) {
	store, err := Store(c)
	if err != nil {
		return webspace.ServiceOptions{}, err
	}
	w := c.Webspaces
	o := webspace.ServiceOptions{
		Store: store, Domain: w.Domain, ReservedDomains: []string{c.LAN.Domain},
		Defaults: webspace.Config{
			StartupDelay: w.StartupDelay.Seconds(), HTTPPort: uint16(w.HTTPPort), SNIPassthrough: w.SNIPassthrough,
			Idle: webspace.Idle{NapAfter: w.NapAfter, SleepAfter: w.SleepAfter},
		},
		MaxStartupDelay: c.Wake.MaxStartupDelay.Seconds(),
		FirstPort:       c.Forwards.Ports.First, LastPort: c.Forwards.Ports.Last,
		MaxPorts: w.MaxPorts, MaxDomains: w.MaxDomains, MTU: mtu(c), InstanceConfig: make(map[string]string), StartNew: w.StartNew,
		StopGrace: w.ShutdownTimeout, StartTime: w.StartTimeout, CreateTime: w.CreateTimeout, ResyncEvery: c.LXD.Resync, Log: log,
	}
	for _, kv := range w.InstanceConfig {
		key, value, _ := strings.Cut(kv, "=")
		o.InstanceConfig[key] = value
	}
	return o, nil
}

// mtu of webspaces: as configured, or what the underlay leaves. 0, which is LXD's own, when this machine has no underlay;
// DHCP tells webspaces in any case.
func mtu(c config.Config) int {
	if c.LAN.MTU != 0 || c.Underlay.Interface == "" {
		return c.LAN.MTU
	}
	i, err := net.InterfaceByName(c.Underlay.Interface)
	if err != nil || i.MTU <= tunnelOverhead {
		return 0
	}
	return i.MTU - tunnelOverhead
}
