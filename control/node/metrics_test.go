package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/dataplane"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	n, p, _ := fakeNode(t)
	h := n.metricsHandler()
	_, text := get(t, h, "/metrics")
	reason := dataplane.Reason(3).String()
	for _, line := range []string{
		`lanyard_build_info{version="v1"} 1`, `lanyard_ready 1`, `lanyard_programs{hook="tcx/ingress",program="port"} 2`,
		`lanyard_programs_detached 0`, `lanyard_map_entries{map="flows"} 7`, `lanyard_map_max_entries{map="counters"} 1024`,
		`lanyard_peers{ready="true"} 1`, `lanyard_peers{ready="false"} 1`, `lanyard_mtu_bytes 1450`, `lanyard_received_packets_total 11`,
		`lanyard_sent_bytes_total 500`, `lanyard_dropped_packets_total{reason="` + reason + `"} 5`,
		`lanyard_lxd_connected 1`, `lanyard_dhcp_dropped_total{reason="identity"} 1`, `lanyard_scrape_errors_total{source="drops"} 0`,
		`lanyard_dns_queries_total{type="A"} 9`, `lanyard_dns_answers_total{code="noerror",source="cache"} 5`,
		`lanyard_dns_upstream_up{upstream="192.0.2.54:53"} 0`,
		`lanyard_wake_webspaces{state="asleep"} 1`, `lanyard_wake_webspaces{state="napping"} 0`, `lanyard_wake_denied_packets_total{reason="never"} 3`,
		`lanyard_wake_dropped_packets_total{reason="full"} 4`, `lanyard_wake_held_packets 2`, `lanyard_problems 1`,
		`lanyard_flows 3`, `lanyard_syncs_total 4`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("missing %s", line)
		}
	}
	if strings.Contains(text, "ws-u1") || strings.Contains(text, `map_entries{map="counters"}`) {
		t.Error("a webspace's name, or a count that nobody made, is in the metrics")
	}
	if !strings.Contains(text, "go_goroutines") || !strings.Contains(text, "process_open_fds") {
		t.Error("the runtime's metrics are missing")
	}

	p.mu.Lock()
	p.err = errors.New("a map is gone")
	p.mu.Unlock()
	code, text := get(t, h, "/metrics")
	if code != 200 || !strings.Contains(text, `lanyard_scrape_errors_total{source="counters"} 1`) || !strings.Contains(text, "lanyard_ready 0") {
		t.Error(code, text)
	}
	if strings.Contains(text, "lanyard_received_packets_total") {
		t.Error("a number was made up for what could not be read")
	}
}

func TestMetricsOfWebspaces(t *testing.T) {
	n, _, _ := fakeNode(t)
	n.config.Metrics.Webspaces = true
	_, text := get(t, n.metricsHandler(), "/metrics")
	if !strings.Contains(text, `lanyard_webspace_received_bytes_total{webspace="ws-u1"} 1000`) || strings.Contains(text, `webspace=""`) {
		t.Error(text)
	}
}

// What is documented is what is given, and nothing else.
func TestEveryMetricIsGiven(t *testing.T) {
	n, _, _ := fakeNode(t)
	n.config.Metrics.Webspaces = true
	_, text := get(t, n.metricsHandler(), "/metrics")
	given := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(lanyard_[a-z_]+)`).FindAllStringSubmatch(text, -1) {
		name := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); strings.Contains(text, "# TYPE "+base+" histogram\n") {
				name = base
			}
		}
		given[name] = true
	}
	for _, m := range append(everyMetric(), webspaceMetrics()...) {
		if !given[m.name] {
			t.Error("not given:", m.name)
		}
		if strings.HasSuffix(m.name, "_total") != (m.kind == counter) {
			t.Error("the name does not fit the kind:", m.name)
		}
		delete(given, m.name)
	}
	for name := range given {
		t.Error("not documented:", name)
	}
}

func TestSumsNeverFall(t *testing.T) {
	s := newSums()
	steps := []struct {
		now  map[string]dataplane.Counters
		want uint64
	}{
		{map[string]dataplane.Counters{"a": {RxPackets: 10}, "b": {RxPackets: 5}}, 15},
		{map[string]dataplane.Counters{"a": {RxPackets: 12}, "b": {RxPackets: 5}}, 17},
		{map[string]dataplane.Counters{"a": {RxPackets: 13}}, 18},                      // b left
		{map[string]dataplane.Counters{"a": {RxPackets: 13}, "b": {RxPackets: 2}}, 20}, // b came back, counted anew
		{map[string]dataplane.Counters{"a": {RxPackets: 1}, "b": {RxPackets: 2}}, 21},  // a's slot began anew
		{nil, 21},
	}
	for i, step := range steps {
		if got := s.traffic(step.now).RxPackets; got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	one := []dataplane.DropCount{{Owner: "a", Reason: 1, Packets: 5}}
	s.drops(one)
	s.drops(nil)
	if got := s.drops(one)[dataplane.Reason(1).String()]; got.packets != 10 {
		t.Errorf("%+v", got)
	}
}

func TestReadiness(t *testing.T) {
	failing := func(r nodeapi.Readiness, name string) bool {
		for _, c := range r.Checks {
			if c.Name == name {
				return !c.OK && c.Detail != ""
			}
		}
		return false
	}
	tests := []struct {
		name, check string
		ready       bool
		change      func(*Node, *fakePlane, *fakeAgent)
	}{
		{"healthy", "", true, func(*Node, *fakePlane, *fakeAgent) {}},
		{"LXD is away", "lxd", true, func(_ *Node, _ *fakePlane, a *fakeAgent) {
			a.status.Connected, a.status.LXDErr = false, errors.New("gone")
		}},
		{"a pass failed", "sync", true, func(_ *Node, _ *fakePlane, a *fakeAgent) { a.status.Err = errors.New("no") }},
		{"nothing applied yet", "first-sync", false, func(_ *Node, _ *fakePlane, a *fakeAgent) { a.status.LastSync = time.Time{} }},
		{"no DHCP", "dhcp", true, func(n *Node, _ *fakePlane, _ *fakeAgent) { n.dhcp = fakeDHCP{} }},
		{"no DNS", "dns", true, func(n *Node, _ *fakePlane, _ *fakeAgent) { n.dns = fakeDNS{} }},
		{"upstreams are down", "", true, func(n *Node, _ *fakePlane, _ *fakeAgent) { n.dns = fakeDNS{running: true} }},
		{"unreadable", "maps", false, func(_ *Node, p *fakePlane, _ *fakeAgent) { p.err = errors.New("no") }},
		{"a port lost its program", "programs", false, func(_ *Node, p *fakePlane, _ *fakeAgent) { p.status.Programs[1].Attached = false }},
		{"no underlay program", "programs", false, func(_ *Node, p *fakePlane, _ *fakeAgent) { p.status.Programs = p.status.Programs[:3] }},
		{"no XDP program", "programs", false, func(n *Node, _ *fakePlane, _ *fakeAgent) { n.config.Underlay.XDP = "native" }},
		{"a part is down", "metrics", true, func(n *Node, _ *fakePlane, _ *fakeAgent) { n.supervisor.Set("metrics", errors.New("port in use")) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, p, a := fakeNode(t)
			test.change(n, p, a)
			code, body := get(t, n.metricsHandler(), "/readyz")
			var r nodeapi.Readiness
			if err := json.Unmarshal([]byte(body), &r); err != nil {
				t.Fatal(err)
			}
			if r.Ready != test.ready || (code == 200) != test.ready {
				t.Errorf("%d %s", code, body)
			}
			if test.check != "" && !failing(r, test.check) {
				t.Errorf("%s is no reason in %s", test.check, body)
			}
			if code, _ := get(t, n.metricsHandler(), "/healthz"); code != 200 {
				t.Error("not alive:", code)
			}
		})
	}
}

func TestMetricsReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != MetricsReference() {
		t.Error("docs/reference/metrics.md is not what the code says; next: go generate ./control/node")
	}
}

func TestServeMetricsEnds(t *testing.T) {
	n, _, _ := fakeNode(t)
	n.config.Metrics.Address = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.serveMetrics(ctx) }()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("does not end")
	}
}
