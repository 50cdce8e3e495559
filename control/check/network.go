package check

import (
	"fmt"
	"strings"
)

func networkChecks(f Facts, want Want) []Result {
	l := &list{group: "network"}
	if f.Errors["links"] != "" {
		l.add(Unknown, "interfaces", f.Errors["links"], "rtnetlink does not answer", "ip link")
		return l.results
	}
	underlay, uplink := f.roles(want)
	ul, okUnder := interfaceCheck(l, f, "underlay", underlay, "the interface that carries tunnels")
	up := ul
	if uplink != underlay {
		up, _ = interfaceCheck(l, f, "uplink", uplink, "the interface with the default route")
	}
	prefixCheck(l, f, want)
	if okUnder {
		mtuCheck(l, ul, want)
		offloadCheck(l, ul)
		if up.Name != "" && up.Name != ul.Name {
			offloadCheck(l, up)
		}
		hooksCheck(l, ul, want)
	}
	bridgeFilterCheck(l, f)
	reversePathCheck(l, f, underlay, uplink)
	return l.results
}

func interfaceCheck(l *list, f Facts, role, name, what string) (Link, bool) {
	if name == "" {
		l.add(Failure, role, "no default route", "Lanyard finds "+what+" by the default route, and there is none",
			"ip route, or name the interface in the configuration ("+role+".interface)")
		return Link{}, false
	}
	link, ok := f.link(name)
	switch {
	case !ok:
		l.add(Failure, role, name+" does not exist", "the configuration names "+what, "ip link, and correct the configuration ("+role+".interface)")
	case !link.Up || !link.Running:
		l.add(Failure, role, name+" is down", "it has no carrier or is not set up", "ip link set "+name+" up")
	case len(link.Addrs) == 0:
		l.add(Failure, role, name+" has no IPv4 address", "tunnels and NAT need one", "ip addr show dev "+name)
		ok = false
	default:
		found := fmt.Sprintf("%s, %s, MTU %d", name, link.Addrs[0], link.MTU)
		if link.Driver != "" {
			found += ", driver " + link.Driver
		}
		l.ok(role, found)
	}
	return link, ok
}

// prefixCheck looks for somebody else inside our LAN's prefix. Docker, for one, takes 172.17-172.31/16 in turn.
func prefixCheck(l *list, f Facts, want Want) {
	ours := func(name string) bool { return name == want.Bridge || name == want.VXLAN }
	for _, link := range f.Links {
		for _, a := range link.Addrs {
			if !ours(link.Name) && want.Prefix.Overlaps(a) {
				l.add(Failure, "LAN prefix", fmt.Sprintf("%s overlaps %s of %s", want.Prefix, a, link.Name),
					"webspaces would not reach that network, nor the machine the webspaces",
					"choose another prefix in the configuration (lan.prefix), or readdress "+link.Name)
				return
			}
		}
	}
	for _, r := range f.Routes {
		inside := want.Prefix.Contains(r.Dst.Addr()) && r.Dst.Bits() >= want.Prefix.Bits()
		if !r.Default() && !ours(r.Link) && inside {
			l.add(Failure, "LAN prefix", fmt.Sprintf("route %s leads to %s", r.Dst, r.Link),
				"packets for webspaces in it would leave the machine there", "choose another prefix in the configuration (lan.prefix), or remove the route")
			return
		}
	}
	l.ok("LAN prefix", want.Prefix.String()+" is free")
}

func mtuCheck(l *list, ul Link, want Want) {
	most := ul.MTU - overhead
	lan := want.MTU
	if lan == 0 {
		lan = most
	}
	switch {
	case lan > most:
		l.add(Failure, "MTU", fmt.Sprintf("%d asked for, %d possible on %s", lan, most, ul.Name),
			fmt.Sprintf("a tunnel takes %d bytes of the underlay's %d", overhead, ul.MTU), "lower lan.mtu in the configuration, or raise it on "+ul.Name)
	case lan < MinLAN:
		l.add(Failure, "MTU", fmt.Sprintf("%d on the LAN", lan), fmt.Sprintf("IPv6 needs %d", MinLAN), fmt.Sprintf("ip link set %s mtu 1500", ul.Name))
	default:
		l.ok("MTU", fmt.Sprintf("%d on the LAN (%d on %s)", lan, ul.MTU, ul.Name))
	}
}

// offloadCheck. Names are ethtool's (net/ethtool/common.c, netdev_features_strings).
func offloadCheck(l *list, link Link) {
	if len(link.Offloads) == 0 {
		l.add(Unknown, "offloads of "+link.Name, "not readable", "ethtool is refused for this interface", "ethtool -k "+link.Name)
		return
	}
	var off []string
	for _, o := range []struct{ feature, short string }{
		{"rx-gro", "gro"}, {"tx-generic-segmentation", "gso"}, {"tx-tcp-segmentation", "tso"}, {"tx-scatter-gather", "sg"},
	} {
		if o.short == "gro" && link.Driver == "veth" {
			continue // its peer's superframes arrive whole
		}
		if !link.Offloads[o.feature] {
			off = append(off, o.short)
		}
	}
	name := "offloads of " + link.Name
	switch {
	case link.Offloads["rx-lro"]:
		l.add(Warning, name, "LRO is on", "LRO merges packets in a way that cannot be undone when they are forwarded",
			"ethtool -K "+link.Name+" lro off")
	case len(off) > 0:
		l.add(Warning, name, "off: "+strings.Join(off, ", "), "bulk TCP moves as single packets and not as superframes: several times the CPU",
			"ethtool -K "+link.Name+" "+strings.Join(off, " on ")+" on")
	default:
		l.ok(name, "as they should be")
	}
}

// hooksCheck: others at the same hook see packets before or after us.
func hooksCheck(l *list, ul Link, want Want) {
	if ul.XDP != 0 && usesXDP(want) {
		l.add(Failure, "XDP hook", fmt.Sprintf("%s already carries program %d", ul.Name, ul.XDP), "one XDP program per interface",
			"bpftool net show dev "+ul.Name+", or underlay.xdp: off")
	}
}

func bridgeFilterCheck(l *list, f Facts) {
	v, ok := f.Sysctls["net.bridge.bridge-nf-call-iptables"]
	switch {
	case !ok || v == "0":
		l.ok("bridge netfilter", "off")
	default:
		l.add(Warning, "bridge netfilter", "on (net.bridge.bridge-nf-call-iptables = 1)",
			"frames on the slow path (broadcast, IPv6, new neighbours) pass the machine's iptables rules: slower, and a FORWARD policy of DROP loses them",
			"sysctl -w net.bridge.bridge-nf-call-iptables=0 (Kubernetes and Docker may need it on: then accept lanyard0 in FORWARD)")
	}
}

// reversePathCheck: the programs take most packets before the kernel's filter; what is left is tunnelled broadcast,
// which meets it on the underlay. There the strict mode (RFC 3704) is only right when replies leave the same way.
func reversePathCheck(l *list, f Facts, underlay, uplink string) {
	if underlay == "" {
		return
	}
	strict := func(name string) bool {
		// The larger of "all" and the interface's own holds (Documentation/networking/ip-sysctl.rst); 1 = strict, 2 = loose.
		all, own := f.Sysctls["net.ipv4.conf.all.rp_filter"], f.Sysctls["net.ipv4.conf."+name+".rp_filter"]
		return max(all, own) == "1"
	}
	defaults := map[string]bool{}
	for _, r := range f.Routes {
		if r.Default() {
			defaults[r.Link] = true
		}
	}
	switch {
	case strict(underlay) && (underlay != uplink || len(defaults) > 1):
		l.add(Warning, "rp_filter", "strict on "+underlay+", and this machine has several ways out",
			"the kernel drops what arrives on another interface than the answer would take",
			"sysctl -w net.ipv4.conf."+underlay+".rp_filter=2")
	case strict(underlay):
		l.ok("rp_filter", "strict on "+underlay+", its only way out")
	default:
		l.ok("rp_filter", "not strict on "+underlay)
	}
}
