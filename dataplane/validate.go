package dataplane

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// ownerMax is the longest name of an owner: the value of the map `owners` has 64 bytes with a final zero.
const ownerMax = 63

// wanted is a State without its bad items, keyed by what must be unique.
type wanted struct {
	peers     map[netip.Addr]Peer
	ports     map[int]Port
	endpoints map[netip.Addr]Endpoint
	forwards  map[forwardKey]Forward
	prefixes  map[netip.Prefix]bool // true: denied
	problems  []Problem
}

type forwardKey struct {
	external netip.AddrPort
	proto    Proto
}

func (w *wanted) problem(subject, format string, args ...any) {
	w.problems = append(w.problems, Problem{Subject: subject, Err: fmt.Errorf(format, args...)})
}

// claim notes that a key is taken by an item. Of two that claim one key the lesser wins, whatever their order in the
// State, so that every Apply decides alike.
func claim[K comparable, T any](taken map[K]T, key K, item T, less func(a, b T) int) (loser T, clash bool) {
	held, ok := taken[key]
	if !ok {
		taken[key] = item
		return loser, false
	}
	if less(item, held) < 0 {
		taken[key] = item
		return held, true
	}
	return item, true
}

// validate sorts a State into tables and reports every item that cannot be used. It never fails as a whole.
func validate(c *Config, s *State) *wanted {
	w := &wanted{
		peers:     make(map[netip.Addr]Peer, len(s.Peers)),
		ports:     make(map[int]Port, len(s.Ports)),
		endpoints: make(map[netip.Addr]Endpoint, len(s.Endpoints)),
		forwards:  make(map[forwardKey]Forward, len(s.Forwards)),
		prefixes:  make(map[netip.Prefix]bool, len(s.Deny)+len(s.Allow)),
	}
	w.takePeers(c, s.Peers)
	w.takePorts(c, s.Ports)
	w.takeEndpoints(c, s.Endpoints)
	w.takeForwards(c, s.Forwards)
	for i, list := range [][]netip.Prefix{s.Deny, s.Allow} {
		for _, p := range list {
			if !p.IsValid() {
				w.problem("prefix "+p.String(), "not a prefix")
				continue
			}
			w.prefixes[p.Masked()] = i == 0 // allowed wins over denied when both name the same prefix
		}
	}
	return w
}

func (w *wanted) takePeers(c *Config, peers []Peer) {
	for _, p := range peers {
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

func lessPort(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), a.IP.Compare(b.IP), bytes.Compare(a.MAC, b.MAC),
		cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

func (p Port) subject() string { return fmt.Sprintf("port %s (%d) of %s", p.Name, p.Ifindex, p.Owner) }

func (w *wanted) takePorts(c *Config, ports []Port) {
	macs := make(map[mac]Port, len(ports))
	ips := make(map[netip.Addr]Port, len(ports))
	var clashes []Port
	for _, p := range ports {
		err := lanAddress(c, p.IP, p.MAC)
		if err == nil {
			err = ownerName(p.Owner)
		}
		switch {
		case err != nil:
		case p.Ifindex <= 0:
			err = fmt.Errorf("interface index %d", p.Ifindex)
		case p.Owner == "":
			err = fmt.Errorf("it has no owner")
		case p.Kind != PortWebspace && p.Kind != PortPod:
			err = fmt.Errorf("kind %d is unknown", p.Kind)
		}
		if err != nil {
			w.problem(p.subject(), "%w", err)
			continue
		}
		if l, clash := claim(w.ports, p.Ifindex, p, lessPort); clash {
			w.problem(l.subject(), "another port has the same interface")
		}
	}
	for _, p := range w.ports {
		if l, clash := claim(macs, toMAC(p.MAC), p, lessPort); clash {
			w.problem(l.subject(), "another port has the MAC %v", l.MAC)
			clashes = append(clashes, l)
		}
		if l, clash := claim(ips, p.IP, p, lessPort); clash {
			w.problem(l.subject(), "another port has the address %v", l.IP)
			clashes = append(clashes, l)
		}
	}
	for _, p := range clashes {
		delete(w.ports, p.Ifindex)
	}
}

func lessEndpoint(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.IP.Compare(b.IP), bytes.Compare(a.MAC, b.MAC),
		a.VTEP.Compare(b.VTEP), cmp.Compare(a.Ifindex, b.Ifindex))
}

func (e Endpoint) subject() string { return fmt.Sprintf("endpoint %v of %q", e.IP, e.Owner) }

func (w *wanted) takeEndpoints(c *Config, endpoints []Endpoint) {
	macs := make(map[mac]Endpoint, len(endpoints))
	var clashes []Endpoint
	for _, e := range endpoints {
		if e.IP == c.NodeIP && !e.VTEP.IsValid() {
			continue // the node itself: the dataplane knows better
		}
		err := lanAddress(c, e.IP, e.MAC)
		if err == nil {
			err = ownerName(e.Owner)
		}
		switch {
		case err != nil:
		case e.VTEP.IsValid():
			if _, ok := w.peers[e.VTEP]; !ok {
				err = fmt.Errorf("it is behind %v, which is no peer", e.VTEP)
			}
			e.Ifindex = 0
		case e.Ifindex != 0:
			// A frame would be handed to the interface; it must be the guarded port of this very address.
			if p, ok := w.ports[e.Ifindex]; !ok || p.IP != e.IP || !bytes.Equal(p.MAC, e.MAC) {
				w.problem(e.subject(), "interface %d is no port of this address and MAC: taken as stopped", e.Ifindex)
				e.Ifindex = 0
			}
		}
		if err != nil {
			w.problem(e.subject(), "%w", err)
			continue
		}
		if l, clash := claim(w.endpoints, e.IP, e, lessEndpoint); clash {
			w.problem(l.subject(), "another endpoint has this address")
		}
	}
	for _, e := range w.endpoints {
		if l, clash := claim(macs, toMAC(e.MAC), e, lessEndpoint); clash {
			w.problem(l.subject(), "another endpoint has the MAC %v", l.MAC)
			clashes = append(clashes, l)
		}
	}
	for _, e := range clashes {
		delete(w.endpoints, e.IP)
	}
}

func lessForward(a, b Forward) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Target.Compare(b.Target), a.Entry.Compare(b.Entry))
}

func (f Forward) subject() string {
	return fmt.Sprintf("forward %v %v of %q", f.Proto, f.External, f.Owner)
}

func (w *wanted) takeForwards(c *Config, forwards []Forward) {
	for _, f := range forwards {
		var err error
		switch {
		case f.Proto != TCP && f.Proto != UDP:
			err = fmt.Errorf("protocol %v cannot be forwarded", f.Proto)
		case !f.External.Addr().Is4() || f.External.Port() == 0 || f.External.Addr().IsUnspecified():
			err = fmt.Errorf("its external side is not an IPv4 address and port")
		case c.Prefix.Contains(f.External.Addr()):
			err = fmt.Errorf("its external address is inside the LAN")
		case !f.Target.Addr().Is4() || f.Target.Port() == 0 || !c.Prefix.Contains(f.Target.Addr()):
			err = fmt.Errorf("its target %v is not an address and port of the LAN", f.Target)
		case f.Proto == UDP && f.External.Port() == c.Port && (f.External.Addr() == c.VTEP || f.External.Addr() == f.Entry):
			err = fmt.Errorf("UDP port %d carries the tunnel", c.Port)
		case f.Entry.IsValid() && f.Entry != c.VTEP:
			if _, ok := w.peers[f.Entry]; !ok {
				err = fmt.Errorf("it enters at %v, which is no peer", f.Entry)
			}
		default:
			f.Entry = netip.Addr{}
		}
		if err != nil {
			w.problem(f.subject(), "%w", err)
			continue
		}
		if _, ok := w.endpoints[f.Target.Addr()]; !ok {
			w.problem(f.subject(), "no endpoint has its target's address %v", f.Target.Addr())
			continue
		}
		if l, clash := claim(w.forwards, forwardKey{f.External, f.Proto}, f, lessForward); clash {
			if lessForward(l, w.forwards[forwardKey{f.External, f.Proto}]) != 0 {
				w.problem(l.subject(), "%q has the same external port", w.forwards[forwardKey{f.External, f.Proto}].Owner)
			}
		}
	}
}

// String is the protocol's name in lower case, or its number.
func (p Proto) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}
