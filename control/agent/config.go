package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Config is what a node knows by itself.
type Config struct {
	Prefix     netip.Prefix // the LAN
	Gateway    netip.Addr   // never a webspace's, nor is its MAC
	GatewayMAC net.HardwareAddr
	Infra      []netip.Prefix // LAN ranges that no webspace may have an address (or the MAC of one) in
	Name       string         // of this node, for people
	Index      int            // of this node: its LAN address is the Prefix's first plus this
	VTEP       netip.Addr     // where this node's tunnels end
	// Own are further addresses of this node, which no webspace may reach through NAT (the uplink's, say).
	Own      []netip.Addr
	Forwards []netip.Addr // external addresses whose ports this node forwards
	// ForwardPorts bounds external ports, so that no record can take over the node's own sshd; zero: 49152-65535.
	ForwardPorts dataplane.PortRange

	Peers   []Peer // static ones
	Cluster bool   // the members of the LXD cluster are peers too, and this node publishes itself to them

	Waker Waker             // nil: nothing wakes
	Wake  webspace.WakeRule // what may wake webspaces that say nothing about it

	Deny  []netip.Prefix // nil: DefaultDeny
	Allow []netip.Prefix

	// MTU of the LAN in bytes, asked when a NIC is written; nil or 0: LXD's default.
	MTU func() int
	// Cache is a file that keeps the last known instances of other nodes across a restart of the daemon; "": none.
	Cache string

	// Names is told every webspace and node by name, asleep or awake, here or elsewhere; nil: nobody.
	Names Names

	Resync   time.Duration // look again without a hint; default 10 s
	Debounce time.Duration // after a hint, for more of them; default 3 ms
}

// Peer is another node that is configured by hand.
type Peer struct {
	Name     string // as instances' Node names it; "" when LXD is not clustered
	VTEP     netip.Addr
	Index    int // 0: unknown, its LAN address is not announced
	Forwards []netip.Addr
	Foreign  bool // a plain kernel VXLAN device, without a lanyardd
}

// DefaultDeny returns what no webspace may reach through NAT: this network (RFC 1122), private (RFC 1918), shared
// (RFC 6598), loopback, link-local (RFC 3927), multicast and reserved (RFC 1112, 5771).
func DefaultDeny() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Source is where webspaces are kept; *webspace.Store is one.
type Source interface {
	Server(context.Context) (webspace.Server, error)
	ListLocal(context.Context) ([]webspace.Instance, error)
	List(context.Context) ([]webspace.Instance, error)
	Members(context.Context) ([]webspace.Member, error)
	Publish(ctx context.Context, member string, n webspace.Node) error
	Adopt(ctx context.Context, mtu int) ([]string, []webspace.Issue, error)
	Watch(context.Context) <-chan struct{}
}

// Links are the interfaces of this network namespace; NewLinks makes them.
type Links interface {
	List() (map[string]Link, error)
	// Watch gives a hint when a link has come, gone or changed. The channel is closed after the end of ctx.
	Watch(context.Context) <-chan struct{}
}

// Link is one interface.
type Link struct {
	Name  string
	Index int
	Kind  string // as in rtnetlink's IFLA_INFO_KIND: "veth", ...
}

// Sink makes the kernel equal to a state; *dataplane.Dataplane is one.
type Sink interface {
	Apply(context.Context, dataplane.State) (dataplane.Changes, error)
}

// Leases is told which MAC on which port has which address; *dhcp.Server is one.
type Leases interface {
	SetReservations([]dhcp.Reservation)
}

// Names is told the names of the LAN, and further addresses of nodes that no name outside may lead to; *dns.Server is one.
type Names interface {
	SetRecords([]dns.Record)
	SetNodes([]netip.Addr)
}

// Problem is a single bad item. It affects only itself. Subject is e.g. "webspace ws-u3" or "member n2".
type Problem = dataplane.Problem

func (c *Config) check() error {
	bad := func(what, cause string) error {
		return &webspace.Problem{What: "the node agent cannot use its configuration", Cause: what + " " + cause,
			Next: "correct it and restart lanyardd", Kind: webspace.ErrInvalid}
	}
	switch {
	case !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() || c.Prefix.Bits() > 24:
		return bad("the LAN prefix "+c.Prefix.String(), "must be IPv4 and at least a /24")
	case c.Index < 1 || c.Index > webspace.MaxNode:
		return bad(fmt.Sprint("node index ", c.Index), fmt.Sprintf("is not between 1 and %d", webspace.MaxNode))
	case !c.VTEP.Is4():
		return bad("the tunnel address "+c.VTEP.String(), "is not IPv4")
	}
	c.Prefix = c.Prefix.Masked()
	if c.Deny == nil {
		c.Deny = DefaultDeny()
	}
	if c.ForwardPorts == (dataplane.PortRange{}) {
		c.ForwardPorts = dataplane.PortRange{First: 49152, Last: 65535}
	}
	if c.ForwardPorts.First == 0 || c.ForwardPorts.Last < c.ForwardPorts.First {
		return bad(fmt.Sprintf("the range of external ports %d-%d", c.ForwardPorts.First, c.ForwardPorts.Last), "runs backwards or starts at 0")
	}
	if c.Resync <= 0 {
		c.Resync = 10 * time.Second
	}
	if c.Debounce <= 0 {
		c.Debounce = 3 * time.Millisecond
	}
	return nil
}

// NodeIP is the LAN address of node n: the n-th of the prefix.
func NodeIP(prefix netip.Prefix, n int) netip.Addr {
	b := prefix.Masked().Addr().As4()
	b[3] += byte(n) // n is at most 253, and the prefix at least a /24
	return netip.AddrFrom4(b)
}
