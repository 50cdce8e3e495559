package admin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/control/check"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// wanted reads what lanyardd would read: this file, and the environment.
func wanted(file string) (config.Config, error) {
	if file == "" {
		file = os.Getenv("LANYARD_CONFIG")
	}
	return config.Load(config.Sources{File: file, Environ: os.Environ()})
}

// want picks out of a configuration what the machine has to offer for it.
func want(c config.Config) check.Want {
	underlay := c.Underlay.Interface
	if underlay == "" {
		underlay = c.Uplink.Interface
	}
	peerPort := c.Peers.Port
	if c.Peers.From != config.PeersLXD {
		peerPort = 0
	}
	return check.Want{
		Prefix: c.LAN.Prefix, VNI: c.LAN.VNI, TunnelPort: c.Underlay.Port, PeerPort: peerPort, Underlay: underlay, Uplink: c.Uplink.Interface,
		MTU:      c.LAN.MTU,
		NATPorts: check.Range(c.Uplink.NATPorts), ForwardPorts: check.Range(c.Forwards.Ports),
		Bridge: c.LAN.Bridge, VXLAN: c.LAN.VXLAN, BPFFS: c.Paths.BPFFS, LXD: c.LXD.Address, XDP: c.Underlay.XDP, IDsEach: idsEach(c.Webspaces.InstanceConfig),
		Reclaim: c.Wake.Enabled && c.Sleep.Enabled && c.Sleep.ReclaimAfter > 0,
	}
}

// idsEach is how many ids a webspace gets, see check.Want.
func idsEach(config []string) int64 {
	var each int64
	for _, kv := range config {
		key, value, _ := strings.Cut(kv, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case key == "security.idmap.isolated" && value != "true" && value != "1":
			return -1
		case key == "security.idmap.size" && err == nil && n > 0:
			each = n
		}
	}
	return each
}

// store is the configuration's LXD.
func store(c config.LXD) (*webspace.Store, error) {
	o := webspace.Options{Address: c.Address, Project: c.Project, Prefix: c.Prefix, Timeout: c.Timeout}
	for _, pem := range []struct {
		file string
		into *string
	}{{c.ServerCert, &o.ServerCert}, {c.ClientCert, &o.ClientCert}, {c.ClientKey, &o.ClientKey}} {
		if pem.file == "" {
			continue
		}
		b, err := os.ReadFile(pem.file)
		if err != nil {
			return nil, failed("cannot use LXD at "+c.Address, err, "correct lxd.server_cert, lxd.client_cert and lxd.client_key")
		}
		*pem.into = string(b)
	}
	return webspace.Connect(o)
}

// askLXD asks once, within the store's time limit.
func askLXD(c config.LXD) check.AskLXD {
	return func(ctx context.Context) check.LXD {
		s, err := store(c)
		if err != nil {
			return check.LXD{Error: err.Error()}
		}
		server, err := s.Server(ctx)
		if err != nil {
			return check.LXD{Error: shortCause(err)}
		}
		// LXD tells a client that it does not trust only that it exists.
		return check.LXD{Version: server.Version, Clustered: server.Clustered, Trusted: server.Version != ""}
	}
}

// shortCause is the innermost reason of an error: "connection refused", and not the whole chain of who asked whom.
func shortCause(err error) string {
	if p, ok := errors.AsType[*webspace.Problem](err); ok && p.Cause != "" {
		return p.Cause
	}
	for {
		next := errors.Unwrap(err)
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			all := many.Unwrap()
			next = all[len(all)-1]
		}
		if next == nil {
			return strings.TrimSpace(fmt.Sprint(err))
		}
		err = next
	}
}
