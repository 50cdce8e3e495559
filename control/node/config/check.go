package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

func bad(key, cause, next string) error {
	return &Error{What: "cannot use " + key, Cause: cause, Next: next}
}

// checkLAN checks what the rest is derived from.
func (c *Config) checkLAN() error {
	p := c.LAN.Prefix
	switch {
	case !p.IsValid() || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 24:
		return bad("lan.prefix", fmt.Sprintf("%q is no IPv4 prefix between /8 and /24", p), "write one such as 172.24.0.0/16")
	case p != p.Masked():
		return bad("lan.prefix", fmt.Sprintf("%v has bits behind its length", p), fmt.Sprintf("write %v", p.Masked()))
	case !c.LAN.Gateway.Is4() || !p.Contains(c.LAN.Gateway):
		return bad("lan.gateway", fmt.Sprintf("%v is no address of the LAN %v", c.LAN.Gateway, p), "choose one of its addresses, the same on every node")
	case c.LAN.GatewayMAC == nil:
		return bad("lan.gateway_mac", "it is empty", "leave it out, or give all nodes the same")
	}
	return nil
}

var (
	deviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
	nodeName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$`)
	domainName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	projects   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	prefixes   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,40}$`)
)

// check checks a resolved configuration, in the order of its keys.
func (c *Config) check() error {
	for _, f := range []func() error{
		c.checkDevices,
		c.checkPeers,
		c.checkPorts,
		c.checkServices,
		c.checkDNS,
		c.checkAPI,
		c.checkWake, c.checkSleep, c.checkLedger, c.checkWebspaces,
		c.checkSizes,
		c.Accounts.Check,
		c.Images.Check,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkDevices() error {
	for key, name := range map[string]string{"lan.bridge": c.LAN.Bridge, "lan.vxlan": c.LAN.VXLAN,
		"underlay.interface": c.Underlay.Interface, "uplink.interface": c.Uplink.Interface} {
		if !deviceName.MatchString(name) {
			return bad(key, fmt.Sprintf("%q is no name of an interface", name), "use at most 15 letters, digits, dots and dashes")
		}
	}
	own := []string{c.LAN.Bridge, c.LAN.VXLAN}
	switch {
	case c.LAN.Bridge == c.LAN.VXLAN:
		return bad("lan.vxlan", "it has the name of the bridge", "give them two names")
	case slices.Contains(own, c.Underlay.Interface) || slices.Contains(own, c.Uplink.Interface):
		return bad("underlay.interface and uplink.interface", "the daemon's own devices cannot carry its tunnels", "name a device of the machine")
	case c.LAN.VNI == 0 || c.LAN.VNI >= 1<<24:
		return bad("lan.vni", fmt.Sprintf("%d is not between 1 and 16777215", c.LAN.VNI), "use the same on every node")
	case c.LAN.MTU != 0 && (c.LAN.MTU < 576 || c.LAN.MTU > 65485):
		return bad("lan.mtu", fmt.Sprintf("%d is not between 576 and 65485", c.LAN.MTU), "leave it at 0")
	case !domainName.MatchString(c.LAN.Domain) || len(c.LAN.Domain) > 200:
		return bad("lan.domain", fmt.Sprintf("%q is no domain name", c.LAN.Domain), "use one such as webspace")
	case !nodeName.MatchString(c.Node.Name):
		return bad("node.name", fmt.Sprintf("%q is no name of a machine", c.Node.Name), "use this node's name in LXD")
	case !c.Node.IP.Is4() || !c.LAN.Prefix.Contains(c.Node.IP) || c.Node.IP == c.LAN.Gateway:
		return bad("node.ip", fmt.Sprintf("%v is no free address of the LAN %v", c.Node.IP, c.LAN.Prefix), "leave it out: it follows from node.index")
	case c.Node.MAC.String() == c.LAN.GatewayMAC.String():
		return bad("node.mac", "it is the gateway's", "leave it out: it follows from node.index")
	case c.Underlay.XDP != "off" && c.Underlay.XDP != "native" && c.Underlay.XDP != "generic":
		return bad("underlay.xdp", fmt.Sprintf("%q is none of off, native, generic", c.Underlay.XDP), "leave it at off")
	case c.Underlay.Port == 0:
		return bad("underlay.port", "0 is no port", "use 4789, the same on every node")
	}
	if p := c.LAN.Pool; !p.First.Is4() || p.Last.Less(p.First) || !c.LAN.Prefix.Contains(p.First) || !c.LAN.Prefix.Contains(p.Last) {
		return bad("lan.pool", fmt.Sprintf("%q is no range of the LAN %v", p, c.LAN.Prefix), "leave it out, or write one such as 172.24.1.1-172.24.253.254")
	}
	for key, a := range map[string]netip.Addr{"underlay.address": c.Underlay.Address, "uplink.address": c.Uplink.Address} {
		if err := c.outside(key, a); err != nil {
			return err
		}
	}
	for _, p := range c.LAN.Infra {
		if !p.IsValid() || !p.Addr().Is4() || p.Bits() < c.LAN.Prefix.Bits() || !c.LAN.Prefix.Contains(p.Addr()) {
			return bad("lan.infrastructure", fmt.Sprintf("%v is no part of the LAN %v", p, c.LAN.Prefix), "list ranges of the LAN")
		}
	}
	return nil
}

// outside checks an address of a machine on the underlay.
func (c *Config) outside(key string, a netip.Addr) error {
	if !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || c.LAN.Prefix.Contains(a) {
		return bad(key, fmt.Sprintf("%v is no IPv4 address outside of the LAN %v", a, c.LAN.Prefix), "use an address of the machine, see: ip -4 addr")
	}
	return nil
}

func (c *Config) checkPeers() error {
	if c.Peers.From != PeersStatic && c.Peers.From != PeersLXD {
		return bad("peers.from", fmt.Sprintf("%q is neither static nor lxd", c.Peers.From), "leave it out for a list, or for a single node")
	}
	vteps := map[netip.Addr]string{c.Underlay.Address: "this node"}
	indexes := map[int]string{c.Node.Index: "this node"}
	names := map[string]string{c.Node.Name: "this node"}
	for i, p := range c.Peers.List {
		key := fmt.Sprintf("peers.list[%d]", i)
		if err := c.outside(key+".vtep", p.VTEP); err != nil {
			return err
		}
		if p.Index < 0 || p.Index > 253 {
			return bad(key+".index", fmt.Sprintf("%d is not between 1 and 253", p.Index), "use the node.index of that node")
		}
		if p.Name != "" && !nodeName.MatchString(p.Name) {
			return bad(key+".name", fmt.Sprintf("%q is no name of a machine", p.Name), "use that node's name in LXD")
		}
		for _, a := range p.Forwards {
			if err := c.outside(key+".forwards", a); err != nil {
				return err
			}
		}
		if who, taken := vteps[p.VTEP]; taken {
			return bad(key+".vtep", fmt.Sprintf("%v is the tunnel address of %s", p.VTEP, who), "list every other node once")
		}
		if who, taken := indexes[p.Index]; taken && p.Index != 0 {
			return bad(key+".index", fmt.Sprintf("%d is the number of %s", p.Index, who), "give every node its own number")
		}
		if who, taken := names[p.Name]; taken && p.Name != "" {
			return bad(key+".name", fmt.Sprintf("%q is the name of %s", p.Name, who), "list every other node once")
		}
		vteps[p.VTEP], indexes[p.Index], names[p.Name] = key, key, key
	}
	for _, a := range c.Forwards.Addresses {
		if err := c.outside("forwards.addresses", a); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkPorts() error {
	for key, r := range map[string]PortRange{"uplink.nat_ports": c.Uplink.NATPorts, "forwards.ports": c.Forwards.Ports} {
		if r.First == 0 || r.Last < r.First {
			return bad(key, fmt.Sprintf("%v is no range of ports", r), "write one such as 49152-65535")
		}
	}
	nat := c.Uplink.NATPorts
	switch {
	case nat.Overlaps(c.Forwards.Ports):
		return bad("uplink.nat_ports", fmt.Sprintf("%v and forwards.ports %v have ports in common", nat, c.Forwards.Ports), "keep them apart")
	case nat.Contains(c.Underlay.Port):
		return bad("uplink.nat_ports", fmt.Sprintf("the tunnel's port %d is in %v", c.Underlay.Port, nat), "keep them apart")
	case c.Peers.From == PeersLXD && (nat.Contains(c.Peers.Port) || c.Forwards.Ports.Contains(c.Peers.Port)):
		return bad("peers.port", fmt.Sprintf("%d is in uplink.nat_ports %v or in forwards.ports %v", c.Peers.Port, nat, c.Forwards.Ports), "keep them apart; 9470 is the default")
	case c.Forwards.Ports.Contains(c.Underlay.Port):
		return bad("forwards.ports", fmt.Sprintf("the tunnel's port %d is in %v", c.Underlay.Port, c.Forwards.Ports), "keep them apart")
	case int(nat.Last)-int(nat.First)+1 < 1024:
		return bad("uplink.nat_ports", fmt.Sprintf("%v has fewer than 1024 ports", nat), "choose a larger range")
	}
	return nil
}

func (c *Config) checkServices() error {
	for key, list := range map[string][]netip.Prefix{"egress.deny": c.Egress.Deny, "egress.allow": c.Egress.Allow} {
		for _, p := range list {
			if !p.IsValid() || !p.Addr().Is4() {
				return bad(key, fmt.Sprintf("%v is no IPv4 prefix", p), "write prefixes such as 10.0.0.0/8")
			}
		}
	}
	if err := c.checkLXD(); err != nil {
		return err
	}
	switch {
	case c.DHCP.Lease < time.Minute || c.DHCP.Lease > 365*24*time.Hour:
		return bad("dhcp.lease", fmt.Sprintf("%v is not between a minute and a year", c.DHCP.Lease), "leave it at 2h")
	case len(c.DHCP.DNS) > 8 || slices.ContainsFunc(c.DHCP.DNS, func(a netip.Addr) bool { return !a.Is4() || a.IsUnspecified() }):
		return bad("dhcp.dns", "it must be up to 8 IPv4 addresses", "list name servers that webspaces can reach")
	case len(strings.Join(c.DHCP.Search, "..")) > 250 || slices.ContainsFunc(c.DHCP.Search, func(d string) bool { return !domainName.MatchString(d) }):
		return bad("dhcp.search", "it must be domain names, of up to 250 octets together", "list domains such as example.org")
	case !strings.HasPrefix(c.Admin.Socket, "/") || len(c.Admin.Socket) > 107:
		return bad("admin.socket", fmt.Sprintf("%q is no absolute path of at most 107 octets", c.Admin.Socket), "leave it at /run/lanyard/node.sock")
	case !strings.HasPrefix(c.Paths.BPFFS, "/"):
		return bad("paths.bpffs", fmt.Sprintf("%q is no absolute path", c.Paths.BPFFS), "leave it at /sys/fs/bpf/lanyard")
	case !strings.HasPrefix(c.Paths.State, "/"):
		return bad("paths.state", fmt.Sprintf("%q is no absolute path", c.Paths.State), "leave it at /run/lanyard")
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level):
		return bad("log.level", fmt.Sprintf("%q is none of debug, info, warn, error", c.Log.Level), "leave it at info")
	case c.Log.Format != "text" && c.Log.Format != "json":
		return bad("log.format", fmt.Sprintf("%q is neither text nor json", c.Log.Format), "leave it at text")
	}
	if c.Metrics.Address == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(c.Metrics.Address)
	if err != nil || !at.Addr().IsLoopback() {
		return bad("metrics.address", fmt.Sprintf("%q is no loopback address with a port", c.Metrics.Address),
			"use 127.0.0.1:9469, and let a proxy or an agent on the node carry it further")
	}
	return nil
}

func (c *Config) checkLXD() error {
	switch u, err := url.Parse(c.LXD.Address); {
	case strings.HasPrefix(c.LXD.Address, "/"):
	case err != nil || u.Scheme != "https" || u.Host == "":
		return bad("lxd.address", fmt.Sprintf("%q is neither an absolute path nor https://host:port", c.LXD.Address), "leave it at /var/lib/lxd/unix.socket")
	case c.LXD.ClientCert == "" || c.LXD.ClientKey == "" || c.LXD.ServerCert == "":
		return bad("lxd.address", "over https it needs lxd.client_cert, lxd.client_key and lxd.server_cert", "name the three files, or use the unix socket")
	}
	switch {
	case !projects.MatchString(c.LXD.Project):
		return bad("lxd.project", fmt.Sprintf("%q is no name of a project", c.LXD.Project), "leave it at default")
	case !prefixes.MatchString(c.LXD.Prefix):
		return bad("lxd.prefix", fmt.Sprintf("%q cannot begin the name of an instance", c.LXD.Prefix), "leave it at ws-")
	case c.LXD.Resync < time.Second || c.LXD.Resync > time.Hour:
		return bad("lxd.resync", fmt.Sprintf("%v is not between a second and an hour", c.LXD.Resync), "leave it at 10s")
	case c.LXD.Timeout < time.Second || c.LXD.Timeout > 10*time.Minute:
		return bad("lxd.timeout", fmt.Sprintf("%v is not between a second and ten minutes", c.LXD.Timeout), "leave it at 30s")
	}
	return nil
}

func (c *Config) checkSizes() error {
	l := c.Limits
	for _, s := range []struct {
		key   string
		value int
		max   int
	}{{"flows", l.Flows, 1 << 23}, {"forwards", l.Forwards, 1 << 20}, {"endpoints", l.Endpoints, 1 << 20}, {"peers", l.Peers, 1 << 16},
		{"tracks", l.Tracks, 1 << 23}, {"frags", l.Frags, 1 << 20}} {
		if s.value < 16 || s.value > s.max {
			return bad("limits."+s.key, fmt.Sprintf("%d is not between 16 and %d", s.value, s.max), "leave it at its default")
		}
	}
	t := c.Timeouts
	for _, s := range []struct {
		key   string
		value time.Duration
	}{{"tcp_established", t.TCPEstablished}, {"tcp_transitory", t.TCPTransitory}, {"tcp_closed", t.TCPClosed}, {"udp", t.UDP},
		{"udp_unanswered", t.UDPUnanswered}, {"icmp", t.ICMP}} {
		if s.value < time.Second || s.value > 30*24*time.Hour {
			return bad("timeouts."+s.key, fmt.Sprintf("%v is not between a second and 30 days", s.value), "leave it at its default")
		}
	}
	return nil
}
