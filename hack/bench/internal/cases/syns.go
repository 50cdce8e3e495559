package cases

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
	"github.com/lanyard-project/lanyard/hack/live"
)

const (
	// forged is how many SYNs a round has: no more than may be challenged at once (BUCKET_CHALLENGE of bpf/config.h).
	forged = 60_000
	// sinkCookies is where the kernel's answers leave a bare veth's listening end.
	sinkCookies = "cookies"
)

// ForgedSYNs are SYNs for a forward of a webspace that sleeps and wakes only for who is there: each is answered with a challenge,
// which ends where the node would send it. Beside it the kernel answers as many, on a socket with SYN cookies and
// with nothing around it: no bridge, no NAT, no connection tracking.
func (n NIC) ForgedSYNs() measure.Case {
	const name = "nic-syn-forged"
	c := measure.Case{Name: name, Title: "Forged SYNs from a network card, each answered: challenges for a sleeping webspace, SYN cookies of a bare socket", Unit: "SYN", Fixed: forged}
	lanyards := func(f func(variant string, w *world.World) error) error {
		var errs []error
		n.each(func(variant string, w *world.World) {
			if variant == Kernel {
				return
			}
			if err := f(variant, w); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", variant, err))
			}
		})
		return errors.Join(errs...)
	}
	_ = lanyards(func(variant string, w *world.World) error {
		c.Variants = append(c.Variants, shoot(variant, name, "live.run", w.Out, w.N1.Cell, sinkUplink))
		return nil
	})
	c.Variants = append(c.Variants, shoot(Kernel, name, "live.run", n.Veth.A.Cell, n.Veth.B.Cell, sinkCookies))
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error {
			return errors.Join(n.uncookied(ctx), lanyards(func(_ string, w *world.World) error { return lay(ctx, w, dataplane.LifeUnset) }))
		}
		err := lanyards(func(_ string, w *world.World) error {
			to, err := mac(w.N1.Cell, world.Uplink)
			if err == nil {
				err = lay(ctx, w, dataplane.LifeAsleep)
			}
			if err == nil {
				err = syns(ctx, w.Out, name, to, netip.AddrPortFrom(world.External, PortLocal))
			}
			return err
		})
		if err == nil {
			err = n.cookied(ctx, name)
		}
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		time.Sleep(settle)
		return undo, nil
	}
	return c
}

// syns loads them where they come from.
func syns(ctx context.Context, from *cell.Cell, name string, to net.HardwareAddr, target netip.AddrPort) error {
	source := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x10}
	frame := live.SYN(to, source, netip.MustParseAddr("198.18.0.0"), target)
	return from.Call(ctx, "live.load", load.Live{Name: name, Device: world.Inside, Frame: frame, Vary: live.Forged(0, 0)}, nil)
}

// lay puts the webspace behind the local forward into a state.
func lay(ctx context.Context, w *world.World, life dataplane.Life) error {
	s, err := w.State(w.N1, Forwards())
	if err != nil {
		return err
	}
	for i := range s.Endpoints {
		if s.Endpoints[i].IP == w.A.IP {
			s.Endpoints[i].Life, s.Endpoints[i].Wake = life, dataplane.WakeForward|dataplane.WakeVerified
		}
	}
	_, err = world.Apply(ctx, w.N1, "laid", s)
	return err
}

// cookied has the far end of the bare veth answer every SYN with a cookie, and a sink swallow the answers.
func (n NIC) cookied(ctx context.Context, name string) error {
	a, b := n.Veth.A, n.Veth.B
	to, err := mac(b.Cell, world.Inside)
	if err != nil {
		return err
	}
	at := netip.AddrPortFrom(b.IP, portService)
	return errors.Join(
		b.Call(ctx, "sysctl", map[string]string{"net/ipv4/tcp_syncookies": "2"}, nil), // for each, not only when the queue is full
		b.Call(ctx, "tcp.listen", load.Listen{Name: listener, Addr: at}, nil),
		b.Call(ctx, "sink.detach", load.Named{Name: sinkSpace}, nil),
		b.Call(ctx, "sink.attach", load.Sink{Name: sinkCookies, Device: world.Inside, Egress: true}, nil),
		syns(ctx, a.Cell, name, to, at))
}

func (n NIC) uncookied(ctx context.Context) error {
	b := n.Veth.B
	return errors.Join(
		b.Call(ctx, "close", load.Named{Name: listener}, nil),
		b.Call(ctx, "sink.detach", load.Named{Name: sinkCookies}, nil),
		b.Call(ctx, "sink.detach", load.Named{Name: sinkSpace}, nil),
		b.Call(ctx, "sink.attach", load.Sink{Name: sinkSpace, Device: world.Inside}, nil),
		b.Call(ctx, "sysctl", map[string]string{"net/ipv4/tcp_syncookies": "1"}, nil))
}
