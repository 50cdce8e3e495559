package check

import (
	"fmt"
	"strconv"
	"strings"
)

func portChecks(f Facts, want Want) []Result {
	l := &list{group: "ports"}
	if f.Errors["sockets"] != "" {
		l.add(Unknown, "sockets", f.Errors["sockets"], "/proc/net cannot be read", "ss -lntup")
	}
	tunnelCheck(l, f, want)
	peerCheck(l, f, want)
	ephemeralCheck(l, f, want)
	listenerCheck(l, f, want)
	serviceCheck(l, f, want)
	nameCheck(l, f, want)
	return l.results
}

// tunnelCheck: our own VXLAN device may hold the port; another VXLAN device may share it, but not the VNI.
func tunnelCheck(l *list, f Facts, want Want) {
	own := false
	for _, link := range f.Links {
		if link.Port != want.TunnelPort || link.Type != "vxlan" {
			continue
		}
		if link.Name == want.VXLAN {
			own = true
			continue
		}
		if link.VNI == want.VNI {
			l.add(Failure, "tunnel port", fmt.Sprintf("%s already has VNI %d on UDP %d", link.Name, link.VNI, link.Port),
				"the kernel allows one device per VNI and port", "ip link del "+link.Name+", or choose another lan.vni or underlay.port")
			return
		}
		own = true // the kernel's socket is shared between VXLAN devices of one port
	}
	for _, s := range f.Sockets {
		if s.Proto == "udp" && s.Local.Port() == want.TunnelPort && !own {
			l.add(Failure, "tunnel port", fmt.Sprintf("UDP %d is taken by %s", want.TunnelPort, who(s)),
				"the tunnel's socket cannot be bound", "stop it, or choose another underlay.port (the same on every node)")
			return
		}
	}
	l.ok("tunnel port", fmt.Sprintf("UDP %d", want.TunnelPort))
}

// peerCheck: one listener holds a port, at the underlay's address or at every one.
func peerCheck(l *list, f Facts, want Want) {
	if want.PeerPort == 0 {
		return
	}
	for _, s := range f.Sockets {
		if s.Proto == "tcp" && s.Local.Port() == want.PeerPort && !s.Local.Addr().IsLoopback() && !strings.HasPrefix(s.Process, "lanyardd ") {
			l.add(Warning, "peer port", fmt.Sprintf("TCP %d is taken by %s", want.PeerPort, who(s)),
				"the API of another node cannot say why webspaces of this one woke", "stop it, or choose another peers.port (the same on every node)")
			return
		}
	}
	l.ok("peer port", fmt.Sprintf("TCP %d", want.PeerPort))
}

// ephemeralCheck: the dataplane looks at a packet's destination port before the machine's own sockets do. A local
// connection whose source port is also a NAT or forward port would have its answers taken away.
func ephemeralCheck(l *list, f Facts, want Want) {
	text := f.Sysctls["net.ipv4.ip_local_port_range"]
	fields := strings.Fields(text)
	if len(fields) != 2 {
		l.add(Unknown, "local ports", "ip_local_port_range is not readable", "/proc/sys is hidden", "sysctl net.ipv4.ip_local_port_range")
		return
	}
	first, err1 := strconv.ParseUint(fields[0], 10, 16)
	last, err2 := strconv.ParseUint(fields[1], 10, 16)
	if err1 != nil || err2 != nil {
		l.add(Unknown, "local ports", text, "two port numbers were expected", "sysctl net.ipv4.ip_local_port_range")
		return
	}
	local := Range{uint16(first), uint16(last)}
	reserved := parseRanges(f.Sysctls["net.ipv4.ip_local_reserved_ports"])
	var clash, reserve []string
	for _, r := range []struct {
		what  string
		ports Range
	}{{"NAT", want.NATPorts}, {"forwards", want.ForwardPorts}} {
		if r.ports.overlaps(local) && !covered(intersection(r.ports, local), reserved) {
			clash = append(clash, fmt.Sprintf("%s %d-%d", r.what, r.ports.First, r.ports.Last))
			reserve = append(reserve, fmt.Sprintf("%d-%d", r.ports.First, r.ports.Last))
		}
	}
	if len(clash) > 0 {
		if old := f.Sysctls["net.ipv4.ip_local_reserved_ports"]; old != "" {
			reserve = append([]string{old}, reserve...)
		}
		l.add(Warning, "local ports", fmt.Sprintf("the machine's own connections use %d-%d, as do %s", first, last, strings.Join(clash, " and ")),
			"answers to a connection of the machine itself could be taken for a webspace's",
			"sysctl -w net.ipv4.ip_local_reserved_ports="+strings.Join(reserve, ",")+" (and in /etc/sysctl.d)")
		return
	}
	l.ok("local ports", fmt.Sprintf("%d-%d, apart from NAT and forwards", first, last))
}

// listenerCheck: a forward takes the port away from whoever listens there.
func listenerCheck(l *list, f Facts, want Want) {
	var names []string
	_, uplink := f.roles(want)
	for _, s := range f.Sockets {
		hears := s.Interface == "" || s.Interface == uplink
		if want.ForwardPorts.Contains(s.Local.Port()) && !s.Local.Addr().IsLoopback() && hears {
			names = append(names, fmt.Sprintf("%s %d of %s", strings.ToUpper(s.Proto), s.Local.Port(), who(s)))
		}
	}
	if len(names) == 0 {
		l.ok("forward ports", fmt.Sprintf("nobody listens in %d-%d", want.ForwardPorts.First, want.ForwardPorts.Last))
		return
	}
	l.add(Warning, "forward ports", strings.Join(firsts(names, 4), "; "),
		"a forward of that very port would take its packets", "move these services out of "+
			fmt.Sprintf("%d-%d", want.ForwardPorts.First, want.ForwardPorts.Last))
}

// serviceCheck: packets for the gateway are handed to the node's stack, where a server that is bound to every address hears them.
func serviceCheck(l *list, f Facts, want Want) {
	for _, s := range f.Sockets {
		hears := s.Interface == "" || s.Interface == want.Bridge
		if s.Proto == "udp" && s.Local.Port() == 67 && s.Local.Addr().IsUnspecified() && hears && !strings.HasPrefix(s.Process, "lanyardd ") {
			l.add(Warning, "DHCP", "another server listens on UDP 67 of every interface: "+who(s),
				"it also hears the webspaces' requests, and may answer them", "bind it to its own interface (dnsmasq: bind-interfaces and except-interface=lanyard0)")
			return
		}
	}
	l.ok("DHCP", "no other server on every interface")
}

// nameCheck: the name server binds the gateway's address, which another one that is bound to every address may hold already.
func nameCheck(l *list, f Facts, want Want) {
	for _, s := range f.Sockets {
		hears := s.Interface == "" || s.Interface == want.Bridge
		if s.Local.Port() == 53 && s.Local.Addr().IsUnspecified() && hears && !strings.HasPrefix(s.Process, "lanyardd ") {
			l.add(Warning, "DNS", fmt.Sprintf("another server listens on %s 53 of every interface: %s", strings.ToUpper(s.Proto), who(s)),
				"lanyardd cannot bind the gateway's address, and webspaces get no names", "bind it to its own addresses (dnsmasq: bind-interfaces), or set dns.enabled to false")
			return
		}
	}
	l.ok("DNS", "no other server on every interface")
}

func who(s Socket) string {
	if s.Process != "" {
		return s.Process
	}
	return "the kernel, or a process that only root can see"
}

func firsts(all []string, n int) []string {
	if len(all) <= n {
		return all
	}
	return append(all[:n:n], fmt.Sprintf("and %d more", len(all)-n))
}

func intersection(a, b Range) Range { return Range{max(a.First, b.First), min(a.Last, b.Last)} }

// covered says whether every port of r is in one of the ranges, which are sorted and apart as the kernel prints them.
func covered(r Range, ranges []Range) bool {
	next := uint32(r.First)
	for _, x := range ranges {
		if uint32(x.First) <= next && uint32(x.Last) >= next {
			next = uint32(x.Last) + 1
		}
	}
	return next > uint32(r.Last)
}

// parseRanges reads "80,1000-2000"; what is no port is left out.
func parseRanges(s string) []Range {
	var out []Range
	for part := range strings.SplitSeq(s, ",") {
		a, b, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			b = a
		}
		first, err1 := strconv.ParseUint(a, 10, 16)
		last, err2 := strconv.ParseUint(b, 10, 16)
		if err1 == nil && err2 == nil {
			out = append(out, Range{uint16(first), uint16(last)})
		}
	}
	return out
}
