package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/control/sleep"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// fakeLedger has one record of each of ws-u1 and ws-u2.
type fakeLedger struct{ err error }

func (f fakeLedger) records() []ledger.Record {
	r := ledger.Record{ID: 2, UID: 1, Instance: "ws-u1", Kind: ledger.Wake, Outcome: ledger.Done, Took: time.Second,
		Cause: ledger.Cause{Via: ledger.Forward, Peer: netip.MustParseAddrPort("192.0.2.7:4711"), Proto: "tcp", Port: 80},
		Split: ledger.Split{Decided: time.Millisecond, Delivered: 200 * time.Millisecond}}
	s := r
	s.ID, s.UID, s.Instance = 1, 2, "ws-u2"
	return []ledger.Record{r, s}
}

func (f fakeLedger) All(before uint64, limit int) (ledger.Page, error) {
	p := ledger.Page{Records: f.records()}
	if limit == 1 {
		p.Records, p.Next = p.Records[:1], 2
	}
	if before == 2 {
		p = ledger.Page{Records: f.records()[1:]}
	}
	return p, f.err
}

func (f fakeLedger) Of(uid int, _ uint64, _ int) (ledger.Page, error) {
	var p ledger.Page
	for _, r := range f.records() {
		if r.UID == uid {
			p.Records = append(p.Records, r)
		}
	}
	return p, f.err
}

func (f fakeLedger) Woken(int) (uint64, error) { return 7, f.err }

func (f fakeLedger) AllWoken() (map[int]uint64, error) { return map[int]uint64{1: 7}, f.err }

func (fakeLedger) Sums() ledger.Sums {
	return ledger.Sums{Events: map[ledger.Event]uint64{{Kind: ledger.Wake, Via: ledger.Forward, Outcome: ledger.Done}: 3, {}: 1},
		Steps: map[ledger.StepOf]ledger.Histogram{{Kind: ledger.Wake, Step: "delivered"}: {Count: 3, Sum: 0.6, Buckets: map[float64]uint64{0.25: 2, 1: 3}}}, Lost: 5}
}

type fakeKeeper struct {
	err   error
	stuck bool
	naps  int // of which nothing is taken back
}

func (f *fakeKeeper) All(context.Context) ([]sleep.Answer, error) {
	flow := dataplane.Flow{Local: netip.MustParseAddrPort("172.24.1.1:22"), Remote: netip.MustParseAddrPort("192.0.2.7:4711"), Passive: true}
	return []sleep.Answer{
		{Seen: sleep.Seen{UID: 1, Name: "ws-u1", Status: webspace.Running, NapAfter: time.Minute, Started: time.Now()},
			Reasons: []sleep.Reason{{Kind: sleep.ByFlow, What: "tcp 192.0.2.7:4711 -> port 22", Flow: flow}}},
		{Seen: sleep.Seen{UID: 2, Name: "ws-u2", Status: webspace.Stopped}},
	}, f.err
}

func (f *fakeKeeper) Stats() sleep.Stats {
	return sleep.Stats{Memory: sleep.Memory{Available: 1 << 20}, Short: "why", Stuck: f.stuck, Watched: 2, Err: f.err, Napping: f.naps, NoReclaim: sleep.ErrNoReclaim}
}

// ask asks the admin socket's handler as root would.
func ask(t *testing.T, n *Node, path string, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), caller{}, 0), http.MethodGet, path, nil)
	n.adminHandler().ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatal(err, w.Body.String())
	}
	return w.Code
}

func TestWakes(t *testing.T) {
	n, _, _ := fakeNode(t)
	var p nodeapi.WakePage
	if code := ask(t, n, nodeapi.PathWakes+"?limit=1", &p); code != 200 || len(p.Wakes) != 1 || p.Next != 2 || p.Woken != 0 {
		t.Errorf("%d %+v", code, p)
	}
	if w := p.Wakes[0]; w.Webspace != "ws-u1" || w.Via != "forward" || w.After["delivered"] != 200*time.Millisecond || len(w.After) != 2 {
		t.Errorf("%+v", w)
	}
	for _, who := range []string{"ws-u2", "2"} {
		p = nodeapi.WakePage{}
		if code := ask(t, n, nodeapi.PathWakes+"?webspace="+who, &p); code != 200 || len(p.Wakes) != 1 || p.Wakes[0].UID != 2 || p.Woken != 7 {
			t.Errorf("%d %+v", code, p)
		}
	}
	p = nodeapi.WakePage{}
	if code := ask(t, n, nodeapi.PathWakes+"?webspace=3", &p); code != 200 || p.Wakes == nil || len(p.Wakes) != 0 {
		t.Errorf("%d %+v", code, p)
	}
	for _, bad := range []string{"webspace=x", "webspace=ws-u03", "webspace=-1", "webspace=ws-u", "before=x", "limit=-1", "before=99999999999999999999"} {
		var e nodeapi.Error
		if code := ask(t, n, nodeapi.PathWakes+"?"+bad, &e); code != 400 || e.Code != nodeapi.CodeBadRequest {
			t.Errorf("%s: %d %+v", bad, code, e)
		}
	}
	var e nodeapi.Error
	n.ledger = fakeLedger{errors.New("the disk is full")}
	if code := ask(t, n, nodeapi.PathWakes, &e); code != 503 || !strings.Contains(e.Cause, "full") {
		t.Errorf("%d %+v", code, e)
	}
	n.ledger = nil
	if code := ask(t, n, nodeapi.PathWakes, &e); code != 503 {
		t.Errorf("%d %+v", code, e)
	}
}

func TestAwake(t *testing.T) {
	n, _, _ := fakeNode(t)
	var l nodeapi.AwakeList
	if code := ask(t, n, nodeapi.PathAwake, &l); code != 200 || len(l.Webspaces) != 2 || l.Webspaces[1].Reasons == nil {
		t.Errorf("%d %+v", code, l)
	}
	l = nodeapi.AwakeList{}
	if code := ask(t, n, nodeapi.PathAwake+"?webspace=ws-u1", &l); code != 200 || len(l.Webspaces) != 1 {
		t.Fatalf("%d %+v", code, l)
	}
	if a := l.Webspaces[0]; len(a.Reasons) != 1 || a.Reasons[0].Remote.Port() != 4711 || !a.Reasons[0].Passive || a.NapAt.IsZero() || !a.SleepAt.IsZero() {
		t.Errorf("%+v", a)
	}
	var e nodeapi.Error
	if code := ask(t, n, nodeapi.PathAwake+"?webspace=9", &e); code != 404 || e.Code != nodeapi.CodeNotFound {
		t.Errorf("%d %+v", code, e)
	}
	if code := ask(t, n, nodeapi.PathAwake+"?webspace=../x", &e); code != 400 {
		t.Errorf("%d %+v", code, e)
	}
	n.keeper = &fakeKeeper{err: errors.New("no maps")}
	if code := ask(t, n, nodeapi.PathAwake, &e); code != 503 {
		t.Errorf("%d %+v", code, e)
	}
	n.keeper = nil
	if code := ask(t, n, nodeapi.PathAwake, &e); code != 503 {
		t.Errorf("%d %+v", code, e)
	}
}

// That memory is not taken back is told while it would be.
func TestNoReclaimIsTold(t *testing.T) {
	n, _, _ := fakeNode(t)
	for naps, want := range []int{0, 1} {
		n.keeper = &fakeKeeper{naps: naps}
		if got := n.keeperProblems(); len(got) != want || want > 0 && (!strings.Contains(got[0].Error, "version 1") || !strings.Contains(got[0].Error, "lanyard check")) {
			t.Errorf("%d nap: %+v", naps, got)
		}
	}
}

func TestPowerMetrics(t *testing.T) {
	n, _, _ := fakeNode(t)
	n.keeper = &fakeKeeper{err: errors.New("no maps"), stuck: true}
	if got := n.keeperProblems(); len(got) != 2 || got[0].Subject != "sleep" || got[1].Subject != "memory" {
		t.Errorf("%+v", got)
	}
	_, text := get(t, n.metricsHandler(), "/metrics")
	for _, line := range []string{
		`lanyard_power_events_total{cause="forward",kind="wake",outcome="done"} 3`, `lanyard_power_events_total{cause="other",kind="other",outcome="other"} 1`,
		`lanyard_wake_step_seconds_bucket{kind="wake",step="delivered",le="0.25"} 2`, `lanyard_wake_step_seconds_count{kind="wake",step="delivered"} 3`,
		`lanyard_ledger_lost_total 5`, `lanyard_memory_short 2`, `lanyard_idle_watched 2`, `lanyard_memory_available_bytes 1.048576e+06`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("missing %s", line)
		}
	}
}
