package wakes

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/node/peering"
	"github.com/lanyard-project/lanyard/webspace"
)

// fake is a node that remembers one wake.
type fake struct {
	err    error
	before uint64
	who    string
	awake  []nodeapi.AwakeState
	woken  map[int]uint64
}

func (f *fake) Wakes(_ context.Context, who string, before uint64, _ int) (nodeapi.WakePage, error) {
	f.who, f.before = who, before
	return nodeapi.WakePage{Next: 7, Woken: 9, Wakes: []nodeapi.Wake{
		{ID: 7, Kind: "wake", Via: "forward", Peer: netip.MustParseAddrPort("192.0.2.7:4711"), Proto: "tcp", Port: 80,
			External: netip.MustParseAddrPort("198.51.100.1:64000"), Outcome: "done", After: map[string]time.Duration{"decided": time.Millisecond, "open": time.Second}},
		{ID: 6, Kind: "sleep", Via: "idle", Outcome: "failed", Error: "no"},
	}}, f.err
}

func (f *fake) Awake(_ context.Context, who string) (nodeapi.AwakeList, error) {
	f.who = who
	return nodeapi.AwakeList{Webspaces: f.awake}, f.err
}

func (f *fake) Woken(context.Context) (nodeapi.Woken, error) {
	return nodeapi.Woken{Woken: f.woken}, f.err
}

// here makes a Provider of one machine that knows no other.
func here(n Node) *Provider { return New(Options{Here: n, Name: "n1"}) }

var three = webspace.Instance{UID: 3}

func TestWakes(t *testing.T) {
	f := &fake{woken: map[int]uint64{3: 9}}
	p := here(f)
	page, err := p.Wakes(t.Context(), three, "12", 2)
	if err != nil || f.who != "3" || f.before != 12 || *page.Next != "7" || len(page.Wakes) != 2 {
		t.Fatalf("%+v %v %+v", page, err, f)
	}
	w := page.Wakes[0]
	if w.Outcome != "ok" || *w.Peer != "192.0.2.7" || *w.Port != 80 || *w.Forward != 64000 || *w.Node != "n1" || w.Error != nil ||
		(*w.Latency)["decision"] != 0.001 || (*w.Latency)["open"] != 1 || len(*w.Latency) != 2 {
		t.Errorf("%+v", w)
	}
	if w := page.Wakes[1]; w.Outcome != "failed" || *w.Error != "no" || w.Peer != nil || w.Port != nil || w.Forward != nil || w.Latency != nil {
		t.Errorf("%+v", w)
	}
	for _, bad := range []string{"x", "0", "-1", "18446744073709551616", "1 "} {
		if _, err := p.Wakes(t.Context(), three, bad, 2); !errors.Is(err, api.ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n := p.Counts(t.Context()); len(n) != 1 || n[3] != 9 {
		t.Error(n)
	}
	f.err = &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "no daemon"}
	if _, err := p.Wakes(t.Context(), three, "", 2); !errors.Is(err, api.ErrNode) {
		t.Error(err)
	}
	if n := p.Counts(t.Context()); len(n) != 0 {
		t.Error(n)
	}
}

func TestWhyAwake(t *testing.T) {
	used := time.Unix(1e9, 0)
	f := &fake{awake: []nodeapi.AwakeState{{UID: 3, Status: "Running", LastUse: used, SleepAt: used.Add(time.Hour), Reasons: []nodeapi.AwakeReason{
		{Kind: "flow", What: "tcp 192.0.2.7:4711 -> port 22"}, {Kind: "operation", What: "Executing command"}, {Kind: "operation", What: "Showing console"},
		{Kind: "operation", What: "Backing up instance"}, {Kind: "session", What: "files"}, {Kind: "use", Until: used.Add(time.Hour)}}}}}
	p := here(f)
	why, err := p.WhyAwake(t.Context(), three)
	if err != nil || why.Status != wire.StatusAwake || !why.Since.Equal(used) || why.NapAt != nil || !why.SleepAt.Equal(used.Add(time.Hour)) {
		t.Fatalf("%+v %v", why, err)
	}
	for n, want := range []string{"flow", "exec", "console", "operation", "files", "recent"} {
		if why.Reasons[n].Kind != want || (why.Reasons[n].Until != nil) != (want == "recent") {
			t.Errorf("%+v, want %s", why.Reasons[n], want)
		}
	}
	for state, want := range map[string]wire.Status{"Frozen": wire.StatusNapping, "Stopped": wire.StatusAsleep, "Error": wire.StatusUnknown, "Starting": wire.StatusChanging} {
		f.awake = []nodeapi.AwakeState{{Status: state, LastUse: used}}
		if why, err := p.WhyAwake(t.Context(), three); err != nil || why.Status != want || why.Since != nil || why.Reasons == nil {
			t.Errorf("%s: %+v %v", state, why, err)
		}
	}
	f.awake = nil
	if _, err := p.WhyAwake(t.Context(), three); !errors.Is(err, api.ErrNode) {
		t.Error(err)
	}
	f.err = &nodeapi.Error{Code: nodeapi.CodeNotFound}
	if _, err := p.WhyAwake(t.Context(), three); !errors.Is(err, api.ErrNode) {
		t.Error(err)
	}
	f.err = context.Canceled
	if _, err := p.WhyAwake(t.Context(), three); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// cluster is three members: n3 has not said anything about itself.
type cluster struct{ err error }

func (c cluster) Members(context.Context) ([]webspace.Member, error) {
	return []webspace.Member{
		{Name: "n1", Online: true, Node: webspace.Node{VTEP: netip.MustParseAddr("192.0.2.1")}},
		{Name: "n2", Online: true, Node: webspace.Node{VTEP: netip.MustParseAddr("192.0.2.2")}},
		{Name: "n3", NodeErr: &webspace.Problem{What: "member n3 said nothing about itself", Kind: webspace.ErrNotFound}},
		{Name: "n4", Node: webspace.Node{VTEP: netip.MustParseAddr("192.0.2.4")}},
	}, c.err
}

// Whoever has the webspace is asked, and nobody else.
func TestElsewhere(t *testing.T) {
	one := &fake{woken: map[int]uint64{3: 9}}
	nodes := map[string]*fake{"192.0.2.2": {woken: map[int]uint64{3: 1, 4: 5}, awake: []nodeapi.AwakeState{{UID: 4, Status: "Running"}}},
		"192.0.2.4": {err: &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "cannot ask", Cause: "timeout", Next: "look", Err: context.DeadlineExceeded}}}
	o := Options{Here: one, Name: "n1", Cluster: cluster{}, There: func(vtep netip.Addr) Node {
		n := nodes[vtep.String()]
		if n == nil {
			t.Errorf("%v is asked", vtep)
			return &fake{}
		}
		return n
	}}
	p := New(o)
	on := func(node string) webspace.Instance { return webspace.Instance{UID: 4, Node: node} }
	page, err := p.Wakes(t.Context(), on("n2"), "", 2)
	if err != nil || *page.Wakes[0].Node != "n2" || nodes["192.0.2.2"].who != "4" || one.who != "" {
		t.Errorf("%+v %v, and n1 was asked for %q", page, err, one.who)
	}
	if why, err := p.WhyAwake(t.Context(), on("n2")); err != nil || why.Status != wire.StatusAwake {
		t.Errorf("%+v %v", why, err)
	}
	if page, err := p.Wakes(t.Context(), on("n1"), "", 2); err != nil || one.who != "4" || *page.Wakes[0].Node != "n1" {
		t.Errorf("%+v %v", page, err)
	}
	if n := p.Counts(t.Context()); len(n) != 2 || n[3] != 10 || n[4] != 5 {
		t.Error(n)
	}

	problem := func(what string, err, kind error) {
		t.Helper()
		var p *webspace.Problem
		if !errors.Is(err, kind) || !errors.As(err, &p) || p.What == "" || p.Cause == "" || p.Next == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range []string{"n3", "n4", "n5"} {
		_, err := p.Wakes(t.Context(), on(name), "", 2)
		problem(name, err, api.ErrNode)
	}
	nodes["192.0.2.2"].err = &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "cannot ask", Cause: "no file", Next: "look", Err: peering.ErrNone}
	_, err = p.WhyAwake(t.Context(), on("n2"))
	problem("without the cluster's certificate", err, api.ErrElsewhere)

	o.Cluster = cluster{&webspace.Problem{What: "no", Kind: webspace.ErrUnavailable}}
	if _, err := New(o).Wakes(t.Context(), on("n2"), "", 2); !errors.Is(err, webspace.ErrUnavailable) {
		t.Errorf("LXD is away: %v", err)
	}
	o.There = nil
	_, err = New(o).Wakes(t.Context(), on("n2"), "", 2)
	problem("without a port", err, api.ErrElsewhere)
	if n := New(o).Counts(t.Context()); len(n) != 1 || n[3] != 9 {
		t.Error(n)
	}
}
