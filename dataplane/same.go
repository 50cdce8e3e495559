package dataplane

import (
	"bytes"
	"slices"
)

// sameness says which parts of a State are those of the State before. They need not be looked at again, which makes
// the cost of an Apply grow with what has changed, apart from one pass of comparing in memory.
type sameness struct {
	stations bool // peers, ports, endpoints
	services bool // forwards
}

// compare looks at the lists in their order: who gives the same items in another order pays for it, and that is all.
func compare(old, s *State) (same sameness) {
	if old == nil {
		return same
	}
	same.stations = slices.Equal(old.Peers, s.Peers) && slices.EqualFunc(old.Ports, s.Ports, equalPort) &&
		slices.EqualFunc(old.Endpoints, s.Endpoints, equalEndpoint)
	// Forwards need their targets.
	same.services = same.stations && slices.Equal(old.Forwards, s.Forwards)
	return same
}

func equalPort(a, b Port) bool {
	return a.Ifindex == b.Ifindex && a.Name == b.Name && a.IP == b.IP && a.Kind == b.Kind && a.Owner == b.Owner && bytes.Equal(a.MAC, b.MAC)
}

func equalEndpoint(a, b Endpoint) bool {
	return a.IP == b.IP && a.VTEP == b.VTEP && a.Ifindex == b.Ifindex && a.Infra == b.Infra && a.Owner == b.Owner &&
		a.Life == b.Life && a.Wake == b.Wake && bytes.Equal(a.MAC, b.MAC)
}

// clone copies a State, so that its caller may change the lists afterwards. The bytes of MACs are copied too.
func (s *State) clone() *State {
	c := *s
	c.Peers, c.Forwards = slices.Clone(s.Peers), slices.Clone(s.Forwards)
	c.Ports, c.Endpoints = slices.Clone(s.Ports), slices.Clone(s.Endpoints)
	c.Deny, c.Allow = slices.Clone(s.Deny), slices.Clone(s.Allow)
	room := make([]byte, 0, 6*(len(c.Ports)+len(c.Endpoints)))
	keep := func(hw *[]byte) {
		if len(*hw) == 6 {
			room = append(room, *hw...)
			*hw = room[len(room)-6 : len(room) : len(room)]
		} else {
			*hw = bytes.Clone(*hw)
		}
	}
	for i := range c.Ports {
		keep((*[]byte)(&c.Ports[i].MAC))
	}
	for i := range c.Endpoints {
		keep((*[]byte)(&c.Endpoints[i].MAC))
	}
	return &c
}
