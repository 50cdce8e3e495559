package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Resolve fills in what was left open, by looking at the machine, and then checks everything. Warnings are what will
// work, but perhaps not as meant.
func (c Config) Resolve(m Machine) (resolved Config, warnings []string, err error) {
	if err := c.checkLAN(); err != nil {
		return c, nil, err
	}
	if err := c.resolveNode(m); err != nil {
		return c, nil, err
	}
	if c.LAN.Pool == (AddrRange{}) {
		c.LAN.Pool = c.pool()
	}
	if err := c.resolveInterfaces(m); err != nil {
		return c, nil, err
	}
	if len(c.Forwards.Addresses) == 0 {
		c.Forwards.Addresses = []netip.Addr{c.Uplink.Address}
	}
	if len(c.Egress.Deny) == 0 {
		c.Egress.Deny = defaultDeny()
	}
	if err := c.check(); err != nil {
		return c, nil, err
	}
	return c, append(c.resolveDNS(m), c.doubts(m)...), nil
}

// defaultDeny is what no webspace may reach: this network (RFC 1122), private (RFC 1918), shared (RFC 6598), loopback,
// link-local (RFC 3927), multicast and reserved (RFC 5771, RFC 1112).
func defaultDeny() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func (c *Config) resolveNode(m Machine) error {
	if c.Node.Name == "" {
		name, err := m.Hostname()
		if err != nil || name == "" {
			return bad("node.name", "it is not set, and the machine has no host name", "set it to this node's name in LXD")
		}
		c.Node.Name = name
	}
	if c.Node.Index == 0 {
		if len(c.Peers.List) > 0 || c.Peers.From == PeersLXD {
			return bad("node.index", "it is not set, and this is not the only node", "give every node its own number, from 1 to 253")
		}
		c.Node.Index = 1
	}
	if c.Node.Index < 1 || c.Node.Index > 253 {
		return bad("node.index", fmt.Sprintf("%d is not between 1 and 253", c.Node.Index), "give every node its own number")
	}
	if !c.Node.IP.IsValid() {
		c.Node.IP = nodeIP(c.LAN.Prefix, c.Node.Index)
	}
	if c.Node.MAC == nil {
		ip := c.Node.IP.As4()
		c.Node.MAC = MAC{0x02, 0x4c, ip[0], ip[1], ip[2], ip[3]}
	}
	if len(c.LAN.Infra) == 0 {
		if c.LAN.Prefix.Bits() > 22 {
			return bad("lan.infrastructure", fmt.Sprintf("it is not set, and %v is too small to keep two /24 of it for infrastructure", c.LAN.Prefix),
				"list the ranges of nodes, gateway and ingress")
		}
		first, _ := c.LAN.Prefix.Addr().Prefix(24)
		own, _ := c.LAN.Gateway.Prefix(24)
		c.LAN.Infra = slices.Compact([]netip.Prefix{first, own})
	}
	return nil
}

// nodeIP is the LAN address of node n: the prefix's address plus n.
func nodeIP(prefix netip.Prefix, n int) netip.Addr {
	b := prefix.Addr().As4()
	b[3] += byte(n) // the prefix is at least a /24
	return netip.AddrFrom4(b)
}

// pool is the range of webspaces about which nothing was said: between the nodes and the gateway.
func (c *Config) pool() AddrRange {
	first := number(c.LAN.Prefix.Addr()) + 256 + 1
	last := number(c.LAN.Prefix.Addr()) | ^uint32(0)>>c.LAN.Prefix.Bits() - 1
	if below := number(c.LAN.Gateway)&^255 - 2; below > first && number(c.LAN.Gateway) > first {
		last = below
	}
	return AddrRange{address(first), address(last)}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func (c *Config) resolveInterfaces(m Machine) error {
	var device string
	var source netip.Addr
	if c.Underlay.Interface == "" || c.Uplink.Interface == "" || !c.Uplink.Address.IsValid() {
		var err error
		if device, source, err = m.DefaultRoute(); err != nil && (c.Underlay.Interface == "" || c.Uplink.Interface == "") {
			return bad("underlay.interface and uplink.interface", "they are not set, and cannot be found out: "+err.Error(),
				"set them, or look at: ip route")
		}
	}
	if c.Underlay.Interface == "" {
		c.Underlay.Interface = device
	}
	if c.Uplink.Interface == "" {
		c.Uplink.Interface = device
	}
	if !c.Uplink.Address.IsValid() && c.Uplink.Interface == device {
		c.Uplink.Address = source
	}
	for _, one := range []struct {
		key, device string
		address     *netip.Addr
	}{{"uplink.address", c.Uplink.Interface, &c.Uplink.Address}, {"underlay.address", c.Underlay.Interface, &c.Underlay.Address}} {
		if one.address.IsValid() {
			continue
		}
		a, err := m.Address(one.device)
		if err != nil {
			return bad(one.key, "it is not set, and cannot be found out: "+err.Error(), "set it, or look at: ip -4 addr show "+one.device)
		}
		*one.address = a
	}
	return nil
}

// resolveDNS chooses whom the node asks, and whom webspaces ask: the gateway, and without a server there those of the
// machine's name servers that they can reach; what only the machine can reach would be worse than nothing.
func (c *Config) resolveDNS(m Machine) (warnings []string) {
	servers, err := m.Nameservers()
	if err == nil && len(servers) == 0 {
		err = errors.New("there are none")
	}
	if c.DNS.Enabled {
		warnings = c.resolveUpstreams(servers, err)
		if len(c.DHCP.DNS) == 0 {
			c.DHCP.DNS = []netip.Addr{c.LAN.Gateway}
		}
		if len(c.DHCP.Search) == 0 && len(c.LAN.Domain) < 200 {
			c.DHCP.Search = []string{c.LAN.Domain}
		}
		return warnings
	}
	if len(c.DHCP.DNS) > 0 {
		return nil
	}
	for _, a := range servers {
		if a.Is4() && c.reachable(a) && !slices.Contains(c.DHCP.DNS, a) && len(c.DHCP.DNS) < 3 {
			c.DHCP.DNS = append(c.DHCP.DNS, a)
		}
	}
	if len(c.DHCP.DNS) > 0 {
		return nil
	}
	c.DHCP.DNS = []netip.Addr{c.LAN.Gateway}
	why := fmt.Sprintf("webspaces can reach none of the machine's name servers %v", servers)
	if err != nil {
		why = "the machine's name servers are unknown: " + err.Error()
	}
	return []string{"dhcp.dns: " + why + "; they are told to ask the gateway, where nobody answers. Set dhcp.dns to a name server outside, or dns.enabled"}
}

// resolveUpstreams takes the machine's name servers for upstreams, and fills in the names of the address plan.
func (c *Config) resolveUpstreams(servers []netip.Addr, err error) []string {
	if len(c.DNS.Names) == 0 {
		for name, a := range map[string]netip.Addr{"control": c.LAN.Gateway.Next(), "ingress": nodeIP(c.LAN.Prefix, 254)} {
			if c.LAN.Prefix.Contains(a) && a != c.LAN.Gateway && a != c.Node.IP {
				c.DNS.Names = append(c.DNS.Names, name+"="+a.String())
			}
		}
		slices.Sort(c.DNS.Names)
	}
	if len(c.DNS.Upstreams) > 0 {
		return nil
	}
	direct := slices.ContainsFunc(servers, func(a netip.Addr) bool { return !a.IsLoopback() })
	for _, a := range servers {
		if direct && a.IsLoopback() {
			continue // a stub, in front of the others
		}
		// Asking the gateway would be asking ourselves.
		if s := a.String(); a != c.LAN.Gateway && a.Zone() == "" && !slices.Contains(c.DNS.Upstreams, s) && len(c.DNS.Upstreams) < 4 {
			c.DNS.Upstreams = append(c.DNS.Upstreams, s)
		}
	}
	if len(c.DNS.Upstreams) > 0 {
		return nil
	}
	why := "none of the machine's name servers can be one"
	if err != nil {
		why = "the machine's name servers are unknown: " + err.Error()
	}
	return []string{"dns.upstreams: " + why + "; names outside cannot be resolved. Set it to a name server"}
}

// reachable says whether NAT lets a webspace reach an address: the longest prefix of deny and allow decides.
func (c *Config) reachable(a netip.Addr) bool {
	if a == c.Uplink.Address || a == c.Underlay.Address || slices.Contains(c.Forwards.Addresses, a) {
		return false
	}
	longest := func(list []netip.Prefix) int {
		bits := -1
		for _, p := range list {
			if p.Contains(a) {
				bits = max(bits, p.Bits())
			}
		}
		return bits
	}
	return longest(c.Egress.Allow) >= longest(c.Egress.Deny)
}

// doubts are settings that work, but perhaps not as meant.
func (c *Config) doubts(m Machine) []string {
	var out []string
	if clash, err := m.Ephemeral(c.Uplink.NATPorts); err == nil && clash {
		out = append(out, fmt.Sprintf("uplink.nat_ports: the kernel uses ports of %v for the node's own connections, whose answers NAT may take. "+
			"Keep them apart: sysctl -w net.ipv4.ip_local_reserved_ports=%v", c.Uplink.NATPorts, c.Uplink.NATPorts))
	}
	if clash, err := m.Ephemeral(c.Forwards.Ports); err == nil && clash {
		out = append(out, fmt.Sprintf("forwards.ports: the kernel uses ports of %v for the node's own connections, whose answers a forward may take. "+
			"Keep them apart: sysctl -w net.ipv4.ip_local_reserved_ports=%v", c.Forwards.Ports, c.Forwards.Ports))
	}
	return out
}
