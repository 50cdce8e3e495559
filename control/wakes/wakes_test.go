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
	"github.com/lanyard-project/lanyard/webspace"
)

// fake is a node that remembers one wake.
type fake struct {
	err    error
	before uint64
	who    string
	awake  []nodeapi.AwakeState
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

func TestWakes(t *testing.T) {
	f := &fake{}
	p := New(f, "n1")
	page, err := p.Wakes(t.Context(), 3, "12", 2)
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
		if _, err := p.Wakes(t.Context(), 3, bad, 2); !errors.Is(err, api.ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n, err := p.Count(t.Context(), 3); n != 9 || err != nil {
		t.Error(n, err)
	}
	f.err = &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "no daemon"}
	if _, err := p.Wakes(t.Context(), 3, "", 2); !errors.Is(err, webspace.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := p.Count(t.Context(), 3); !errors.Is(err, webspace.ErrUnavailable) {
		t.Error(err)
	}
}

func TestWhyAwake(t *testing.T) {
	used := time.Unix(1e9, 0)
	f := &fake{awake: []nodeapi.AwakeState{{UID: 3, Status: "Running", LastUse: used, SleepAt: used.Add(time.Hour), Reasons: []nodeapi.AwakeReason{
		{Kind: "flow", What: "tcp 192.0.2.7:4711 -> port 22"}, {Kind: "operation", What: "Executing command"}, {Kind: "operation", What: "Showing console"},
		{Kind: "operation", What: "Backing up instance"}, {Kind: "session", What: "files"}, {Kind: "use", Until: used.Add(time.Hour)}}}}}
	p := New(f, "n1")
	why, err := p.WhyAwake(t.Context(), 3)
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
		if why, err := p.WhyAwake(t.Context(), 3); err != nil || why.Status != want || why.Since != nil || why.Reasons == nil {
			t.Errorf("%s: %+v %v", state, why, err)
		}
	}
	f.awake = nil
	if _, err := p.WhyAwake(t.Context(), 3); !errors.Is(err, webspace.ErrUnavailable) {
		t.Error(err)
	}
	f.err = &nodeapi.Error{Code: nodeapi.CodeNotFound}
	if _, err := p.WhyAwake(t.Context(), 3); !errors.Is(err, api.ErrElsewhere) {
		t.Error(err)
	}
	f.err = context.Canceled
	if _, err := p.WhyAwake(t.Context(), 3); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
