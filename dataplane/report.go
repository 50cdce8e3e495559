package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/lanyard-project/lanyard/bpf"
)

// Status reads the dataplane: what is attached is asked of the kernel, tables come from the shadows, and the fill of
// what programs write is as of the last sweep.
func (d *Dataplane) Status() (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return Status{}, errClosed
	}
	v := d.shares()
	s := Status{
		Layout: d.pins.layout, MTU: d.MTU(), Applied: d.applied,
		Problems:  append([]Problem{}, d.problems...),
		Programs:  []ProgramStatus{},
		Ports:     []PortStatus{},
		Endpoints: []EndpointStatus{},
		Forwards:  []ForwardStatus{},
		Peers:     []PeerStatus{},
		Flows: FlowStatus{
			Entries: d.fill.flows, Max: d.cfg.Sizes.Flows, Share: int(v.share), Quota: int(v.quota), Pool: int(v.pool),
		},
	}
	names, err := d.interfaces()
	if err != nil {
		return s, err
	}
	if s.Programs, err = d.programStatus(names); err != nil {
		return s, err
	}
	s.Maps = d.mapStatus()
	for ifindex, p := range d.tables.ports.shadow {
		s.Ports = append(s.Ports, PortStatus{
			Name: names[int(ifindex)], Ifindex: int(ifindex), MAC: mac(p.Mac).String(), IP: unwire(p.Ip),
			Kind: kindName(PortKind(p.Kind)), Owner: d.slots.name[p.Slot], Slot: p.Slot,
		})
	}
	slices.SortFunc(s.Ports, func(a, b PortStatus) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	for _, e := range d.tables.endpoints.shadow {
		s.Endpoints = append(s.Endpoints, d.endpointStatus(e, names))
	}
	slices.SortFunc(s.Endpoints, func(a, b EndpointStatus) int { return a.IP.Compare(b.IP) })
	for k, f := range d.tables.forwards.shadow {
		ext := netip.AddrPortFrom(unwire(k.Ip), k.Port)
		fs := ForwardStatus{
			External: ext, Proto: Proto(k.Proto).String(), Target: netip.AddrPortFrom(unwire(f.Ip), f.Port),
			Entry: unwire(f.Entry), Tracked: f.Flags&uint8(bpf.TcForwardFlagsFORWARD_TRACKED) != 0, Owner: d.slots.name[f.Slot],
		}
		if w, ok := d.wanted.forward(k); ok {
			fs.Owner = w.Owner
		}
		s.Forwards = append(s.Forwards, fs)
	}
	slices.SortFunc(s.Forwards, func(a, b ForwardStatus) int {
		return cmp.Or(a.External.Compare(b.External), cmp.Compare(a.Proto, b.Proto))
	})
	for key, p := range d.tables.peers.shadow {
		s.Peers = append(s.Peers, d.peerStatus(unwire(key), p, names))
	}
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return a.VTEP.Compare(b.VTEP) })
	return s, nil
}

func kindName(k PortKind) string {
	if k == PortPod {
		return "pod"
	}
	return "webspace"
}

func (d *Dataplane) endpointStatus(e bpf.TcEndpoint, names map[int]string) EndpointStatus {
	es := EndpointStatus{
		IP: unwire(e.Ip), MAC: mac(e.Mac).String(), VTEP: unwire(e.Vtep), Ifindex: int(e.Port), Port: names[int(e.Port)],
		State: LifeAwake.String(), Infra: e.Flags&uint8(bpf.TcEndpointFlagsENDPOINT_INFRA) != 0, Owner: d.slots.name[e.Slot],
	}
	if e.Vtep == (bpf.TcAddr{}) {
		es.State = Life(e.State).String()
	}
	if w, ok := d.wanted.endpoint(e.Ip); ok {
		es.Owner = w.Owner
		if !w.VTEP.IsValid() && w.Ifindex == 0 && d.lifeOf(&w) == LifeUnset {
			es.State = LifeAsleep.String() // and nobody wakes it
		}
	}
	return es
}

func (d *Dataplane) peerStatus(vtep netip.Addr, p bpf.TcPeer, names map[int]string) PeerStatus {
	ps := PeerStatus{VTEP: vtep, Foreign: p.Flags&uint8(bpf.TcPeerFlagsPEER_FOREIGN) != 0}
	if ps.Ready = p.Flags&uint8(bpf.TcPeerFlagsPEER_READY) != 0; ps.Ready {
		ps.Interface, ps.NextHop, ps.MTU = names[int(p.Ifindex)], mac(p.Dmac).String(), int(p.Mtu)
		return ps
	}
	ps.Detail = "the neighbour has not answered yet"
	if h, ok := d.hops.peers[vtep]; ok && h.detail != "" {
		ps.Detail = h.detail
	}
	return ps
}

func (d *Dataplane) interfaces() (map[int]string, error) {
	all, err := d.nl.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}

func (d *Dataplane) programStatus(names map[int]string) ([]ProgramStatus, error) {
	list := []ProgramStatus{}
	type ident struct {
		tag     string
		version string
	}
	idents := map[ebpf.ProgramID]ident{}
	for name, p := range d.progs {
		if info, err := p.Info(); err == nil {
			id, _ := info.ID()
			_, version := readBuild(d.maps[mapBuilds], name, id)
			idents[id] = ident{info.Tag, version}
		}
	}
	err := d.pins.eachLink(func(program string, ifindex int, l link.Link) error {
		at, id := linked(l)
		known, ours := idents[id]
		hook := "tcx/ingress"
		switch program {
		case progNode:
			hook = "tcx/egress"
		case progXDP:
			hook = "xdp"
		}
		list = append(list, ProgramStatus{
			Name: program, Hook: hook, Interface: names[ifindex], Ifindex: ifindex, ID: uint32(id),
			Tag: known.tag, Version: known.version, Attached: ours && at == ifindex,
		})
		return nil
	})
	slices.SortFunc(list, func(a, b ProgramStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Ifindex, b.Ifindex))
	})
	return list, err
}

func (d *Dataplane) mapStatus() []MapStatus {
	list := make([]MapStatus, 0, len(d.maps))
	t := &d.tables
	counts := map[string]int{
		"ports": len(t.ports.shadow), "endpoints": len(t.endpoints.shadow), "macs": len(t.macs.shadow),
		"peers": len(t.peers.shadow), "forwards": len(t.forwards.shadow), "inverses": len(t.inverses.shadow),
		"prefixes": len(t.prefixes.shadow), mapOwners: len(d.slots.name),
		"flows": d.fill.entries, "tracks": d.fill.tracks, "frags": d.fill.frags, "nexthops": d.fill.nexthops,
	}
	for name, m := range d.maps {
		ms := MapStatus{Name: name, Entries: -1, Max: int(m.MaxEntries())}
		if n, ok := counts[name]; ok {
			ms.Entries = n
		}
		if info, err := m.Info(); err == nil {
			bytes, _ := info.Memlock()
			ms.Bytes = int64(bytes)
		}
		list = append(list, ms)
	}
	slices.SortFunc(list, func(a, b MapStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
