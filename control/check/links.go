package check

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func gatherLinks(f *Facts) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range links {
		a := l.Attrs()
		out := Link{Name: a.Name, Ifindex: a.Index, Type: l.Type(), MTU: a.MTU,
			Up: a.Flags&net.FlagUp != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0}
		if a.Xdp != nil {
			out.XDP = a.Xdp.ProgId
		}
		if vx, ok := l.(*netlink.Vxlan); ok {
			out.VNI, out.Port = uint32(vx.VxlanId), uint16(vx.Port)
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		errs = append(errs, err)
		for _, addr := range addrs {
			if p, ok := prefixOf(addr.IPNet); ok {
				out.Addrs = append(out.Addrs, p)
			}
		}
		f.Links = append(f.Links, out)
	}
	slices.SortFunc(f.Links, func(a, b Link) int { return a.Ifindex - b.Ifindex })
	return errors.Join(errs...)
}

func gatherRoutes(f *Facts) error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		out := Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
		if p, ok := prefixOf(r.Dst); ok {
			out.Dst = p
		}
		if via, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
			out.Via = via
		}
		index := r.LinkIndex
		if index == 0 && len(r.MultiPath) > 0 {
			index = r.MultiPath[0].LinkIndex
		}
		for _, l := range f.Links {
			if l.Ifindex == index {
				out.Link = l.Name
			}
		}
		f.Routes = append(f.Routes, out)
	}
	return nil
}

// gatherOffloads asks the underlay and the uplink only: ethtool is an ioctl per interface, and webspaces' veths are many.
func gatherOffloads(f *Facts, want Want) error {
	underlay, uplink := f.roles(want)
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	var errs []error
	for i := range f.Links {
		l := &f.Links[i]
		if l.Name != underlay && l.Name != uplink {
			continue
		}
		if l.Offloads, err = e.Features(l.Name); err != nil {
			errs = append(errs, fmt.Errorf("offloads of %s: %w", l.Name, err))
		}
		l.Driver, _ = e.DriverName(l.Name) // virtual devices may have none
		if r, err := link.QueryPrograms(link.QueryOptions{Target: l.Ifindex, Attach: ebpf.AttachTCXIngress}); err == nil {
			for _, p := range r.Programs {
				l.TCX = append(l.TCX, uint32(p.ID))
			}
		}
		for _, key := range []string{"rp_filter"} {
			name := "net.ipv4.conf." + l.Name + "." + key
			errs = append(errs, f.readSysctl(name, "/proc/sys/net/ipv4/conf/"+l.Name+"/"+key)) // a name may hold dots
		}
	}
	return errors.Join(errs...)
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP.To4())
	ones, bits := n.Mask.Size()
	if !ok || bits != 32 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(ip, ones), true
}
