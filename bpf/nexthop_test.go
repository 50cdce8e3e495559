package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestNextHops: the kernel is asked once per destination and epoch; the packet that asked goes through its neighbour
// table, the others by what was learnt ("Why these choices" of decision 1).
func TestNextHops(t *testing.T) {
	w := world(t)
	ask, known := Redirect{How: ToNeighbor}, Redirect{How: ToDevice}
	for _, c := range []struct {
		name  string
		frame []byte
		epoch Redirect // of the first packet in a new epoch
	}{
		{"NAT", routed(w, w.Server).UDP(40000, 53).Bytes(), ask},
		{"the answer of a forward", routed(w, w.Client).TCP(80, 40000, "A", 0).Bytes(), ask},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.Reset(); err != nil {
				t.Fatal(err)
			}
			step := func(name string, want Redirect) {
				t.Helper()
				r, err := w.Run("port", w.WS1.Name, c.frame, 0)
				want.Ifindex = w.Ifindex[underlay]
				if err != nil || r.Verdict != Sent || r.To != want {
					t.Errorf("%s packet: %v %v (%v), want sent %v", name, r.Verdict, r.To, err, want)
				}
			}
			step("first", ask)
			step("second", known)
			step("third", known)
			if err := w.Epoch(8); err != nil {
				t.Fatal(err)
			}
			step("first of a new epoch", c.epoch)
			step("second of a new epoch", known)
		})
	}
	lost := routed(w, w.Lost).UDP(40000, 53).Bytes()
	Case{Name: "no route", Program: "port", On: w.WS1.Name, In: routed(w, w.Nowhere).UDP(40000, 53).Bytes(), Want: Drop, Reason: "no_route",
		Entries: map[string]int{"flows": 0}}.Run(t, w)
	for _, after := range [][][]byte{nil, {lost}, {lost, lost}} {
		Case{Name: "the neighbour is not known yet", Program: "port", On: w.WS1.Name, In: lost, After: after, Want: Sent, AnyOut: true,
			To: ask, ToName: underlay}.Run(t, w)
	}
}

// TestForwardMartians: nobody outside has these addresses (RFC 1812 section 5.3.7); whoever uses them wants an answer to
// go where it should not.
func TestForwardMartians(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		for _, ip := range []string{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "172.24.1.2", "172.24.0.1", "172.24.254.1"} {
			in := Ether(w.RouterMAC, w.UnderlayMAC).IPv4(IP(ip), w.VTEP)
			run(Case{Name: "UDP from " + ip, In: in.UDP(40000, 5353).Bytes(), Want: Drop, Reason: "martian", Entries: map[string]int{"tracks": 0}})
			in = Ether(w.RouterMAC, w.UnderlayMAC).IPv4(IP(ip), w.VTEP)
			run(Case{Name: "TCP from " + ip, In: in.TCP(40000, 8080, "S", 0).Bytes(), Want: Drop, Reason: "martian"})
		}
	})
}

// TestDeniedClients: a client in a denied range may use a forward (an intranet's host, say), and gets its answers; but the
// port of a forward is no way to open something towards such a range.
func TestDeniedClients(t *testing.T) {
	w := world(t)
	client := IP("10.1.1.1")
	query := Ether(w.RouterMAC, w.UnderlayMAC).IPv4(client, w.VTEP).UDP(40000, 5353).Text("query").Bytes()
	asked := func(w *World) error {
		_, err := w.Run("underlay", underlay, query, 0)
		return err
	}
	answer := func(port uint16) []byte { return routed(w, client).UDP(53, port).Text("answer").Bytes() }
	for _, c := range []Case{
		{Name: "UDP answer", With: asked, In: answer(40000), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Out: gone(w, client).UDP(5353, 40000).Text("answer").Bytes()},
		{Name: "UDP that was not asked for", In: answer(40000), Want: Drop, Reason: "destination_denied"},
		{Name: "UDP to another port of the client", With: asked, In: answer(40001), Want: Drop, Reason: "destination_denied"},
		{Name: "TCP answer", In: routed(w, client).TCP(80, 40000, "SA", 1410).Bytes(), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Out: gone(w, client).TCP(8080, 40000, "SA", 1410).Bytes()},
		{Name: "SYN from a forward's port", In: routed(w, client).TCP(80, 445, "S", 1410).Bytes(), Want: Drop, Reason: "destination_denied"},
		{Name: "SYN with ECN from a forward's port", In: routed(w, client).TCP(80, 445, "SEC", 1410).Bytes(), Want: Drop, Reason: "destination_denied"},
		{Name: "tunnel port, from a forward's port", In: routed(w, w.Server).UDP(53, w.Port).Fill(60).Bytes(), Want: Drop},
		{Name: "a peer's tunnel port, from a forward's port", In: routed(w, w.Peer3.VTEP).UDP(53, w.Port).Fill(60).Bytes(), Want: Drop},
		{Name: "SYN to the node, from a forward's port", In: routed(w, w.Node.IP).TCP(80, 443, "S", 0).Bytes(), Want: Drop},
		{Name: "SYN to a peer, from a forward's port", In: routed(w, w.Peer3.VTEP).TCP(80, 443, "S", 0).Bytes(), Want: Drop},
	} {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
}

// TestStopped: an endpoint without a port is known, and not forwarded to.
func TestStopped(t *testing.T) {
	w := world(t)
	stop := func(w *World) error {
		e := w.Endpoint(w.WS2)
		e["ifindex"], e["slot"] = 0, 0
		if err := w.Tables["endpoints"].Put(w.WS2.IP, e); err != nil {
			return err
		}
		return w.Tables["macs"].Put(Record{"mac": w.WS2.MAC}, e)
	}
	for _, c := range []Case{
		{Name: "LAN", Program: "port", On: w.WS1.Name, In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "forward", Program: "underlay", On: underlay, In: came(w).TCP(40000, 9001, "S", 0).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "hairpin", Program: "port", On: w.WS1.Name, In: routed(w, w.VTEP).TCP(40000, 9001, "S", 0).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "node", Program: "node", On: w.Node.Name, In: Ether(w.Node.MAC, w.WS2.MAC).IPv4(w.Node.IP, w.WS2.IP).UDP(1, 2).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "tunnel", Program: "underlay", On: underlay, Want: Pass, Or: []Verdict{Drop},
			In: from(w, w.Peer3, Ether(w.WS3.MAC, w.WS2.MAC).IPv4(w.WS3.IP, w.WS2.IP).UDP(1, 2).Bytes())},
	} {
		c.With = stop
		c.Run(t, w)
	}
}

// TestNoPort: without an entry in ports nothing passes; user space takes the entry away before the program.
func TestNoPort(t *testing.T) {
	w := world(t)
	Case{Name: "no entry", Program: "port", On: w.WS1.Name, In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Bytes(), Want: Drop, Reason: "no_port",
		With: func(w *World) error { return w.Tables["ports"].Delete(uint32(w.Ifindex[w.WS1.Name])) }}.Run(t, w)
}

// TestSuperframes: what counts against an MTU is the size of the segments.
func TestSuperframes(t *testing.T) {
	w := world(t)
	tcp := func(h Host) []byte {
		return Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP).TCP(1, 2, "A", 0).Fill(3000).Bytes()
	}
	fits := uint32(w.MTU) - 40
	Case{Name: "to a webspace here", Program: "port", On: w.WS1.Name, In: tcp(w.WS2), GSO: fits, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name}.Run(t, w)
	Case{Name: "to the outside", Program: "port", On: w.WS1.Name, In: routed(w, w.Server).TCP(40000, 9, "A", 0).Fill(3000).Bytes(), GSO: fits, Want: Sent,
		To: Redirect{How: ToDevice}, ToName: underlay, NAT: func(p uint16) []byte { return gone(w, w.Server).TCP(p, 9, "A", 0).Fill(3000).Bytes() }}.Run(t, w)
	Case{Name: "to the outside, segments too large for the path", Program: "port", On: w.WS1.Name, GSO: fits,
		In:   routed(w, w.Narrow, DontFragment).TCP(40000, 9, "A", 0).Fill(3000).Bytes(),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, AnyOut: true,
		Check: func(w *World, r Result) error {
			in := routed(w, w.Narrow, DontFragment).TCP(40000, 9, "A", 0).Fill(3000).Bytes()
			return sameError(r.Out, Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP).ICMP(3, 4, 0, w.NarrowMTU).Data(in[14:]).Bytes(), in[14:])
		}}.Run(t, w)
	Case{Name: "to node 3, segments too large", Program: "port", On: w.WS1.Name, In: tcp(w.WS3), GSO: fits + 1, Want: Drop, Or: []Verdict{Pass}}.Run(t, w)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run("port", w.WS1.Name, Ether(w.WS2.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP).TCP(1, 2, "A", 0).Fill(3000).Bytes(), fits); err != nil {
		t.Fatal(err)
	}
	if drops, err := w.TakeDrops(); err != nil || len(drops) != 1 || drops[0].Packets != 3 {
		t.Errorf("a dropped superframe of three segments was counted as %v (%v)", drops, err)
	}
}
