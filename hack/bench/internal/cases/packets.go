package cases

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

// hop is a way from one webspace to another for single packets.
type hop struct {
	variant  string
	from, to *cell.Cell
	frame    []byte
}

// packets sends small UDP packets out of one webspace's device until they come out of another's: the path alone, without
// the sockets at its ends, which cost more than the path does.
func (w Worlds) packets(name, title string, goals []measure.Goal, p place) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: "packet", Goals: goals}
	hops := w.hops(p)
	for _, h := range hops {
		c.Variants = append(c.Variants, shoot(h.variant, name, "spray.run", h.from, h.to, sinkSpace))
	}
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error {
			var errs []error
			for _, h := range hops {
				errs = append(errs, h.from.Call(ctx, "close", load.Named{Name: name}, nil), h.to.Call(ctx, "sink.detach", load.Named{Name: sinkSpace}, nil))
			}
			return errors.Join(errs...)
		}
		for _, h := range hops {
			err := h.to.Call(ctx, "sink.attach", load.Sink{Name: sinkSpace, Device: world.Inside}, nil)
			if err == nil {
				err = h.from.Call(ctx, "spray.open", load.Spray{Name: name, Device: world.Inside, Frame: h.frame, First: 20000, Ports: few, Addrs: 1}, nil)
			}
			if err != nil {
				return nil, errors.Join(err, undo())
			}
		}
		return undo, nil
	}
	return c
}

func (w Worlds) hops(p place) []hop {
	var out []hop
	add := func(variant string, from, to *world.Space, fromMAC, toMAC net.HardwareAddr) {
		frame := small(toMAC, fromMAC, netip.AddrPortFrom(from.IP, portService), netip.AddrPortFrom(to.IP, portService))
		out = append(out, hop{variant: variant, from: from.Cell, to: to.Cell, frame: frame})
	}
	each := func(variant string, x *world.World) {
		to := x.B
		if p == remote {
			to = x.C
		}
		add(variant, x.A, to, x.A.MAC, to.MAC)
	}
	if w.Lanyard != nil {
		each(Lanyard, w.Lanyard)
	}
	each(Kernel, w.Kernel)
	// A sink does not look at MACs.
	add(Veth, w.Veth.A, w.Veth.B, net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2})
	return out
}
