package lab_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// TestAFullFlowTable: one webspace opens more flows than the table holds. It is refused and counted, what it and others
// have keeps running, and a neighbour still gets its share.
func TestAFullFlowTable(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	n1 := shared.Node(1)
	s, err := status(ctx, n1)
	must(t, err)
	if s.Flows.Max == 0 || s.Flows.Share == 0 || s.Flows.Quota == 0 {
		t.Fatalf("limits of flows are unknown: %+v", s.Flows)
	}
	greedy, err := n1.AddWebspace(ctx, 61, lab.WebspaceOptions{}) // its flows stay until they expire, so it is none of the shared ones
	must(t, err)
	defer func() { must(t, greedy.Delete(ctx)) }()
	old := stream(t, ctx, greedy, lab.ServerAddr+":7000", 12*time.Second) // opened before the rush
	neighbours := stream(t, ctx, onN1too, lab.ServerAddr+":7000", 12*time.Second)
	refused := drops(t, ctx, n1, "flow_share_exceeded") + drops(t, ctx, n1, "flow_table_full")

	rush := s.Flows.Max + 1000
	var r struct{ Sent, Answered, Errors int }
	must(t, greedy.Probe(ctx, &r, "flows", "--count", fmt.Sprint(rush), "--wait", "1s", lab.ServerAddr+":7000"))
	if r.Answered > s.Flows.Quota {
		t.Errorf("%d flows of one webspace were answered, its quota is %d", r.Answered, s.Flows.Quota)
	}
	if r.Answered == 0 {
		t.Error("no flow was answered at all")
	}
	if after := drops(t, ctx, n1, "flow_share_exceeded") + drops(t, ctx, n1, "flow_table_full"); after-refused < uint64(rush-s.Flows.Quota) {
		t.Errorf("%d refusals were counted, want at least %d", after-refused, rush-s.Flows.Quota)
	}
	// The other still opens as many as its share.
	var other struct{ Sent, Answered, Errors int }
	must(t, onN1too.Probe(ctx, &other, "flows", "--count", fmt.Sprint(min(s.Flows.Share, 500)-5), "--wait", "1s", lab.ServerAddr+":7000"))
	if other.Answered != other.Sent {
		t.Errorf("of the neighbour's %d flows, within its share of %d, only %d were answered", other.Sent, s.Flows.Share, other.Answered)
	}
	t.Logf("limits %+v; of %d flows %d were answered", s.Flows, rush, r.Answered)
	old()
	neighbours()
}
