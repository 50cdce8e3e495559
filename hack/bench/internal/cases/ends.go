// Package cases lists the paths that are measured, and how each world does the work of each.
package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

// ends are the two ends of one path in one world.
type ends struct {
	variant string
	client  *cell.Cell
	target  netip.AddrPort // where the client sends to
	server  *cell.Cell
	listen  netip.AddrPort // where the server receives: another address when there is a forward in between
	between []*cell.Cell   // whose processes carry traffic: proxies
	// seen is the client's address as the server must see it; invalid: not checked. It shows that a forward keeps
	// the client's address and that NAT really happened.
	seen netip.Addr
}

func (e ends) clocks() []measure.Clock {
	clocks := []measure.Clock{e.client.Clock(), e.server.Clock()}
	for _, c := range e.between {
		clocks = append(clocks, c.Clock())
	}
	return clocks
}

// both runs an operation at each end and waits for both.
func (e ends) both(ctx context.Context, serve string, serveArgs any, run string, runArgs any) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.server.Call(ctx, serve, serveArgs, nil) })
	g.Go(func() error { return e.client.Call(ctx, run, runArgs, nil) })
	return g.Wait()
}

// kind is a way of loading a path.
type kind struct {
	tcp        bool
	serve, run string
	size       int // of each message, bytes
	unit       string
}

func rr() kind { return kind{tcp: true, serve: "rr.serve", run: "rr.run", size: 1, unit: "exchange"} }
func datagrams() kind {
	return kind{serve: "udp.recv", run: "udp.send", size: 64, unit: "datagram"}
}
func bulk() kind {
	return kind{tcp: true, serve: "bulk.recv", run: "bulk.send", size: 64 << 10, unit: "64 KiB"}
}

// path makes a case of one kind of load between ends.
func path(name, title string, k kind, goals []measure.Goal, paths ...ends) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: k.unit, Goals: goals}
	for _, e := range paths {
		work := func(n int) load.Work { return load.Work{Name: name + " " + e.variant, N: n, Size: k.size} }
		c.Variants = append(c.Variants, measure.Variant{
			Name: e.variant, Clocks: e.clocks(),
			Run: func(ctx context.Context, n int) error { return e.both(ctx, k.serve, work(n), k.run, work(n)) },
		})
	}
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error {
			var errs []error
			for _, e := range paths {
				for _, end := range []*cell.Cell{e.client, e.server} {
					errs = append(errs, end.Call(ctx, "close", load.Named{Name: name + " " + e.variant}, nil))
				}
			}
			return errors.Join(errs...)
		}
		for _, e := range paths {
			open := e.openUDP
			if k.tcp {
				open = e.openTCP
			}
			if err := open(ctx, name+" "+e.variant); err != nil {
				return undo, errors.Join(fmt.Errorf("%s: %w", e.variant, err), undo())
			}
		}
		return undo, nil
	}
	return c
}

func (e ends) openUDP(ctx context.Context, name string) error {
	if err := e.server.Call(ctx, "udp.open", load.UDP{Name: name, Local: e.listen}, nil); err != nil {
		return err
	}
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	return e.client.Call(ctx, "udp.open", load.UDP{Name: name, Local: any4, Remote: e.target}, nil)
}

func (e ends) openTCP(ctx context.Context, name string) error {
	const listener = "listener"
	if err := e.server.Call(ctx, "tcp.listen", load.Listen{Name: listener, Addr: e.listen}, nil); err != nil {
		return err
	}
	if err := e.client.Call(ctx, "tcp.connect", load.Connect{Name: name, Addr: e.target}, nil); err != nil {
		return err
	}
	var peer load.Peer
	if err := e.server.Call(ctx, "tcp.accept", load.Accept{Name: name, Listener: listener}, &peer); err != nil {
		return err
	}
	if e.seen.IsValid() && peer.Addr.Addr() != e.seen {
		return fmt.Errorf("the server sees a client at %s instead of %s: this is not the path that should be measured", peer.Addr.Addr(), e.seen)
	}
	return e.server.Call(ctx, "close", load.Named{Name: listener}, nil)
}

// storm makes a case of new connections between ends.
func storm(name, title string, goals []measure.Goal, paths ...ends) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: "connection", Goals: goals}
	for _, e := range paths {
		c.Variants = append(c.Variants, measure.Variant{
			Name: e.variant, Clocks: e.clocks(),
			Run: func(ctx context.Context, n int) error {
				s := load.Storm{Name: name, Addr: e.target, N: n}
				return e.both(ctx, "storm.serve", s, "storm.run", s)
			},
		})
	}
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error {
			var errs []error
			for _, e := range paths {
				errs = append(errs, e.server.Call(ctx, "close", load.Named{Name: name}, nil))
			}
			return errors.Join(errs...)
		}
		// One connection first, which shows whom the server sees.
		for _, e := range paths {
			err := e.openTCP(ctx, "probe")
			if err == nil {
				err = errors.Join(e.client.Call(ctx, "close", load.Named{Name: "probe"}, nil), e.server.Call(ctx, "close", load.Named{Name: "probe"}, nil))
			}
			if err != nil {
				return undo, fmt.Errorf("%s: %w", e.variant, err)
			}
		}
		servers := map[*cell.Cell]bool{} // variants of one world share the server
		for _, e := range paths {
			if servers[e.server] {
				continue
			}
			servers[e.server] = true
			if err := e.server.Call(ctx, "tcp.listen", load.Listen{Name: name, Addr: e.listen}, nil); err != nil {
				return undo, errors.Join(fmt.Errorf("%s: %w", e.variant, err), undo())
			}
		}
		return undo, nil
	}
	return c
}
