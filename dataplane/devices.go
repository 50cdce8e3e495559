package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tunnelOverhead is what VXLAN adds to an inner IP packet over IPv4: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20
// (RFC 7348 section 5).
const tunnelOverhead = 50

// devices are the slow path: the node's bridge with its VXLAN port. They are adopted whenever that is possible, because
// to remake them would cost every port its place.
type devices struct {
	nl     *netlink.Handle
	cfg    *Config
	bridge int
	vxlan  int
	// parking is the TAP of tap.go.
	parking int
}

// openDevices creates or adopts both, brings them into the wanted shape and up.
func openDevices(h *netlink.Handle, c *Config, mtu int, t *tap) (*devices, error) {
	d := &devices{nl: h, cfg: c}
	bridge, err := d.ensure(&netlink.Bridge{LinkAttrs: attrs(c.Bridge, 0, c.NodeMAC)}, nil)
	if err != nil {
		return nil, err
	}
	d.bridge = bridge.Attrs().Index
	vx := &netlink.Vxlan{
		LinkAttrs: attrs(c.VXLAN, mtu, nil), VxlanId: int(c.VNI), Port: int(c.Port), SrcAddr: c.VTEP.AsSlice(), Learning: true,
	}
	vxlan, err := d.ensure(vx, func(found netlink.Link) bool {
		f := found.(*netlink.Vxlan)
		return f.VxlanId == vx.VxlanId && f.Port == vx.Port && f.SrcAddr.Equal(vx.SrcAddr) && f.Learning &&
			f.VtepDevIndex == 0 && !f.FlowBased
	})
	if err != nil {
		return nil, err
	}
	d.vxlan = vxlan.Attrs().Index
	if bridge.Attrs().MTU != mtu {
		// A bridge follows the least MTU of its ports until somebody has set it. A port may have less than the LAN.
		if err := d.nl.LinkSetMTU(bridge, mtu); err != nil {
			return nil, fmt.Errorf("set the MTU of %s to %d: %w", c.Bridge, mtu, err)
		}
	}
	if err := d.shapeBridge(bridge); err != nil {
		return nil, fmt.Errorf("set up the bridge %s: %w", c.Bridge, err)
	}
	if err := d.shapeVXLAN(vxlan); err != nil {
		return nil, fmt.Errorf("set up the VXLAN device %s: %w", c.VXLAN, err)
	}
	if d.parking, err = t.open(h, c.TAP, mtu); err != nil {
		return nil, fmt.Errorf("set up the parking device %s: %w", c.TAP, err)
	}
	return d, nil
}

func attrs(name string, mtu int, hw net.HardwareAddr) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.HardwareAddr = name, mtu, hw
	return a
}

// ensure finds or creates a device. One of the same name and another kind is somebody else's, and not touched; one of
// ours that cannot be brought into shape is made anew.
func (d *devices) ensure(want netlink.Link, fits func(netlink.Link) bool) (netlink.Link, error) {
	name := want.Attrs().Name
	found, err := d.nl.LinkByName(name)
	switch {
	case err == nil && found.Type() != want.Type():
		return nil, fmt.Errorf("%s is a %s, not a %s: it is not ours; rename it, or choose another name for ours", name, found.Type(), want.Type())
	case err == nil && (fits == nil || fits(found)):
		return found, nil
	case err == nil:
		if err := d.nl.LinkDel(found); err != nil {
			return nil, fmt.Errorf("remove %s, which has another configuration: %w", name, err)
		}
	case !notFound(err):
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	if err := d.nl.LinkAdd(want); err != nil {
		return nil, fmt.Errorf("create the %s %s: %w (lanyard check names what the kernel lacks)", want.Type(), name, err)
	}
	made, err := d.nl.LinkByName(name)
	if err == nil && want.Type() == "bridge" {
		err = d.nl.LinkSetMTU(made, minLANMTU) // so that setting the real one is a change, whatever that is
		made.Attrs().MTU = minLANMTU
	}
	return made, err
}

func notFound(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf) || gone(err)
}

func (d *devices) shapeBridge(link netlink.Link) error {
	c := d.cfg
	off := nl.Uint8Attr(0)
	// STP off and no delay: a port forwards at once. Snooping off: multicast is flooded, like broadcast. The bridge's own
	// netfilter switches are off; br_netfilter's sysctls are the administrator's (lanyard check).
	if err := d.setBridge(map[int][]byte{
		nl.IFLA_BR_STP_STATE: nl.Uint32Attr(0), nl.IFLA_BR_FORWARD_DELAY: nl.Uint32Attr(0),
		nl.IFLA_BR_MCAST_SNOOPING:   off,
		nl.IFLA_BR_NF_CALL_IPTABLES: off, nl.IFLA_BR_NF_CALL_IP6TABLES: off, nl.IFLA_BR_NF_CALL_ARPTABLES: off,
	}); err != nil {
		return err
	}
	if !bytes.Equal(link.Attrs().HardwareAddr, c.NodeMAC) {
		if err := d.nl.LinkSetHardwareAddr(link, c.NodeMAC); err != nil {
			return fmt.Errorf("set its MAC: %w", err)
		}
	}
	if err := d.shapeStack(); err != nil {
		return err
	}
	if err := d.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return d.shapeAddresses(link)
}

// setBridge writes attributes that the netlink library has no fields for.
func (d *devices) setBridge(values map[int][]byte) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.bridge)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	for k, v := range values {
		data.AddRtAttr(k, v)
	}
	req.AddData(info)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set its options: %w", err)
	}
	return nil
}

// shapeStack keeps the node's own IP stack quiet on a LAN of hostile neighbours.
func (d *devices) shapeStack() error {
	b, v := d.cfg.Bridge, d.cfg.VXLAN
	forwarding := "0"
	if d.cfg.Pods {
		forwarding = "1"
	}
	for _, s := range []struct{ dev, family, key, value string }{
		// No link-local address, no router solicitations; IPv6 frames still cross the bridge.
		{b, "ipv6", "disable_ipv6", "1"},
		{v, "ipv6", "disable_ipv6", "1"},
		// Packets for the node come in through this device alone, but forwards hand it strangers' source addresses.
		{b, "ipv4", "rp_filter", "2"},
		// Ask with the node's own address, never with the gateway's, which other nodes have too.
		{b, "ipv4", "arp_announce", "2"},
		// Answer for the node's own address, not for the gateway's, which has scope host: the programs do that, each
		// node for its own ports.
		{b, "ipv4", "arp_ignore", "3"},
		// Webspaces may tell the node nothing about its routes.
		{b, "ipv4", "accept_redirects", "0"},
		{b, "ipv4", "send_redirects", "0"},
		// With pods their answers come through here, to the node's own address, and the kernel finds whose they are. The programs
		// see to it that a webspace sends nothing else by the node's MAC (to_endpoint, to_bridge in bpf/lan.h).
		{b, "ipv4", "forwarding", forwarding},
		// bpf_fib_lookup asks for it on the interface that a program names. IP never arrives on this one: it is a bridge
		// port (see route_ifindex in bpf/config.h).
		{v, "ipv4", "forwarding", "1"},
	} {
		if err := writeSysctl(s.family, s.dev, s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

// shapeAddresses gives the bridge the node's address and the gateway's, and takes away any other IPv4 address.
func (d *devices) shapeAddresses(link netlink.Link) error {
	c := d.cfg
	want := map[netip.Prefix]*netlink.Addr{}
	add := func(p netip.Prefix, scope int) {
		want[p] = &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}, Scope: scope}
	}
	add(netip.PrefixFrom(c.NodeIP, c.Prefix.Bits()), unix.RT_SCOPE_UNIVERSE)
	add(netip.PrefixFrom(c.Gateway, 32), unix.RT_SCOPE_HOST)
	found, err := d.nl.AddrList(link, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list its addresses: %w", err)
	}
	for _, a := range found {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		bits, _ := a.Mask.Size()
		p := netip.PrefixFrom(ip, bits)
		if w, ok := want[p]; ok && w.Scope == a.Scope {
			delete(want, p)
			continue
		}
		if err := d.nl.AddrDel(link, &a); err != nil {
			return fmt.Errorf("remove its address %v: %w", p, err)
		}
	}
	for p, a := range want {
		if err := d.nl.AddrReplace(link, a); err != nil {
			return fmt.Errorf("add its address %v: %w", p, err)
		}
	}
	return nil
}

func (d *devices) shapeVXLAN(link netlink.Link) error {
	if link.Attrs().MasterIndex != d.bridge {
		if err := d.nl.LinkSetMasterByIndex(link, d.bridge); err != nil {
			return fmt.Errorf("make it a port of the bridge: %w", err)
		}
	}
	if err := d.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return nil
}

// setMTU gives both devices the LAN's MTU.
func (d *devices) setMTU(mtu int) error {
	for _, index := range []int{d.parking, d.vxlan, d.bridge} {
		link, err := d.nl.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("look for interface %d: %w", index, err)
		}
		if link.Attrs().MTU == mtu {
			continue
		}
		if err := d.nl.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", link.Attrs().Name, mtu, err)
		}
	}
	return nil
}
