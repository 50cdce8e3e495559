package dataplane

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/lanyard-project/lanyard/bpf"
)

func (s *services) table() (map[bpf.TcServiceKey]bpf.TcForward, map[bpf.TcServiceKey]bpf.TcInverse) {
	to := map[bpf.TcServiceKey]bpf.TcForward{}
	for k, i := range s.w.forwards {
		to[k] = s.forward(i)
	}
	return to, s.inverses
}

// Whatever the forwards: each answer shows an external side that really leads to its target; where that is not the only one
// both directions say so; and the choice does not depend on the order of the list.
func TestInverses(t *testing.T) {
	cfg := Config{Prefix: netip.MustParsePrefix("172.24.0.0/16"), VTEP: netip.MustParseAddr("192.0.2.1"), Port: 4789}
	peer := netip.MustParseAddr("192.0.2.2")
	sl := &slots{owner: map[string]uint32{"ws-u1": 7}}
	stations := State{Peers: []Peer{{VTEP: peer}}, Endpoints: []Endpoint{
		{IP: netip.MustParseAddr("172.24.1.1"), MAC: []byte{2, 0, 0, 0, 0, 1}, Owner: "ws-u1"},
		{IP: netip.MustParseAddr("172.24.1.2"), MAC: []byte{2, 0, 0, 0, 0, 2}, VTEP: peer, Owner: "ws-u2"},
	}}
	rapid.Check(t, func(rt *rapid.T) {
		s := stations
		s.Forwards = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Forward {
			own := rapid.Bool().Draw(t, "own")
			f := Forward{Proto: TCP, Owner: "ws-u1"}
			ext := cfg.VTEP
			if !own {
				ext, f.Entry = peer, peer
			}
			f.External = netip.AddrPortFrom(ext, uint16(rapid.IntRange(1, 5).Draw(t, "external")))
			f.Target = netip.AddrPortFrom(rapid.SampledFrom(s.Endpoints).Draw(t, "target").IP, uint16(rapid.IntRange(80, 82).Draw(t, "port")))
			return f
		}), 0, 12).Draw(rt, "forwards")
		w := validate(&cfg, &s, nil, sameness{})
		to, back := buildServices(w, sl, nil).table()
		targets := map[bpf.TcServiceKey]int{}
		for k, f := range to {
			at := bpf.TcServiceKey{Ip: f.Ip, Port: f.Port, Proto: k.Proto}
			targets[at]++
			if local := unwire(f.Ip) == s.Endpoints[0].IP; local != (f.Slot == 7) {
				rt.Fatalf("slot of %+v", f)
			}
		}
		if len(back) != len(targets) {
			rt.Fatalf("%d inverses of %d targets", len(back), len(targets))
		}
		for at, inv := range back {
			f, ok := to[bpf.TcServiceKey{Ip: inv.Ip, Port: inv.Port, Proto: at.Proto}]
			if !ok || f.Ip != at.Ip || f.Port != at.Port || f.Entry != inv.Entry {
				rt.Fatalf("the answer of %+v shows %+v, which leads to %+v", at, inv, f)
			}
			tracked := targets[at] > 1
			if tracked != (inv.Flags == trackedFlag) || tracked != (f.Flags == trackedFlag) {
				rt.Fatalf("%d externals, flags %d and %d", targets[at], f.Flags, inv.Flags)
			}
			for k, f := range to {
				if f.Ip == at.Ip && f.Port == at.Port && f.Entry == (bpf.TcAddr{}) && k.Proto == at.Proto && inv.Entry != (bpf.TcAddr{}) {
					rt.Fatalf("%+v is preferred to an external side of this node", inv)
				}
			}
		}
		// Another order of the list.
		p := s
		p.Forwards = rapid.Permutation(s.Forwards).Draw(rt, "order")
		to2, back2 := buildServices(validate(&cfg, &p, nil, sameness{}), sl, nil).table()
		for k := range to {
			if to[k] != to2[k] {
				rt.Fatalf("in another order %+v became %+v", to[k], to2[k])
			}
		}
		for k := range back {
			if back[k] != back2[k] {
				rt.Fatalf("in another order %+v became %+v", back[k], back2[k])
			}
		}
	})
}

// A second external side leaves the connections of the first alone: they have no note in `tracks`.
func TestInverseInForceStays(t *testing.T) {
	n := newNode(t)
	d := n.open()
	_, e, _ := n.webspace(1)
	e.Ifindex = 0
	forward := func(port uint16) Forward {
		return Forward{External: netip.AddrPortFrom(n.cfg.VTEP, port), Proto: TCP, Target: netip.AddrPortFrom(e.IP, 80), Owner: e.Owner}
	}
	shows := func(ports ...uint16) uint16 {
		s := State{Endpoints: []Endpoint{e}}
		for _, p := range ports {
			s.Forwards = append(s.Forwards, forward(p))
		}
		apply(t, d, s)
		inv := d.tables.inverses.shadow[serviceKey(wire(e.IP), 80, TCP)]
		if (inv.Flags == trackedFlag) != (len(ports) > 1) {
			t.Errorf("with %v the flags are %d", ports, inv.Flags)
		}
		return inv.Port
	}
	for _, c := range []struct {
		ports []uint16
		want  uint16
	}{{[]uint16{9000}, 9000}, {[]uint16{8000, 9000}, 9000}, {[]uint16{8000, 9000, 7000}, 9000}, {[]uint16{8000, 7000}, 7000}, {[]uint16{8000}, 8000}} {
		if got := shows(c.ports...); got != c.want {
			t.Errorf("with %v the answer shows %d, want %d", c.ports, got, c.want)
		}
	}
}

func TestLPM(t *testing.T) {
	p := netip.MustParsePrefix
	l := newLPM(map[netip.Prefix]bool{p("10.0.0.0/8"): true, p("10.1.0.0/16"): false, p("10.1.2.0/24"): true, p("10.1.2.3/32"): false})
	for ip, want := range map[string]bool{
		"10.0.0.1": true, "10.1.0.1": false, "10.1.2.4": true, "10.1.2.3": false, "11.0.0.1": false, "2001:db8::1": false,
	} {
		if l.denies(netip.MustParseAddr(ip)) != want {
			t.Errorf("%s: denied is %v", ip, !want)
		}
	}
}

func TestReasons(t *testing.T) {
	for _, r := range Reasons() {
		b, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Reason
		if err := got.UnmarshalText(b); err != nil || got != r || r.Doc() == "" {
			t.Errorf("%v became %v: %v", r, got, err)
		}
	}
	var r Reason
	if err := r.UnmarshalText([]byte("reason_99")); err != nil || r != 99 || r.String() != "reason_99" {
		t.Errorf("a reason of a newer build became %v: %v", r, err)
	}
	if r.UnmarshalText([]byte("nonsense")) == nil {
		t.Error("nonsense is a reason")
	}
}

func TestConfigCheck(t *testing.T) {
	good := Config{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"), GatewayMAC: []byte{2, 0, 0, 0, 0, 1},
		NodeIP: netip.MustParseAddr("172.24.0.1"), NodeMAC: []byte{2, 0, 0, 0, 0, 2}, VTEP: netip.MustParseAddr("192.0.2.1"), Underlay: "eth0",
	}.WithDefaults()
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"prefix":          func(c *Config) { c.Prefix = netip.MustParsePrefix("172.24.0.1/16") },
		"gateway outside": func(c *Config) { c.Gateway = netip.MustParseAddr("10.0.0.1") },
		"same address":    func(c *Config) { c.NodeIP = c.Gateway },
		"same MAC":        func(c *Config) { c.NodeMAC = c.GatewayMAC },
		"multicast MAC":   func(c *Config) { c.NodeMAC = []byte{1, 0, 0, 0, 0, 2} },
		"VNI":             func(c *Config) { c.VNI = 1 << 24 },
		"no tunnel":       func(c *Config) { c.VTEP = netip.Addr{} },
		"long name":       func(c *Config) { c.Bridge = "sixteen-letters!" },
		"no underlay":     func(c *Config) { c.Underlay = "" },
		"MTU":             func(c *Config) { c.MTU = 100 },
		"NAT ports":       func(c *Config) { c.NATPorts = PortRange{2, 1} },
		"XDP":             func(c *Config) { c.XDP = "fast" },
		"size":            func(c *Config) { c.Sizes.Flows = -1 },
		"infrastructure":  func(c *Config) { c.Infra = make([]netip.Prefix, 9) },
	} {
		c := good
		spoil(&c)
		if c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
