package dataplane

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// whole is a State with something of everything.
func (n *node) whole() State {
	p1, e1, _ := n.webspace(1)
	peer := netip.MustParseAddr("192.0.2.254")
	return State{
		Peers:     []Peer{{VTEP: peer}},
		Ports:     []Port{p1},
		Endpoints: []Endpoint{e1, {IP: netip.MustParseAddr("172.24.1.9"), MAC: []byte{2, 0, 0, 0, 1, 9}, VTEP: peer, Owner: "ws-u9"}},
		Forwards: []Forward{
			{External: netip.MustParseAddrPort("192.0.2.1:8080"), Proto: TCP, Target: netip.AddrPortFrom(e1.IP, 80), Owner: "ws-u1"},
			{External: netip.MustParseAddrPort("192.0.2.1:8081"), Proto: TCP, Target: netip.AddrPortFrom(e1.IP, 80), Owner: "ws-u1"},
		},
		Deny: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
}

func TestTeardownLeavesNothing(t *testing.T) {
	n := newNode(t)
	s := n.whole()
	links := func() (names []string) {
		all, err := netlink.LinkList()
		n.must(err)
		for _, l := range all {
			names = append(names, l.Attrs().Name)
		}
		return names
	}
	before := links()
	n.cfg.XDP = XDPGeneric
	d := n.open()
	apply(t, d, s)
	if err := Teardown(t.Context(), n.cfg, nil); err == nil {
		t.Fatal("a running dataplane was torn down")
	}
	n.must(d.Close())
	n.must(Teardown(t.Context(), n.cfg, nil))
	if _, err := os.Stat(n.cfg.BPFFS); !os.IsNotExist(err) {
		t.Errorf("the folder of pins: %v", err)
	}
	if after := links(); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("interfaces are %v, were %v", after, before)
	}
	for _, name := range []string{"eth0", "ws1"} {
		l, err := netlink.LinkByName(name)
		n.must(err)
		eventually(t, "programs leave "+name, func() bool {
			for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				q, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at})
				n.must(err)
				if len(q.Programs) > 0 {
					return false
				}
			}
			l, err = netlink.LinkByName(name)
			n.must(err)
			return l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached
		})
	}
	neigh, err := netlink.NeighList(n.underlay.Attrs().Index, unix.AF_INET)
	n.must(err)
	for _, e := range neigh {
		if e.FlagsExt&netlink.NTF_EXT_MANAGED != 0 {
			t.Errorf("the kernel still cares for %v", e.IP)
		}
	}
	n.must(Teardown(t.Context(), n.cfg, nil)) // again: nothing to do
}

// Admins read every map with bpftool, keys and values with the names of their fields.
func TestBpftoolReadsEveryMap(t *testing.T) {
	n := newNode(t)
	d := n.open()
	apply(t, d, n.whole())
	n.flow(d, 1, 1)
	names, err := d.pins.list("maps")
	n.must(err)
	if len(names) < 15 {
		t.Fatalf("only %v are pinned", names)
	}
	for _, name := range names {
		path := d.pins.dir("maps", name)
		if name == "drop_samples" || name == "events" {
			continue // a ring buffer has no entries to dump
		}
		out, err := exec.Command("bpftool", "-j", "map", "dump", "pinned", path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
			continue
		}
		var entries []struct {
			Formatted *struct{ Key, Value any } `json:"formatted"`
		}
		if err := json.Unmarshal(out, &entries); err != nil {
			t.Errorf("%s: %v: %.200s", name, err, out)
			continue
		}
		for _, e := range entries {
			if e.Formatted == nil {
				t.Errorf("%s: entries have no names: %.200s", name, out)
				break
			}
		}
		t.Logf("%s: %d entries", name, len(entries))
	}
	out, err := exec.Command("bpftool", "map", "dump", "pinned", d.pins.dir("maps", mapOwners)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"ws-u1"`) {
		t.Errorf("owners do not show ws-u1: %s", out)
	}
}

// A peer becomes ready when its neighbour is known, follows it to another MAC, and the flow's epoch tells of it.
func TestPeersFollowTheKernel(t *testing.T) {
	n := newNode(t)
	d := n.open()
	done := make(chan error, 1)
	go func() { done <- d.Run(t.Context()) }()
	s := n.whole()
	s.Peers = append(s.Peers, Peer{VTEP: netip.MustParseAddr("203.0.113.9")}) // no route
	apply(t, d, s)
	peer := func(i int) PeerStatus {
		st, err := d.Status()
		n.must(err)
		return st.Peers[i]
	}
	eventually(t, "the peer is ready", func() bool { return peer(0).Ready })
	if p := peer(1); p.Ready || p.Detail == "" {
		t.Errorf("a peer without a route is %+v", p)
	}
	d.mu.Lock()
	epoch := d.settings.NhEpoch
	d.mu.Unlock()
	hw := []byte{2, 0xaa, 0, 0, 0, 1}
	n.in(n.far, func() {
		l, err := netlink.LinkByName("eth0")
		n.must(err)
		n.must(netlink.LinkSetHardwareAddr(l, hw))
	})
	// The kernel hears of it by ARP; say it at once, as a gratuitous ARP would.
	n.must(netlink.NeighSet(&netlink.Neigh{LinkIndex: n.underlay.Attrs().Index, IP: s.Peers[0].VTEP.AsSlice(), State: unix.NUD_REACHABLE, HardwareAddr: hw, FlagsExt: netlink.NTF_EXT_MANAGED}))
	n.must(netlink.NeighSet(&netlink.Neigh{LinkIndex: n.underlay.Attrs().Index, IP: s.Peers[0].VTEP.AsSlice(), State: unix.NUD_REACHABLE, HardwareAddr: hw}))
	eventually(t, "the peer has the new MAC", func() bool { return peer(0).NextHop == "02:aa:00:00:00:01" })
	d.mu.Lock()
	if d.settings.NhEpoch == epoch {
		t.Error("the epoch is the same")
	}
	d.mu.Unlock()
	// A route makes the other one ready too.
	n.must(netlink.RouteAdd(&netlink.Route{Dst: ipnet(netip.MustParsePrefix("203.0.113.0/24")), Gw: s.Peers[0].VTEP.AsSlice()}))
	eventually(t, "the routed peer is ready", func() bool { return peer(1).Ready })
	// A neighbour that does not answer is not used.
	n.must(netlink.NeighSet(&netlink.Neigh{LinkIndex: n.underlay.Attrs().Index, IP: s.Peers[0].VTEP.AsSlice(), State: unix.NUD_FAILED}))
	n.must(d.Close())
	select {
	case err := <-done:
		n.must(err)
	case <-time.After(60 * time.Second):
		t.Fatal("Run did not end with Close")
	}
}

// What somebody else changes is put right again.
func TestDriftIsHealed(t *testing.T) {
	n := newNode(t)
	d := n.open()
	s := n.whole()
	apply(t, d, s)
	want := picture(t, d)
	bridge := d.dev.bridge
	go d.Run(t.Context())
	n.must(d.maps["endpoints"].Delete(wire(netip.MustParseAddr("172.24.1.9"))))
	n.must(netlink.NeighDel(permanent(bridge, portState{ip: s.Ports[0].IP, mac: toMAC(s.Ports[0].MAC)})))
	port, err := netlink.LinkByName("ws1")
	n.must(err)
	n.must(netlink.LinkSetNoMaster(port)) // the event makes Run look
	eventually(t, "the port is back in the bridge", func() bool {
		l, err := netlink.LinkByName("ws1")
		n.must(err)
		return l.Attrs().MasterIndex == bridge
	})
	eventually(t, "all is as it was", func() bool {
		got := picture(t, d)
		for k := range want {
			if want[k] != nil && got[k] == nil {
				return false
			}
		}
		return true
	})
	// Even the bridge itself.
	b, err := netlink.LinkByName("lanyard0")
	n.must(err)
	n.must(netlink.LinkDel(b))
	eventually(t, "the bridge is back, with the port", func() bool {
		b, err := netlink.LinkByName("lanyard0")
		if err != nil {
			return false
		}
		l, err := netlink.LinkByName("ws1")
		n.must(err)
		return l.Attrs().MasterIndex == b.Attrs().Index
	})
}

// The LAN follows the underlay's MTU.
func TestMTUFollows(t *testing.T) {
	n := newNode(t)
	d := n.open()
	if d.MTU() != 1450 {
		t.Fatalf("MTU is %d", d.MTU())
	}
	p1, e1, _ := n.webspace(1)
	small, err := netlink.LinkByName("ws1")
	n.must(err)
	n.must(netlink.LinkSetMTU(small, 1300))
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}})
	if b, err := netlink.LinkByName("lanyard0"); err != nil || b.Attrs().MTU != 1450 {
		t.Errorf("one port's small MTU has made the bridge's %d (%v)", b.Attrs().MTU, err)
	}
	go d.Run(t.Context())
	n.must(netlink.LinkSetMTU(n.underlay, 1400))
	eventually(t, "the LAN's MTU is 1350", func() bool {
		b, err := netlink.LinkByName("lanyard0")
		n.must(err)
		return d.MTU() == 1350 && b.Attrs().MTU == 1350
	})
}
