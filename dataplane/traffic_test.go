package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// gatewayRoute gives a webspace its default route.
func (n *node) gatewayRoute(in func(func())) {
	n.t.Helper()
	in(func() {
		n.must(netlink.RouteAdd(&netlink.Route{Gw: n.cfg.Gateway.AsSlice()}))
	})
}

// The whole of it, with real frames: neighbour, gateway, NAT and forward.
func TestTraffic(t *testing.T) {
	n := newNode(t)
	d := n.open()
	go d.Run(t.Context())
	p1, e1, ns1 := n.webspace(1)
	p2, e2, ns2 := n.webspace(2)
	outside := netip.MustParseAddr("198.51.100.10")
	n.in(n.far, func() {
		lo, err := netlink.LinkByName("lo")
		n.must(err)
		n.must(netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(outside, 32))}))
	})
	n.must(netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 254)}))
	n.gatewayRoute(func(f func()) { n.in(ns1, f) })
	n.gatewayRoute(func(f func()) { n.in(ns2, f) })
	apply(t, d, State{
		Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2},
		Forwards: []Forward{{External: netip.MustParseAddrPort("192.0.2.1:8080"), Proto: TCP, Target: netip.AddrPortFrom(e1.IP, 80), Owner: "ws-u1"}},
	})
	n.works(ns1, e2.IP)
	n.works(ns1, n.cfg.Gateway)
	n.works(ns1, outside)
	home := n.home()
	defer home.Close()
	n.works(home, e1.IP) // the node itself

	var l net.Listener
	n.in(ns1, func() {
		var err error
		l, err = net.Listen("tcp4", ":80")
		n.must(err)
	})
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, c.RemoteAddr())
	}()
	var c net.Conn
	n.in(n.far, func() {
		var err error
		c, err = (&net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: outside.AsSlice()}}).Dial("tcp4", "192.0.2.1:8080")
		n.must(err)
	})
	defer c.Close()
	n.must(c.SetDeadline(time.Now().Add(30 * time.Second)))
	seen, err := io.ReadAll(c)
	n.must(err)
	if got, err := netip.ParseAddrPort(string(seen)); err != nil || got.Addr() != outside {
		t.Errorf("the server saw %q, not the client %v", seen, outside)
	}
	counters, err := d.Counters()
	n.must(err)
	if w := counters["ws-u1"]; w.FlowsOpened == 0 || w.RxPackets == 0 || w.TxPackets == 0 {
		t.Errorf("counters %+v", w)
	}
}

// Changes that do not concern two webspaces cost them nothing: 10,000 endpoints and forwards of others are rewritten.
func TestUnrelatedChanges(t *testing.T) {
	n := newNode(t)
	n.cfg.Sizes = Sizes{} // the defaults have room
	d := n.open()
	go d.Run(t.Context())
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	apply(t, d, s)
	n.works(ns1, e2.IP)
	traffic := n.ping(ns1, e2.IP, 2*time.Millisecond)
	for i := range 6 {
		more := many(10_000)
		for j := range more.Endpoints {
			ip := netip.AddrFrom4([4]byte{172, 24, byte(100 + j>>8), byte(j)})
			more.Endpoints[j].IP = ip
			more.Endpoints[j].MAC = net.HardwareAddr{2, 1, 0, byte(i), byte(j >> 8), byte(j)}
			more.Forwards[j].Target = netip.AddrPortFrom(ip, uint16(1+i))
		}
		more.Ports = s.Ports
		more.Endpoints = append(more.Endpoints, s.Endpoints...)
		c := apply(t, d, more)
		if got := c.Tables["macs"].Added + c.Tables["forwards"].Added + c.Tables["forwards"].Updated; got < 20_000 {
			t.Errorf("round %d wrote %d entries, want 20,000: %+v", i, got, c.Tables)
		}
		if i == 3 {
			apply(t, d, s)
		}
	}
	if lost := traffic.lost(t); lost != 0 {
		t.Errorf("%d pings were lost", lost)
	}
}

// Drops are sampled, and counted under their owner.
func TestSamples(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}})
	got := make(chan Sample, 100)
	done := make(chan error, 2)
	for range 2 { // each reader sees all
		go func() {
			done <- d.Samples(t.Context(), func(s Sample) {
				if s.Reason == ReasonSpoofedIP {
					got <- s
				}
			})
		}()
	}
	n.in(ns1, func() {
		l, err := netlink.LinkByName("eth0")
		n.must(err)
		n.must(netlink.AddrAdd(l, &netlink.Addr{IPNet: ipnet(netip.MustParsePrefix("172.24.1.77/16"))}))
		// A permanent neighbour, or the spoofed ARP request is all that is ever sent.
		n.must(netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.IPv4(172, 24, 1, 9), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 1, 9}, State: netlink.NUD_PERMANENT}))
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(172, 24, 1, 77)}, &net.UDPAddr{IP: net.IPv4(172, 24, 1, 9), Port: 9})
		n.must(err)
		defer c.Close()
		time.Sleep(100 * time.Millisecond)
		for range 5 {
			c.Write([]byte("spoof"))
		}
	})
	for range 4 {
		select {
		case s := <-got:
			if s.Owner != "ws-u1" || s.Interface != "ws1" || s.Hook.String() != "port" || s.Length < 47 || len(s.Data) < 42 || time.Since(s.Time).Abs() > time.Minute {
				t.Fatalf("sample %+v", s)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("no sample came")
		}
	}
	drops, err := d.Drops()
	n.must(err)
	found := false
	for _, c := range drops {
		found = found || c.Owner == "ws-u1" && c.Reason == ReasonSpoofedIP && c.Packets >= 5
	}
	if !found {
		t.Errorf("drops %+v", drops)
	}
	n.must(d.Close())
	for range 2 {
		select {
		case err := <-done:
			n.must(err)
		case <-time.After(60 * time.Second):
			t.Fatal("a reader did not end with Close")
		}
	}
}
