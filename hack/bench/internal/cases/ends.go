// Package cases lists the paths that are measured, and how each world does the work of each.
package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
)

// ends are the two ends of one path in one world. One thread, in the client's cell, serves both: it holds sockets in
// both namespaces. A switch of processes costs several microseconds on virtual machines, the same in all worlds, and
// would hide much of what is compared.
type ends struct {
	variant string
	client  *cell.Cell
	target  netip.AddrPort // where the client sends to
	server  *cell.Cell     // in whose namespace the server's sockets are
	listen  netip.AddrPort // where the server receives: another address when there is a forward in between
	between []*cell.Cell   // whose processes carry traffic: proxies
	// seen is the client's address as the server must see it; invalid: not checked. It shows that a forward keeps
	// the client's address and that NAT really happened.
	seen netip.Addr
}

func (e ends) clocks() []measure.Clock {
	clocks := []measure.Clock{e.client.Clock()}
	for _, c := range e.between {
		clocks = append(clocks, c.Clock())
	}
	return clocks
}

// Names of the sockets: cases run one at a time.
const (
	clientEnd = "client"
	serverEnd = "server"
	listener  = "listener"
)

// kind is a way of loading a path.
type kind struct {
	op   string
	size int // of each message, bytes
	unit string
}

func rr() kind        { return kind{op: "rr", size: 1, unit: "exchange"} }
func datagrams() kind { return kind{op: "udp", size: 64, unit: "datagram"} }
func bulk() kind      { return kind{op: "bulk", size: 64 << 10, unit: "64 KiB"} }

// path makes a case of one kind of load between ends.
func path(name, title string, k kind, goals []measure.Goal, paths ...ends) measure.Case {
	c := measure.Case{Name: name, Title: title, Unit: k.unit, Goals: goals}
	for _, e := range paths {
		server := serverEnd + " " + e.variant // variants of one world share the cell
		client := clientEnd + " " + e.variant
		c.Variants = append(c.Variants, measure.Variant{
			Name: e.variant, Clocks: e.clocks(),
			Run: func(ctx context.Context, n int) error {
				return e.client.Call(ctx, k.op, load.Work{Name: client, Peer: server, N: n, Size: k.size}, nil)
			},
		})
	}
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error {
			var errs []error
			for _, e := range paths {
				errs = append(errs, e.close(ctx, clientEnd+" "+e.variant), e.close(ctx, serverEnd+" "+e.variant))
			}
			return errors.Join(errs...)
		}
		for _, e := range paths {
			open := e.openTCP
			if k.op == "udp" {
				open = e.openUDP
			}
			if err := open(ctx); err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", e.variant, err), undo())
			}
		}
		return undo, nil
	}
	return c
}

func (e ends) close(ctx context.Context, name string) error {
	return e.client.Call(ctx, "close", load.Named{Name: name}, nil)
}

func (e ends) openUDP(ctx context.Context) error {
	err := e.client.Call(ctx, "udp.open", load.UDP{Name: serverEnd + " " + e.variant, Local: e.listen, Pid: e.server.Pid()}, nil)
	if err != nil {
		return err
	}
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	client, server := clientEnd+" "+e.variant, serverEnd+" "+e.variant
	if err := e.client.Call(ctx, "udp.open", load.UDP{Name: client, Local: any4, Remote: e.target}, nil); err != nil {
		return err
	}
	var peer load.Peer
	if err := e.client.Call(ctx, "udp.meet", load.Work{Name: client, Peer: server}, &peer); err != nil {
		return err
	}
	return e.checkSeen(peer)
}

func (e ends) checkSeen(peer load.Peer) error {
	if e.seen.IsValid() && peer.Addr.Addr() != e.seen {
		return fmt.Errorf("the server sees a client at %s instead of %s: this is not the path that should be measured", peer.Addr.Addr(), e.seen)
	}
	return nil
}

func (e ends) openTCP(ctx context.Context) error {
	if err := e.client.Call(ctx, "tcp.listen", load.Listen{Name: listener, Addr: e.listen, Pid: e.server.Pid()}, nil); err != nil {
		return err
	}
	if err := e.client.Call(ctx, "tcp.connect", load.Connect{Name: clientEnd + " " + e.variant, Addr: e.target}, nil); err != nil {
		return err
	}
	var peer load.Peer
	if err := e.client.Call(ctx, "tcp.accept", load.Accept{Name: serverEnd + " " + e.variant, Listener: listener}, &peer); err != nil {
		return err
	}
	if err := e.checkSeen(peer); err != nil {
		return err
	}
	return e.close(ctx, listener)
}

// storm makes a case of new connections between ends: empty ones, or with one exchange in each.
func storm(name, title string, empty bool, goals []measure.Goal, paths ...ends) measure.Case {
	c := path(name, title, kind{unit: "connection"}, goals, paths...)
	for i, e := range paths {
		c.Variants[i].Run = func(ctx context.Context, n int) error {
			// Variants of one world listen at the same address, so each listens only for its own round.
			err := e.client.Call(ctx, "tcp.listen", load.Listen{Name: listener, Addr: e.listen, Pid: e.server.Pid()}, nil)
			if err == nil {
				err = e.client.Call(ctx, "storm", load.Storm{Listener: listener, Addr: e.target, N: n, Empty: empty}, nil)
			}
			return errors.Join(err, e.close(ctx, listener))
		}
	}
	open := c.Setup
	// One connection first, which shows whom the server sees.
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return func() error { return nil }, undo()
	}
	return c
}
