package dataplane

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/lanyard-project/lanyard/bpf"
)

// built is a State as the kernel's tables should show it.
type built struct {
	ports     map[uint32]bpf.TcPort
	endpoints map[bpf.TcAddr]bpf.TcEndpoint
	macs      map[bpf.TcMacKey]bpf.TcEndpoint
	services  *services
	prefixes  map[bpf.TcPrefixKey]uint32
	kernel    map[int]portState
	flood     map[netip.Addr]struct{}

	stations, crowded, routes []Problem
}

func (b *built) allProblems() []Problem { return slices.Concat(b.stations, b.crowded, b.routes) }

// build translates. What does not fit into its table is a problem of its own, and what is there already stays. Parts that
// are the same as before are taken from old.
func (d *Dataplane) build(w *wanted, old *built, same sameness) *built {
	b := &built{}
	if same.stations {
		b.ports, b.endpoints, b.macs, b.kernel, b.flood, b.stations = old.ports, old.endpoints, old.macs, old.kernel, old.flood, old.stations
	} else {
		d.buildStations(b, w)
	}
	if same.services {
		b.services, b.crowded = old.services, old.crowded
	} else {
		cut(d.tables.forwards, w.forwards, &b.crowded, "forwards")
		b.services = buildServices(w, d.slots, d.tables.inverses.shadow)
		cut(d.tables.inverses, b.services.inverses, &b.crowded, "forwards' answers")
	}
	b.prefixes = make(map[bpf.TcPrefixKey]uint32, len(w.prefixes))
	for p, deny := range w.prefixes {
		class := bpf.TcPrefixClassPREFIX_ALLOW
		if deny {
			class = bpf.TcPrefixClassPREFIX_DENY
		}
		b.prefixes[wirePrefix(p)] = uint32(class)
	}
	cut(d.tables.prefixes, b.prefixes, &b.routes, "prefixes")
	return b
}

func (d *Dataplane) buildStations(b *built, w *wanted) {
	b.ports = make(map[uint32]bpf.TcPort, len(w.ports))
	b.kernel = make(map[int]portState, len(w.ports))
	for ifindex, p := range w.ports {
		m := toMAC(p.MAC)
		b.ports[uint32(ifindex)] = d.portEntry(&p)
		b.kernel[ifindex] = portState{mac: m, ip: p.IP}
	}
	d.buildEndpoints(b, w)
	b.flood = make(map[netip.Addr]struct{}, len(w.peers))
	for vtep := range w.peers {
		b.flood[vtep] = struct{}{}
	}
	cut(d.tables.ports, b.ports, &b.stations, "ports")
	cut(d.tables.endpoints, b.endpoints, &b.stations, "endpoints")
	cut(d.tables.macs, b.macs, &b.stations, "endpoints' MACs")
}

func (d *Dataplane) buildEndpoints(b *built, w *wanted) {
	b.endpoints = make(map[bpf.TcAddr]bpf.TcEndpoint, len(w.endpoints)+1)
	b.macs = make(map[bpf.TcMacKey]bpf.TcEndpoint, len(w.endpoints)+1)
	put := func(e bpf.TcEndpoint, m mac) {
		b.endpoints[e.Ip] = e
		b.macs[m.key()] = e
	}
	for _, i := range w.endpoints {
		v := d.endpointEntry(&w.state.Endpoints[i])
		put(v, v.Mac)
	}
	node := toMAC(d.cfg.NodeMAC)
	put(bpf.TcEndpoint{
		Ip: wire(d.cfg.NodeIP), Mac: node, State: uint8(bpf.TcEndpointStateENDPOINT_AWAKE),
		Flags:   uint8(bpf.TcEndpointFlagsENDPOINT_INFRA | bpf.TcEndpointFlagsENDPOINT_NODE),
		Ifindex: uint32(d.dev.bridge), Port: uint32(d.dev.bridge),
	}, node)
}

// cut takes out what a table has no room for. What the kernel has already stays before what is new.
func cut[K, V comparable, W any](t *table[K, V], want map[K]W, problems *[]Problem, what string) {
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
	*problems = append(*problems, Problem{
		Subject: "map " + t.name,
		Err:     fmt.Errorf("%d %s do not fit into its %d places; raise its size in the configuration", over, what, t.m.MaxEntries()),
	})
}
