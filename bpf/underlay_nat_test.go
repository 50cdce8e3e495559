package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// opened sends a frame of a webspace out and gives the port (or identifier) that NAT chose for it.
func opened(w *World, h Host, frame []byte) (uint16, error) {
	r, err := w.Run("port", h.Name, frame, 0)
	if err != nil {
		return 0, err
	}
	if r.Verdict != Sent {
		return 0, fmt.Errorf("NAT refused the first packet: %v, %s", r.Verdict, Describe(frame))
	}
	return w.NATPort(r.Out)
}

// back is a packet of somebody outside to the node; home is how it reaches WS1.
func back(w *World, src netip.Addr, o ...IPv4Option) *Frame {
	return Ether(w.RouterMAC, w.UnderlayMAC).IPv4(src, w.VTEP, o...)
}

func home(w *World, src netip.Addr, o ...IPv4Option) *Frame {
	return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(src, w.WS1.IP, append([]IPv4Option{TTL(63)}, o...)...)
}

// TestUnderlayNAT is step 3 of the underlay: what returns to a flow.
func TestUnderlayNAT(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		syn := routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes()
		query := routed(w, w.Server).UDP(40000, 53).Text("query").Bytes()
		ping := routed(w, w.Server).ICMP(8, 0, 77, 1).Fill(56).Bytes()
		returns := func(name string, first []byte, in, out func(port uint16) []byte) {
			c := Case{Name: name, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, Entries: map[string]int{"flows": 0}}
			c.Frames = func(w *World) ([]byte, []byte, error) {
				port, err := opened(w, w.WS1, first)
				return in(port), out(port), err
			}
			run(c)
		}
		returns("TCP", syn, func(p uint16) []byte { return back(w, w.Server).TCP(80, p, "SA", 1460).Bytes() },
			func(uint16) []byte { return home(w, w.Server).TCP(80, 40000, "SA", 1460).Bytes() })
		returns("TCP, small segments", syn, func(p uint16) []byte { return back(w, w.Server).TCP(80, p, "SA", 536).Bytes() },
			func(uint16) []byte { return home(w, w.Server).TCP(80, 40000, "SA", 536).Bytes() })
		returns("TCP data", syn, func(p uint16) []byte { return back(w, w.Server).TCP(80, p, "PA", 0).Fill(1000).Bytes() },
			func(uint16) []byte { return home(w, w.Server).TCP(80, 40000, "PA", 0).Fill(1000).Bytes() })
		returns("UDP", query, func(p uint16) []byte { return back(w, w.Server).UDP(53, p).Text("answer").Bytes() },
			func(uint16) []byte { return home(w, w.Server).UDP(53, 40000).Text("answer").Bytes() })
		returns("UDP without a checksum", query, func(p uint16) []byte { return NoUDPSum(back(w, w.Server).UDP(53, p).Text("answer").Bytes()) },
			func(uint16) []byte { return NoUDPSum(home(w, w.Server).UDP(53, 40000).Text("answer").Bytes()) })
		returns("echo reply", ping, func(p uint16) []byte { return back(w, w.Server).ICMP(0, 0, p, 1).Fill(56).Bytes() },
			func(uint16) []byte { return home(w, w.Server).ICMP(0, 0, 77, 1).Fill(56).Bytes() })

		for _, f := range []struct {
			name string
			in   func(port uint16) []byte
		}{
			{"from another address", func(p uint16) []byte { return back(w, w.Client).UDP(53, p).Bytes() }},
			{"from another port", func(p uint16) []byte { return back(w, w.Server).UDP(54, p).Bytes() }},
			{"to another port", func(p uint16) []byte { return back(w, w.Server).UDP(53, p+1).Bytes() }},
			{"by another protocol", func(p uint16) []byte { return back(w, w.Server).TCP(53, p, "A", 0).Bytes() }},
			{"an echo request with the identifier of a flow", func(p uint16) []byte { return back(w, w.Server).ICMP(8, 0, p, 1).Bytes() }},
		} {
			c := Case{Name: f.name, Want: Pass, Entries: map[string]int{"flows": 0}}
			c.Frames = func(w *World) ([]byte, []byte, error) {
				port, err := opened(w, w.WS1, query)
				return f.in(port), nil, err
			}
			run(c)
		}
	})
}

// TestNATEndpointIndependent: one port of a webspace keeps its outside port towards several destinations (RFC 4787
// REQ-1), and two webspaces with the same port towards the same destination get different ones.
func TestNATEndpointIndependent(t *testing.T) {
	w := world(t)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	ports := map[string]uint16{}
	for name, c := range map[string]struct {
		h   Host
		dst netip.Addr
	}{"WS1 to server": {w.WS1, w.Server}, "WS1 to client": {w.WS1, w.Client}, "WS2 to server": {w.WS2, w.Server}} {
		port, err := opened(w, c.h, Ether(c.h.MAC, w.Gateway.MAC).IPv4(c.h.IP, c.dst).UDP(40000, 53).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		ports[name] = port
	}
	if ports["WS1 to server"] != ports["WS1 to client"] {
		t.Errorf("one source port became %d and %d", ports["WS1 to server"], ports["WS1 to client"])
	}
	if ports["WS1 to server"] == ports["WS2 to server"] {
		t.Errorf("two webspaces share port %d towards one destination", ports["WS1 to server"])
	}
}

// TestNATPortsExhausted: with all ports towards one destination in use, the next flow is refused and counted.
func TestNATPortsExhausted(t *testing.T) {
	n := Fixture()
	n.NATLast = n.NATFirst + 7
	w := open(t, n, nil)
	reasons, sent := map[string]int{}, map[uint16]bool{}
	for port := range uint16(64) {
		r, err := w.Run("port", w.WS1.Name, routed(w, w.Server).UDP(1000+port, 53).Bytes(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == Sent {
			p, err := w.NATPort(r.Out)
			if err != nil {
				t.Fatal(err)
			}
			if sent[p] {
				t.Errorf("port %d was given to two flows with one destination", p)
			}
			sent[p] = true
		}
	}
	drops, err := w.TakeDrops()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drops {
		reasons[d.Reason] += int(d.Packets)
	}
	if len(sent) == 0 || reasons["nat_ports_exhausted"] != 64-len(sent) {
		t.Errorf("%d flows opened with 8 ports, counted %v", len(sent), reasons)
	}
	share, err := w.Share(w.WS1.Slot)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Count("flows"); err != nil || n != 2*len(sent) || share != int64(len(sent)) {
		t.Errorf("%d flows opened, %d entries, share %d (%v)", len(sent), n, share, err)
	}
}

// TestFlowStates: what each packet of a TCP connection leaves in the flow, for user space to tell its timeout.
func TestFlowStates(t *testing.T) {
	w := world(t)
	const (
		out, back_, finOut, finBack, rst, syn, ackBack = 1, 2, 4, 8, 16, 32, 64
	)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	port, err := opened(w, w.WS1, routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	states := func(step string, want uint64) {
		t.Helper()
		entries, err := w.Tables["flows"].Entries()
		if err != nil {
			t.Fatal(err)
		}
		var got uint64
		for _, e := range entries {
			got |= e.Value.Uint("state")
		}
		if got != want {
			t.Errorf("%s: state %#x, want %#x", step, got, want)
		}
	}
	send := func(program, on string, frame []byte) {
		t.Helper()
		if r, err := w.Run(program, on, frame, 0); err != nil || r.Verdict != Sent {
			t.Fatalf("%v %v: %s", r.Verdict, err, Describe(frame))
		}
	}
	states("SYN", out|syn)
	send("underlay", underlay, back(w, w.Server).TCP(80, port, "SA", 1460).Bytes())
	states("SYN-ACK", out|syn|back_|ackBack)
	send("port", w.WS1.Name, routed(w, w.Server).TCP(40000, 80, "FA", 0).Bytes())
	states("FIN", out|syn|back_|ackBack|finOut)
	send("underlay", underlay, back(w, w.Server).TCP(80, port, "FA", 0).Bytes())
	states("FIN back", out|syn|back_|ackBack|finOut|finBack)
	send("underlay", underlay, back(w, w.Server).TCP(80, port, "R", 0).Bytes())
	states("RST", out|syn|back_|ackBack|finOut|finBack|rst)
	// The same ports again: a new connection must not inherit the short timeout of the old one.
	send("port", w.WS1.Name, routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes())
	states("a new SYN", out|syn)
	send("underlay", underlay, back(w, w.Server).TCP(80, port, "RA", 0).Bytes())
	states("refused", out|syn|back_|ackBack|rst)
	send("port", w.WS1.Name, routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes())
	states("tried again", out|syn)
	send("underlay", underlay, back(w, w.Server).TCP(80, port, "SA", 1460).Bytes())
	send("port", w.WS1.Name, routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes())
	states("a SYN within a live connection changes nothing", out|syn|back_|ackBack)
}

// TestFlowEntries: both entries of a flow name each other, and carry what user space reads.
func TestFlowEntries(t *testing.T) {
	w := world(t)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	port, err := opened(w, w.WS1, routed(w, w.Server).UDP(40000, 53).Text("query").Bytes())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := w.Tables["flows"].Entries()
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries: %v", len(entries), err)
	}
	tuple := func(v Value) string {
		return fmt.Sprintf("%v:%d>%v:%d/%d", v.Addr("src"), v.Uint("sport"), v.Addr("dst"), v.Uint("dport"), v.Uint("proto"))
	}
	want := map[uint64]string{
		1: fmt.Sprintf("%v:40000>%v:53/17", w.WS1.IP, w.Server),
		2: fmt.Sprintf("%v:53>%v:%d/17", w.Server, w.VTEP, port),
	}
	for i, e := range entries {
		kind := e.Value.Uint("kind")
		if tuple(e.Key) != want[kind] {
			t.Errorf("kind %d has key %s, want %s", kind, tuple(e.Key), want[kind])
		}
		if other := tuple(e.Value.Struct("other")); other != tuple(entries[1-i].Key) {
			t.Errorf("kind %d names %s as its other side, which is %s", kind, other, tuple(entries[1-i].Key))
		}
		if slot := e.Value.Uint("slot"); slot != uint64(w.WS1.Slot) {
			t.Errorf("kind %d has slot %d", kind, slot)
		}
		if kind == 1 && e.Value.Uint("last_seen") == 0 {
			t.Error("last_seen is not set")
		}
	}
}
