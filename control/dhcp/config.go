package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DefaultLease is how long a client may use its address without asking again. Its address never changes; the lease is
// this short so that changed options (the MTU, name servers) spread within the hour.
const DefaultLease = 2 * time.Hour

// Config is what a server is made with.
type Config struct {
	Interface  string           // where requests arrive: the bridge
	NodeMAC    net.HardwareAddr // only frames to it are read (the port program writes it); nil: frames to anyone
	Prefix     netip.Prefix     // the LAN
	Gateway    netip.Addr       // router and server identifier
	GatewayMAC net.HardwareAddr // source of the answers
	DNS        []netip.Addr     // name servers; none: the gateway
	Domain     string           // option 15; "" is not sent
	Search     []string         // option 119, when a client asks for it; at most as many as fit into 255 octets
	Lease      time.Duration    // 0: DefaultLease; at least a minute
	// MTU of the LAN, bytes, asked for each answer. nil or 0: option 26 is not sent.
	MTU func() int
	// Acked is told that an address was just given to its owner, who will have it up within a moment; nil: nobody asks.
	// It must be quick.
	Acked func(netip.Addr)
}

func (c *Config) check() error {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if len(c.DNS) == 0 {
		c.DNS = []netip.Addr{c.Gateway}
	}
	if c.MTU == nil {
		c.MTU = func() int { return 0 }
	}
	if c.Acked == nil {
		c.Acked = func(netip.Addr) {}
	}
	c.Prefix = c.Prefix.Masked()
	switch {
	case c.Interface == "":
		return fmt.Errorf("dhcp: no interface to listen on")
	case !c.Prefix.IsValid() || !c.Prefix.Addr().Is4():
		return fmt.Errorf("dhcp: the LAN %v is no IPv4 prefix", c.Prefix)
	case !c.Gateway.Is4() || !c.Prefix.Contains(c.Gateway):
		return fmt.Errorf("dhcp: the gateway %v is no address of the LAN %v", c.Gateway, c.Prefix)
	case len(c.GatewayMAC) != 6:
		return fmt.Errorf("dhcp: the gateway's MAC %v is none", c.GatewayMAC)
	case c.NodeMAC != nil && len(c.NodeMAC) != 6:
		return fmt.Errorf("dhcp: the node's MAC %v is none", c.NodeMAC)
	case c.Lease < time.Minute || c.Lease > 365*24*time.Hour:
		return fmt.Errorf("dhcp: a lease of %v: from a minute to a year", c.Lease)
	case len(c.DNS) > 8:
		return fmt.Errorf("dhcp: %d name servers: at most 8", len(c.DNS))
	case len(c.Domain) > 253:
		return fmt.Errorf("dhcp: the domain has %d octets: at most 253", len(c.Domain))
	}
	for _, a := range c.DNS {
		if !a.Is4() {
			return fmt.Errorf("dhcp: the name server %v is no IPv4 address", a)
		}
	}
	if n := len(searchBytes(c.Search)); n > 255 {
		return fmt.Errorf("dhcp: the search list needs %d octets: at most 255", n)
	}
	return nil
}
