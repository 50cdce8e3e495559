package lab

import (
	"context"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// link makes a veth pair with one end in each namespace, both up.
func link(a *Namespace, aName string, b *Namespace, bName string, mtu int) error {
	h, err := a.netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = aName, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsPid(b.Pid), PeerMTU: uint32(mtu)}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("make veth %s/%s - %s/%s: %w", a.Name, aName, b.Name, bName, err)
	}
	if err := a.up(aName); err != nil {
		return err
	}
	return b.up(bName)
}

func (ns *Namespace) withLink(name string, f func(h *netlink.Handle, l netlink.Link) error) error {
	h, err := ns.netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err == nil {
		err = f(h, l)
	}
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", ns.Name, name, err)
	}
	return nil
}

func (ns *Namespace) up(name string) error {
	return ns.withLink(name, func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetUp(l) })
}

func (ns *Namespace) address(name, cidr string) error {
	return ns.withLink(name, func(h *netlink.Handle, l netlink.Link) error {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return h.AddrAdd(l, addr)
	})
}

func (ns *Namespace) defaultRoute(via string) error {
	h, err := ns.netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	if err := h.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("%s: default route via %s: %w", ns.Name, via, err)
	}
	return nil
}

func (ns *Namespace) mtu(name string, mtu int) error {
	return ns.withLink(name, func(h *netlink.Handle, l netlink.Link) error { return h.LinkSetMTU(l, mtu) })
}

// bridge makes a bridge without spanning tree, up.
func (ns *Namespace) bridge(name string) error {
	h, err := ns.netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("%s: make bridge %s: %w", ns.Name, name, err)
	}
	return ns.up(name)
}

func (ns *Namespace) enslave(name, bridge string) error {
	return ns.withLink(bridge, func(h *netlink.Handle, br netlink.Link) error {
		l, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		return h.LinkSetMaster(l, br)
	})
}

// quiet turns off what differs between machines and would disturb what is watched: bridge netfilter (it slows the
// slow path and sends it through iptables), and limits on ICMP errors.
func (ns *Namespace) quiet(ctx context.Context) error {
	const script = `set -e
ip link set lo up
for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$f" ] || echo 0 > "$f"; done
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit`
	_, err := ns.Exec(ctx, "/bin/sh", "-c", script)
	return err
}
