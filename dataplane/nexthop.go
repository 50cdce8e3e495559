package dataplane

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// hop is a neighbour on a link: the key of the kernel's neighbour table.
type hop struct {
	ifindex int
	ip      netip.Addr
}

// peerHop is the way to one peer.
type peerHop struct {
	foreign bool
	via     hop
	mtu     int
	detail  string // why there is no way
}

// hops knows the ways to all peers: routes and neighbours as the kernel has them.
type hops struct {
	nl    *netlink.Handle
	cfg   *Config
	peers map[netip.Addr]*peerHop
	using map[hop]map[netip.Addr]bool // which peers a neighbour serves, so that news of it cost no more than those
	neigh map[hop]mac                 // usable entries of the neighbour tables of links in use
	links map[int]linkInfo
	// others are all neighbours on the links in use, by address: flows may leave through any of them.
	others map[hop]mac
}

type linkInfo struct {
	name string
	mac  mac
	mtu  int
}

func newHops(h *netlink.Handle, c *Config) *hops {
	return &hops{nl: h, cfg: c, peers: map[netip.Addr]*peerHop{}, using: map[hop]map[netip.Addr]bool{}, neigh: map[hop]mac{}, links: map[int]linkInfo{}, others: map[hop]mac{}}
}

// usable are the states in which the kernel itself would send to the link-layer address that it has (RFC 4861 section
// 7.3.2; FAILED and INCOMPLETE have none).
const usable = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP

// setPeers adds and removes peers, and reports what it could not do about single ones.
func (h *hops) setPeers(want map[netip.Addr]Peer, failed func(subject string, err error)) {
	for vtep := range h.peers {
		if _, ok := want[vtep]; !ok {
			h.drop(vtep, failed)
		}
	}
	fresh := false
	for vtep, p := range want {
		if old, ok := h.peers[vtep]; ok {
			old.foreign = p.Foreign
			continue
		}
		h.peers[vtep] = &peerHop{foreign: p.Foreign}
		fresh = true
		h.route(vtep, failed)
	}
	if fresh {
		h.readNeighbours(failed)
	}
}

func (h *hops) drop(vtep netip.Addr, failed func(string, error)) {
	via := h.peers[vtep].via
	delete(h.peers, vtep)
	h.release(vtep, via, failed)
}

// release ends the kernel's care for a neighbour that serves no peer any more. The entry stays, as an ordinary one.
func (h *hops) release(vtep netip.Addr, via hop, failed func(string, error)) {
	if via == (hop{}) {
		return
	}
	delete(h.using[via], vtep)
	if len(h.using[via]) > 0 {
		return
	}
	delete(h.using, via)
	if err := unmanage(h.nl, via); err != nil {
		failed("neighbour "+via.ip.String(), err)
	}
}

// route asks the kernel for the way to a peer, and has it keep the neighbour's address fresh.
func (h *hops) route(vtep netip.Addr, failed func(string, error)) {
	p := h.peers[vtep]
	via, mtu, err := h.resolve(vtep)
	if err != nil {
		p.detail = err.Error()
	} else {
		p.detail = ""
	}
	p.mtu = mtu
	if via == p.via {
		return
	}
	old := p.via
	p.via = via
	if via != (hop{}) {
		if h.using[via] == nil {
			h.using[via] = map[netip.Addr]bool{}
		}
		h.using[via][vtep] = true
	}
	h.release(vtep, old, failed)
}

func (h *hops) resolve(vtep netip.Addr) (hop, int, error) {
	routes, err := h.nl.RouteGetWithOptions(vtep.AsSlice(), &netlink.RouteGetOptions{SrcAddr: h.cfg.VTEP.AsSlice()})
	if err != nil || len(routes) == 0 {
		return hop{}, 0, fmt.Errorf("no route: %w", err)
	}
	r := routes[0]
	via := hop{ifindex: r.LinkIndex, ip: vtep}
	if r.Type == unix.RTN_LOCAL {
		return hop{}, 0, fmt.Errorf("the address is this node's own")
	}
	if gw, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
		via.ip = gw
	}
	l, err := h.link(r.LinkIndex)
	if err != nil {
		return hop{}, 0, err
	}
	if l.mac == (mac{}) {
		return hop{}, 0, fmt.Errorf("the route leaves through %s, which has no MAC: the slow path is used", l.name)
	}
	mtu := l.mtu
	if r.MTU > 0 {
		mtu = min(mtu, r.MTU)
	}
	return via, mtu, nil
}

func (h *hops) link(index int) (linkInfo, error) {
	if l, ok := h.links[index]; ok {
		return l, nil
	}
	found, err := h.nl.LinkByIndex(index)
	if err != nil {
		return linkInfo{}, fmt.Errorf("interface %d: %w", index, err)
	}
	a := found.Attrs()
	l := linkInfo{name: a.Name, mtu: a.MTU}
	if len(a.HardwareAddr) == 6 && a.Flags&net.FlagLoopback == 0 {
		l.mac = toMAC(a.HardwareAddr)
	}
	h.links[index] = l
	return l, nil
}

// rerouteAll looks at all routes and links again.
func (h *hops) rerouteAll(failed func(string, error)) {
	clear(h.links)
	for vtep := range h.peers {
		h.route(vtep, failed)
	}
	h.readNeighbours(failed)
}

// readNeighbours reads the neighbour tables of the links that lead to peers, and hands to the kernel's care those entries
// that are not yet. An administrator's permanent entry needs none, and would lose its permanence by it.
func (h *hops) readNeighbours(failed func(string, error)) {
	links := map[int]bool{}
	for via := range h.using {
		links[via.ifindex] = true
	}
	clear(h.neigh)
	for index := range links {
		list, err := h.nl.NeighList(index, unix.AF_INET)
		if err != nil {
			failed(fmt.Sprintf("neighbours of interface %d", index), err)
			continue
		}
		cared := map[netip.Addr]bool{}
		for i := range list {
			n := &list[i]
			h.learn(n, true)
			if n.FlagsExt&netlink.NTF_EXT_MANAGED != 0 || n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 {
				ip, _ := netip.AddrFromSlice(n.IP.To4())
				cared[ip] = true
			}
		}
		for via := range h.using {
			if via.ifindex != index || cared[via.ip] {
				continue
			}
			if err := manage(h.nl, via); err != nil {
				failed("neighbour "+via.ip.String(), err)
			}
		}
	}
}

// learn takes one entry of a neighbour table, and reports whose way it is, if it has changed.
func (h *hops) learn(n *netlink.Neigh, exists bool) (peers map[netip.Addr]bool, changed bool) {
	ip, ok := netip.AddrFromSlice(n.IP.To4())
	if !ok {
		return nil, false
	}
	key := hop{n.LinkIndex, ip}
	using, used := h.using[key]
	if !used {
		return nil, false
	}
	old, had := h.neigh[key]
	if !exists || n.State&usable == 0 || len(n.HardwareAddr) != 6 {
		delete(h.neigh, key)
		if !exists {
			// Somebody flushed the table: ask the kernel once more. An error shows as a peer that is not ready.
			_ = manage(h.nl, key)
		}
		return using, had
	}
	m := toMAC(n.HardwareAddr)
	h.neigh[key] = m
	return using, !had || old != m
}

// maxOthers bounds the memory that a busy segment of neighbours can take. Beyond it a change is noticed with the next
// epoch.
const maxOthers = 4096

// moved reports whether a neighbour has got another link-layer address: what flows remember of it is wrong then.
func (h *hops) moved(n *netlink.Neigh, exists bool) bool {
	ip, ok := netip.AddrFromSlice(n.IP.To4())
	if !ok {
		return false
	}
	key := hop{n.LinkIndex, ip}
	old, had := h.others[key]
	if !exists || len(n.HardwareAddr) != 6 || n.State&usable == 0 {
		delete(h.others, key)
		return had
	}
	m := toMAC(n.HardwareAddr)
	if had || len(h.others) < maxOthers {
		h.others[key] = m
	}
	return had && old != m
}

// entry is a peer as the programs should see it.
func (h *hops) entry(vtep netip.Addr) bpf.TcPeer {
	p := h.peers[vtep]
	e := bpf.TcPeer{Local: wire(h.cfg.VTEP)}
	if p.foreign {
		e.Flags |= uint8(bpf.TcPeerFlagsPEER_FOREIGN)
	}
	dst, ok := h.neigh[p.via]
	l := h.links[p.via.ifindex]
	if !ok || l.mac == (mac{}) || p.mtu <= tunnelOverhead {
		return e
	}
	e.Smac, e.Dmac, e.Ifindex, e.Mtu = l.mac, dst, uint32(p.via.ifindex), uint16(min(p.mtu, 65535))
	e.Flags |= uint8(bpf.TcPeerFlagsPEER_READY)
	return e
}

func (h *hops) entries() map[bpf.TcAddr]bpf.TcPeer {
	all := make(map[bpf.TcAddr]bpf.TcPeer, len(h.peers))
	for vtep := range h.peers {
		all[wire(vtep)] = h.entry(vtep)
	}
	return all
}

// manage has the kernel keep a neighbour resolved without traffic (NTF_EXT_MANAGED, Linux 5.16, commit 7482e3841d52).
// State NONE starts resolution and leaves an address that is known.
func manage(h *netlink.Handle, at hop) error {
	return h.NeighSet(&netlink.Neigh{
		LinkIndex: at.ifindex, Family: unix.AF_INET, IP: at.ip.AsSlice(),
		State: unix.NUD_NONE, FlagsExt: netlink.NTF_EXT_MANAGED,
	})
}

// unmanage takes the flag away from an entry that has it. The kernel knows no request for just that: writing the entry
// with the use flag and without the managed one clears it, and keeps the address (neigh_add, net/core/neighbour.c).
func unmanage(h *netlink.Handle, at hop) error {
	list, err := h.NeighList(at.ifindex, unix.AF_INET)
	if err != nil && !gone(err) {
		return fmt.Errorf("look for it: %w", err)
	}
	for _, n := range list {
		ip, _ := netip.AddrFromSlice(n.IP.To4())
		if ip != at.ip || n.FlagsExt&netlink.NTF_EXT_MANAGED == 0 {
			continue
		}
		err := h.NeighSet(&netlink.Neigh{
			LinkIndex: at.ifindex, Family: unix.AF_INET, IP: at.ip.AsSlice(), State: unix.NUD_NONE, Flags: unix.NTF_USE,
		})
		if err != nil && !gone(err) {
			return fmt.Errorf("let go of it: %w", err)
		}
	}
	return nil
}
