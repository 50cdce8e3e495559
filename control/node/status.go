package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/dataplane"
)

// Status puts everything that the node knows about itself together.
func (n *Node) Status() nodeapi.Status {
	s := nodeapi.Status{
		Version: n.version, Time: time.Now(), Started: n.started,
		Node: n.identity(), Counters: map[string]nodeapi.Counters{},
		Drops: []nodeapi.Drops{}, Problems: []nodeapi.Problem{}, Errors: []string{},
	}
	unread := func(what string, err error) { s.Errors = append(s.Errors, what+": "+err.Error()) }

	d, err := n.plane.Status()
	if err != nil {
		unread("the dataplane's status", err)
	}
	s.Readiness = n.readiness(d, err)
	s.Node.MTU = d.MTU
	n.describe(&s, d)
	counters, err := n.plane.Counters()
	if err != nil {
		unread("counters", err)
	}
	for owner, c := range counters {
		s.Counters[owner] = nodeapi.Counters(c)
	}
	drops, err := n.plane.Drops()
	if err != nil {
		unread("drops", err)
	}
	for _, c := range drops {
		s.Drops = append(s.Drops, nodeapi.Drops{Owner: c.Owner, Reason: c.Reason.String(), Packets: c.Packets, Bytes: c.Bytes})
	}

	a := n.agent.Status()
	s.LXD = nodeapi.LXD{Target: n.config.LXD.Address, Connected: a.Connected, Error: text(a.LXDErr), LastSeen: a.LXDSeen}
	if s.LXD.Error == "" && a.ClusterErr != nil {
		s.LXD.Error = "the rest of the cluster: " + a.ClusterErr.Error()
	}
	s.Sync = nodeapi.Sync{Runs: a.Runs, Failures: a.Failures, Last: a.LastSync, Duration: a.Duration, Error: text(a.Err)}
	for i := range s.Peers {
		s.Peers[i].Name = a.PeerNames[s.Peers[i].VTEP]
	}
	stats := n.dhcp.Stats()
	s.DHCP = nodeapi.DHCP{Running: n.dhcp.Running(), Reservations: n.dhcp.Reservations(),
		Received: stats.Received, Sent: stats.Sent, Dropped: stats.Dropped}

	s.DNS = n.names()
	s.Wake = n.waking()

	add := func(p nodeapi.Problem) { s.Problems = append(s.Problems, p) }
	for _, p := range a.Problems {
		add(problem(p))
	}
	for _, p := range d.Problems {
		add(problem(p))
	}
	for _, err := range n.dhcp.Problems() {
		add(nodeapi.Problem{Subject: "dhcp", Error: err.Error()})
	}
	if n.dns != nil {
		for _, err := range n.dns.Problems() {
			add(nodeapi.Problem{Subject: "dns", Error: err.Error()})
		}
	}
	n.failedStarts(add)
	for part, err := range n.supervisor.Down() {
		add(nodeapi.Problem{Subject: "daemon part " + part, Error: err.Error()})
	}
	s.Problems = append(s.Problems, n.keeperProblems()...)
	for _, o := range n.options {
		if err := o.problem(); err != nil {
			add(nodeapi.Problem{Subject: o.key, Error: err.Error()})
		}
	}
	// The agent repeats what the dataplane said about an item.
	slices.SortFunc(s.Problems, func(a, b nodeapi.Problem) int {
		if c := strings.Compare(a.Subject, b.Subject); c != 0 {
			return c
		}
		return strings.Compare(a.Error, b.Error)
	})
	s.Problems = slices.Compact(s.Problems)
	return s
}

// names is the part of a status about the name server.
func (n *Node) names() nodeapi.DNS {
	d := nodeapi.DNS{Queries: map[string]uint64{}, Answers: map[string]map[string]uint64{}, Dropped: map[string]uint64{}, Upstreams: []nodeapi.DNSUpstream{}}
	if n.dns == nil {
		return d
	}
	st := n.dns.Stats()
	d.Running, d.Records, d.Queries, d.Answers, d.Dropped = n.dns.Running(), st.Records, st.Queries, st.Answers, st.Dropped
	d.CacheEntries, d.CacheBytes, d.Open = st.CacheEntries, st.CacheBytes, st.Open
	for _, u := range st.Upstreams {
		d.Upstreams = append(d.Upstreams, nodeapi.DNSUpstream{Name: u.Name, Up: u.Up, Asked: u.Asked, Answered: u.Answered})
	}
	return d
}

// identity is the part of a status that comes from the configuration.
func (n *Node) identity() nodeapi.Node {
	c := n.config
	return nodeapi.Node{
		Name: c.Node.Name, Index: c.Node.Index, IP: c.Node.IP, MAC: c.Node.MAC.String(), Prefix: c.LAN.Prefix,
		Gateway: c.LAN.Gateway, GatewayMAC: c.LAN.GatewayMAC.String(), VNI: c.LAN.VNI, Port: c.Underlay.Port,
		VTEP: c.Underlay.Address, Underlay: c.Underlay.Interface, Uplink: c.Uplink.Interface, UplinkIP: c.Uplink.Address,
		XDP: c.Underlay.XDP, Bridge: c.LAN.Bridge, BPFFS: c.Paths.BPFFS,
	}
}

// describe copies the dataplane's tables. The types are written twice so that the admin API does not change whenever
// the dataplane does.
func (n *Node) describe(s *nodeapi.Status, d dataplane.Status) {
	s.Programs = convert(d.Programs, func(p dataplane.ProgramStatus) nodeapi.Program {
		return nodeapi.Program{Name: p.Name, Hook: p.Hook, Interface: p.Interface, Ifindex: p.Ifindex, Tag: p.Tag, Version: p.Version}
	})
	s.Maps = convert(d.Maps, func(m dataplane.MapStatus) nodeapi.Map { return nodeapi.Map(m) })
	s.Peers = convert(d.Peers, func(p dataplane.PeerStatus) nodeapi.Peer {
		return nodeapi.Peer{VTEP: p.VTEP, Ready: p.Ready, Foreign: p.Foreign, Interface: p.Interface, NextHop: p.NextHop, MTU: p.MTU, Detail: p.Detail}
	})
	s.Ports = convert(d.Ports, func(p dataplane.PortStatus) nodeapi.Port { return nodeapi.Port(p) })
	s.Endpoints = convert(d.Endpoints, func(e dataplane.EndpointStatus) nodeapi.Endpoint {
		return nodeapi.Endpoint{IP: e.IP, MAC: e.MAC, VTEP: e.VTEP, Port: e.Port, State: e.State, Infra: e.Infra, Owner: e.Owner}
	})
	s.Forwards = convert(d.Forwards, func(f dataplane.ForwardStatus) nodeapi.Forward { return nodeapi.Forward(f) })
	s.Flows = nodeapi.Flows{Entries: d.Flows.Entries, Max: d.Flows.Max, Share: d.Flows.Share, Quota: d.Flows.Quota}
}

// convert never gives nil: lists are never null in JSON.
func convert[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

func problem(p dataplane.Problem) nodeapi.Problem {
	return nodeapi.Problem{Subject: p.Subject, Error: text(p.Err)}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// readiness says whether this node does its work: its programs are attached, its maps can be read, and a state was
// applied. d is the dataplane's status, err why it could not be read.
func (n *Node) readiness(d dataplane.Status, err error) nodeapi.Readiness {
	r := nodeapi.Readiness{Ready: true, Checks: []nodeapi.Check{}}
	check := func(name string, required, ok bool, detail string) {
		r.Checks = append(r.Checks, nodeapi.Check{Name: name, OK: ok, Required: required, Detail: detail})
		r.Ready = r.Ready && (ok || !required)
	}
	a := n.agent.Status()

	attached, missing := n.programs(d)
	switch {
	case err != nil:
		check("programs", true, false, "unknown: "+err.Error())
		check("maps", true, false, err.Error())
	default:
		detail := fmt.Sprintf("%d attached", attached)
		if len(missing) > 0 {
			detail += ", missing: " + strings.Join(missing, ", ")
		}
		check("programs", true, len(missing) == 0, detail)
		check("maps", true, len(d.Maps) > 0, fmt.Sprintf("%d maps of layout %d", len(d.Maps), d.Layout))
	}
	switch {
	case a.LastSync.IsZero() && a.Err != nil:
		check("first-sync", true, false, "no state was applied yet: "+a.Err.Error())
	case a.LastSync.IsZero():
		check("first-sync", true, false, "no state was applied yet")
	default:
		check("first-sync", true, true, "applied, last at "+a.LastSync.UTC().Format(time.RFC3339))
	}
	check("sync", false, a.Err == nil, detailOr(a.Err, "the last pass was applied"))
	check("lxd", false, a.Connected, detailOr(a.LXDErr, n.config.LXD.Address))
	check("cluster", false, a.ClusterErr == nil, detailOr(a.ClusterErr, "the whole cluster is known"))
	check("dhcp", false, n.dhcp.Running(), map[bool]string{true: "listening on ", false: "not listening on "}[n.dhcp.Running()]+n.config.LAN.Bridge)
	if n.dns != nil { // upstreams that are down are no fault of this node
		check("dns", false, n.dns.Running(), map[bool]string{true: "listening on ", false: "not listening on "}[n.dns.Running()]+n.config.LAN.Gateway.String())
	}
	for _, part := range []string{"dataplane", "admin", "metrics", "peers"} {
		if err, down := n.supervisor.Down()[part]; down {
			check(part, false, false, err.Error())
		}
	}
	return r
}

// programs counts what is attached, and names what should be and is not.
func (n *Node) programs(d dataplane.Status) (attached int, missing []string) {
	at := make(map[string]bool)
	for _, p := range d.Programs {
		if !p.Attached {
			missing = append(missing, p.Name+" at "+p.Interface)
			continue
		}
		attached++
		at[p.Name+" at "+p.Interface] = true
	}
	want := []string{"node at " + n.config.LAN.Bridge, "underlay at " + n.config.Underlay.Interface}
	if n.config.Uplink.Interface != n.config.Underlay.Interface {
		want = append(want, "underlay at "+n.config.Uplink.Interface)
	}
	if n.config.Underlay.XDP != "off" {
		want = append(want, "underlay_xdp at "+n.config.Underlay.Interface)
	}
	for _, w := range want {
		if !at[w] && !slices.Contains(missing, w) {
			missing = append(missing, w)
		}
	}
	return attached, missing
}

func detailOr(err error, good string) string {
	if err != nil {
		return err.Error()
	}
	return good
}
