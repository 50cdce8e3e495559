package cases

import (
	"context"
	"errors"
	"net/netip"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

// Names of the variants.
const (
	Lanyard = "lanyard"
	XDP     = "lanyard XDP"
	Kernel  = "kernel"
	Proxy   = "proxy"
	Veth    = "veth"
)

// Worlds are the networks that stand side by side. Lanyard may be nil while the dataplane cannot run; the cases then
// compare what is there.
type Worlds struct {
	Lanyard, Kernel, Veth *world.World
}

// Ports of the forwards: one to a webspace on n1, where it enters, one to a webspace on n2; and of the proxies, which
// stand in the kernel world only.
const (
	PortLocal       = 8001
	PortRemote      = 8002
	portProxyLocal  = 9001
	portProxyRemote = 9002
	portService     = 7000 // in the webspaces, and of out
)

// Forwards that both worlds need for the cases.
func Forwards() []world.Forward {
	var out []world.Forward
	for _, proto := range []uint8{6, 17} {
		out = append(out,
			world.Forward{Proto: proto, Port: PortLocal, Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 24, 1, 1}), portService)},
			world.Forward{Proto: proto, Port: PortRemote, Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 24, 2, 1}), portService)})
	}
	return out
}

func goal(min float64) []measure.Goal {
	return []measure.Goal{{Slow: Kernel, Fast: Lanyard, Min: min}}
}

func vethGoal(kernel, veth float64) []measure.Goal {
	return append(goal(kernel), measure.Goal{Slow: Veth, Fast: Lanyard, Min: veth})
}

func proxyGoal(kernel float64) []measure.Goal {
	return append(goal(kernel), measure.Goal{Slow: Proxy, Fast: Lanyard, Min: 5})
}

// All lists the cases between whole machines, in the order of the design's table.
func (w Worlds) All(ctx context.Context) ([]measure.Case, error) {
	if err := w.proxies(ctx); err != nil {
		return nil, err
	}
	wire := path("bulk-remote-wire", "TCP bulk to another node, wire-sized frames", bulk(), goal(1.15), w.lan(remote)...)
	wire.Setup = w.wireSized(wire.Setup)
	return []measure.Case{
		path("rr-remote", "Request/response to a webspace on another node", rr(), goal(1.30), w.lan(remote)...),
		path("udp-remote", "UDP datagrams to another node", datagrams(), goal(1.90), w.lan(remote)...),
		w.packets("packets-remote", "UDP packets to another node, without sockets", goal(1.90), remote),
		path("bulk-remote-super", "TCP bulk to another node, superframes", bulk(), goal(1.30), w.lan(remote)...),
		wire,
		path("rr-local", "Request/response on the same node", rr(), vethGoal(1.10, 0.95), w.lan(local)...),
		path("udp-local", "UDP datagrams on the same node", datagrams(), vethGoal(1.10, 0.95), w.lan(local)...),
		w.packets("packets-local", "UDP packets on the same node, without sockets", goal(1.10), local),
		storm("conn-forward-local", "New connections through a forward, this node", true, proxyGoal(1.40), w.forward(local)...),
		storm("conn-forward-remote", "New connections through a forward, another node", true, proxyGoal(1.50), w.forward(remote)...),
		storm("request-forward-local", "New connections with an exchange, through a forward, this node", false, proxyGoal(1.40), w.forward(local)...),
		storm("request-forward-remote", "New connections with an exchange, through a forward, another node", false, proxyGoal(1.50), w.forward(remote)...),
		path("rr-forward-local", "Request/response through a forward, this node", rr(), nil, w.forward(local)...),
		path("rr-forward-remote", "Request/response through a forward, another node", rr(), nil, w.forward(remote)...),
		path("bulk-forward-local", "TCP bulk in through a forward, this node", bulk(), nil, w.forward(local)...),
		path("rr-nat", "Outbound NAT, request/response", rr(), goal(1.15), w.outbound()...),
		storm("conn-nat", "Outbound NAT, new connections", true, goal(1.25), w.outbound()...),
		storm("request-nat", "Outbound NAT, new connections with an exchange in each", false, goal(1.25), w.outbound()...),
		path("udp-nat", "Outbound NAT, UDP datagrams", datagrams(), goal(1.25), w.outbound()...),
	}, nil
}

type place int

const (
	local place = iota
	remote
)

// each makes ends in the worlds that are there. The order is the order of the columns.
func (w Worlds) each(f func(variant string, x *world.World) ends) []ends {
	var out []ends
	if w.Lanyard != nil {
		out = append(out, f(Lanyard, w.Lanyard))
	}
	return append(out, f(Kernel, w.Kernel))
}

// lan is between two webspaces.
func (w Worlds) lan(p place) []ends {
	out := w.each(func(v string, x *world.World) ends {
		to := x.B
		if p == remote {
			to = x.C
		}
		at := netip.AddrPortFrom(to.IP, portService)
		return ends{variant: v, client: x.A.Cell, server: to.Cell, listen: at, target: at, seen: x.A.IP}
	})
	return append(out, w.bare())
}

func (w Worlds) bare() ends {
	at := netip.AddrPortFrom(w.Veth.B.IP, portService)
	return ends{variant: Veth, client: w.Veth.A.Cell, server: w.Veth.B.Cell, listen: at, target: at}
}

// forward is from outside to a webspace, whose program must see the client's own address (behind a proxy it cannot).
func (w Worlds) forward(p place) []ends {
	through := func(port uint16) func(string, *world.World) ends {
		return func(v string, x *world.World) ends {
			to := x.A
			if p == remote {
				to = x.C
			}
			return ends{
				variant: v, client: x.Out, target: netip.AddrPortFrom(world.External, port),
				server: to.Cell, listen: netip.AddrPortFrom(to.IP, portService), seen: world.OutIP,
			}
		}
	}
	port, proxy := uint16(PortLocal), uint16(portProxyLocal)
	if p == remote {
		port, proxy = PortRemote, portProxyRemote
	}
	out := w.each(through(port))
	e := through(proxy)(Proxy, w.Kernel)
	e.seen = w.Kernel.N1.LAN
	e.between = []*cell.Cell{w.Kernel.N1.Cell}
	return append(out, e, w.bare())
}

// outbound is from a webspace to the outside, which must see the node's address.
func (w Worlds) outbound() []ends {
	out := w.each(func(v string, x *world.World) ends {
		at := netip.AddrPortFrom(world.OutIP, portService)
		return ends{variant: v, client: x.A.Cell, target: at, server: x.Out, listen: at, seen: world.External}
	})
	return append(out, w.bare())
}

func (w Worlds) proxies(ctx context.Context) error {
	var errs []error
	for port, to := range map[uint16]*world.Space{portProxyLocal: w.Kernel.A, portProxyRemote: w.Kernel.C} {
		errs = append(errs, w.Kernel.N1.Call(ctx, "proxy.start", load.Proxy{
			Listen: netip.AddrPortFrom(world.External, port), Target: netip.AddrPortFrom(to.IP, portService),
		}, nil))
	}
	return errors.Join(errs...)
}

// wireSized makes the underlay (or the bare cable) carry frames no longer than its MTU, and the receiving end put
// them together again by GRO, as network cards without tunnel offloads do.
func (w Worlds) wireSized(inner func(context.Context) (func() error, error)) func(context.Context) (func() error, error) {
	set := func(ctx context.Context, wire bool) error {
		var errs []error
		each := func(c *cell.Cell, dev string) {
			// A veth hands a frame to its peer's NAPI, and so to GRO, only while none of its TCP offloads is on.
			f := map[string]bool{"rx-gro": wire}
			for _, k := range []string{
				"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation",
				"tx-tcp-accecn-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation",
			} {
				f[k] = !wire
			}
			errs = append(errs, c.Call(ctx, "features", load.FeatureSet{Device: dev, Features: f}, nil))
		}
		for _, x := range []*world.World{w.Lanyard, w.Kernel} {
			if x != nil {
				each(x.N1.Cell, world.Underlay)
				each(x.N2.Cell, world.Underlay)
			}
		}
		each(w.Veth.A.Cell, world.Inside)
		each(w.Veth.B.Cell, world.Inside)
		return errors.Join(errs...)
	}
	return func(ctx context.Context) (func() error, error) {
		if err := set(ctx, true); err != nil {
			return nil, errors.Join(err, set(ctx, false))
		}
		undo, err := inner(ctx)
		if err != nil {
			return nil, errors.Join(err, set(ctx, false))
		}
		return func() error { return errors.Join(undo(), set(ctx, false)) }, nil
	}
}
