package api

import (
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// webspaceOf is a webspace as the API shows it.
func webspaceOf(i webspace.Instance) wire.Webspace {
	user := wire.UserID(i.UID)
	domains := append(wire.Domains{}, i.Record.Domains...)
	ports, udp, config := portsOf(i.Record.Ports), portsOf(i.Record.UDPPorts), configOf(i.Record.Config)
	w := wire.Webspace{User: &user, Config: &config, Domains: &domains, Ports: &ports, UDPPorts: &udp}
	if i.Record.Address.IsValid() {
		address := i.Record.Address.String()
		w.Address = &address
	}
	return w
}

func portsOf(p webspace.Ports) wire.Ports {
	out := make(wire.Ports, len(p))
	for external, internal := range p {
		out[strconv.Itoa(int(external))] = wire.Port(internal)
	}
	return out
}

func configOf(c webspace.Config) wire.Config {
	port := int32(c.HTTPPort)
	delay, pass := c.StartupDelay, c.SNIPassthrough
	nap, sleep, skip := c.Idle.NapAfter.Seconds(), c.Idle.SleepAfter.Seconds(), c.Idle.OOMSkip
	out := wire.Config{StartupDelay: &delay, HTTPPort: &port, SniPassthrough: &pass,
		Idle: &wire.Idle{NapAfter: &nap, SleepAfter: &sleep, OomSkip: &skip}, Wake: &wire.Wake{}}
	rule := ruleOf(c.Wake.WakeRule)
	out.Wake.Policy, out.Wake.Allow = rule.Policy, rule.Allow
	if len(c.Wake.Forwards) > 0 {
		forwards := make(map[string]wire.WakeRule, len(c.Wake.Forwards))
		for f, r := range c.Wake.Forwards {
			forwards[f.String()] = ruleOf(r)
		}
		out.Wake.Forwards = &forwards
	}
	return out
}

func ruleOf(r webspace.WakeRule) wire.WakeRule {
	var out wire.WakeRule
	if r.Policy != "" {
		policy := wire.WakePolicy(r.Policy)
		out.Policy = &policy
	}
	if len(r.Allow) > 0 {
		allow := make([]string, len(r.Allow))
		for n, p := range r.Allow {
			allow[n] = p.String()
		}
		out.Allow = &allow
	}
	return out
}

func statusOf(s webspace.Status) wire.Status {
	switch s {
	case webspace.Running:
		return wire.StatusAwake
	case webspace.Stopped:
		return wire.StatusAsleep
	case webspace.Frozen:
		return wire.StatusNapping
	case webspace.Errored:
		return wire.StatusUnknown
	}
	return wire.StatusChanging
}

func stateOf(s webspace.State) wire.State {
	status := statusOf(s.Status)
	out := wire.State{Running: s.Running, Uptime: s.Uptime.Seconds(), Status: &status,
		Usage:             wire.Usage{CPU: s.CPU.Nanoseconds(), Memory: s.Memory, Processes: s.Processes, Disks: make(map[string]int64, len(s.Disks))},
		NetworkInterfaces: make(map[string]wire.NetworkInterface, len(s.Interfaces))}
	for name, used := range s.Disks {
		out.Usage.Disks[name] = used
	}
	for name, n := range s.Interfaces {
		i := wire.NetworkInterface{Mac: n.MAC, Mtu: n.MTU, State: n.State, Addresses: []wire.InterfaceAddress{},
			Counters: wire.InterfaceCounters{BytesReceived: n.Counters.BytesReceived, BytesSent: n.Counters.BytesSent,
				PacketsReceived: n.Counters.PacketsReceived, PacketsSent: n.Counters.PacketsSent}}
		for _, a := range n.Addresses {
			scope := a.Scope
			i.Addresses = append(i.Addresses, wire.InterfaceAddress{Family: a.Family, Address: a.Address, Netmask: a.Netmask, Scope: &scope})
		}
		out.NetworkInterfaces[name] = i
	}
	return out
}

func summaryOf(i webspace.Instance) wire.WebspaceSummary {
	out := wire.WebspaceSummary{User: wire.UserID(i.UID), Name: i.Name, Status: statusOf(i.Status)}
	if i.Node != "" {
		out.Node = &i.Node
	}
	if !i.Created.IsZero() {
		out.Created = &i.Created
	}
	if i.RecordErr != nil {
		text := clean(i.RecordErr.Error())
		out.Problem = &text
		return out
	}
	w := webspaceOf(i)
	out.Webspace = &w
	return out
}

func imageOf(i webspace.Image) wire.Image {
	out := wire.Image{Fingerprint: i.Fingerprint, Size: i.Size, Aliases: []wire.ImageAlias{}, Properties: i.Properties}
	if out.Properties == nil {
		out.Properties = map[string]string{}
	}
	for _, a := range i.Aliases {
		name, text := a.Name, a.Description
		out.Aliases = append(out.Aliases, wire.ImageAlias{Name: &name, Description: &text})
	}
	return out
}

// seconds reads a duration from a number of seconds that a client gave.
func seconds(v float64) (time.Duration, bool) {
	if !(v >= 0 && v <= webspace.MaxIdle.Seconds()) {
		return 0, false
	}
	return time.Duration(v * float64(time.Second)).Round(time.Second), true
}
