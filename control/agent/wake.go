package agent

import (
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Waker wakes the webspaces of this node; *wake.Engine is one. It is told what a pass sees, and says in which life each
// webspace is.
type Waker interface {
	Observe(began time.Time, list []wake.Target) map[netip.Addr]dataplane.Life
	Applied(list []wake.Target)
}

// target adds what the engine must know of a webspace of this node.
func (b *builder) target(i webspace.Instance, e *dataplane.Endpoint) {
	if b.c.Waker == nil {
		return
	}
	r := i.Record
	e.Wake = wake.Bits(r.Config.Wake.WakeRule, b.c.Wake)
	b.out.Targets = append(b.out.Targets, wake.Target{
		UID: i.UID, Name: i.Name, Addr: r.Address, Status: i.Status, Ifindex: e.Ifindex, HTTPPort: r.Config.HTTPPort,
		StartupDelay: time.Duration(r.Config.StartupDelay * float64(time.Second)),
		Rule:         r.Config.Wake.WakeRule, Forwards: forwardRules(r), Watched: !r.Config.Idle.IsZero(),
	})
}

// forwardRules are the rules of ports of which at least one forward has a rule of its own. Where several forwards lead
// to one port the strictest counts for all of them: by the time that a packet is held nobody can tell them apart.
func forwardRules(r webspace.Record) map[wake.Port]webspace.WakeRule {
	if len(r.Config.Wake.Forwards) == 0 {
		return nil
	}
	own := make(map[wake.Port]bool)
	rules := make(map[wake.Port]webspace.WakeRule)
	add := func(proto webspace.Proto, number dataplane.Proto, ports webspace.Ports) {
		for external, internal := range ports {
			f := webspace.Forward{Proto: proto, Port: external}
			at := wake.Port{Proto: number, Port: internal}
			_, set := r.Config.Wake.Forwards[f]
			own[at] = own[at] || set
			rule := r.Config.Wake.Rule(f)
			if other, there := rules[at]; !there || strictness(rule.Policy) > strictness(other.Policy) {
				rules[at] = rule
			}
		}
	}
	add(webspace.TCP, dataplane.TCP, r.Ports)
	add(webspace.UDP, dataplane.UDP, r.UDPPorts)
	for at := range rules {
		if !own[at] {
			delete(rules, at)
		}
	}
	return rules
}

func strictness(p webspace.Policy) int {
	switch p {
	case webspace.WakeNever:
		return 4
	case webspace.WakeAllowlist:
		return 3
	case webspace.WakeVerified:
		return 2
	case webspace.WakeDefault:
		return 1
	}
	return 0
}

// forwardWake is what the dataplane is told of a forward's own rule.
func forwardWake(r webspace.Record, proto dataplane.Proto, external uint16) dataplane.ForwardWake {
	f := webspace.Forward{Proto: webspace.TCP, Port: external}
	if proto == dataplane.UDP {
		f.Proto = webspace.UDP
	}
	rule, own := r.Config.Wake.Forwards[f]
	if !own {
		return dataplane.ForwardWakeDefault
	}
	return wake.ForwardBits(rule)
}

// enliven fills in the lives of this node's endpoints, which are the engine's to say.
func enliven(s *dataplane.State, lives map[netip.Addr]dataplane.Life) {
	for n := range s.Endpoints {
		if e := &s.Endpoints[n]; !e.VTEP.IsValid() && e.Owner != "" {
			e.Life = lives[e.IP]
		}
	}
}
