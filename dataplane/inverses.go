package dataplane

import (
	"cmp"

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
func buildForwards(list []Forward, chosen map[bpf.TcServiceKey]int32, slot func(target bpf.TcAddr) uint32) (
	map[bpf.TcServiceKey]bpf.TcForward, map[bpf.TcServiceKey]bpf.TcInverse,
) {
	const tracked = uint8(bpf.TcForwardFlagsFORWARD_TRACKED)
	to := make(map[bpf.TcServiceKey]bpf.TcForward, len(chosen))
	back := make(map[bpf.TcServiceKey]bpf.TcInverse, len(chosen))
	var first map[bpf.TcServiceKey]int32 // the default of the ambiguous
	for k, i := range chosen {
		f := &list[i]
		at := serviceKey(wire(f.Target.Addr()), f.Target.Port(), f.Proto)
		to[k] = bpf.TcForward{Ip: at.Ip, Entry: wire(f.Entry), Port: at.Port, Slot: slot(at.Ip)}
		n := len(back)
		if back[at] = (bpf.TcInverse{Ip: k.Ip, Entry: wire(f.Entry), Port: k.Port}); len(back) == n {
			if first == nil {
				first = map[bpf.TcServiceKey]int32{}
			}
			first[at] = -1
		}
	}
	if first == nil {
		return to, back
	}
	for k, i := range chosen {
		f := &list[i]
		at := serviceKey(wire(f.Target.Addr()), f.Target.Port(), f.Proto)
		best, ambiguous := first[at]
		if !ambiguous {
			continue
		}
		v := to[k]
		v.Flags = tracked
		to[k] = v
		if best < 0 || preferred(f, &list[best]) {
			first[at] = i
			back[at] = bpf.TcInverse{Ip: k.Ip, Entry: v.Entry, Port: k.Port, Flags: tracked}
		}
	}
	return to, back
}

// preferred reports whether a is the better default than b.
func preferred(a, b *Forward) bool {
	if here := !a.Entry.IsValid(); here != !b.Entry.IsValid() {
		return here
	}
	return cmp.Or(a.External.Compare(b.External), a.Entry.Compare(b.Entry)) < 0
}
