package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/hack/bench/internal/daemon"
	"github.com/lanyard-project/lanyard/hack/bench/internal/measure"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
	"github.com/lanyard-project/lanyard/hack/live"
)

// Many is the number of forwards, and of endpoints, that the tables are filled with: the default size.
const Many = 16384

// manyFirst is the first external port of the many forwards: the NAT ports are below.
const manyFirst = 40000

// ManyForwards are 16,384 in all, the ones that the cases need among them, all to the webspace on n1.
func ManyForwards() []world.Forward {
	out := Forwards()
	for i := range Many - len(out) {
		out = append(out, world.Forward{
			Proto: 17, Port: uint16(manyFirst + i),
			Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 24, 1, 1}), uint16(manyFirst+i)),
		})
	}
	return out
}

// FullTable is the local forward again, each frame to another one of 8,192 among 16,384 forwards: what a lookup costs
// when the table is full and no cache line is warm.
func (n NIC) FullTable() measure.Case {
	s := forwardStream(0, sinkSpace)
	s.vary = []live.Vary{{At: offDport, Low: manyFirst, Mask: 8191}}
	c := n.frames("nic-forward-full", "60-byte frames from a network card: 8,192 forwards in turn, of 16,384", nil, s)
	c.Variants = c.Variants[:len(c.Variants)-1] // a bare veth has no forwards
	setup := c.Setup
	c.Setup = func(ctx context.Context) (func() error, error) {
		undo := func() error { return n.load(ctx, Forwards()) }
		if err := n.load(ctx, ManyForwards()); err != nil {
			return nil, errors.Join(err, undo())
		}
		back, err := setup(ctx)
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		return func() error { return errors.Join(back(), undo()) }, nil
	}
	return c
}

func (n NIC) load(ctx context.Context, forwards []world.Forward) error {
	var errs []error
	n.each(func(variant string, w *world.World) {
		var err error
		if variant == Kernel {
			err = w.KernelForwards(ctx, forwards)
		} else {
			var s dataplane.State
			if s, err = w.State(w.N1, forwards); err == nil {
				_, err = world.Apply(ctx, w.N1, "load", s)
			}
		}
		if err != nil {
			err = fmt.Errorf("%s: load %d forwards: %w", variant, len(forwards), err)
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// Figure is one measured time that is no comparison of rounds.
type Figure struct {
	Name    string         `json:"name"`
	Title   string         `json:"title"`
	Unit    string         `json:"unit"`
	Variant string         `json:"variant"`
	Goal    float64        `json:"goal,omitempty"` // at most; 0: none was set
	Spread  measure.Spread `json:"spread"`
}

// Reached reports whether the median is within the goal.
func (f Figure) Reached() bool { return f.Goal == 0 || f.Spread.Median <= f.Goal }

// Maps reads what the maps of a node weigh.
func (n NIC) Maps(ctx context.Context) ([]dataplane.MapStatus, error) {
	var s dataplane.Status
	err := n.Lanyard.N1.Call(ctx, "node.status", struct{}{}, &s)
	return s.Maps, err
}

// Tables measures what changes of big tables take.
func (n NIC) Tables(ctx context.Context, rounds int) ([]Figure, error) {
	node := n.Lanyard.N1
	many := ManyForwards()
	states := map[string]func() (dataplane.State, error){
		"few":  func() (dataplane.State, error) { return n.Lanyard.State(node, Forwards()) },
		"many": func() (dataplane.State, error) { return n.Lanyard.State(node, many) },
		"crowd": func() (dataplane.State, error) {
			s, err := n.Lanyard.State(node, Forwards())
			return crowd(s, 0), err
		},
		"crowd-moved": func() (dataplane.State, error) {
			s, err := n.Lanyard.State(node, Forwards())
			return crowd(s, 1), err
		},
	}
	for name, f := range states {
		s, err := f()
		if err == nil {
			err = node.Call(ctx, "node.state", daemon.Desired{Name: name, State: s}, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	t := timer{ctx: ctx, node: node, times: map[string][]float64{}}
	for range rounds {
		t.apply("forwards-load", "many")
		t.apply("forwards-same", "many")
		t.apply("forwards-unload", "few")
		t.apply("endpoints-load", "crowd")
		t.apply("endpoints-one", "crowd-moved")
		t.apply("endpoints-same", "crowd-moved")
		t.call("restart", "node.reopen", struct{}{})
		t.apply("restart-apply", "crowd-moved")
		t.apply("endpoints-unload", "few")
		t.call("forwards-batch", "node.batch", daemon.Entries{N: Many})
		t.kernel(n.Kernel, many)
	}
	if t.err != nil {
		return nil, t.err
	}
	var out []Figure
	add := func(name, variant, title string, goal float64) {
		out = append(out, Figure{Name: name, Title: title, Unit: "ms", Variant: variant, Goal: goal, Spread: measure.SpreadOf(t.times[name])})
	}
	add("forwards-batch", Lanyard, "16,384 forwards written to their map in one batch", 10)
	add("forwards-load", Lanyard, "Apply: 16,380 forwards added in one batch", 10)
	add("forwards-load-kernel", Kernel, "nft -f: the same forwards into the map", 0)
	add("forwards-same", Lanyard, "Apply: 16,384 forwards, nothing changed", 0)
	add("forwards-unload", Lanyard, "Apply: 16,380 forwards removed", 0)
	add("endpoints-load", Lanyard, "Apply: 16,000 endpoints added in one batch", 0)
	add("endpoints-one", Lanyard, "Apply: one endpoint moved among 16,000", 0)
	add("endpoints-same", Lanyard, "Apply: 16,000 endpoints, nothing changed", 0)
	add("restart", Lanyard, "Restart: everything adopted, 16,000 endpoints", 0)
	add("restart-apply", Lanyard, "First Apply after a restart, nothing changed", 0)
	return out, nil
}

// crowd adds 16,000 webspaces of the other node to a state; the first of them has its MAC changed by salt.
func crowd(s dataplane.State, salt byte) dataplane.State {
	const crowded = 16000
	peer := s.Peers[0].VTEP
	for i := range crowded {
		c, d := byte(16+i/250), byte(1+i%250)
		m := []byte{0x02, 0x58, 0, 0, c, d}
		if i == 0 {
			m[3] = salt
		}
		s.Endpoints = append(s.Endpoints, dataplane.Endpoint{
			IP: netip.AddrFrom4([4]byte{172, 24, c, d}), MAC: m, VTEP: peer, Owner: fmt.Sprintf("ws-u%d", i),
		})
	}
	return s
}

// timer keeps times in ms by name, and the first error.
type timer struct {
	ctx   context.Context
	node  *world.Node
	times map[string][]float64
	err   error
}

func (t *timer) apply(name, state string) { t.call(name, "node.apply", daemon.Name{Name: state}) }

func (t *timer) call(name, op string, args any) {
	if t.err != nil {
		return
	}
	var took struct {
		daemon.Took
		Changes dataplane.Delta `json:"changes"`
	}
	if t.err = t.node.Call(t.ctx, op, args, &took); t.err == nil {
		t.times[name] = append(t.times[name], float64(took.Wall)/float64(time.Millisecond))
	}
}

func (t *timer) kernel(w *world.World, many []world.Forward) {
	if t.err != nil {
		return
	}
	start := time.Now()
	if t.err = w.KernelForwards(t.ctx, many); t.err == nil {
		t.times["forwards-load-kernel"] = append(t.times["forwards-load-kernel"], float64(time.Since(start))/float64(time.Millisecond))
		t.err = w.KernelForwards(t.ctx, Forwards())
	}
}
