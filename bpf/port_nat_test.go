package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// routed is a frame of WS1 to the gateway's MAC; gone is how it leaves the uplink.
func routed(w *World, dst netip.Addr, o ...IPv4Option) *Frame {
	return Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, dst, o...)
}

func gone(w *World, dst netip.Addr, o ...IPv4Option) *Frame {
	return Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, dst, append([]IPv4Option{TTL(63)}, o...)...)
}

// TestPortNAT is the last part of step 5: a packet to the outside gets the node's address and a port.
func TestPortNAT(t *testing.T) {
	w := world(t)
	out := func(name string, in []byte, f func(port uint16) []byte) Case {
		return Case{Name: name, In: in, NAT: f, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Entries: map[string]int{"flows": 2}}
	}
	again := func(c Case) Case {
		c.Name += ", second packet"
		c.After, c.Entries, c.MACs = [][]byte{c.In}, map[string]int{"flows": 0}, true
		return c
	}
	syn := routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes()
	tcp := out("TCP", syn, func(p uint16) []byte { return gone(w, w.Server).TCP(p, 80, "S", 1410).Bytes() })
	udp := out("UDP", routed(w, w.Server).UDP(40000, 53).Text("query").Bytes(),
		func(p uint16) []byte { return gone(w, w.Server).UDP(p, 53).Text("query").Bytes() })
	ping := out("ping", routed(w, w.Server).ICMP(8, 0, 77, 1).Fill(56).Bytes(),
		func(p uint16) []byte { return gone(w, w.Server).ICMP(8, 0, p, 1).Fill(56).Bytes() })
	bare := out("UDP without a checksum", NoUDPSum(routed(w, w.Server).UDP(40000, 53).Text("query").Bytes()),
		func(p uint16) []byte { return NoUDPSum(gone(w, w.Server).UDP(p, 53).Text("query").Bytes()) })
	options := out("IP options", routed(w, w.Server, RecordRoute(40)).UDP(40000, 53).Text("query").Bytes(),
		func(p uint16) []byte { return gone(w, w.Server, RecordRoute(40)).UDP(p, 53).Text("query").Bytes() })
	full := out("as large as the LAN allows", routed(w, w.Server, DontFragment).UDP(40000, 9).Fill(int(w.MTU)-28).Bytes(),
		func(p uint16) []byte { return gone(w, w.Server, DontFragment).UDP(p, 9).Fill(int(w.MTU) - 28).Bytes() })
	tos := out("type of service", routed(w, w.Server, TOS(0xb8)).UDP(40000, 9).Bytes(),
		func(p uint16) []byte { return gone(w, w.Server, TOS(0xb8)).UDP(p, 9).Bytes() })
	odd := out("odd length", routed(w, w.Server).UDP(40000, 9).Text("x").Bytes(),
		func(p uint16) []byte { return gone(w, w.Server).UDP(p, 9).Text("x").Bytes() })
	allowed := out("an exception of a denied prefix", routed(w, IP("10.9.1.1")).UDP(40000, 9).Bytes(),
		func(p uint16) []byte { return gone(w, IP("10.9.1.1")).UDP(p, 9).Bytes() })
	badSum := out("bad UDP checksum", Flip(routed(w, w.Server).UDP(40000, 9).Text("hello").Bytes(), AtL4+8, 1),
		func(p uint16) []byte { return Flip(gone(w, w.Server).UDP(p, 9).Text("hello").Bytes(), AtL4+8, 1) })
	badSum.BadSums = true
	for _, c := range []Case{tcp, again(tcp), udp, again(udp), ping, again(ping), bare, again(bare), full, tos, odd, allowed, badSum} {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
	options.Program, options.On, options.Or = "port", w.WS1.Name, []Verdict{Drop} // routers may refuse options (RFC 7126)
	options.Run(t, w)
	Case{Name: "bad IPv4 header checksum", Program: "port", On: w.WS1.Name, In: Flip(syn, AtIPSum, 0x55), Want: Drop, Or: []Verdict{Sent},
		Check: func(w *World, r Result) error {
			if r.Verdict == Sent && CheckSums(r.Out, w.Port) == nil {
				return fmt.Errorf("a broken header came out whole")
			}
			return nil
		}}.Run(t, w)
}

// TestPortNATRefused is what NAT does not carry, and what it does not open.
func TestPortNATRefused(t *testing.T) {
	w := world(t)
	none := map[string]int{"flows": 0}
	for _, ip := range []string{"10.0.0.1", "172.16.0.1", "172.31.255.254", "172.24.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1",
		"0.0.0.1", "224.0.0.1", "255.255.255.255", w.VTEP.String(), w.Peer3.VTEP.String()} {
		Case{Name: ip, Program: "port", On: w.WS1.Name, In: routed(w, IP(ip)).TCP(40000, 443, "S", 0).Bytes(), Want: Drop, Entries: none}.Run(t, w)
		Case{Name: ip + " UDP", Program: "port", On: w.WS1.Name, In: routed(w, IP(ip)).UDP(40000, 443).Bytes(), Want: Drop, Entries: none}.Run(t, w)
		Case{Name: ip + " ping", Program: "port", On: w.WS1.Name, In: routed(w, IP(ip)).ICMP(8, 0, 1, 1).Bytes(), Want: Drop, Entries: none}.Run(t, w)
	}
	for _, c := range []Case{
		{Name: "denied, by its reason", In: routed(w, IP("10.0.0.1")).TCP(40000, 443, "S", 0).Bytes(), Reason: "destination_denied"},
		{Name: "UDP to the tunnel port of a peer", In: routed(w, w.Peer3.VTEP).UDP(50000, w.Port).Fill(60).Bytes()},
		{Name: "UDP to the tunnel port of anybody", In: routed(w, w.Server).UDP(50000, w.Port).Fill(60).Bytes(), Reason: "destination_denied"},
		{Name: "another protocol (GRE)", In: routed(w, w.Server).Proto(47).Fill(40).Bytes()},
		{Name: "IP in IP to a peer", In: routed(w, w.Peer3.VTEP).Proto(4).Fill(40).Bytes()},
		{Name: "echo reply to nobody's question", In: routed(w, w.Server).ICMP(0, 0, 1, 1).Bytes()},
		{Name: "ICMP timestamp", In: routed(w, w.Server).ICMP(13, 0, 1, 1).Fill(12).Bytes()},
		{Name: "ICMP error about nothing", In: routed(w, w.Server).ICMP(3, 3, 0, 0).Data(Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Server, w.WS1.IP).UDP(1, 2).Bytes()[14:]).Bytes()},
		{Name: "later fragment without its first", In: routed(w, w.Server, Fragment(208, false)).Proto(17).Fill(100).Bytes(), Reason: "fragment_early"},
		{Name: "IPv6 to the gateway", In: Ether(w.WS1.MAC, w.Gateway.MAC).IPv6(IP("fd00::1"), IP("2001:db8::1"), 17).UDP(1, 2).Bytes()},
		{Name: "cut in the UDP header", In: Cut(routed(w, w.Server).UDP(1, 2).Bytes(), AtL4+7)},
		{Name: "tiny first TCP fragment (RFC 1858)", In: routed(w, w.Server, Fragment(0, true)).Proto(6).Fill(8).Bytes()},
	} {
		c.Program, c.On, c.Want, c.Entries = "port", w.WS1.Name, Drop, none
		c.Run(t, w)
	}
}

// TestPortTTL is the router's part of step 5: expired and too big get ICMP errors, made in place.
func TestPortTTL(t *testing.T) {
	w := world(t)
	back := func(kind, code uint8, mtu uint16, quoted []byte) []byte {
		return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP).ICMP(kind, code, 0, mtu).Data(quoted).Bytes()
	}
	long := int(w.NarrowMTU) - 28 + 1
	expired := routed(w, w.Server, TTL(1)).UDP(33434, 33434).Fill(32).Bytes()
	big := routed(w, w.Narrow, DontFragment).UDP(40000, 9).Fill(long).Bytes()
	for _, c := range []Case{
		{Name: "TTL 1", In: expired, Out: back(11, 0, 0, expired[14:])},
		{Name: "TTL 0", In: routed(w, w.Server, TTL(0)).UDP(33434, 33434).Fill(32).Bytes(), Out: back(11, 0, 0, routed(w, w.Server, TTL(0)).UDP(33434, 33434).Fill(32).Bytes()[14:])},
		{Name: "TTL 1, TCP", In: routed(w, w.Server, TTL(1)).TCP(1, 80, "S", 1410).Bytes(), Out: back(11, 0, 0, routed(w, w.Server, TTL(1)).TCP(1, 80, "S", 1410).Bytes()[14:])},
		{Name: "too big for the path", In: big, Out: back(3, 4, w.NarrowMTU, big[14:])},
	} {
		quoted := c.Out[AtL4+8:]
		c.Program, c.On, c.Want, c.To, c.ToName = "port", w.WS1.Name, Sent, Redirect{How: ToDevice}, w.WS1.Name
		want := c.Out
		// How much is quoted, the TTL and the TOS of the error are the maker's choice (RFC 1812, section 4.3.2.3: as
		// much as fits 576 bytes), so the fixed part is compared.
		c.Out, c.Check = nil, func(w *World, r Result) error { return sameError(r.Out, want, quoted) }
		checkOnly(t, w, c)
	}
	quoted := Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Server, w.WS1.IP).UDP(1, 2).Bytes()[14:]
	for _, c := range []Case{
		{Name: "no error about an ICMP error", In: routed(w, w.Server, TTL(1)).ICMP(3, 3, 0, 0).Data(quoted).Bytes()},
		{Name: "no error about a later fragment", In: routed(w, w.Server, TTL(1), Fragment(208, false)).Proto(17).Fill(64).Bytes()},
	} {
		c.Program, c.On, c.Want = "port", w.WS1.Name, Drop
		c.Run(t, w)
	}
	// A flood of expired packets is not answered one by one, and what is not answered is counted.
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	answered, began := 0, time.Now()
	for range 2000 {
		r, err := w.Run("port", w.WS1.Name, expired, 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == Sent {
			answered++
		}
	}
	const rate, burst = 50, 100 // config.h
	if most := burst + int(rate*(time.Since(began)+time.Second).Seconds()); answered == 0 || answered > most {
		t.Errorf("of 2,000 expired packets at once %d were answered; the rate limit allows %d", answered, most)
	}
}

// TestPortNATShares is the isolation of the flow table.
func TestPortNATShares(t *testing.T) {
	w := world(t)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	// Everybody has 2, WS1 may have 4, beyond the shares there are 3 for all together.
	if err := w.Limits(2, 4, 3); err != nil {
		t.Fatal(err)
	}
	open := func(h Host, port uint16) string {
		t.Helper()
		r, err := w.Run("port", h.Name, Ether(h.MAC, w.Gateway.MAC).IPv4(h.IP, w.Server).UDP(port, 53).Bytes(), 0)
		if err != nil {
			t.Fatal(err)
		}
		drops, err := w.TakeDrops()
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == Drop && len(drops) == 1 {
			return drops[0].Reason
		}
		return r.Verdict.String()
	}
	expect := func(step, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	for port := range uint16(4) {
		expect(fmt.Sprintf("flow %d of WS1", port+1), open(w.WS1, 1000+port), "sent")
	}
	expect("flow 5 of WS1, over its quota", open(w.WS1, 1004), "flow_share_exceeded")
	expect("a live flow of WS1", open(w.WS1, 1000), "sent")
	expect("flow 1 of WS2", open(w.WS2, 1000), "sent")
	expect("flow 2 of WS2", open(w.WS2, 1001), "sent")
	expect("flow 3 of WS2, from the pool", open(w.WS2, 1002), "sent")
	expect("flow 4 of WS2, the pool is used up", open(w.WS2, 1003), "flow_share_exceeded")
	for slot, want := range map[uint32]int64{w.WS1.Slot: 4, w.WS2.Slot: 3, 0: 3} {
		got, err := w.Share(slot)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("share %d counts %d flows, want %d", slot, got, want)
		}
	}
}

// TestPortNATFullTable: new flows are refused, live ones keep running, and what was refused leaves nothing behind.
func TestPortNATFullTable(t *testing.T) {
	// One more than eight flows need: of the ninth the first entry finds room, the second does not.
	w := open(t, Fixture(), map[string]uint32{"flows": 17})
	if err := w.Limits(1000, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	frame := func(port uint16) []byte { return routed(w, w.Server).UDP(port, 53).Bytes() }
	refused := 0
	for port := range uint16(64) {
		r, err := w.Run("port", w.WS1.Name, frame(1000+port), 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == Drop {
			refused++
		}
	}
	drops, err := w.TakeDrops()
	if err != nil {
		t.Fatal(err)
	}
	if len(drops) != 1 || drops[0].Reason != "flow_table_full" || int(drops[0].Packets) != refused || refused < 40 {
		t.Errorf("64 flows into a table of 17 entries: %d refused, counted %v", refused, drops)
	}
	n, err := w.Count("flows")
	if err != nil {
		t.Fatal(err)
	}
	share, err := w.Share(w.WS1.Slot)
	if err != nil {
		t.Fatal(err)
	}
	if n%2 != 0 || int64(n) != 2*share || n != 2*(64-refused) {
		t.Errorf("%d entries, %d flows counted, %d opened: the table and the share do not agree", n, share, 64-refused)
	}
	if r, err := w.Run("port", w.WS1.Name, frame(1000), 0); err != nil || r.Verdict != Sent {
		t.Errorf("a live flow in a full table: %v %v", r.Verdict, err)
	}
}

// TestPortNATFragments: the first fragment tells the ports of those that follow.
func TestPortNATFragments(t *testing.T) {
	w := world(t)
	first := routed(w, w.Server, Fragment(0, true), ID(9)).UDP(40000, 9).Fill(200).Bytes()
	c := Case{Name: "in order", Program: "port", On: w.WS1.Name, After: [][]byte{first}, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
		In:  routed(w, w.Server, Fragment(208, false), ID(9)).Proto(17).Fill(100).Bytes(),
		Out: gone(w, w.Server, Fragment(208, false), ID(9)).Proto(17).Fill(100).Bytes()}
	c.Run(t, w)
	// RFC 1858: a fragment at offset 8 would overwrite the flags of TCP that were judged.
	begin := routed(w, w.Server, Fragment(0, true), ID(9)).TCP(40000, 80, "A", 0).Fill(204).Bytes()
	Case{Name: "over the TCP flags", Program: "port", On: w.WS1.Name, After: [][]byte{begin}, Want: Drop, Reason: "fragment_tiny",
		In: routed(w, w.Server, Fragment(8, false), ID(9)).Proto(6).Fill(100).Bytes()}.Run(t, w)
	Case{Name: "over the TCP flags, to a neighbour", Program: "port", On: w.WS1.Name, Want: Drop, Reason: "fragment_tiny",
		In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, Fragment(8, false), ID(9)).Proto(6).Fill(100).Bytes()}.Run(t, w)
	c.Name, c.Want, c.Reason = "of another packet", Drop, "fragment_early"
	c.In = routed(w, w.Server, Fragment(208, false), ID(10)).Proto(17).Fill(100).Bytes()
	c.Run(t, w)
	c.Name, c.After = "before its first", nil
	c.Run(t, w)
	Case{Name: "the first", Program: "port", On: w.WS1.Name, In: first, Want: Sent, ToName: underlay, To: Redirect{How: ToDevice},
		Entries: map[string]int{"flows": 2, "frags": 1},
		NAT: func(p uint16) []byte {
			// The UDP checksum is over the whole datagram; the header alone cannot be verified, only changed by the difference.
			want := gone(w, w.Server, Fragment(0, true), ID(9)).UDP(p, 9).Fill(200).Bytes()
			return want
		}}.Run(t, w)
}
