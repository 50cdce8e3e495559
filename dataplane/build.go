package dataplane

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/lanyard-project/lanyard/bpf"
)

// built is a State as the kernel's tables should show it.
type built struct {
	ports     map[uint32]bpf.TcPort
	endpoints map[bpf.TcAddr]bpf.TcEndpoint
	macs      map[bpf.TcMacKey]bpf.TcEndpoint
	forwards  map[bpf.TcServiceKey]bpf.TcForward
	inverses  map[bpf.TcServiceKey]bpf.TcInverse
	prefixes  map[bpf.TcPrefixKey]uint32
	kernel    map[int]portState
	flood     map[netip.Addr]struct{}
}

// build translates. What does not fit into its table is a problem of its own, and what is there already stays.
func (d *Dataplane) build(w *wanted, c *Changes) *built {
	b := &built{
		ports:     make(map[uint32]bpf.TcPort, len(w.ports)),
		endpoints: make(map[bpf.TcAddr]bpf.TcEndpoint, len(w.endpoints)+1),
		macs:      make(map[bpf.TcMacKey]bpf.TcEndpoint, len(w.endpoints)+1),
		prefixes:  make(map[bpf.TcPrefixKey]uint32, len(w.prefixes)),
		kernel:    make(map[int]portState, len(w.ports)),
		flood:     make(map[netip.Addr]struct{}, len(w.peers)),
	}
	for ifindex, p := range w.ports {
		m := toMAC(p.MAC)
		b.ports[uint32(ifindex)] = bpf.TcPort{Ip: wire(p.IP), Mac: m, Kind: uint8(p.Kind), Slot: d.slots.owner[p.Owner]}
		b.kernel[ifindex] = portState{mac: m, ip: p.IP}
	}
	d.buildEndpoints(b, w)
	b.forwards, b.inverses = buildForwards(w.forwards, func(target netip.Addr) uint32 {
		if e := w.endpoints[target]; !e.VTEP.IsValid() {
			return d.slots.owner[e.Owner]
		}
		return 0
	})
	for p, deny := range w.prefixes {
		class := bpf.TcPrefixClassPREFIX_ALLOW
		if deny {
			class = bpf.TcPrefixClassPREFIX_DENY
		}
		b.prefixes[wirePrefix(p)] = uint32(class)
	}
	for vtep := range w.peers {
		b.flood[vtep] = struct{}{}
	}
	t := &d.tables
	cut(t.ports, b.ports, c, "port")
	cut(t.endpoints, b.endpoints, c, "endpoint")
	cut(t.macs, b.macs, c, "endpoint's MAC")
	cut(t.forwards, b.forwards, c, "forward")
	cut(t.inverses, b.inverses, c, "forward's answer")
	cut(t.prefixes, b.prefixes, c, "prefix")
	return b
}

func (d *Dataplane) buildEndpoints(b *built, w *wanted) {
	put := func(e bpf.TcEndpoint, m mac) {
		b.endpoints[e.Ip] = e
		b.macs[m.key()] = e
	}
	for _, e := range w.endpoints {
		v := bpf.TcEndpoint{
			Ip: wire(e.IP), Vtep: wire(e.VTEP), Mac: toMAC(e.MAC),
			State: uint8(bpf.TcEndpointStateENDPOINT_AWAKE), Ifindex: uint32(e.Ifindex),
		}
		if e.Infra {
			v.Flags |= uint8(bpf.TcEndpointFlagsENDPOINT_INFRA)
		}
		if !e.VTEP.IsValid() {
			v.Slot = d.slots.owner[e.Owner]
		}
		put(v, v.Mac)
	}
	node := toMAC(d.cfg.NodeMAC)
	put(bpf.TcEndpoint{
		Ip: wire(d.cfg.NodeIP), Mac: node, State: uint8(bpf.TcEndpointStateENDPOINT_AWAKE),
		Flags:   uint8(bpf.TcEndpointFlagsENDPOINT_INFRA | bpf.TcEndpointFlagsENDPOINT_NODE),
		Ifindex: uint32(d.dev.bridge),
	}, node)
}

// cut takes out what a table has no room for. What the kernel has already stays before what is new.
func cut[K, V comparable](t *table[K, V], want map[K]V, c *Changes, what string) {
	over := len(want) - int(t.m.MaxEntries())
	if over <= 0 {
		return
	}
	lost := 0
	for _, old := range []bool{false, true} {
		for k := range maps.Keys(want) {
			if lost == over {
				break
			}
			if _, ok := t.shadow[k]; ok == old {
				delete(want, k)
				lost++
			}
		}
	}
	c.problem("map "+t.name, fmt.Errorf("%d entries of kind %q do not fit into its %d places; raise its size in the configuration", over, what, t.m.MaxEntries()))
}
