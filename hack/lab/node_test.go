package lab_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// Every map of the contract (bpf/types.h), by its name.
var maps = []string{"ports", "endpoints", "macs", "peers", "forwards", "inverses", "tracks", "flows", "shares", "frags",
	"prefixes", "counters", "drops", "buckets", "settings"}

func TestEveryMapCanBeReadWithBpftool(t *testing.T) {
	ctx := testContext(t, time.Minute)
	n1 := shared.Node(1)
	wantSeen(t, ctx, onN1, "tcp", lab.ServerAddr+":7000", n1.Addr()) // something to see in flows
	s, err := status(ctx, n1)
	must(t, err)
	folder, err := n1.Exec(ctx, "sh", "-c", "ls -d "+s.Node.BPFFS+"/v*")
	must(t, err)
	folder = strings.TrimSpace(folder)
	filled := map[string]string{ // and a field that a filled one must show by its name
		"ports": "mac", "endpoints": "vtep", "macs": "ifindex", "peers": "dmac", "forwards": "entry", "inverses": "port",
		"flows": "other", "settings": "nh_epoch", "prefixes": "prefixlen",
	}
	for _, name := range maps {
		// Dumping a per-CPU array of every webspace is long; 8 MB of it is proof enough.
		out, err := n1.Exec(ctx, "sh", "-c", "p=$(ls -d "+folder+"/*/"+name+" "+folder+"/"+name+" 2>/dev/null | head -n 1); bpftool -j map dump pinned \"$p\"")
		if err != nil {
			t.Errorf("map %s: %v", name, err)
			continue
		}
		var entries []struct {
			Formatted struct{ Key, Value json.RawMessage }
		}
		if err := json.Unmarshal([]byte(out), &entries); err != nil {
			t.Errorf("map %s: not JSON: %v: %.200s", name, err, out)
			continue
		}
		for _, e := range entries[:min(len(entries), 3)] {
			if len(e.Formatted.Key) == 0 && len(e.Formatted.Value) == 0 {
				t.Errorf("map %s has no type information: %.300s", name, out)
				break
			}
		}
		if field, ok := filled[name]; ok && !strings.Contains(out, `"`+field+`"`) {
			t.Errorf("map %s shows no field %q: %.300s", name, field, out)
		}
	}
}

func TestStatusShowsTheNode(t *testing.T) {
	ctx := testContext(t, time.Minute)
	s, err := status(ctx, shared.Node(1))
	must(t, err)
	if !s.Readiness.Ready || !s.LXD.Connected || len(s.Errors) > 0 {
		t.Errorf("readiness %+v, LXD %+v, errors %v", s.Readiness, s.LXD, s.Errors)
	}
	programs := make(map[string]int)
	for _, p := range s.Programs {
		programs[p.Name]++
	}
	if programs["port"] < 2 || programs["underlay"] < 1 || programs["node"] != 1 {
		t.Errorf("programs: %v", programs)
	}
	peers := make(map[string]bool)
	for _, p := range s.Peers {
		peers[p.VTEP.String()] = p.Ready
	}
	for _, n := range []*lab.Node{shared.Node(2), shared.Node(3)} {
		if !peers[n.Addr()] {
			t.Errorf("peer %s is not ready: %+v", n.Name, s.Peers)
		}
	}
	if s.Node.MTU != 1450 {
		t.Errorf("MTU %d, want 1450", s.Node.MTU)
	}
	text, err := shared.Node(1).Lanyard(ctx, "status")
	must(t, err)
	for _, want := range []string{onN1.Name, onN3.Name, "192.0.2.3", "underlay"} {
		if !strings.Contains(text, want) {
			t.Errorf("lanyard status does not show %s:\n%s", want, text)
		}
	}
}

func TestCheckFindsTheNodeFit(t *testing.T) {
	ctx := testContext(t, time.Minute)
	out, err := shared.Node(1).Lanyard(ctx, "check", "--json")
	if err != nil || !json.Valid([]byte(out)) {
		t.Errorf("lanyard check --json: %v: %.1000s", err, out)
	}
}

// TestTeardownLeavesNothing must be the last of those that use n2 one after the other.
func TestTeardownLeavesNothing(t *testing.T) {
	ctx := testContext(t, time.Minute)
	n2 := shared.Node(2)
	must(t, n2.StopLanyardd(ctx))
	_, err := n2.Exec(ctx, "lanyardd", "node", "--config", n2.ConfigFile(), "--teardown")
	must(t, err)
	links, err := n2.Exec(ctx, "ip", "-o", "link")
	must(t, err)
	if strings.Contains(links, "lanyard") {
		t.Errorf("interfaces are left:\n%s", links)
	}
	pins, err := n2.Exec(ctx, "find", "/sys/fs/bpf", "-mindepth", "1", "!", "-name", "*.debug") // those are the kernel's own
	must(t, err)
	if strings.TrimSpace(pins) != "" {
		t.Errorf("pins are left:\n%s", pins)
	}
	attached, err := n2.Exec(ctx, "bpftool", "net", "show")
	must(t, err)
	if strings.Contains(attached, "tcx/") {
		t.Errorf("programs are left:\n%s", attached)
	}
	neighbours, err := n2.Exec(ctx, "ip", "neigh", "show", "nud", "permanent")
	must(t, err)
	if strings.Contains(neighbours, "172.24.") {
		t.Errorf("neighbour entries are left:\n%s", neighbours)
	}
	must(t, n2.StartLanyardd(ctx))
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		_, err := dial(ctx, shared.Client, "tcp", external(n2, portN2))
		return err
	}))
	wantPing(t, ctx, onN1, onN2.IP.String(), 5)
}
