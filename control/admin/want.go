package admin

import (
	"context"
	"net/netip"
	"strings"

	"github.com/lanyard-project/lanyard/control/check"
	"github.com/lanyard-project/lanyard/webspace"
)

// loadWant reads what lanyardd would read, and says what the machine has to offer for it.
func loadWant(file string) (check.Want, check.AskLXD, error) {
	want := check.Want{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), VNI: 7331, TunnelPort: 4789,
		ForwardPorts: check.Range{First: 49152, Last: 65535},
		Bridge:       "lanyard0", VXLAN: "lanyard0-vx", BPFFS: "/sys/fs/bpf/lanyard", LXD: webspace.DefaultSocket, XDP: "off",
	}
	return want, askLXD(webspace.Options{}), nil
}

// askLXD asks once, within the store's time limit.
func askLXD(o webspace.Options) check.AskLXD {
	return func(ctx context.Context) check.LXD {
		store, err := webspace.Connect(o)
		if err != nil {
			return check.LXD{Error: err.Error()}
		}
		server, err := store.Server(ctx)
		if err != nil {
			return check.LXD{Error: strings.TrimPrefix(err.Error(), "could not ask LXD about itself: ")}
		}
		// LXD tells a client that it does not trust only that it exists.
		return check.LXD{Version: server.Version, Clustered: server.Clustered, Trusted: server.Version != ""}
	}
}
