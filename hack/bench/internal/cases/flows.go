package cases

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

const (
	// Flows is the number of outbound flows that the tables are filled with.
	Flows = 100_000
	// destinations of the flows. The default range of NAT ports holds 16,384 flows to one and the same, and finds a free
	// port by few tries only while most of it is free.
	destinations = 64
	// opened is how many flows a round opens. Ten rounds and a warm-up open each flow at most once.
	opened = 8_000
	few    = 64 // one to each destination
)

// ManyFlows sends UDP out of one webspace through NAT: through a few flows, then opening flows, then through 100,000 in
// turn, so that no flow's cache lines are warm.
func (n NIC) ManyFlows() []measure.Case {
	return []measure.Case{
		n.flows("nat-flows-few", "Outbound NAT, datagrams through 64 flows in turn", "datagram", few, opened),
		n.flows("nat-flows-open", "Outbound NAT, each datagram opens a flow", "flow", Flows, opened),
		n.flows("nat-flows-full", "Outbound NAT, datagrams through 100,000 flows in turn", "datagram", Flows, Flows),
	}
}

func (n NIC) flows(name, title, unit string, flows, perRound int) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: unit, Fixed: perRound}
	each := func(f func(string, *world.World)) {
		n.each(func(variant string, w *world.World) {
			if variant != XDP { // there the same port program does it
				f(variant, w)
			}
		})
	}
	each(func(variant string, w *world.World) {
		c.Variants = append(c.Variants, shoot(variant, name, "spray.run", w.A.Cell, w.N1.Cell, sinkUplink))
	})
	c.Setup = func(ctx context.Context) (func() error, error) {
		var errs []error
		each(func(variant string, w *world.World) {
			gateway := w.N1.MAC
			if variant == Lanyard {
				gateway = world.GatewayMAC
			}
			if err := n.openFlows(ctx, w, name, gateway, flows); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", variant, err))
			}
		})
		undo := func() error {
			var errs []error
			each(func(_ string, w *world.World) {
				errs = append(errs, w.A.Call(ctx, "close", load.Named{Name: name}, nil))
			})
			return errors.Join(errs...)
		}
		return undo, errors.Join(errs...)
	}
	return c
}

func (n NIC) openFlows(ctx context.Context, w *world.World, name string, gateway net.HardwareAddr, flows int) error {
	out, err := mac(w.Out, world.Inside)
	if err != nil {
		return err
	}
	ip := world.OutIP
	for range destinations {
		if err := w.N1.Neighbour(world.Uplink, ip, out); err != nil {
			return err
		}
		ip = ip.Next()
	}
	from, to := netip.AddrPortFrom(w.A.IP, 20000), netip.AddrPortFrom(world.OutIP, portService)
	return w.A.Call(ctx, "spray.open", load.Spray{
		Name: name, Device: world.Inside, Frame: small(gateway, w.A.MAC, from, to),
		First: 20000, Ports: flows / destinations, Addrs: destinations,
	}, nil)
}
