package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
)

const (
	bridgeName = "br0"
	vxlanName  = "vx0"
)

// Forward is one port forward of n1's external address.
type Forward struct {
	Proto  uint8
	Port   uint16
	Target netip.AddrPort
}

// Kernel is the same LAN from the kernel's own parts, tuned: bridge and VXLAN with static forwarding entries and
// permanent neighbours and no learning, bridge netfilter off, no tunnel checksums, the tunnel not tracked, one nftables
// map lookup for all forwards, SNAT to a fixed address. Every webspace's default route goes straight to n1, where the
// forwards enter, so that n2 needs no NAT and no connection tracking at all.
func Kernel(name string, nic bool, cpus CPUs, forwards []Forward) (*World, error) {
	w := &World{Name: name, NIC: nic}
	// The nodes' processes run on the measured CPU: the proxy lives in one of them.
	err := w.build(cpus, cpus.Load)
	for _, n := range []*Node{w.N1, w.N2} {
		if err == nil && n != nil && n.Cell != nil {
			err = w.kernelNode(n)
		}
	}
	for _, s := range w.spaces {
		if err == nil && s.Cell != nil {
			err = defaultRoute(s.Cell, w.N1.LAN)
		}
	}
	if err == nil {
		err = w.N1.Call(context.Background(), "nft", rules(forwards), nil)
	}
	if err == nil {
		// Closed connections leave the table soon; what the storms leave would fill it otherwise.
		err = w.N1.Call(context.Background(), "sysctl", map[string]string{
			"net/netfilter/nf_conntrack_tcp_timeout_close": "1",
		}, nil)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) kernelNode(n *Node) error {
	if err := n.Call(context.Background(), "sysctl", map[string]string{
		"net/bridge/bridge-nf-call-iptables":  "0",
		"net/bridge/bridge-nf-call-ip6tables": "0",
		"net/bridge/bridge-nf-call-arptables": "0",
	}, nil); err != nil {
		return err
	}
	snoop := false
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, MTU: lanMTU, HardwareAddr: n.MAC, TxQLen: 1000}, MulticastSnooping: &snoop}
	if err := n.Net.LinkAdd(br); err != nil {
		return fmt.Errorf("%s: bridge: %w", n.Name, err)
	}
	ul, err := n.Net.LinkByName(Underlay)
	if err != nil {
		return err
	}
	vx := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: vxlanName, MTU: lanMTU, TxQLen: 1000},
		VxlanId:   VNI, Port: TunnelPort, SrcAddr: n.VTEP.AsSlice(), VtepDevIndex: ul.Attrs().Index,
	}
	if err := n.Net.LinkAdd(vx); err != nil {
		return fmt.Errorf("%s: VXLAN device: %w", n.Name, err)
	}
	if err := errors.Join(enslave(n.Cell, vxlanName, br), up(n.Cell, vxlanName), up(n.Cell, bridgeName),
		address(n.Cell, bridgeName, n.LAN, 16)); err != nil {
		return err
	}
	for _, s := range w.spaces {
		var err error
		if s.Node == n {
			err = errors.Join(enslave(n.Cell, s.Port, br), fdb(n.Cell, s.Port, s.MAC, netip.Addr{}))
		} else {
			err = fdb(n.Cell, vxlanName, s.MAC, s.Node.VTEP)
		}
		if err := errors.Join(err, neighbour(n.Cell, bridgeName, s.IP, s.MAC)); err != nil {
			return err
		}
	}
	for _, o := range []*Node{w.N1, w.N2} {
		if o == nil || o == n {
			continue
		}
		if err := errors.Join(fdb(n.Cell, vxlanName, o.MAC, o.VTEP), fdb(n.Cell, vxlanName, make(net.HardwareAddr, 6), o.VTEP)); err != nil {
			return err
		}
	}
	return nil
}

func enslave(c *cell.Cell, dev string, br netlink.Link) error {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := c.Net.LinkSetMaster(l, br); err != nil {
		return fmt.Errorf("%s: put %s into the bridge: %w", c.Name, dev, err)
	}
	return c.Net.LinkSetLearning(l, false)
}

// fdb says behind which port of the bridge a MAC is and, for the VXLAN device, behind which tunnel end.
func fdb(c *cell.Cell, dev string, mac net.HardwareAddr, vtep netip.Addr) error {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return err
	}
	zero := mac.String() == "00:00:00:00:00:00"
	if !zero {
		err = c.Net.NeighAppend(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER, HardwareAddr: mac,
		})
	}
	if err == nil && vtep.IsValid() {
		err = c.Net.NeighAppend(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
			HardwareAddr: mac, IP: vtep.AsSlice(),
		})
	}
	if err != nil {
		return fmt.Errorf("%s: forwarding entry %s on %s: %w", c.Name, mac, dev, err)
	}
	return nil
}

// Neighbour makes a neighbour of the node permanent.
func (n *Node) Neighbour(dev string, ip netip.Addr, mac net.HardwareAddr) error {
	return neighbour(n.Cell, dev, ip, mac)
}

func neighbour(c *cell.Cell, dev string, ip netip.Addr, mac net.HardwareAddr) error {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return err
	}
	return c.Net.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac,
	})
}

// rules of n1: one map for all forwards, SNAT, and no tracking of the tunnel.
func rules(forwards []Forward) string {
	return fmt.Sprintf(`table ip lan {
 map forwards {
  type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
 }
 chain untracked_in { type filter hook prerouting priority raw; iifname %[1]q udp dport %[2]d notrack; }
 chain untracked_out { type filter hook output priority raw; oifname %[1]q udp dport %[2]d notrack; }
 chain dnat_in { type nat hook prerouting priority dstnat; iifname %[3]q dnat ip to ip daddr . ip protocol . th dport map @forwards; }
 chain snat_out { type nat hook postrouting priority srcnat; oifname %[3]q ip saddr %[4]s snat to %[5]s; }
}
`, Underlay, TunnelPort, Uplink, LAN, External) + elements(forwards)
}

func elements(forwards []Forward) string {
	if len(forwards) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("add element ip lan forwards {\n")
	for _, f := range forwards {
		fmt.Fprintf(&b, " %s . %d . %d : %s . %d,\n", External, f.Proto, f.Port, f.Target.Addr(), f.Target.Port())
	}
	b.WriteString("}\n")
	return b.String()
}

// KernelForwards replaces the forwards of n1 in one transaction.
func (w *World) KernelForwards(ctx context.Context, forwards []Forward) error {
	return w.N1.Call(ctx, "nft", "flush map ip lan forwards\n"+elements(forwards), nil)
}
