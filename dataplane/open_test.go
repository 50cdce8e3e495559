package dataplane

import (
	"net/netip"
	"testing"
)

// What Status says is what was applied.
func TestStatus(t *testing.T) {
	n := newNode(t)
	d := n.open()
	apply(t, d, n.whole())
	s, err := d.Status()
	n.must(err)
	programs := map[string]string{}
	for _, p := range s.Programs {
		if !p.Attached || p.ID == 0 || p.Tag == "" || p.Version == "" {
			t.Errorf("program %+v", p)
		}
		programs[p.Name+" "+p.Hook] += p.Interface
	}
	for k, want := range map[string]string{"port tcx/ingress": "ws1", "underlay tcx/ingress": "eth0", "node tcx/egress": "lanyard0"} {
		if programs[k] != want {
			t.Errorf("%s is at %q, want %q", k, programs[k], want)
		}
	}
	if len(s.Ports) != 1 || s.Ports[0].Owner != "ws-u1" || s.Ports[0].Slot == 0 || s.Ports[0].Name != "ws1" {
		t.Errorf("ports %+v", s.Ports)
	}
	owners := map[netip.Addr]string{}
	for _, e := range s.Endpoints {
		owners[e.IP] = e.Owner
	}
	if len(owners) != 3 || owners[netip.MustParseAddr("172.24.1.9")] != "ws-u9" {
		t.Errorf("endpoints %+v", s.Endpoints)
	}
	if len(s.Forwards) != 2 || !s.Forwards[0].Tracked || s.Forwards[1].Owner != "ws-u1" {
		t.Errorf("forwards %+v", s.Forwards)
	}
	for _, m := range s.Maps {
		if m.Max == 0 || m.Bytes == 0 && m.Name != "prefixes" {
			t.Errorf("map %+v", m)
		}
	}
	if s.MTU != 1450 || s.Layout != Layout || s.Applied.IsZero() || s.Flows.Max != 1024 {
		t.Errorf("status %+v", s)
	}
}
