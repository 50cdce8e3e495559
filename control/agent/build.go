package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// View is everything that one look saw.
type View struct {
	Self      string // this node's name in the cluster; "" when LXD is not clustered
	Instances []webspace.Instance
	Members   []webspace.Member
	Links     map[string]Link // by name
}

// Desired is what a View comes to.
type Desired struct {
	State        dataplane.State
	Reservations []dhcp.Reservation
	Problems     []Problem
	Names        map[netip.Addr]string // of peers, by VTEP
	Targets      []wake.Target         // the webspaces of this node, for the engine that wakes them
	Records      []dns.Record          // names of the LAN
	Nodes        []netip.Addr          // tunnel addresses of nodes where nothing is forwarded from
}

// Build derives the desired state. It is a pure function of its arguments, and its result is in a fixed order. c must
// have been checked. What is wrong with one item is in Problems, and costs only that item.
func Build(c Config, v View) Desired {
	b := builder{c: c, v: v, out: Desired{Names: make(map[netip.Addr]string)}, vteps: make(map[string]netip.Addr), ports: make(map[int]string)}
	b.peers()
	settled, issues := webspace.Settle(withMACs(v.Instances))
	for _, i := range issues {
		b.problem("webspace "+i.Instance, i.Err)
	}
	forwards := 0
	for _, i := range settled {
		forwards += (len(i.Record.Ports) + len(i.Record.UDPPorts)) * len(b.entries)
	}
	b.out.State.Forwards = make([]dataplane.Forward, 0, forwards)
	for _, i := range settled {
		if i.RecordErr == nil {
			b.instance(i)
		}
	}
	b.deny()
	b.nodes()
	b.sort()
	return b.out
}

// withMACs fills in what a webspace will have when it starts for the first time.
func withMACs(list []webspace.Instance) []webspace.Instance {
	list = slices.Clone(list)
	for n, i := range list {
		if i.MAC == nil && i.RecordErr == nil && i.Record.Address.IsValid() {
			list[n].MAC = webspace.MAC(i.Record.Address)
		}
	}
	return list
}

type builder struct {
	c       Config
	v       View
	out     Desired
	vteps   map[string]netip.Addr // by node name
	entries []entry               // external addresses
	ports   map[int]string        // ifindex -> instance
}

// entry is an external address and the node where it enters.
type entry struct {
	external netip.Addr
	vtep     netip.Addr // zero: this node
}

func (b *builder) problem(subject string, err error) {
	b.out.Problems = append(b.out.Problems, Problem{Subject: subject, Err: err})
}

// peers adds the other nodes: those configured by hand first, then the members of the cluster, by name.
func (b *builder) peers() {
	indexes := map[int]string{b.c.Index: "this node"}
	externals := make(map[netip.Addr]bool)
	enter := func(vtep netip.Addr, addrs []netip.Addr) {
		// Two nodes may share an address that moves between them (VRRP); it enters here if it can.
		for _, a := range addrs {
			if !externals[a] {
				externals[a] = true
				b.entries = append(b.entries, entry{a, vtep})
			}
		}
	}
	enter(netip.Addr{}, b.c.Forwards)
	b.name(b.c.Name, NodeIP(b.c.Prefix, b.c.Index))
	add := func(subject string, p Peer) {
		if p.VTEP == b.c.VTEP {
			b.problem(subject, b.bad("it has this node's own tunnel address "+p.VTEP.String()))
			return
		}
		if p.Name != "" {
			b.vteps[p.Name] = p.VTEP
		}
		if other, dup := b.out.Names[p.VTEP]; dup {
			if other != p.Name && p.Name != "" && other != "" {
				b.problem(subject, b.bad("it has the tunnel address of "+other+", "+p.VTEP.String()))
				return
			}
			b.out.Names[p.VTEP] = cmp.Or(other, p.Name)
		} else {
			b.out.Names[p.VTEP] = p.Name
			b.out.State.Peers = append(b.out.State.Peers, dataplane.Peer{VTEP: p.VTEP, Foreign: p.Foreign})
		}
		enter(p.VTEP, p.Forwards)
		if p.Index == 0 {
			return
		}
		if other, dup := indexes[p.Index]; dup {
			if other != p.VTEP.String() {
				b.problem(subject, b.bad(fmt.Sprintf("its index %d is that of %s", p.Index, other)))
			}
			return
		}
		indexes[p.Index] = p.VTEP.String()
		ip := NodeIP(b.c.Prefix, p.Index)
		b.name(p.Name, ip)
		b.out.State.Endpoints = append(b.out.State.Endpoints, dataplane.Endpoint{IP: ip, MAC: webspace.MAC(ip), VTEP: p.VTEP, Infra: true})
	}
	for _, p := range b.c.Peers {
		if !p.VTEP.Is4() {
			b.problem("peer "+p.Name, b.bad("its tunnel address "+p.VTEP.String()+" is not IPv4"))
			continue
		}
		add("peer "+cmp.Or(p.Name, p.VTEP.String()), p)
	}
	if !b.c.Cluster {
		return
	}
	members := slices.SortedFunc(slices.Values(b.v.Members), func(x, y webspace.Member) int { return cmp.Compare(x.Name, y.Name) })
	for _, m := range members {
		if m.Name == b.v.Self {
			continue
		}
		p := Peer{Name: m.Name, VTEP: m.Node.VTEP, Index: m.Node.Index, Forwards: m.Node.Forwards}
		if m.NodeErr != nil {
			// Its lanyardd has not spoken yet; LXD's own address for it is the best guess, and enough for a tunnel.
			b.problem("member "+m.Name, m.NodeErr)
			p = Peer{Name: m.Name, VTEP: m.Address}
		}
		if !p.VTEP.Is4() {
			b.problem("member "+m.Name, b.bad("it has no IPv4 address for tunnels: "+m.URL))
			continue
		}
		add("member "+m.Name, p)
	}
}

// name adds a node's name. Of a name with a domain only the first label counts.
func (b *builder) name(name string, ip netip.Addr) {
	if label, _, _ := strings.Cut(name, "."); label != "" {
		b.out.Records = append(b.out.Records, dns.Record{Name: strings.ToLower(label), IP: ip})
	}
}

// nodes adds the tunnel addresses that are no address of a forward: those are there to be reached, by public names too.
func (b *builder) nodes() {
	for _, p := range b.out.State.Peers {
		if !slices.ContainsFunc(b.entries, func(e entry) bool { return e.external == p.VTEP }) {
			b.out.Nodes = append(b.out.Nodes, p.VTEP)
		}
	}
}

func (b *builder) bad(cause string) error {
	return &webspace.Problem{What: "it is left out", Cause: cause, Next: "see: lanyard status", Kind: webspace.ErrInvalid}
}

// instance adds one webspace: its endpoint, its forwards, and when it runs here its port and reservation.
func (b *builder) instance(i webspace.Instance) {
	subject := "webspace " + i.Name
	ip := i.Record.Address
	switch {
	case !ip.IsValid():
		b.problem(subject, &webspace.Problem{What: "it is not on the LAN", Cause: "its record has no address yet",
			Next: "the leading node gives it one within seconds; see: lanyard status", Kind: webspace.ErrInvalid})
		return
	case !b.c.Prefix.Contains(ip) || ip == b.c.Gateway || slices.ContainsFunc(b.c.Infra, func(p netip.Prefix) bool { return p.Contains(ip) }):
		b.problem(subject, &webspace.Problem{What: "it is not on the LAN", Cause: fmt.Sprintf("%s is not an address for webspaces in %s", ip, b.c.Prefix),
			Next: "lxc config edit " + i.Name + ", and change the address in " + webspace.Key, Kind: webspace.ErrInvalid})
		return
	case i.NICType != "p2p" && i.NICType != webspace.HookNIC:
		b.problem(subject, &webspace.Problem{What: "it is not on the LAN", Cause: fmt.Sprintf("its eth0 is of nictype %q, not p2p", i.NICType),
			Next: fmt.Sprintf("lxc config device add %s eth0 nic nictype=p2p name=eth0 hwaddr=%s", i.Name, webspace.MAC(ip)), Kind: webspace.ErrInvalid})
		return
	}
	mac := i.MAC
	if !b.ordinary(mac) {
		b.problem(subject, &webspace.Problem{What: "it is not on the LAN", Cause: mac.String() + " is not the MAC of a webspace",
			Next: fmt.Sprintf("lxc config device set %s eth0 hwaddr=%s", i.Name, webspace.MAC(ip)), Kind: webspace.ErrInvalid})
		return
	}
	b.out.Records = append(b.out.Records, dns.Record{Name: i.Name, IP: ip})
	e := dataplane.Endpoint{IP: ip, MAC: mac, Owner: i.Name}
	if i.Node == b.v.Self {
		e.Ifindex = b.port(i, mac)
		b.target(i, &e)
	} else if e.VTEP = b.vteps[i.Node]; !e.VTEP.IsValid() {
		b.problem(subject, &webspace.Problem{What: "it cannot be reached from here", Cause: "it is on node " + i.Node + ", which is not a peer",
			Next: "see: lxc cluster list; lanyard status", Kind: webspace.ErrNotFound})
		return
	}
	b.out.State.Endpoints = append(b.out.State.Endpoints, e)
	b.forwards(i, dataplane.TCP, i.Record.Ports)
	b.forwards(i, dataplane.UDP, i.Record.UDPPorts)
}

// ordinary says whether a webspace may have this MAC: not a group's, nobody's, the gateway's or a node's.
func (b *builder) ordinary(mac net.HardwareAddr) bool {
	if len(mac) != 6 || mac[0]&1 != 0 || slices.Equal(mac, make(net.HardwareAddr, 6)) || slices.Equal(mac, b.c.GatewayMAC) {
		return false
	}
	ip := netip.AddrFrom4([4]byte(mac[2:]))
	return !slices.Equal(mac, webspace.MAC(ip)) || !slices.ContainsFunc(b.c.Infra, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// port adds the port of an instance on this node and gives its ifindex, or 0 while there is none. The state that LXD
// shows is not asked: the interface is there before LXD says "Running", and that is when it is needed.
func (b *builder) port(i webspace.Instance, mac net.HardwareAddr) int {
	link, ok := b.v.Links[i.HostInterface]
	if !ok || i.HostInterface == "" {
		return 0
	}
	if link.Kind != "veth" { // a record must not be able to name the uplink
		b.problem("webspace "+i.Name, b.bad(fmt.Sprintf("its host interface %s is not a veth but %q", link.Name, link.Kind)))
		return 0
	}
	if other, dup := b.ports[link.Index]; dup {
		b.problem("webspace "+i.Name, b.bad("its host interface "+link.Name+" is that of "+other))
		return 0
	}
	b.ports[link.Index] = i.Name
	b.out.State.Ports = append(b.out.State.Ports, dataplane.Port{
		Name: link.Name, Ifindex: link.Index, MAC: mac, IP: i.Record.Address, Kind: dataplane.PortWebspace, Owner: i.Name,
	})
	b.out.Reservations = append(b.out.Reservations, dhcp.Reservation{MAC: mac, IP: i.Record.Address, Hostname: i.Name, Ifindex: link.Index})
	return link.Index
}

func (b *builder) forwards(i webspace.Instance, proto dataplane.Proto, ports webspace.Ports) {
	for _, external := range slices.Sorted(maps.Keys(ports)) {
		if external < b.c.ForwardPorts.First || external > b.c.ForwardPorts.Last {
			b.problem("webspace "+i.Name, &webspace.Problem{
				What:  fmt.Sprintf("external port %d is not forwarded", external),
				Cause: fmt.Sprintf("it is outside %d-%d", b.c.ForwardPorts.First, b.c.ForwardPorts.Last),
				Next:  "choose another port, or widen the range in lanyardd's configuration", Kind: webspace.ErrInvalid,
			})
			continue
		}
		for _, e := range b.entries {
			b.out.State.Forwards = append(b.out.State.Forwards, dataplane.Forward{
				External: netip.AddrPortFrom(e.external, external), Proto: proto,
				Target: netip.AddrPortFrom(i.Record.Address, ports[external]), Entry: e.vtep, Owner: i.Name,
				Wake: forwardWake(i.Record, proto, external),
			})
		}
	}
}

// deny adds what is configured, and every address of a node: NAT gives a packet the node's address, which nodes trust.
func (b *builder) deny() {
	seen := make(map[netip.Prefix]bool)
	add := func(p netip.Prefix) {
		if p = p.Masked(); p.IsValid() && !seen[p] {
			seen[p] = true
			b.out.State.Deny = append(b.out.State.Deny, p)
		}
	}
	host := func(a netip.Addr) {
		if a.IsValid() {
			add(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, p := range b.c.Deny {
		add(p)
	}
	host(b.c.VTEP)
	for _, a := range b.c.Own {
		host(a)
	}
	for _, p := range b.out.State.Peers {
		host(p.VTEP)
	}
	for _, e := range b.entries {
		host(e.external)
	}
	for _, p := range b.c.Allow {
		if p = p.Masked(); p.IsValid() && !seen[p] {
			b.out.State.Allow = append(b.out.State.Allow, p)
		}
	}
}

func (b *builder) sort() {
	s := &b.out.State
	slices.SortFunc(s.Peers, func(x, y dataplane.Peer) int { return x.VTEP.Compare(y.VTEP) })
	slices.SortFunc(s.Ports, func(x, y dataplane.Port) int { return cmp.Compare(x.Ifindex, y.Ifindex) })
	slices.SortFunc(s.Endpoints, func(x, y dataplane.Endpoint) int { return x.IP.Compare(y.IP) })
	slices.SortFunc(s.Forwards, func(x, y dataplane.Forward) int {
		return cmp.Or(x.External.Compare(y.External), cmp.Compare(x.Proto, y.Proto))
	})
	slices.SortFunc(b.out.Targets, func(x, y wake.Target) int { return x.Addr.Compare(y.Addr) })
	slices.SortFunc(b.out.Reservations, func(x, y dhcp.Reservation) int { return x.IP.Compare(y.IP) })
	slices.SortFunc(b.out.Records, func(x, y dns.Record) int { return cmp.Or(x.IP.Compare(y.IP), cmp.Compare(x.Name, y.Name)) })
	slices.SortFunc(b.out.Nodes, netip.Addr.Compare)
	slices.SortStableFunc(b.out.Problems, func(x, y Problem) int { return cmp.Compare(x.Subject, y.Subject) })
}
