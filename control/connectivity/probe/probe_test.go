package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/lanyard-project/lanyard/control/dhcp"
)

var (
	clientIP  = netip.MustParseAddr("172.24.1.1")
	gatewayIP = netip.MustParseAddr("172.24.254.1")
	clientMAC = net.HardwareAddr{0x02, 0x4c, 172, 24, 1, 1}
	serverMAC = net.HardwareAddr{0x02, 0x4c, 172, 24, 254, 1}
	network   = netip.MustParsePrefix("172.24.0.0/16")
)

// world is two namespaces joined by a veth, eth0 in each: a webspace and, in place of the network, one peer with a DHCP
// server and the probe's own server.
type world struct {
	t              *testing.T
	client, server netns.NsHandle
}

// in runs f on a thread of a namespace, which ends with it.
func (w *world) in(ns netns.NsHandle, f func()) {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			w.t.Errorf("enter a network namespace: %v: run the tests as root", err)
			return
		}
		f()
	}()
	<-done
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	for _, ns := range []*netns.NsHandle{&w.client, &w.server} {
		made := make(chan error)
		go func() {
			runtime.LockOSThread()
			var err error
			*ns, err = netns.New()
			made <- err
		}()
		if err := <-made; err != nil {
			t.Fatalf("make a network namespace: %v: run the tests as root", err)
		}
		t.Cleanup(func() { ns.Close() })
	}
	w.in(w.server, func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: Interface, HardwareAddr: serverMAC},
			PeerName: Interface, PeerHardwareAddr: clientMAC, PeerNamespace: netlink.NsFd(w.client)}))
		link, err := netlink.LinkByName(Interface)
		must(t, err)
		must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: gatewayIP.AsSlice(), Mask: net.CIDRMask(16, 32)},
			Broadcast: net.IPv4(172, 24, 255, 255)}))
		must(t, up("lo"))
		must(t, up(Interface))
		server, err := dhcp.New(dhcp.Config{Interface: Interface, Prefix: network, Gateway: gatewayIP, GatewayMAC: serverMAC,
			MTU: func() int { return 1400 }}, slog.New(slog.DiscardHandler))
		must(t, err)
		server.SetReservations([]dhcp.Reservation{{MAC: clientMAC, IP: clientIP, Ifindex: link.Attrs().Index}})
		w.background(func(ctx context.Context) error { return server.Run(ctx) })
		w.background(func(ctx context.Context) error { return Serve(ctx, Port) })
	})
	return w
}

// background runs f on a thread of the server's namespace until the test ends.
func (w *world) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(w.server); err != nil {
			done <- err
			return
		}
		done <- f(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				w.t.Error(err)
			}
		case <-time.After(5 * time.Second):
			w.t.Error("a server did not end")
		}
	})
}

// sendProbe runs a probe as a webspace would.
func sendProbe[T any](w *world, ns netns.NsHandle, args ...string) T {
	w.t.Helper()
	var out T
	w.in(ns, func() {
		var stdout, stderr bytes.Buffer
		if code := Main(&stdout, &stderr, args); code != 0 {
			w.t.Errorf("%v: %s", args, stderr.String())
			return
		}
		if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
			w.t.Errorf("%v: %v", args, err)
		}
	})
	return out
}

// TestProbes goes through the life of a temporary webspace: lease, then every probe against its peer.
func TestProbes(t *testing.T) {
	w := newWorld(t)
	w.in(w.client, func() {
		must(t, up("lo"))
		must(t, up(Interface))
		lease, err := acquire(context.Background())
		must(t, err)
		if lease.Address != netip.PrefixFrom(clientIP, 16) || lease.Router != gatewayIP || lease.MTU != 1400 || lease.Time != 2*time.Hour {
			t.Errorf("lease: %+v", lease)
		}
		must(t, lease.apply())
		must(t, lease.apply()) // a second time changes nothing
		link, err := netlink.LinkByName(Interface)
		must(t, err)
		if link.Attrs().MTU != 1400 {
			t.Errorf("MTU %d", link.Attrs().MTU)
		}
	})
	if t.Failed() {
		t.FailNow()
	}

	if p := sendProbe[Pings](w, w.client, "ping", gatewayIP.String(), "3", "1400"); p.Sent != 3 || p.Received != 3 || p.TooBig || p.Median <= 0 {
		t.Errorf("ping: %+v", p)
	}
	if p := sendProbe[Pings](w, w.client, "ping", gatewayIP.String(), "1", "1401"); !p.TooBig {
		t.Errorf("a ping larger than the MTU: %+v", p)
	}
	to := netip.AddrPortFrom(gatewayIP, Port).String()
	if talk := sendProbe[Talk](w, w.client, "tcp", to, "300000"); talk.Error != "" || talk.Hello.Peer.Addr() != clientIP || talk.Hello.Peer != talk.Local {
		t.Errorf("tcp: %+v", talk)
	}
	if talk := sendProbe[Talk](w, w.client, "udp", to); talk.Error != "" || talk.Hello.Peer.Addr() != clientIP {
		t.Errorf("udp: %+v", talk)
	}
	if talk := sendProbe[Talk](w, w.client, "open", gatewayIP.String()+":9", "1s"); talk.Error == "" {
		t.Error("nobody listens on port 9, but the connection came to be")
	}
	if a := sendProbe[ARPs](w, w.client, "arp", gatewayIP.String(), "2"); a.Sent != 2 || a.Replies != 2 || a.Unicast != 2 || a.MAC != serverMAC.String() {
		t.Errorf("arp: %+v", a)
	}
	if mac := sendProbe[string](w, w.client, "neighbour", gatewayIP.String()); mac != serverMAC.String() {
		t.Errorf("neighbour: %q", mac)
	}
	sendProbe[any](w, w.client, "broadcast", "172.24.255.255", "hello")
	eventually(t, "the broadcast is counted", func() bool { return sendProbe[int](w, w.server, "seen", "hello") == 1 })

	// Nothing guards this wire: forged datagrams arrive, which shows that they are well-formed and that only the guard can stop them.
	w.in(w.server, func() { // what is not from a neighbour would be dropped by the reverse path filter
		link, err := netlink.LinkByName(Interface)
		must(t, err)
		must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: clientIP.AsSlice(), HardwareAddr: clientMAC, State: netlink.NUD_PERMANENT}))
	})
	for _, kind := range []string{"mac", "ip"} {
		sendProbe[any](w, w.client, "forge", kind, "5", "forged-"+kind, gatewayIP.String(), serverMAC.String())
		eventually(t, "forged frames arrive: "+kind, func() bool { return sendProbe[int](w, w.server, "seen", "forged-"+kind) == 5 })
	}
	for _, kind := range []string{"arp", "dhcp", "vlan"} {
		sendProbe[any](w, w.client, "forge", kind, "1", "x", gatewayIP.String(), serverMAC.String())
	}
}

func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"nonsense"}, {"ping"}, {"ping", "x", "1", "84"}, {"ping", "127.0.0.1", "0", "84"}, {"ping", "127.0.0.1", "1", "84", "more"},
		{"tcp", "127.0.0.1", "1"}, {"forge", "mac", "5000", "t", "172.24.1.1", "02:00:00:00:00:01"}} {
		var out, errs bytes.Buffer
		if code := Main(&out, &errs, args); code == 0 || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, code, out.String(), errs.String())
		}
	}
}

// TestFrames checks the checksum against what it must be: zero over a header with its checksum in place.
func TestFrames(t *testing.T) {
	f := udpFrame(clientMAC, serverMAC, clientIP, gatewayIP, 67, 68, []byte("x"))
	if checksum(f[14:34]) != 0 {
		t.Error("the IP checksum is wrong")
	}
	if !strings.Contains(string(f), "x") || len(f) != 43 {
		t.Errorf("frame of %d bytes", len(f))
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 50 {
		if f() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("not so: %s", what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}
