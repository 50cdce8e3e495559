package dataplane

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/bpf"
)

// ownerMax is the longest name of an owner: the value of the map `owners` has 64 bytes with a final zero.
const ownerMax = 63

// wanted is a State without its bad items, keyed by what must be unique. The long tables are indexes into the State's
// lists, by keys without pointers: they are built anew with every change.
type wanted struct {
	state     State // a copy, with some items corrected
	peers     map[netip.Addr]Peer
	ports     map[int]Port
	endpoints map[bpf.TcAddr]int32
	forwards  map[bpf.TcServiceKey]int32
	targets   []int32               // of each forward, the index of its endpoint
	prefixes  map[netip.Prefix]bool // true: denied
	stations  []Problem             // with peers, ports and endpoints
	services  []Problem             // with forwards
	routes    []Problem             // with prefixes
	problems  *[]Problem            // the list that is being filled
}

// endpoint is the one with an address, or none.
func (w *wanted) endpoint(ip bpf.TcAddr) (Endpoint, bool) {
	if w == nil {
		return Endpoint{}, false
	}
	i, ok := w.endpoints[ip]
	if !ok {
		return Endpoint{}, false
	}
	return w.state.Endpoints[i], true
}

// forward is the one with an external side, or none.
func (w *wanted) forward(k bpf.TcServiceKey) (Forward, bool) {
	if w == nil {
		return Forward{}, false
	}
	i, ok := w.forwards[k]
	if !ok {
		return Forward{}, false
	}
	return w.state.Forwards[i], true
}

func (w *wanted) problem(subject, format string, args ...any) {
	*w.problems = append(*w.problems, Problem{Subject: subject, Err: fmt.Errorf(format, args...)})
}

// claim notes that a key is taken by an item of a list. Of two that claim one key the lesser wins, whatever their order in
// the State, so that every Apply decides alike.
func claim[K comparable, T any](taken map[K]int32, key K, list []T, item int32, less func(a, b *T) int) (loser int32, clash bool) {
	held, ok := taken[key]
	if !ok {
		taken[key] = item
		return 0, false
	}
	if less(&list[item], &list[held]) < 0 {
		taken[key] = item
		return held, true
	}
	return item, true
}

// validate sorts a State into tables and reports every item that cannot be used. It never fails as a whole. What is the same
// as in an earlier State is taken from there.
func validate(c *Config, s *State, old *wanted, same sameness) *wanted {
	w := &wanted{state: *s}
	if same.stations {
		w.peers, w.ports, w.endpoints, w.stations = old.peers, old.ports, old.endpoints, old.stations
		w.state.Peers, w.state.Ports, w.state.Endpoints = old.state.Peers, old.state.Ports, old.state.Endpoints
	} else {
		w.problems = &w.stations
		w.takePeers(c)
		w.takePorts(c)
		w.state.Endpoints = slices.Clone(s.Endpoints)
		w.takeEndpoints(c)
	}
	if same.services {
		w.forwards, w.targets, w.services = old.forwards, old.targets, old.services
		w.state.Forwards = old.state.Forwards
	} else {
		w.problems = &w.services
		w.state.Forwards = slices.Clone(s.Forwards)
		w.takeForwards(c)
	}
	w.problems = &w.routes
	w.takePrefixes()
	return w
}

func (w *wanted) allProblems() []Problem { return slices.Concat(w.stations, w.services, w.routes) }

func (w *wanted) takePrefixes() {
	w.prefixes = make(map[netip.Prefix]bool, len(w.state.Deny)+len(w.state.Allow))
	for i, list := range [][]netip.Prefix{w.state.Deny, w.state.Allow} {
		for _, p := range list {
			if !p.IsValid() {
				w.problem("prefix "+p.String(), "not a prefix")
				continue
			}
			w.prefixes[p.Masked()] = i == 0 // allowed wins over denied when both name the same prefix
		}
	}
}

func (w *wanted) takePeers(c *Config) {
	w.peers = make(map[netip.Addr]Peer, len(w.state.Peers))
	for _, p := range w.state.Peers {
		subject := "peer " + p.VTEP.String()
		switch {
		case !p.VTEP.Is4() || p.VTEP.IsUnspecified() || p.VTEP.IsMulticast() || p.VTEP.IsLoopback():
			w.problem(subject, "not a unicast IPv4 address")
			continue
		case p.VTEP == c.VTEP:
			w.problem(subject, "this is the node's own tunnel address")
			continue
		}
		// A lanyardd wins over a plain device when a peer is named as both.
		if old, ok := w.peers[p.VTEP]; ok && !old.Foreign {
			continue
		}
		w.peers[p.VTEP] = p
	}
}

// lanAddress says what is wrong with an address or MAC that a station of the LAN should have.
func lanAddress(c *Config, ip netip.Addr, hw []byte) error {
	switch {
	case !ip.Is4() || !c.Prefix.Contains(ip):
		return fmt.Errorf("address %v is outside the LAN %v", ip, c.Prefix)
	case ip == c.Gateway:
		return fmt.Errorf("address %v is the gateway's", ip)
	case ip == c.NodeIP:
		return fmt.Errorf("address %v is this node's", ip)
	case !unicast(hw):
		return fmt.Errorf("MAC %q is not a unicast address", hw)
	case bytes.Equal(hw, c.GatewayMAC):
		return fmt.Errorf("MAC is the gateway's")
	case bytes.Equal(hw, c.NodeMAC):
		return fmt.Errorf("MAC is this node's")
	}
	return nil
}

func ownerName(owner string) error {
	if len(owner) > ownerMax || strings.ContainsRune(owner, 0) {
		return fmt.Errorf("owner %q is longer than %d bytes or contains a zero", owner, ownerMax)
	}
	return nil
}

func lessPort(a, b *Port) int {
	return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), a.IP.Compare(b.IP), bytes.Compare(a.MAC, b.MAC),
		cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

func (p *Port) subject() string { return fmt.Sprintf("port %s (%d) of %s", p.Name, p.Ifindex, p.Owner) }

func (p *Port) check(c *Config) error {
	if err := lanAddress(c, p.IP, p.MAC); err != nil {
		return err
	}
	switch {
	case p.Ifindex <= 0:
		return fmt.Errorf("interface index %d", p.Ifindex)
	case p.Owner == "":
		return fmt.Errorf("it has no owner")
	case p.Kind != PortWebspace && p.Kind != PortPod:
		return fmt.Errorf("kind %d is unknown", p.Kind)
	}
	return ownerName(p.Owner)
}

func (w *wanted) takePorts(c *Config) {
	list := w.state.Ports
	indexes := make(map[int]int32, len(list))
	for i := range list {
		p := &list[i]
		if err := p.check(c); err != nil {
			w.problem(p.subject(), "%w", err)
			continue
		}
		if l, clash := claim(indexes, p.Ifindex, list, int32(i), lessPort); clash {
			w.problem(list[l].subject(), "another port has the same interface")
		}
	}
	macs := make(map[mac]int32, len(indexes))
	ips := make(map[netip.Addr]int32, len(indexes))
	w.ports = make(map[int]Port, len(indexes))
	var clashes []int32
	for ifindex, i := range indexes {
		w.ports[ifindex] = list[i]
		if l, clash := claim(macs, toMAC(list[i].MAC), list, i, lessPort); clash {
			w.problem(list[l].subject(), "another port has the MAC %v", list[l].MAC)
			clashes = append(clashes, l)
		}
		if l, clash := claim(ips, list[i].IP, list, i, lessPort); clash {
			w.problem(list[l].subject(), "another port has the address %v", list[l].IP)
			clashes = append(clashes, l)
		}
	}
	for _, i := range clashes {
		delete(w.ports, list[i].Ifindex)
	}
}

func lessEndpoint(a, b *Endpoint) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.IP.Compare(b.IP), bytes.Compare(a.MAC, b.MAC),
		a.VTEP.Compare(b.VTEP), cmp.Compare(a.Ifindex, b.Ifindex))
}

func (e *Endpoint) subject() string { return fmt.Sprintf("endpoint %v of %q", e.IP, e.Owner) }

func (w *wanted) takeEndpoints(c *Config) {
	list := w.state.Endpoints
	w.endpoints = make(map[bpf.TcAddr]int32, len(list))
	macs := make(map[mac]int32, len(list))
	for i := range list {
		e := &list[i]
		if e.IP == c.NodeIP && !e.VTEP.IsValid() {
			continue // the node itself: the dataplane knows better
		}
		if err := w.checkEndpoint(c, e); err != nil {
			w.problem(e.subject(), "%w", err)
			continue
		}
		if l, clash := claim(w.endpoints, wire(e.IP), list, int32(i), lessEndpoint); clash {
			w.problem(list[l].subject(), "another endpoint has this address")
		}
	}
	var clashes []int32
	for _, i := range w.endpoints {
		if l, clash := claim(macs, toMAC(list[i].MAC), list, i, lessEndpoint); clash {
			w.problem(list[l].subject(), "another endpoint has the MAC %v", list[l].MAC)
			clashes = append(clashes, l)
		}
	}
	for _, i := range clashes {
		delete(w.endpoints, wire(list[i].IP))
	}
}

// checkEndpoint also corrects what can be: a place that does not exist makes an endpoint stopped.
func (w *wanted) checkEndpoint(c *Config, e *Endpoint) error {
	if err := lanAddress(c, e.IP, e.MAC); err != nil {
		return err
	}
	if e.VTEP.IsValid() {
		if _, ok := w.peers[e.VTEP]; !ok {
			return fmt.Errorf("it is behind %v, which is no peer", e.VTEP)
		}
		e.Ifindex = 0
	} else if e.Ifindex != 0 {
		// A frame would be handed to the interface; it must be the guarded port of this very address.
		if p, ok := w.ports[e.Ifindex]; !ok || p.IP != e.IP || !bytes.Equal(p.MAC, e.MAC) {
			w.problem(e.subject(), "interface %d is no port of this address and MAC: taken as stopped", e.Ifindex)
			e.Ifindex = 0
		}
	}
	if e.Life > LifeUnreachable {
		return fmt.Errorf("its life, %d, is unknown", e.Life)
	}
	return ownerName(e.Owner)
}

func lessForward(a, b *Forward) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Target.Compare(b.Target), a.Entry.Compare(b.Entry))
}

func (f *Forward) subject() string {
	return fmt.Sprintf("forward %v %v of %q", f.Proto, f.External, f.Owner)
}

func (w *wanted) takeForwards(c *Config) {
	list := w.state.Forwards
	w.forwards = make(map[bpf.TcServiceKey]int32, len(list))
	w.targets = make([]int32, len(list))
	for i := range list {
		f := &list[i]
		target, err := w.checkForward(c, f)
		if err != nil {
			w.problem(f.subject(), "%w", err)
			continue
		}
		w.targets[i] = target
		key := serviceKey(wire(f.External.Addr()), f.External.Port(), f.Proto)
		if l, clash := claim(w.forwards, key, list, int32(i), lessForward); clash {
			if winner := &list[w.forwards[key]]; lessForward(&list[l], winner) != 0 {
				w.problem(list[l].subject(), "%q has the same external port", winner.Owner)
			}
		}
	}
}

// checkForward finds a forward's endpoint. It also writes this node's own address as entry in the one way that maps know it: as none.
func (w *wanted) checkForward(c *Config, f *Forward) (target int32, err error) {
	if f.Entry == c.VTEP {
		f.Entry = netip.Addr{}
	}
	switch {
	case f.Proto != TCP && f.Proto != UDP:
		return 0, fmt.Errorf("%v cannot be forwarded", f.Proto)
	case !f.External.Addr().Is4() || f.External.Port() == 0 || f.External.Addr().IsUnspecified():
		return 0, fmt.Errorf("its external side is not an IPv4 address and port")
	case c.Prefix.Contains(f.External.Addr()):
		return 0, fmt.Errorf("its external address is inside the LAN")
	case !f.Target.Addr().Is4() || f.Target.Port() == 0 || !c.Prefix.Contains(f.Target.Addr()):
		return 0, fmt.Errorf("its target %v is not an address and port of the LAN", f.Target)
	case f.Wake > ForwardWakeNever:
		return 0, fmt.Errorf("its word on waking, %d, is unknown", f.Wake)
	case f.Proto == UDP && f.External.Port() == c.Port && (f.External.Addr() == c.VTEP || f.External.Addr() == f.Entry):
		return 0, fmt.Errorf("UDP port %d carries the tunnel", c.Port)
	}
	if f.Entry.IsValid() {
		if _, ok := w.peers[f.Entry]; !ok {
			return 0, fmt.Errorf("it enters at %v, which is no peer", f.Entry)
		}
	}
	target, ok := w.endpoints[wire(f.Target.Addr())]
	if !ok {
		return 0, fmt.Errorf("no endpoint has its target's address %v", f.Target.Addr())
	}
	return target, nil
}
