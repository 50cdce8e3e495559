// Package world builds the networks that are compared: the same machines, addresses and cables, once with Lanyard's
// dataplane on the nodes, once with the kernel's own means, once with nothing in between.
//
//	a, b ── n1 ══ underlay ══ n2 ── c
//	        │
//	        uplink ── out
//
// The network-card worlds have one node only: its underlay and its uplink end in `wire`, which makes frames and
// swallows them.
package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
)

// Devices have the same names in every world.
const (
	Underlay = "ul0"
	Uplink   = "up0"
	Inside   = "eth0" // of a webspace and of out
	lanMTU   = 1450
	wireMTU  = 1500
)

// Space is a webspace: a namespace with one device.
type Space struct {
	*cell.Cell
	Name string
	IP   netip.Addr
	MAC  net.HardwareAddr
	Node *Node
	Port string // host side of its device
}

// Node is a machine of the LAN.
type Node struct {
	*cell.Cell
	Index int
	LAN   netip.Addr
	MAC   net.HardwareAddr
	VTEP  netip.Addr
}

// World is one network.
type World struct {
	Name    string
	N1, N2  *Node
	A, B, C *Space
	Out     *cell.Cell // the outside; in a network-card world the far ends of underlay and uplink
	NIC     bool

	lanyard bool
	cells   []*cell.Cell
	spaces  []*Space
}

// Addresses, the same in every world.
var (
	LAN        = netip.MustParsePrefix("172.24.0.0/16")
	Gateway    = netip.MustParseAddr("172.24.254.1")
	GatewayMAC = net.HardwareAddr{0x02, 0x4c, 0x41, 0x4e, 0x00, 0x01}
	External   = netip.MustParseAddr("198.51.100.1")  // of n1, on the uplink
	OutIP      = netip.MustParseAddr("198.51.100.10") // of out
)

const (
	// VNI and TunnelPort of the LAN.
	VNI        = 7331
	TunnelPort = 4789
)

// CPUs says where the parts run: everything that is measured on one, daemons on the other.
type CPUs struct{ Load, Daemon int }

// generator is where a cell runs that makes or takes load: what Go does beside it stays away.
func (c CPUs) generator() cell.CPUs { return cell.CPUs{Main: c.Load, Rest: c.Daemon} }

// whole is for a cell whose process works on one CPU with all its threads.
func whole(cpu int) cell.CPUs { return cell.CPUs{Main: cpu, Rest: cpu} }

func (w *World) cell(name string, cpus cell.CPUs) (*cell.Cell, error) {
	c, err := cell.Start(w.Name+"/"+name, cpus)
	if err != nil {
		return nil, err
	}
	w.cells = append(w.cells, c)
	ctx := context.Background()
	err = c.Call(ctx, "sysctl", map[string]string{
		"net/ipv6/conf/all/disable_ipv6":     "1", // no router solicitations between the measurements
		"net/ipv6/conf/default/disable_ipv6": "1",
		"net/ipv4/conf/all/rp_filter":        "0",
		"net/ipv4/conf/default/rp_filter":    "0",
	}, nil)
	return c, err
}

// Close ends all cells of the world.
func (w *World) Close() error {
	var errs []error
	for _, c := range w.cells {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// build makes cells, cables and addresses. nodeCPU is where the nodes' own processes run.
func (w *World) build(cpus CPUs, nodeCPU int) error {
	var err error
	if w.N1, err = w.node(1, nodeCPU); err != nil {
		return err
	}
	if w.Out, err = w.cell("out", cpus.generator()); err != nil {
		return err
	}
	if err := w.cable(w.N1.Cell, Uplink, w.Out, Inside, wireMTU); err != nil {
		return err
	}
	if err := errors.Join(address(w.N1.Cell, Uplink, External, 24), address(w.Out, Inside, OutIP, 24)); err != nil {
		return err
	}
	if w.A, err = w.space("a", 1, 1, w.N1, cpus); err != nil {
		return err
	}
	if w.NIC {
		return w.buildNIC()
	}
	if w.N2, err = w.node(2, nodeCPU); err != nil {
		return err
	}
	if err := w.cable(w.N1.Cell, Underlay, w.N2.Cell, Underlay, wireMTU); err != nil {
		return err
	}
	if err := errors.Join(address(w.N1.Cell, Underlay, w.N1.VTEP, 24), address(w.N2.Cell, Underlay, w.N2.VTEP, 24)); err != nil {
		return err
	}
	if err := errors.Join(acquaint(w.N1, w.N2), acquaint(w.N2, w.N1)); err != nil {
		return err
	}
	if w.B, err = w.space("b", 1, 2, w.N1, cpus); err != nil {
		return err
	}
	w.C, err = w.space("c", 2, 1, w.N2, cpus)
	return err
}

// acquaint makes o a permanent neighbour of n on the underlay, in every world alike: no ARP between the measurements.
func acquaint(n, o *Node) error {
	l, err := o.Net.LinkByName(Underlay)
	if err != nil {
		return err
	}
	return n.Neighbour(Underlay, o.VTEP, l.Attrs().HardwareAddr)
}

// WireUnderlay is the far end of the underlay in a network-card world.
const WireUnderlay = "eth1"

func (w *World) buildNIC() error {
	peer := netip.MustParseAddr("192.0.2.2")
	if err := w.cable(w.N1.Cell, Underlay, w.Out, WireUnderlay, wireMTU); err != nil {
		return err
	}
	if err := errors.Join(address(w.N1.Cell, Underlay, w.N1.VTEP, 24), address(w.Out, WireUnderlay, peer, 24)); err != nil {
		return err
	}
	far, err := w.Out.Net.LinkByName(WireUnderlay)
	if err != nil {
		return err
	}
	if err := w.N1.Neighbour(Underlay, peer, far.Attrs().HardwareAddr); err != nil {
		return err
	}
	w.N2 = &Node{Index: 2, LAN: lan(0, 2), MAC: nodeMAC(2), VTEP: peer} // not there: its frames are made by hand
	w.C = &Space{Name: "c", IP: lan(2, 1), MAC: spaceMAC(2, 1), Node: w.N2}
	w.spaces = append(w.spaces, w.C)
	for _, dev := range []string{Underlay, Uplink} {
		// NAPI at the receiving end, as every network card has it.
		if err := w.N1.Call(context.Background(), "features", load.FeatureSet{Device: dev, Features: map[string]bool{"rx-gro": true}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func lan(c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{172, 24, c, d}) }

func spaceMAC(c, d byte) net.HardwareAddr { return net.HardwareAddr{0x02, 0x57, 172, 24, c, d} }

func nodeMAC(i int) net.HardwareAddr { return net.HardwareAddr{0x02, 0x4e, 172, 24, 0, byte(i)} }

func (w *World) node(i, cpu int) (*Node, error) {
	c, err := w.cell(fmt.Sprintf("n%d", i), whole(cpu))
	if err != nil {
		return nil, err
	}
	n := &Node{Cell: c, Index: i, LAN: lan(0, byte(i)), MAC: nodeMAC(i), VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
	return n, c.Call(context.Background(), "sysctl", map[string]string{"net/ipv4/ip_forward": "1"}, nil)
}

func (w *World) space(name string, c, d byte, n *Node, cpus CPUs) (*Space, error) {
	in, err := w.cell(name, cpus.generator())
	if err != nil {
		return nil, err
	}
	s := &Space{Cell: in, Name: name, IP: lan(c, d), MAC: spaceMAC(c, d), Node: n, Port: "ve-" + name}
	w.spaces = append(w.spaces, s)
	if err := w.cable(n.Cell, s.Port, in, Inside, lanMTU); err != nil {
		return nil, err
	}
	dev, err := in.Net.LinkByName(Inside)
	if err != nil {
		return nil, err
	}
	if err := in.Net.LinkSetHardwareAddr(dev, s.MAC); err != nil {
		return nil, err
	}
	return s, address(in, Inside, s.IP, 16)
}

// cable lays a veth pair between two cells.
func (w *World) cable(x *cell.Cell, xDev string, y *cell.Cell, yDev string, mtu int) error {
	v := netlink.NewVeth(netlink.LinkAttrs{Name: xDev, MTU: mtu, TxQLen: 1000})
	v.PeerName, v.PeerMTU, v.PeerNamespace = yDev, uint32(mtu), netlink.NsFd(y.NS())
	if err := x.Net.LinkAdd(v); err != nil {
		return fmt.Errorf("%s: cable %s to %s: %w", w.Name, xDev, y.Name, err)
	}
	return errors.Join(up(x, xDev), up(y, yDev))
}

func up(c *cell.Cell, dev string) error {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", c.Name, dev, err)
	}
	return c.Net.LinkSetUp(l)
}

func address(c *cell.Cell, dev string, ip netip.Addr, bits int) error {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", c.Name, dev, err)
	}
	err = c.Net.AddrAdd(l, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(ip, bits))})
	if err != nil {
		return fmt.Errorf("%s: address %s on %s: %w", c.Name, ip, dev, err)
	}
	return nil
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// defaultRoute of a cell, through a neighbour.
func defaultRoute(c *cell.Cell, via netip.Addr) error {
	l, err := c.Net.LinkByName(Inside)
	if err != nil {
		return err
	}
	err = c.Net.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("%s: default route via %s: %w", c.Name, via, err)
	}
	return nil
}
