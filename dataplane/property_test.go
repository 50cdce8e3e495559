package dataplane

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"pgregory.net/rapid"

	"github.com/lanyard-project/lanyard/bpf"
)

// universe is what random States are made of: few of everything, so that they collide.
type universe struct {
	node  *node
	ports []netlink.Link
}

func newUniverse(n *node) *universe {
	u := &universe{node: n}
	ns := n.namespace()
	for i := range 4 {
		u.ports = append(u.ports, n.pair(fmt.Sprintf("p%d", i), ns, fmt.Sprintf("q%d", i)))
	}
	return u
}

// pair is a veth whose far end only has to exist.
func (n *node) pair(name string, ns netns.NsHandle, peer string) netlink.Link {
	n.t.Helper()
	n.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(name, 1500, nil), PeerName: peer, PeerNamespace: netlink.NsFd(ns)}))
	l, err := netlink.LinkByName(name)
	n.must(err)
	n.t.Cleanup(func() { netlink.LinkDel(l) })
	return l
}

func (u *universe) state() *rapid.Generator[State] {
	lan := func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{172, 24, 1, byte(rapid.IntRange(0, 5).Draw(t, "host"))})
	}
	hw := func(t *rapid.T) net.HardwareAddr {
		return net.HardwareAddr{2, 0, 0, 0, 0, byte(rapid.IntRange(0, 6).Draw(t, "mac"))}
	}
	owner := func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"ws-u1", "ws-u2", "ws-u3"}).Draw(t, "owner")
	}
	vteps := []netip.Addr{{}, netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("198.51.100.7")}
	vtep := func(t *rapid.T) netip.Addr { return rapid.SampledFrom(vteps).Draw(t, "vtep") }
	return rapid.Custom(func(t *rapid.T) (s State) {
		for range rapid.IntRange(0, 4).Draw(t, "peers") {
			s.Peers = append(s.Peers, Peer{VTEP: vtep(t), Foreign: rapid.Bool().Draw(t, "foreign")})
		}
		for range rapid.IntRange(0, 5).Draw(t, "ports") {
			l := rapid.SampledFrom(u.ports).Draw(t, "port").Attrs()
			p := Port{Name: l.Name, Ifindex: l.Index, MAC: hw(t), IP: lan(t), Kind: PortKind(rapid.IntRange(1, 2).Draw(t, "kind")), Owner: owner(t)}
			s.Ports = append(s.Ports, p)
			s.Endpoints = append(s.Endpoints, Endpoint{IP: p.IP, MAC: p.MAC, Ifindex: p.Ifindex, Owner: p.Owner})
		}
		for range rapid.IntRange(0, 5).Draw(t, "endpoints") {
			s.Endpoints = append(s.Endpoints, Endpoint{IP: lan(t), MAC: hw(t), VTEP: vtep(t), Owner: owner(t), Infra: rapid.Bool().Draw(t, "infra")})
		}
		for range rapid.IntRange(0, 8).Draw(t, "forwards") {
			ext := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(rapid.IntRange(0, 4).Draw(t, "external port")))
			s.Forwards = append(s.Forwards, Forward{
				External: ext, Proto: rapid.SampledFrom([]Proto{TCP, UDP}).Draw(t, "proto"),
				Target: netip.AddrPortFrom(lan(t), uint16(rapid.IntRange(1, 3).Draw(t, "port"))), Entry: vtep(t), Owner: owner(t),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "prefixes") {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rapid.IntRange(9, 11).Draw(t, "net"))}), rapid.IntRange(7, 9).Draw(t, "bits"))
			if rapid.Bool().Draw(t, "deny") {
				s.Deny = append(s.Deny, p)
			} else {
				s.Allow = append(s.Allow, p)
			}
		}
		return s
	})
}

// picture is all that the kernel holds of a State, without what depends on history: slots are named, times left out.
func picture(t testing.TB, d *Dataplane) map[string]any {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.readBack(); err != nil {
		t.Fatal(err)
	}
	pic := map[string]any{
		"prefixes": maps.Clone(d.tables.prefixes.shadow),
		"kernel":   maps.Clone(d.kernel.ports.shadow), "flood": maps.Clone(d.kernel.flood.shadow),
		"neighbours": maps.Clone(d.kernel.neigh), "links": maps.Clone(d.kernel.links), "members": maps.Clone(d.kernel.found),
		"division": d.settings.FlowShare,
	}
	named := func(table string, key any, slot *uint32, value any) {
		name := d.slots.name[*slot]
		*slot = 0
		pic[fmt.Sprintf("%s %v", table, key)] = fmt.Sprintf("%v %q", value, name)
	}
	for k, v := range d.tables.ports.shadow {
		named("port", k, &v.Slot, &v)
	}
	for k, v := range d.tables.endpoints.shadow {
		named("endpoint", k, &v.Slot, &v)
	}
	for k, v := range d.tables.macs.shadow {
		named("mac", k, &v.Slot, &v)
	}
	for k, v := range d.tables.forwards.shadow {
		named("forward", k, &v.Slot, &v)
	}
	for k, v := range d.tables.inverses.shadow {
		if v.Flags == trackedFlag {
			v = bpf.TcInverse{Flags: v.Flags} // the one in force stays, so this does depend on history
		}
		pic[fmt.Sprintf("inverse %v", k)] = v
	}
	for k, v := range d.tables.peers.shadow {
		pic[fmt.Sprintf("peer %v", unwire(k))] = v.Flags & 2
	}
	return pic
}

// Any sequence of States ends equal to applying the last one to an empty node; applying a State twice changes nothing; and
// the difference is minimal: no table is touched whose entries stay.
func TestApplySequences(t *testing.T) {
	n := newNode(t)
	u := newUniverse(n)
	d := n.open()
	rapid.Check(t, func(rt *rapid.T) {
		states := rapid.SliceOfN(u.state(), 1, 4).Draw(rt, "states")
		var last State
		for _, s := range states {
			before := picture(t, d)
			c, err := d.Apply(t.Context(), s)
			if err != nil {
				rt.Fatal(err)
			}
			if after := picture(t, d); reflect.DeepEqual(before, after) && c.Total().Added+c.Total().Removed > 0 {
				rt.Fatalf("nothing has changed, yet %+v was reported", c.Tables)
			}
			if c, err = d.Apply(t.Context(), s); err != nil || !c.Empty() {
				rt.Fatalf("the same state again changed %+v, %v", c.Tables, err)
			}
			last = s
		}
		got := picture(t, d)
		if _, err := d.Apply(t.Context(), State{}); err != nil {
			rt.Fatal(err)
		}
		if _, err := d.Apply(t.Context(), last); err != nil {
			rt.Fatal(err)
		}
		if want := picture(t, d); !reflect.DeepEqual(got, want) {
			for k := range want {
				if !reflect.DeepEqual(got[k], want[k]) {
					rt.Errorf("%s: %v, want %v", k, got[k], want[k])
				}
			}
			rt.Fatalf("the way to the last state has left its mark: %v, want %v", got, want)
		}
	})
}

// One bad item is reported, and harms only itself.
func TestBadItems(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, _ := n.webspace(1)
	good := State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}}
	bad := State{
		Peers:     []Peer{{VTEP: n.cfg.VTEP}, {}, {VTEP: netip.MustParseAddr("224.0.0.1")}},
		Ports:     []Port{p1, {Name: "gone", Ifindex: 9999, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, IP: netip.MustParseAddr("172.24.9.9"), Kind: PortWebspace, Owner: "ws-u9"}, {}},
		Endpoints: []Endpoint{e1, {IP: netip.MustParseAddr("10.0.0.1"), MAC: e1.MAC}, {IP: e1.IP, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7}, Owner: "ws-u7"}, {IP: n.cfg.Gateway, MAC: e1.MAC}},
		Forwards:  []Forward{{}, {External: netip.MustParseAddrPort("192.0.2.1:80"), Proto: TCP, Target: netip.MustParseAddrPort("172.24.77.1:80")}},
		Deny:      []netip.Prefix{{}},
	}
	c, err := d.Apply(t.Context(), bad)
	n.must(err)
	for _, p := range c.Problems {
		t.Log(p)
	}
	if len(c.Problems) != 11 {
		t.Errorf("%d problems, want 11", len(c.Problems))
	}
	if _, ok := d.kernel.ports.shadow[p1.Ifindex]; !ok {
		t.Error("the good port was not applied")
	}
	if e, ok := d.tables.endpoints.shadow[wire(e1.IP)]; !ok || e.Mac != toMAC(e1.MAC) {
		t.Error("the good endpoint was not applied")
	}
	apply(t, d, good)
}
