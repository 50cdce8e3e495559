package packettest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is somebody on the LAN.
type Host struct {
	Name string
	IP   netip.Addr
	MAC  net.HardwareAddr
	VTEP netip.Addr // of the peer that it is behind; zero when local
	Slot uint32     // of a local webspace
	Kind uint8      // of a local port: 1 webspace, 2 pod
	Flag uint8      // of the endpoint: 1 infrastructure, 2 this node
}

// Peer is another node.
type Peer struct {
	VTEP netip.Addr
	MAC  net.HardwareAddr // next hop towards it
	Flag uint8            // 1 ready, 2 foreign
}

// Net is who and what there is in the world of the tables: node 1 of three, seen from inside.
//
//	webspaces  WS1 172.24.1.1, WS2 .1.2 here; WS3 .1.3 on node 3; WS4 .1.4 on node 2; WS5 .1.5 on a node whose next hop is unknown
//	infra      Node 172.24.0.1 (this), Node3 172.24.0.3, Pod 172.24.0.254 (an ingress, here)
//	underlay   192.0.2.1 (this; also the uplink), peers .2 .3, .5 (not ready), .9 (foreign); router .254; Stranger .77
//	outside    Server 198.51.100.10, Client 203.0.113.10; Narrow 198.51.101.10 behind a path MTU of 1300; Nowhere
//	           198.51.102.10, without a route; Lost 198.51.103.10, behind a router whose MAC is not known
type Net struct {
	WS1, WS2, WS3, WS4, WS5 Host
	Node, Node3, Pod        Host
	Gateway                 Host
	Peer2, Peer3, Peer5     Peer
	Foreign                 Peer
	VTEP                    netip.Addr
	UnderlayMAC, RouterMAC  net.HardwareAddr
	Router, Stranger        netip.Addr
	Server, Client, Narrow  netip.Addr
	Nowhere, Lost           netip.Addr
	VNI                     uint32
	Port                    uint16 // of the tunnel
	NATFirst, NATLast       uint16
	MTU                     uint16 // of the LAN
	NarrowMTU               uint16
	Prefix                  netip.Prefix
	InfraPrefixes           []netip.Prefix
	Deny                    []netip.Prefix
	Still                   bool // the buckets of waking are not refilled: they hold what Fill puts there
	Allow                   []netip.Prefix
}

// Fixture gives the world that all tables start from.
func Fixture() Net {
	host := func(name, ip string, last byte) Host {
		return Host{Name: name, IP: IP(ip), MAC: net.HardwareAddr{0x02, 0x57, 0x53, 0, 0, last}}
	}
	peer := func(last byte, flag uint8) Peer {
		return Peer{netip.AddrFrom4([4]byte{192, 0, 2, last}), net.HardwareAddr{0x02, 0x75, 0, 0, 0, last}, flag}
	}
	n := Net{
		WS1: host("ws1", "172.24.1.1", 1), WS2: host("ws2", "172.24.1.2", 2), WS3: host("ws3", "172.24.1.3", 3),
		WS4: host("ws4", "172.24.1.4", 4), WS5: host("ws5", "172.24.1.5", 5),
		Node: host("lanyard0", "172.24.0.1", 0xe1), Node3: host("node3", "172.24.0.3", 0xe3), Pod: host("pod", "172.24.0.254", 0xef),
		Gateway: Host{Name: "gateway", IP: IP("172.24.254.1"), MAC: MAC("02:67:61:74:65:01")},
		Peer2:   peer(2, 1), Peer3: peer(3, 1), Peer5: peer(5, 0), Foreign: peer(9, 1|2),
		VTEP: IP("192.0.2.1"), UnderlayMAC: MAC("02:75:00:00:00:01"), RouterMAC: MAC("02:75:00:00:00:fe"),
		Router: IP("192.0.2.254"), Stranger: IP("192.0.2.77"),
		Server: IP("198.51.100.10"), Client: IP("203.0.113.10"), Narrow: IP("198.51.101.10"), Nowhere: IP("198.51.102.10"), Lost: IP("198.51.103.10"),
		VNI: 7331, Port: 4789, NATFirst: 20000, NATLast: 20999, MTU: 1450, NarrowMTU: 1300,
		Prefix:        netip.MustParsePrefix("172.24.0.0/16"),
		InfraPrefixes: prefixes("172.24.0.0/24", "172.24.254.0/24"),
		Deny: prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
			"224.0.0.0/3", "192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.5/32"),
		Allow: prefixes("10.9.0.0/16"),
	}
	n.WS1.Slot, n.WS2.Slot, n.Pod.Slot = 1, 2, 3
	n.WS1.Kind, n.WS2.Kind, n.Pod.Kind = 1, 1, 2
	n.WS3.VTEP, n.Node3.VTEP, n.WS4.VTEP, n.WS5.VTEP = n.Peer3.VTEP, n.Peer3.VTEP, n.Peer2.VTEP, n.Peer5.VTEP
	n.Node.Flag, n.Node3.Flag, n.Pod.Flag = 1|2, 1, 1
	return n
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Forward maps External to Target; Entry is the VTEP of the node that has the external address, zero for this one.
type Forward struct {
	Proto            uint8
	External, Target netip.AddrPort
	Entry            netip.Addr
	Tracked          bool
}

// Forwards of the fixture.
func (n Net) Forwards() []Forward {
	at := netip.AddrPortFrom
	const tcp, udp = 6, 17
	return []Forward{
		{Proto: tcp, External: at(n.VTEP, 8080), Target: at(n.WS1.IP, 80)},
		{Proto: udp, External: at(n.VTEP, 5353), Target: at(n.WS1.IP, 53)},
		{Proto: tcp, External: at(n.VTEP, 8083), Target: at(n.WS3.IP, 80)},
		{Proto: udp, External: at(n.VTEP, 5383), Target: at(n.WS3.IP, 53)},
		// Two external ports onto one target: only a memory can tell which one an answer belongs to.
		{Proto: tcp, External: at(n.VTEP, 9001), Target: at(n.WS2.IP, 90), Tracked: true},
		{Proto: tcp, External: at(n.VTEP, 9002), Target: at(n.WS2.IP, 90), Tracked: true},
		// Entered at node 3, for a webspace here.
		{Proto: tcp, External: at(n.Peer3.VTEP, 8180), Target: at(n.WS1.IP, 81), Entry: n.Peer3.VTEP},
		// The same target entered here and at node 3; the later one is the default of the way back.
		{Proto: tcp, External: at(n.VTEP, 9101), Target: at(n.WS2.IP, 91), Tracked: true},
		{Proto: tcp, External: at(n.Peer3.VTEP, 9101), Target: at(n.WS2.IP, 91), Entry: n.Peer3.VTEP, Tracked: true},
		{Proto: tcp, External: at(n.Peer3.VTEP, 9102), Target: at(n.WS2.IP, 92), Entry: n.Peer3.VTEP, Tracked: true},
		{Proto: tcp, External: at(n.VTEP, 9102), Target: at(n.WS2.IP, 92), Tracked: true},
	}
}

// Devices of the node in the namespace of the tests. Their other ends, NAME-far, are all in a second namespace.
const (
	Underlay = "under"
	Parking  = "park"  // stands for the TAP
	Router   = "vxlan" // route lookups name it as the one of arrival, and so it alone may forward
	far      = "-far"
)

// devices makes the node's devices; outside is a descriptor of the second namespace.
func (n Net) devices(outside int) (map[string]int, error) {
	if err := quiet(); err != nil {
		return nil, err
	}
	ifindex := map[string]int{}
	for _, d := range []struct {
		name     string
		mac, far net.HardwareAddr
	}{
		{Underlay, n.UnderlayMAC, n.RouterMAC}, {Router, MAC("02:76:78:00:00:01"), nil}, {Parking, MAC("02:70:6b:00:00:01"), nil}, {n.Node.Name, n.Node.MAC, nil},
		{n.WS1.Name, MAC("fe:00:00:00:00:01"), n.WS1.MAC}, {n.WS2.Name, MAC("fe:00:00:00:00:02"), n.WS2.MAC}, {n.Pod.Name, MAC("fe:00:00:00:00:03"), n.Pod.MAC},
	} {
		link := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: d.name + far, PeerHardwareAddr: d.far, PeerNamespace: netlink.NsFd(outside)}
		link.Name, link.HardwareAddr, link.MTU = d.name, d.mac, int(n.MTU)
		if d.name == Underlay {
			link.MTU = int(n.MTU) + TunnelSize
		}
		if err := netlink.LinkAdd(link); err != nil {
			return nil, fmt.Errorf("device %s: %w: needs CAP_NET_ADMIN and the module veth; run the tests as root", d.name, err)
		}
		index, err := up(d.name)
		if err != nil {
			return nil, err
		}
		ifindex[d.name] = index
	}
	// Of the devices only this one; ip_forward of the whole machine stays off.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+Router+"/forwarding", []byte("1"), 0); err != nil {
		return nil, err
	}
	return ifindex, n.routes(ifindex[Underlay])
}

// farEnds sets the other ends up, in their namespace.
func farEnds(near map[string]int) (map[string]int, error) {
	ifindex := map[string]int{}
	for name := range near {
		index, err := up(name + far)
		if err != nil {
			return nil, err
		}
		ifindex[name] = index
	}
	return ifindex, nil
}

func up(name string) (ifindex int, err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Index, netlink.LinkSetUp(link)
}

// quiet keeps the kernel of this namespace from sending IPv6 frames of its own.
func quiet() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		return nil
	}
	return err
}

// routes are what the kernel of a node knows: NAT asks it for next hops. (The MTU of a route counts for forwarding when it
// is locked, or with net.ipv4.ip_forward_use_pmtu.)
func (n Net) routes(under int) error {
	link, err := netlink.LinkByIndex(under)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: n.VTEP.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	for _, r := range []netlink.Route{
		{LinkIndex: under, Gw: n.Router.AsSlice()},
		{LinkIndex: under, Gw: n.Router.AsSlice(), MTU: int(n.NarrowMTU), MTULock: true, Dst: around(n.Narrow)},
		{Type: unix.RTN_UNREACHABLE, Dst: around(n.Nowhere)},
		{LinkIndex: under, Gw: net.IPv4(192, 0, 2, 253), Dst: around(n.Lost)},
	} {
		if err := netlink.RouteAdd(&r); err != nil {
			return fmt.Errorf("route %v: %w", r, err)
		}
	}
	for ip, mac := range map[netip.Addr]net.HardwareAddr{n.Router: n.RouterMAC, n.Peer2.VTEP: n.Peer2.MAC, n.Peer3.VTEP: n.Peer3.MAC, n.Foreign.VTEP: n.Foreign.MAC} {
		if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: under, IP: ip.AsSlice(), HardwareAddr: mac, State: unix.NUD_PERMANENT}); err != nil {
			return fmt.Errorf("neighbour %v: %w", ip, err)
		}
	}
	return nil
}

// around gives the /24 of an address.
func around(a netip.Addr) *net.IPNet {
	p := netip.PrefixFrom(a, 24).Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}
}
