package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/control/webspaces"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// What the servers need of the parts; the real ones and those of tests have it.
type (
	plane interface {
		Status() (dataplane.Status, error)
		Counters() (map[string]dataplane.Counters, error)
		Drops() ([]dataplane.DropCount, error)
		Samples(context.Context, func(dataplane.Sample)) error
	}
	follower interface {
		Status() agent.Status
		Resync(context.Context) (agent.Result, error)
	}
	namer interface {
		Stats() dns.Stats
		Running() bool
		Problems() []error
	}
	leaser interface {
		Stats() dhcp.Stats
		Running() bool
		Reservations() int
		Problems() []error
	}
)

// dataplaneConfig is the dataplane's view of a resolved configuration.
func dataplaneConfig(c config.Config, version string) dataplane.Config {
	return dataplane.Config{
		Prefix: c.LAN.Prefix, Gateway: c.LAN.Gateway, GatewayMAC: net.HardwareAddr(c.LAN.GatewayMAC),
		NodeIP: c.Node.IP, NodeMAC: net.HardwareAddr(c.Node.MAC), Infra: c.LAN.Infra,
		VNI: c.LAN.VNI, Port: c.Underlay.Port, VTEP: c.Underlay.Address,
		Underlay: c.Underlay.Interface, Uplink: c.Uplink.Interface, UplinkIP: c.Uplink.Address,
		Pods: c.LAN.Pods, MTU: c.LAN.MTU, XDP: dataplane.XDPMode(c.Underlay.XDP),
		NATPorts: dataplane.PortRange(c.Uplink.NATPorts),
		Sizes: dataplane.Sizes{Flows: c.Limits.Flows, Forwards: c.Limits.Forwards, Endpoints: c.Limits.Endpoints,
			Peers: c.Limits.Peers, Tracks: c.Limits.Tracks, Frags: c.Limits.Frags},
		Timeouts: dataplane.Timeouts{TCPEstablished: c.Timeouts.TCPEstablished, TCPTransitory: c.Timeouts.TCPTransitory,
			TCPClosed: c.Timeouts.TCPClosed, UDP: c.Timeouts.UDP, UDPUnanswered: c.Timeouts.UDPUnanswered, ICMP: c.Timeouts.ICMP},
		Bridge: c.LAN.Bridge, VXLAN: c.LAN.VXLAN, BPFFS: c.Paths.BPFFS, Version: version,
	}
}

// agentConfig is the agent's. own are the machine's addresses.
func agentConfig(c config.Config, own []netip.Addr, mtu func() int) agent.Config {
	out := agent.Config{
		Prefix: c.LAN.Prefix, Gateway: c.LAN.Gateway, Infra: c.LAN.Infra, Name: c.Node.Name, Index: c.Node.Index, VTEP: c.Underlay.Address,
		Own: own, Forwards: c.Forwards.Addresses, ForwardPorts: dataplane.PortRange(c.Forwards.Ports),
		Cluster: c.Peers.From == config.PeersLXD, Deny: c.Egress.Deny, Allow: c.Egress.Allow,
		MTU: mtu, Cache: cacheFile(c), Resync: c.LXD.Resync,
	}
	for _, p := range c.Peers.List {
		out.Peers = append(out.Peers, agent.Peer{Name: p.Name, VTEP: p.VTEP, Index: p.Index, Forwards: p.Forwards, Foreign: p.Foreign})
	}
	return out
}

func cacheFile(c config.Config) string { return filepath.Join(c.Paths.State, "cluster.json") }

// dhcpConfig is the DHCP server's.
func dhcpConfig(c config.Config, mtu func() int) dhcp.Config {
	return dhcp.Config{
		Interface: c.LAN.Bridge, NodeMAC: net.HardwareAddr(c.Node.MAC), Prefix: c.LAN.Prefix,
		Gateway: c.LAN.Gateway, GatewayMAC: net.HardwareAddr(c.LAN.GatewayMAC),
		DNS: c.DHCP.DNS, Domain: c.LAN.Domain, Search: c.DHCP.Search, Lease: c.DHCP.Lease, MTU: mtu,
	}
}

// settleMost is how long the name server waits for what LXD says, on a node that knows nothing yet.
const settleMost = 2 * time.Second

// dnsConfig is the name server's. own are the machine's addresses: no name outside may lead to them, except to those that
// forwards are reached at.
func dnsConfig(c config.Config, own []netip.Addr) (dns.Config, error) {
	out := dns.Config{
		Listen: netip.AddrPortFrom(c.LAN.Gateway, 53), Interface: c.LAN.Bridge, Zone: c.LAN.Domain, Prefix: c.LAN.Prefix,
		Gateway: c.LAN.Gateway, Own: append(slices.Clone(own), c.Node.IP), AllowRebind: c.DNS.AllowRebind, Block: c.DNS.Block,
		Cache: c.DNS.Cache << 20, Timeout: c.DNS.Timeout, Rate: c.DNS.Rate, Open: c.DNS.Open, Share: c.DNS.Share, Log: c.DNS.Log,
		Settle: settleMost,
	}
	for _, a := range own {
		if !slices.Contains(c.Forwards.Addresses, a) && !a.IsLoopback() {
			out.Private = append(out.Private, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	var roots *x509.CertPool
	if c.DNS.CA != "" {
		pem, err := os.ReadFile(c.DNS.CA)
		if err == nil {
			if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
				err = fmt.Errorf("%s holds no certificate", c.DNS.CA)
			}
		}
		if err != nil {
			return out, &config.Error{What: "cannot use dns.ca", Cause: err.Error(), Next: "give the path of a PEM file that lanyardd can read", Err: err}
		}
	}
	var errs []error
	for _, text := range c.DNS.Upstreams {
		u, err := dns.ParseUpstream(text)
		u.Roots = roots
		out.Upstreams = append(out.Upstreams, u)
		errs = append(errs, err)
	}
	for _, list := range []struct {
		text []string
		into *[]dns.Record
	}{{c.DNS.Names, &out.Names}, {c.DNS.Override, &out.Override}} {
		for _, text := range list.text {
			r, err := dns.ParseRecord(text)
			*list.into = append(*list.into, r)
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// Connect makes the store of webspaces. It reads certificates; LXD need not be there.
func Connect(c config.Config) (*webspace.Store, error) { return webspaces.Store(c) }

// wakeConfig is the wake engine's.
func wakeConfig(c config.Config) wake.Config {
	starts := c.Wake.Starts
	if starts == 0 {
		starts = 2 * runtime.NumCPU()
	}
	return wake.Config{
		LAN: wake.Nets{Prefix: c.LAN.Prefix, Infra: c.LAN.Infra}, Rule: wakeRule(c), Starts: starts,
		PerSource: c.Wake.PerSource, PerWebspace: c.Wake.PerWebspace,
		Times: wake.Times{Start: c.Wake.StartTimeout, Queue: c.Wake.QueueTimeout, MaxStartup: c.Wake.MaxStartupDelay},
		Hold: wake.Bounds{SYNs: c.Wake.HoldSYNs, Datagrams: c.Wake.HoldDatagrams, Bytes: c.Wake.HoldBytes,
			NodeFrames: c.Wake.NodeFrames, NodeBytes: c.Wake.NodeBytes},
	}
}

func wakeRule(c config.Config) webspace.WakeRule {
	return webspace.WakeRule{Policy: webspace.Policy(c.Wake.Policy), Allow: c.Wake.Allow}
}

// ownAddresses are the machine's IPv4 addresses outside of the LAN: no webspace may reach them through NAT.
func ownAddresses(c config.Config) ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	own := []netip.Addr{c.Uplink.Address, c.Underlay.Address}
	own = append(own, c.Forwards.Addresses...)
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap().Is4() && !c.LAN.Prefix.Contains(ip.Unmap()) {
			own = append(own, ip.Unmap())
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own), nil
}

// shutdownTimeout bounds the end of every server.
const shutdownTimeout = 2 * time.Second
