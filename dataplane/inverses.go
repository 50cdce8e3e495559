package dataplane

import (
	"cmp"
	"slices"

	"github.com/lanyard-project/lanyard/bpf"
)

func serviceKey(ip bpf.TcAddr, port uint16, proto Proto) (k bpf.TcServiceKey) {
	k.Ip, k.Port, k.Proto = ip, port, uint8(proto)
	return k
}

func (f *Forward) target() bpf.TcServiceKey {
	return serviceKey(wire(f.Target.Addr()), f.Target.Port(), f.Proto)
}

const trackedFlag = uint8(bpf.TcForwardFlagsFORWARD_TRACKED)

// services makes both directions of all forwards.
//
// The inverse of a forward is stateless while its target has no other external side: the answer's source is rewritten by
// looking up where it comes from. With several, each client is noted in `tracks`, and the inverse is only what
// holds where there is no such note. That is true of connections from the time when their external side was the only
// one, so the inverse in force stays; else an external side of this very node is preferred, and of several the least.
type services struct {
	w         *wanted
	slots     *slots
	inverses  map[bpf.TcServiceKey]bpf.TcInverse
	ambiguous map[bpf.TcServiceKey]int32 // target -> its default
}

func buildServices(w *wanted, slots *slots, inForce map[bpf.TcServiceKey]bpf.TcInverse) *services {
	s := &services{w: w, slots: slots, inverses: make(map[bpf.TcServiceKey]bpf.TcInverse, len(w.forwards))}
	list := w.state.Forwards
	for k, i := range w.forwards {
		at, n := list[i].target(), len(s.inverses)
		s.inverses[at] = bpf.TcInverse{Ip: k.Ip, Entry: wire(list[i].Entry), Port: k.Port}
		if len(s.inverses) == n {
			if s.ambiguous == nil {
				s.ambiguous = map[bpf.TcServiceKey]int32{}
			}
			s.ambiguous[at] = -1
		}
	}
	defer s.setWake()
	if s.ambiguous == nil {
		return s
	}
	for k, i := range w.forwards {
		at := list[i].target()
		best, ok := s.ambiguous[at]
		if ok && (best < 0 || preferred(&list[i], &list[best])) {
			s.ambiguous[at] = i
			s.inverses[at] = bpf.TcInverse{Ip: k.Ip, Entry: wire(list[i].Entry), Port: k.Port, Flags: trackedFlag}
		}
	}
	for at := range s.ambiguous {
		now, ok := inForce[at]
		if !ok {
			continue
		}
		i, ok := w.forwards[bpf.TcServiceKey{Ip: now.Ip, Port: now.Port, Proto: at.Proto}]
		if ok && list[i].target() == at && wire(list[i].Entry) == now.Entry {
			now.Flags = trackedFlag
			s.ambiguous[at], s.inverses[at] = i, now
		}
	}
	return s
}

// setWake notes on the inverses what forwards say of waking: the strictest of those that share a target.
func (s *services) setWake() {
	if !slices.ContainsFunc(s.w.state.Forwards, func(f Forward) bool { return f.Wake != ForwardWakeDefault }) {
		return
	}
	strict := func(w ForwardWake) int { return [...]int{1, 0, 2, 3}[w] }
	flags := [...]uint8{
		ForwardWakeAny:      uint8(bpf.TcForwardFlagsFORWARD_WAKE_ANY),
		ForwardWakeVerified: uint8(bpf.TcForwardFlagsFORWARD_WAKE_VERIFIED),
		ForwardWakeNever:    uint8(bpf.TcForwardFlagsFORWARD_WAKE_NEVER),
	}
	said := map[bpf.TcServiceKey]ForwardWake{}
	for _, i := range s.w.forwards {
		f := &s.w.state.Forwards[i]
		if f.Wake == ForwardWakeDefault {
			continue
		}
		at := f.target()
		if _, shared := s.ambiguous[at]; !shared {
			said[at] = f.Wake
		} else if now, ok := said[at]; !ok || strict(f.Wake) > strict(now) {
			said[at] = f.Wake
		}
	}
	for _, i := range s.w.forwards { // a shared target whose other forward says nothing
		f := &s.w.state.Forwards[i]
		if f.Wake != ForwardWakeDefault {
			continue
		}
		if at := f.target(); strict(f.Wake) > strict(said[at]) {
			delete(said, at)
		}
	}
	for at, wake := range said {
		v := s.inverses[at]
		v.Flags |= flags[wake]
		s.inverses[at] = v
	}
}

// forward is the entry of an external side.
func (s *services) forward(i int32) bpf.TcForward {
	f := &s.w.state.Forwards[i]
	at := f.target()
	v := bpf.TcForward{Ip: at.Ip, Entry: wire(f.Entry), Port: at.Port}
	if e := &s.w.state.Endpoints[s.w.targets[i]]; !e.VTEP.IsValid() {
		v.Slot = s.slots.owner[e.Owner]
	}
	if _, ok := s.ambiguous[at]; ok {
		v.Flags = trackedFlag
	}
	return v
}

// preferred reports whether a is the better default than b.
func preferred(a, b *Forward) bool {
	if here := !a.Entry.IsValid(); here != !b.Entry.IsValid() {
		return here
	}
	return cmp.Or(a.External.Compare(b.External), a.Entry.Compare(b.Entry)) < 0
}
