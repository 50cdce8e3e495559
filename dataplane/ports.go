package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// portState is what the kernel holds for a port, besides maps: its program, its place in the bridge, the static
// forwarding entry there, and the node's permanent neighbour entry.
type portState struct {
	mac mac
	ip  netip.Addr
}

// kernel is everything that is no map. Its shadows are read back from the kernel by read, and kept by Apply.
type kernel struct {
	ports set[int, portState]       // by ifindex: complete ones only
	links map[int]bool              // ifindexes with a port program attached
	flood set[netip.Addr, struct{}] // all-zero entries of the VXLAN device
	fdb   map[int]map[mac]bool      // static entries of bridge ports, as found
	neigh map[netip.Addr]mac        // permanent neighbours on the bridge, as found
	found map[int]bool              // members of the bridge, as found
	stay  map[netip.Addr]mac        // neighbours that the State wants, whatever port they are behind
}

func newKernel() *kernel {
	return &kernel{
		ports: set[int, portState]{name: "ports", shadow: map[int]portState{}},
		flood: set[netip.Addr, struct{}]{name: "tunnels", shadow: map[netip.Addr]struct{}{}},
	}
}

// read looks at what is there, whoever put it there.
func (k *kernel) read(p *pins, d *devices) error {
	k.links, k.fdb, k.neigh, k.found = map[int]bool{}, map[int]map[mac]bool{}, map[netip.Addr]mac{}, map[int]bool{}
	clear(k.ports.shadow)
	clear(k.flood.shadow)
	if err := p.eachLink(func(name string, ifindex int, l link.Link) error {
		if at, _ := linked(l); name == progPort && at == ifindex {
			k.links[ifindex] = true
		} else if name == progPort {
			return detach(p, name, ifindex) // its interface is gone
		}
		return nil
	}); err != nil {
		return err
	}
	all, err := d.nl.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range all {
		if l.Attrs().MasterIndex == d.bridge && l.Attrs().Index != d.vxlan {
			k.found[l.Attrs().Index] = true
		}
	}
	entries, err := d.nl.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list forwarding entries: %w", err)
	}
	for i := range entries {
		k.readFDB(&entries[i], d)
	}
	neighbours, err := d.nl.NeighList(d.bridge, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range neighbours {
		if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok && n.State&unix.NUD_PERMANENT != 0 {
			k.neigh[ip] = toMAC(n.HardwareAddr)
		}
	}
	k.assemble(d)
	return nil
}

func (k *kernel) readFDB(n *netlink.Neigh, d *devices) {
	switch {
	case n.LinkIndex == d.vxlan && toMAC(n.HardwareAddr) == mac{} && len(n.IP) > 0:
		if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok {
			k.flood.shadow[ip] = struct{}{}
		}
	case n.LinkIndex != d.vxlan && n.MasterIndex == d.bridge && n.Vlan == 0 && n.State&unix.NUD_NOARP != 0:
		if k.fdb[n.LinkIndex] == nil {
			k.fdb[n.LinkIndex] = map[mac]bool{}
		}
		k.fdb[n.LinkIndex][toMAC(n.HardwareAddr)] = true
	}
}

// assemble takes for a port what has a program, a place in the bridge and one static entry with a neighbour; what is less
// is completed by the next Apply, or undone by tidy.
func (k *kernel) assemble(d *devices) {
	byMAC := map[mac]netip.Addr{}
	for ip, m := range k.neigh {
		byMAC[m] = ip
	}
	for ifindex := range k.found {
		if !k.links[ifindex] || len(k.fdb[ifindex]) != 1 {
			continue
		}
		for m := range k.fdb[ifindex] {
			if ip, ok := byMAC[m]; ok {
				k.ports.shadow[ifindex] = portState{mac: m, ip: ip}
			}
		}
	}
}

// join makes a port of an interface. The program comes first: a frame that nobody checks never enters the LAN.
func (d *Dataplane) join(ifindex int, want portState) error {
	l, err := d.nl.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Errorf("look for it: %w", err)
	}
	name := l.Attrs().Name
	if _, err := attach(d.pins, progPort, d.progs[progPort], ifindex, XDPOff); err != nil {
		return err
	}
	d.kernel.links[ifindex] = true
	if err := writeSysctl("ipv6", name, "disable_ipv6", "1"); err != nil && !gone(err) {
		return err
	}
	if l.Attrs().MasterIndex != d.dev.bridge {
		if err := d.nl.LinkSetMasterByIndex(l, d.dev.bridge); err != nil {
			return fmt.Errorf("make it a port of the bridge: %w", err)
		}
	}
	// A guarded port has one MAC, which is known: nothing is to be learned.
	if err := d.nl.LinkSetLearning(l, false); err != nil {
		return fmt.Errorf("switch learning off: %w", err)
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := d.nl.LinkSetUp(l); err != nil {
			return fmt.Errorf("bring it up: %w", err)
		}
	}
	for m := range d.kernel.fdb[ifindex] {
		if m != want.mac {
			if err := d.nl.NeighDel(staticFDB(ifindex, m)); err != nil && !gone(err) {
				return fmt.Errorf("remove an old forwarding entry: %w", err)
			}
		}
	}
	if old, ok := d.kernel.ports.shadow[ifindex]; ok && old != want {
		if err := d.forget(ifindex, old, want); err != nil {
			return err
		}
	}
	if err := d.nl.NeighSet(staticFDB(ifindex, want.mac)); err != nil {
		return fmt.Errorf("write its forwarding entry: %w", err)
	}
	if err := d.nl.NeighSet(permanent(d.dev.bridge, want)); err != nil {
		return fmt.Errorf("write its neighbour entry: %w", err)
	}
	d.kernel.fdb[ifindex] = map[mac]bool{want.mac: true}
	d.kernel.neigh[want.ip] = want.mac
	return nil
}

// forget removes the entries of a port that the wanted ones do not replace.
func (d *Dataplane) forget(ifindex int, old, want portState) error {
	if old.mac != want.mac {
		if err := d.nl.NeighDel(staticFDB(ifindex, old.mac)); err != nil && !gone(err) {
			return fmt.Errorf("remove its forwarding entry: %w", err)
		}
	}
	if m, ok := d.kernel.neigh[old.ip]; ok && m == old.mac && d.kernel.stay[old.ip] != old.mac {
		if err := d.nl.NeighDel(permanent(d.dev.bridge, old)); err != nil && !gone(err) {
			return fmt.Errorf("remove its neighbour entry: %w", err)
		}
		delete(d.kernel.neigh, old.ip)
	}
	return nil
}

// leave undoes join, in the opposite order. An interface that is gone has taken most of it along.
func (d *Dataplane) leave(ifindex int, old portState) error {
	l, err := d.nl.LinkByIndex(ifindex)
	switch {
	case err == nil && l.Attrs().MasterIndex == d.dev.bridge:
		if err := d.nl.LinkSetNoMaster(l); err != nil && !gone(err) {
			return fmt.Errorf("take it out of the bridge: %w", err)
		}
	case err != nil && !notFound(err):
		return fmt.Errorf("look for it: %w", err)
	}
	delete(d.kernel.fdb, ifindex) // went with its place in the bridge
	err = errors.Join(d.forget(ifindex, portState{ip: old.ip, mac: old.mac}, portState{mac: old.mac}), detach(d.pins, progPort, ifindex))
	if err == nil {
		delete(d.kernel.links, ifindex)
		delete(d.kernel.found, ifindex)
	}
	return err
}

// tidy undoes half-made ports that nobody wants: what a crash left between two steps. An interface in the bridge without
// our program was put there by the administrator, and stays.
func (d *Dataplane) tidy(want map[int]portState, failed func(string, error)) (delta Delta) {
	stray := map[int]bool{}
	for ifindex := range d.kernel.links {
		stray[ifindex] = true
	}
	for ifindex := range stray {
		if _, ok := want[ifindex]; ok {
			continue
		}
		if _, ok := d.kernel.ports.shadow[ifindex]; ok {
			continue
		}
		if err := d.leave(ifindex, portState{}); err != nil {
			failed(fmt.Sprintf("interface %d", ifindex), err)
			continue
		}
		delta.Removed++
	}
	for ip, m := range d.kernel.neigh {
		if _, ok := d.kernel.stay[ip]; ok {
			continue
		}
		if err := d.nl.NeighDel(permanent(d.dev.bridge, portState{mac: m, ip: ip})); err != nil && !gone(err) {
			failed("neighbour "+ip.String(), err)
			continue
		}
		delete(d.kernel.neigh, ip)
		delta.Removed++
	}
	return delta
}

func staticFDB(ifindex int, m mac) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: ifindex, Family: unix.AF_BRIDGE, Flags: netlink.NTF_MASTER, State: unix.NUD_NOARP, HardwareAddr: m.hardware()}
}

func permanent(bridge int, p portState) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: bridge, Family: unix.AF_INET, State: unix.NUD_PERMANENT, IP: p.ip.AsSlice(), HardwareAddr: p.mac.hardware()}
}

// floodTo is one peer's entry in the VXLAN device: frames without a known destination go to it too.
func floodTo(vxlan int, vtep netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: vxlan, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: unix.NUD_PERMANENT | unix.NUD_NOARP,
		IP: vtep.AsSlice(), HardwareAddr: mac{}.hardware(),
	}
}

func (d *Dataplane) addFlood(vtep netip.Addr, _ struct{}) error {
	if err := d.nl.NeighAppend(floodTo(d.dev.vxlan, vtep)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("append it to the VXLAN device: %w", err)
	}
	return nil
}

func (d *Dataplane) removeFlood(vtep netip.Addr, _ struct{}) error {
	if err := d.nl.NeighDel(floodTo(d.dev.vxlan, vtep)); err != nil && !gone(err) {
		return fmt.Errorf("remove it from the VXLAN device: %w", err)
	}
	return nil
}
