package dataplane

import (
	"cmp"
	"net/netip"

	"github.com/lanyard-project/lanyard/bpf"
)

func serviceKey(ip bpf.TcAddr, port uint16, proto Proto) (k bpf.TcServiceKey) {
	k.Ip, k.Port, k.Proto = ip, port, uint8(proto)
	return k
}

// buildForwards makes both directions of all forwards.
//
// The inverse of a forward is stateless while its target has no other external side: the answer's source is rewritten by
// looking up where it comes from. With several, each client is noted in `tracks`, and the inverse is only what
// holds when that note is lost: then an external side of this very node is preferred, and of several the least, so that
// every build of the tables, and every node, decides alike.
func buildForwards(forwards map[forwardKey]Forward, slot func(target netip.Addr) uint32) (
	map[bpf.TcServiceKey]bpf.TcForward, map[bpf.TcServiceKey]bpf.TcInverse,
) {
	to := make(map[bpf.TcServiceKey]bpf.TcForward, len(forwards))
	back := make(map[bpf.TcServiceKey]bpf.TcInverse, len(forwards))
	const tracked = uint8(bpf.TcForwardFlagsFORWARD_TRACKED)
	first := make(map[bpf.TcServiceKey]forwardKey, len(forwards))
	var ambiguous map[bpf.TcServiceKey]bool
	for k, f := range forwards {
		at := serviceKey(wire(f.Target.Addr()), f.Target.Port(), f.Proto)
		if best, ok := first[at]; ok {
			if ambiguous == nil {
				ambiguous = map[bpf.TcServiceKey]bool{}
			}
			ambiguous[at] = true
			if !preferred(f, forwards[best]) {
				continue
			}
		}
		first[at] = k
	}
	for k, f := range forwards {
		at := serviceKey(wire(f.Target.Addr()), f.Target.Port(), f.Proto)
		ext := wire(k.external.Addr())
		v := bpf.TcForward{Ip: at.Ip, Entry: wire(f.Entry), Port: f.Target.Port(), Slot: slot(f.Target.Addr())}
		if ambiguous[at] {
			v.Flags = tracked
		}
		to[serviceKey(ext, k.external.Port(), k.proto)] = v
		if first[at] == k {
			back[at] = bpf.TcInverse{Ip: ext, Entry: v.Entry, Port: k.external.Port(), Flags: v.Flags}
		}
	}
	return to, back
}

// preferred reports whether a is the better default than b.
func preferred(a, b Forward) bool {
	if here := !a.Entry.IsValid(); here != !b.Entry.IsValid() {
		return here
	}
	return cmp.Or(a.External.Compare(b.External), a.Entry.Compare(b.Entry)) < 0
}
