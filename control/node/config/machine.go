package config

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// Machine answers what Resolve wants to know. ThisMachine is the real one.
type Machine interface {
	Hostname() (string, error)
	// DefaultRoute gives the interface of the IPv4 default route with the lowest metric, and the source address that
	// the route prefers (invalid: none).
	DefaultRoute() (device string, source netip.Addr, err error)
	// Address is the first IPv4 address of an interface that is not link-local.
	Address(device string) (netip.Addr, error)
	// Ephemeral says whether the kernel hands a port of this range out by itself.
	Ephemeral(PortRange) (bool, error)
	// Nameservers are those of resolv.conf.
	Nameservers() ([]netip.Addr, error)
}

// ThisMachine looks at the network namespace and the files of the calling process.
type ThisMachine struct{}

// Hostname is the kernel's.
func (ThisMachine) Hostname() (string, error) { return os.Hostname() }

// DefaultRoute looks into the main routing table.
func (ThisMachine) DefaultRoute() (string, netip.Addr, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("list the routes: %w", err)
	}
	var best *netlink.Route
	for i := range routes {
		r := &routes[i]
		if r.Dst != nil && !(r.Dst.IP.IsUnspecified() && len(r.Dst.Mask) == 4 && r.Dst.Mask[0] == 0) {
			continue
		}
		if r.LinkIndex == 0 && len(r.MultiPath) > 0 {
			r.LinkIndex = r.MultiPath[0].LinkIndex
		}
		if r.LinkIndex != 0 && (best == nil || r.Priority < best.Priority) {
			best = r
		}
	}
	if best == nil {
		return "", netip.Addr{}, errors.New("there is no IPv4 default route")
	}
	link, err := netlink.LinkByIndex(best.LinkIndex)
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("find the interface of the default route: %w", err)
	}
	source, _ := netip.AddrFromSlice(best.Src)
	return link.Attrs().Name, source.Unmap(), nil
}

// Address asks rtnetlink.
func (ThisMachine) Address(device string) (netip.Addr, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the interface %s: %w", device, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the addresses of %s: %w", device, err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && !ip.Unmap().IsLinkLocalUnicast() {
			return ip.Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the interface %s has no IPv4 address", device)
}

// Ephemeral compares with net.ipv4.ip_local_port_range, without net.ipv4.ip_local_reserved_ports.
func (ThisMachine) Ephemeral(r PortRange) (bool, error) {
	local, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return false, err
	}
	reserved, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	if err != nil {
		return false, err
	}
	return ephemeral(r, string(local), string(reserved)), nil
}

func ephemeral(r PortRange, local, reserved string) bool {
	fields := strings.Fields(local)
	if len(fields) != 2 {
		return false
	}
	first, _ := strconv.Atoi(fields[0])
	last, _ := strconv.Atoi(fields[1])
	var spared []PortRange
	for part := range strings.SplitSeq(strings.TrimSpace(reserved), ",") {
		var p PortRange
		if p.UnmarshalText([]byte(part)) == nil {
			spared = append(spared, p)
		}
	}
next:
	for port := max(int(r.First), first); port <= min(int(r.Last), last); port++ {
		for _, s := range spared {
			if s.Contains(uint16(port)) {
				continue next
			}
		}
		return true
	}
	return false
}

// Nameservers reads /etc/resolv.conf, and behind systemd-resolved's stub its list of real ones.
func (ThisMachine) Nameservers() ([]netip.Addr, error) {
	var out []netip.Addr
	var errs error
	for _, name := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		f, err := os.Open(name)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "nameserver" {
				if a, err := netip.ParseAddr(f[1]); err == nil {
					out = append(out, a.Unmap())
				}
			}
		}
		f.Close()
	}
	if len(out) == 0 {
		return nil, errs
	}
	return out, nil
}
