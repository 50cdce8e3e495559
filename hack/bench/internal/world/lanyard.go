package world

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/daemon"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
)

// Lanyard is the LAN with package dataplane on its nodes, in the place of lanyardd.
func Lanyard(ctx context.Context, name string, nic bool, xdp dataplane.XDPMode, cpus CPUs, forwards []Forward) (*World, error) {
	w := &World{Name: name, NIC: nic, lanyard: true}
	err := w.build(cpus, cpus.Daemon)
	for _, s := range w.spaces {
		if err == nil && s.Cell != nil {
			err = defaultRoute(s.Cell, Gateway)
		}
		if err == nil && s.Cell != nil && xdp != dataplane.XDPOff {
			// An XDP program hands frames to a veth only where the other end polls (NAPI).
			err = s.Call(ctx, "features", load.FeatureSet{Device: Inside, Features: map[string]bool{"rx-gro": true}}, nil)
		}
	}
	for _, n := range w.Nodes() {
		if err == nil {
			err = n.Call(ctx, "node.open", w.Config(n, xdp), nil)
		}
		var s dataplane.State
		if err == nil {
			s, err = w.State(n, forwards)
		}
		if err == nil {
			_, err = Apply(ctx, n, "base", s)
		}
	}
	for _, n := range w.Nodes() {
		if err == nil {
			err = ready(ctx, n)
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Nodes that are really there.
func (w *World) Nodes() []*Node {
	var out []*Node
	for _, n := range []*Node{w.N1, w.N2} {
		if n != nil && n.Cell != nil {
			out = append(out, n)
		}
	}
	return out
}

// Drops is what the nodes have refused so far, for a message: nil when that is nothing, or when no dataplane is here.
func (w *World) Drops(ctx context.Context) error {
	var errs []error
	for _, n := range w.Nodes() {
		if !w.lanyard {
			continue
		}
		var said string
		if err := n.Call(ctx, "node.drops", struct{}{}, &said); err != nil {
			errs = append(errs, err)
		} else if said != "" {
			errs = append(errs, fmt.Errorf("%s dropped: %s", n.Name, said))
		}
	}
	return errors.Join(errs...)
}

// Flows is how many outbound flows the nodes are given room for: more than the 100,000 of the flow case.
const Flows = 131072

// Config of a node. Sizes are the defaults, but for the flows.
func (w *World) Config(n *Node, xdp dataplane.XDPMode) dataplane.Config {
	c := dataplane.Config{
		Prefix: LAN, Gateway: Gateway, GatewayMAC: GatewayMAC, NodeIP: n.LAN, NodeMAC: n.MAC,
		Infra: []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24"), netip.MustParsePrefix("172.24.254.0/24")},
		VNI:   VNI, Port: TunnelPort, VTEP: n.VTEP,
		Underlay: Underlay, Uplink: Uplink, UplinkIP: External, XDP: xdp,
		Sizes: dataplane.Sizes{Flows: Flows},
		// As short as what the kernel's world is given: the storms leave closed connections behind.
		Timeouts: dataplane.Timeouts{TCPClosed: time.Second},
	}
	if n.Index == 2 {
		c.Uplink, c.UplinkIP = Underlay, n.VTEP
	}
	return c
}

// State of a node, with forwards on the external address of n1.
func (w *World) State(n *Node, forwards []Forward) (dataplane.State, error) {
	var s dataplane.State
	for _, o := range []*Node{w.N1, w.N2} {
		if o != n {
			s.Peers = append(s.Peers, dataplane.Peer{VTEP: o.VTEP})
			s.Endpoints = append(s.Endpoints, dataplane.Endpoint{IP: o.LAN, MAC: o.MAC, VTEP: o.VTEP, Infra: true})
		}
	}
	owners := map[netip.Addr]string{}
	for _, sp := range w.spaces {
		owner := "ws-" + sp.Name
		owners[sp.IP] = owner
		e := dataplane.Endpoint{IP: sp.IP, MAC: sp.MAC, Owner: owner}
		if sp.Node == n {
			l, err := n.Net.LinkByName(sp.Port)
			if err != nil {
				return s, fmt.Errorf("%s: %s: %w", n.Name, sp.Port, err)
			}
			e.Ifindex = l.Attrs().Index
			s.Ports = append(s.Ports, dataplane.Port{
				Name: sp.Port, Ifindex: e.Ifindex, MAC: sp.MAC, IP: sp.IP, Kind: dataplane.PortWebspace, Owner: owner,
			})
		} else {
			e.VTEP = sp.Node.VTEP
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	for _, f := range forwards {
		d := dataplane.Forward{
			External: netip.AddrPortFrom(External, f.Port), Proto: dataplane.Proto(f.Proto), Target: f.Target,
			Owner: owners[f.Target.Addr()],
		}
		if n != w.N1 {
			d.Entry = w.N1.VTEP
		}
		s.Forwards = append(s.Forwards, d)
	}
	for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"} {
		s.Deny = append(s.Deny, netip.MustParsePrefix(p))
	}
	return s, nil
}

// Apply hands a state to a node and applies it.
func Apply(ctx context.Context, n *Node, name string, s dataplane.State) (daemon.Applied, error) {
	var a daemon.Applied
	err := n.Call(ctx, "node.state", daemon.Desired{Name: name, State: s}, nil)
	if err == nil {
		err = n.Call(ctx, "node.apply", daemon.Name{Name: name}, &a)
	}
	return a, err
}

// ready waits until the next hops of all peers are known: before, frames take the slow path.
func ready(ctx context.Context, n *Node) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		var s dataplane.Status
		if err := n.Call(ctx, "node.status", struct{}{}, &s); err != nil {
			return err
		}
		waiting := ""
		for _, p := range s.Peers {
			if !p.Ready {
				waiting = fmt.Sprintf("peer %s: %s", p.VTEP, p.Detail)
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready after 20 s: %s", n.Name, waiting)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
