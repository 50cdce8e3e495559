package cases

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
	"github.com/lanyard-project/lanyard/hack/live"
)

// NIC is the network-card worlds: frames come in batches out of a driver's poll, and end in a sink where the node has
// delivered them. Nothing but the node's own work is in between.
type NIC struct {
	Lanyard, XDP, Kernel, Veth *world.World
}

// Names of the sinks.
const (
	sinkSpace  = "webspace"
	sinkPeer   = "peer"
	sinkUplink = "uplink"
)

func (n NIC) each(f func(variant string, w *world.World)) {
	for _, x := range []struct {
		variant string
		w       *world.World
	}{{Lanyard, n.Lanyard}, {XDP, n.XDP}, {Kernel, n.Kernel}} {
		if x.w != nil {
			f(x.variant, x.w)
		}
	}
}

// sinks stand at the ends of all worlds: where a webspace receives, and where the node gives a frame to its card to
// send. What an XDP program sends never comes by there: it is swallowed at the far end of the cable, and its cost
// includes the way to there.
func (n NIC) sinks(ctx context.Context) error {
	errs := []error{n.Veth.B.Call(ctx, "sink.attach", load.Sink{Name: sinkSpace, Device: world.Inside}, nil)}
	n.each(func(_ string, w *world.World) {
		peer := load.Sink{Name: sinkPeer, Device: world.Underlay, Egress: true}
		if w == n.XDP {
			peer = load.Sink{Name: sinkPeer, Device: world.WireUnderlay, XDP: true}
		}
		errs = append(errs,
			w.A.Call(ctx, "sink.attach", load.Sink{Name: sinkSpace, Device: world.Inside}, nil),
			n.peerSink(w).Call(ctx, "sink.attach", peer, nil),
			w.N1.Call(ctx, "sink.attach", load.Sink{Name: sinkUplink, Device: world.Uplink, Egress: true}, nil))
	})
	return errors.Join(errs...)
}

// peerSink is the cell of the sink of frames to another node.
func (n NIC) peerSink(w *world.World) *cell.Cell {
	if w == n.XDP {
		return w.Out
	}
	return w.N1.Cell
}

// All lists the network-card cases.
func (n NIC) All(ctx context.Context) ([]measure.Case, error) {
	if err := n.sinks(ctx); err != nil {
		return nil, err
	}
	goals := func(tcx, xdp float64) []measure.Goal {
		return []measure.Goal{{Slow: Kernel, Fast: Lanyard, Min: tcx}, {Slow: Kernel, Fast: XDP, Min: xdp}}
	}
	return []measure.Case{
		n.frames("nic-tunnel-in", "60-byte frames from a network card: out of the tunnel", goals(2.5, 3), stream{
			device: world.WireUnderlay, sink: sinkSpace, vary: clients(49152),
			frame: func(w *world.World, mac func(string) (net.HardwareAddr, error)) ([]byte, error) {
				to, err := mac(world.Underlay)
				at := netip.AddrPortFrom(w.A.IP, portService)
				inner := small(w.A.MAC, w.C.MAC, netip.AddrPortFrom(w.C.IP, portService), at)
				return tunnelled(to, w.N2.MAC, w.N2.VTEP, w.N1.VTEP, inner), err
			},
		}),
		n.frames("nic-forward-local", "60-byte frames from a network card: forward, this node", goals(2.5, 3), forwardStream(PortLocal, sinkSpace)),
		n.frames("nic-forward-remote", "60-byte frames from a network card: forward, another node", goals(2.5, 5), forwardStream(PortRemote, sinkPeer)),
	}, nil
}

// stream is what the card receives in one case.
type stream struct {
	device string // in `out`: whose other end is the node's card
	sink   string
	frame  func(w *world.World, mac func(dev string) (net.HardwareAddr, error)) ([]byte, error)
	vary   []live.Vary
}

// clients are 1,024 of them, by their port.
func clients(first uint16) []live.Vary { return []live.Vary{{At: offSport, Low: first, Mask: 1023}} }

// forwardStream is 1,024 clients of one forward.
func forwardStream(port uint16, sink string) stream {
	return stream{
		device: world.Inside, sink: sink, vary: clients(20000),
		frame: func(_ *world.World, mac func(string) (net.HardwareAddr, error)) ([]byte, error) {
			to, err := mac(world.Uplink)
			from := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x10}
			return small(to, from, netip.AddrPortFrom(world.OutIP, 20000), netip.AddrPortFrom(world.External, port)), err
		},
	}
}

func (n NIC) frames(name, title string, goals []measure.Goal, s stream) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: "frame", Goals: goals}
	n.each(func(variant string, w *world.World) {
		at := w.A.Cell
		if s.sink == sinkPeer {
			at = n.peerSink(w)
		}
		c.Variants = append(c.Variants, shoot(variant, name, "live.run", w.Out, at, s.sink))
	})
	c.Variants = append(c.Variants, shoot(Veth, name, "live.run", n.Veth.A.Cell, n.Veth.B.Cell, sinkSpace))
	c.Setup = func(ctx context.Context) (func() error, error) {
		var errs []error
		n.each(func(_ string, w *world.World) {
			frame, err := s.frame(w, func(dev string) (net.HardwareAddr, error) { return mac(w.N1.Cell, dev) })
			if err == nil {
				err = w.Out.Call(ctx, "live.load", load.Live{Name: name, Device: s.device, Frame: frame, Vary: s.vary}, nil)
			}
			errs = append(errs, err)
		})
		to, err := mac(n.Veth.B.Cell, world.Inside)
		bare := small(to, to, netip.AddrPortFrom(n.Veth.A.IP, 20000), netip.AddrPortFrom(n.Veth.B.IP, portService))
		errs = append(errs, err, n.Veth.A.Call(ctx, "live.load", load.Live{Name: name, Device: world.Inside, Frame: bare, Vary: clients(20000)}, nil))
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		// The first frames make the kernel look for its neighbours; until it has found them it drops some.
		n.each(func(_ string, w *world.World) {
			errs = append(errs, w.Out.Call(ctx, "live.run", load.Work{Name: name, N: 64}, nil))
		})
		time.Sleep(settle)
		return func() error { return nil }, errors.Join(errs...)
	}
	return c
}

// settle is how long the worlds are given to resolve neighbours.
const settle = 300 * time.Millisecond

func mac(c *cell.Cell, dev string) (net.HardwareAddr, error) {
	l, err := c.Net.LinkByName(dev)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.Name, dev, err)
	}
	return l.Attrs().HardwareAddr, nil
}

// shoot makes frames in one cell and counts them where they must arrive.
func shoot(variant, name, op string, from, at *cell.Cell, sink string) measure.Variant {
	return measure.Variant{
		Name: variant, Clocks: []measure.Clock{from.Clock()},
		Run: func(ctx context.Context, n int) error {
			var before, after load.Count
			if err := at.Call(ctx, "sink.count", load.Named{Name: sink}, &before); err != nil {
				return err
			}
			if err := from.Call(ctx, op, load.Work{Name: name, N: n}, nil); err != nil {
				return err
			}
			if err := at.Call(ctx, "sink.count", load.Named{Name: sink}, &after); err != nil {
				return err
			}
			return arrived(after.Frames-before.Frames, n)
		},
	}
}

// arrived refuses a round in which more than one frame in a thousand was lost: its figure would be of something else.
func arrived(got uint64, sent int) error {
	if int(got) < sent-sent/1000 {
		return fmt.Errorf("%d of %d frames arrived", got, sent)
	}
	return nil
}
