package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// Interface of every webspace.
const Interface = "eth0"

// Lease is what DHCP gave.
type Lease struct {
	Address netip.Prefix  `json:"address"`
	Router  netip.Addr    `json:"router"`
	Server  netip.Addr    `json:"server"`
	MTU     int           `json:"mtu"` // option 26; 0: none
	Time    time.Duration `json:"time_ns"`
	Took    time.Duration `json:"took_ns"` // from the first DISCOVER to the ACK
	Tries   int           `json:"tries"`
}

// acquire asks until there is an answer. A fresh veth may need some milliseconds before the node has attached to it,
// so the first tries are short.
func acquire(ctx context.Context) (Lease, error) {
	start := time.Now()
	wait := 200 * time.Millisecond
	for try := 1; ; try++ {
		ack, err := ask(ctx, wait)
		if err == nil {
			return fromACK(ack, time.Since(start), try)
		}
		if ctx.Err() != nil || try == 20 {
			return Lease{}, fmt.Errorf("no lease after %d tries: %w", try, err)
		}
		wait = min(2*wait, 2*time.Second)
	}
}

func ask(ctx context.Context, wait time.Duration) (ack *dhcpv4.DHCPv4, err error) {
	c, err := nclient4.New(Interface, nclient4.WithTimeout(wait), nclient4.WithRetry(1))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	lease, err := c.Request(ctx, dhcpv4.WithRequestedOptions(dhcpv4.OptionInterfaceMTU))
	if err != nil {
		return nil, err
	}
	return lease.ACK, nil
}

func fromACK(ack *dhcpv4.DHCPv4, took time.Duration, tries int) (Lease, error) {
	ip, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	ones, bits := ack.SubnetMask().Size()
	if !ok || bits != 32 {
		return Lease{}, fmt.Errorf("the lease has no address or mask: %s", ack.Summary())
	}
	l := Lease{Address: netip.PrefixFrom(ip, ones), Time: ack.IPAddressLeaseTime(0), Took: took, Tries: tries}
	if routers := ack.Router(); len(routers) > 0 {
		l.Router, _ = netip.AddrFromSlice(routers[0].To4())
	}
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4())
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil {
		l.MTU = int(mtu)
	}
	return l, nil
}

// apply puts the lease on the interface.
func (l Lease) apply() error {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return err
	}
	if l.MTU > 0 {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("set MTU %d: %w", l.MTU, err)
		}
	}
	ones := l.Address.Bits()
	broadcast := l.Address.Masked().Addr().As4()
	for i := ones; i < 32; i++ {
		broadcast[i/8] |= 1 << (7 - i%8)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: l.Address.Addr().AsSlice(), Mask: net.CIDRMask(ones, 32)}, Broadcast: broadcast[:]}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("set address %s: %w", l.Address, err)
	}
	if l.Router.IsValid() {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: l.Router.AsSlice()}); err != nil {
			return fmt.Errorf("set route via %s: %w", l.Router, err)
		}
	}
	return nil
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// readLease is the "lease" probe.
func readLease() (any, error) {
	b, err := os.ReadFile(leaseFile)
	if err != nil {
		return nil, errors.New("there is no lease yet")
	}
	return rawJSON(b), nil
}
