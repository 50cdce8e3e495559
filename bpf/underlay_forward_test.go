package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// came is a packet of somebody outside as it reaches the uplink.
func came(w *World, o ...IPv4Option) *Frame {
	return Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Client, w.VTEP, o...)
}

// TestUnderlayForward is step 2 of the underlay: from the outside to a webspace, the client's address kept.
func TestUnderlayForward(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		at := func(h Host, o ...IPv4Option) *Frame {
			return Ether(w.Gateway.MAC, h.MAC).IPv4(w.Client, h.IP, append([]IPv4Option{TTL(63)}, o...)...)
		}
		here := Case{Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name}
		away := Case{Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3}
		for _, row := range []struct {
			name    string
			in, out []byte
			Case
		}{
			{"TCP", came(w).TCP(40000, 8080, "S", 1410).Bytes(), at(w.WS1).TCP(40000, 80, "S", 1410).Bytes(), here},
			{"TCP data", came(w).TCP(40000, 8080, "PA", 0).Fill(1001).Bytes(), at(w.WS1).TCP(40000, 80, "PA", 0).Fill(1001).Bytes(), here},
			{"UDP", came(w).UDP(40000, 5353).Text("query").Bytes(), at(w.WS1).UDP(40000, 53).Text("query").Bytes(), here},
			{"UDP without a checksum", NoUDPSum(came(w).UDP(40000, 5353).Text("query").Bytes()), NoUDPSum(at(w.WS1).UDP(40000, 53).Text("query").Bytes()), here},
			{"UDP, odd length", came(w).UDP(40000, 5353).Text("x").Bytes(), at(w.WS1).UDP(40000, 53).Text("x").Bytes(), here},
			{"type of service", came(w, TOS(0x28)).UDP(40000, 5353).Bytes(), at(w.WS1, TOS(0x28)).UDP(40000, 53).Bytes(), here},
			{"padding", append(came(w).UDP(40000, 5353).Bytes(), make([]byte, 18)...), append(at(w.WS1).UDP(40000, 53).Bytes(), make([]byte, 18)...), here},
			{"TCP to a webspace on node 3", came(w).TCP(40000, 8083, "S", 1410).Bytes(), at(w.WS3).TCP(40000, 80, "S", 1410).Bytes(), away},
			{"UDP to a webspace on node 3", came(w).UDP(40000, 5383).Text("query").Bytes(), at(w.WS3).UDP(40000, 53).Text("query").Bytes(), away},
		} {
			c := row.Case
			c.Name, c.In, c.Out, c.Entries = row.name, row.in, row.out, map[string]int{"flows": 0, "tracks": 0}
			run(c)
		}
		// A checksum that comes out as zero is sent as all ones, for zero means that there is none (RFC 768).
		zero := at(w.WS1).UDP(40000, 53).Data([]byte{0, 0}).Bytes()
		word := zero[AtL4+6 : AtL4+8]
		ones := here
		ones.Name, ones.In, ones.Out = "UDP whose checksum becomes zero", came(w).UDP(40000, 5353).Data(word).Bytes(),
			Set16(at(w.WS1).UDP(40000, 53).Data(word).Bytes(), AtL4+6, 0xffff)
		run(ones)
		tracked := here
		tracked.Name, tracked.ToName, tracked.Entries = "two external ports of one target are told apart by a memory", w.WS2.Name, map[string]int{"tracks": 1, "openings": 0}
		tracked.In, tracked.Out = came(w).TCP(40000, 9001, "A", 0).Bytes(), at(w.WS2).TCP(40000, 90, "A", 0).Bytes()
		run(tracked)
		tracked.Name, tracked.Entries = "SYNs, which can be forged, have one of their own", map[string]int{"tracks": 0, "openings": 1}
		tracked.In, tracked.Out = came(w).TCP(40000, 9001, "S", 1410).Bytes(), at(w.WS2).TCP(40000, 90, "S", 1410).Bytes()
		run(tracked)
		tracked.Name, tracked.Entries = "the SYN of a client that is known", map[string]int{"tracks": 0, "openings": 0}
		tracked.After = [][]byte{came(w).TCP(40000, 9002, "A", 0).Bytes()}
		run(tracked)
		bad := here
		bad.Name, bad.BadSums = "bad TCP checksum stays bad", true
		bad.In, bad.Out = Flip(came(w).TCP(40000, 8080, "S", 1410).Bytes(), AtL4+5, 1), Flip(at(w.WS1).TCP(40000, 80, "S", 1410).Bytes(), AtL4+5, 1)
		run(bad)

		for _, c := range []Case{
			{Name: "a port that is not forwarded", In: came(w).TCP(40000, 8081, "S", 0).Bytes()},
			{Name: "the other protocol", In: came(w).UDP(40000, 8080).Bytes()},
			{Name: "another address", In: Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Client, IP("192.0.2.100")).TCP(40000, 8080, "S", 0).Bytes()},
			{Name: "ping to the node", In: came(w).ICMP(8, 0, 1, 1).Fill(56).Bytes()},
			{Name: "IPv6", In: Ether(w.RouterMAC, w.UnderlayMAC).IPv6(IP("2001:db8::1"), IP("2001:db8::2"), 6).Fill(40).Bytes()},
			{Name: "ARP", In: Ether(w.RouterMAC, Broadcast).ARP(1, w.RouterMAC, w.Router, make([]byte, 6), w.VTEP).Bytes()},
			{Name: "VLAN", In: Ether(w.RouterMAC, w.UnderlayMAC).VLAN(5).IPv4(w.Client, w.VTEP).TCP(40000, 8080, "S", 0).Bytes()},
		} {
			c.Want = Pass
			run(c)
		}
		run(Case{Name: "the target is not there", Want: Drop, Or: []Verdict{Pass}, In: came(w).TCP(40000, 8080, "S", 0).Bytes(),
			With: func(w *World) error { return w.Tables["endpoints"].Delete(w.WS1.IP) }})
		run(Case{Name: "TTL 1 does not reach the webspace", In: came(w, TTL(1)).TCP(40000, 8080, "S", 0).Bytes(), Want: Sent,
			Or: []Verdict{Drop, Pass}, To: Redirect{How: ToDevice}, ToName: underlay, AnyOut: true,
			Check: func(w *World, r Result) error {
				if r.Verdict != Sent {
					return nil
				}
				in := came(w, TTL(1)).TCP(40000, 8080, "S", 0).Bytes()
				return sameError(r.Out, Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client).ICMP(11, 0, 0, 0).Data(in[14:]).Bytes(), in[14:])
			}})
		for _, port := range []uint16{5353, 5383} {
			big := came(w, DontFragment).UDP(40000, port).Fill(int(w.MTU) - 28 + 1).Bytes()
			run(Case{Name: "too big for the LAN", In: big, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, AnyOut: true,
				Check: func(w *World, r Result) error {
					return sameError(r.Out, Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client).ICMP(3, 4, 0, w.MTU).Data(big[14:]).Bytes(), big[14:])
				}})
		}
	})
}

// TestUnderlayForwardFragments: in order they follow their first; a stranger to the table is dropped or left alone.
func TestUnderlayForwardFragments(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		first := came(w, Fragment(0, true), ID(9)).UDP(40000, 5353).Fill(200).Bytes()
		later := came(w, Fragment(208, false), ID(9)).Proto(17).Fill(99).Bytes()
		run(Case{Name: "first", In: first, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, Entries: map[string]int{"frags": 1},
			Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63), Fragment(0, true), ID(9)).UDP(40000, 53).Fill(200).Bytes()})
		run(Case{Name: "later, in order", After: [][]byte{first}, In: later, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
			Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63), Fragment(208, false), ID(9)).Proto(17).Fill(99).Bytes()})
		// On the uplink it may be the node's own: without a first it must not be taken away from the kernel.
		run(Case{Name: "later, before its first", In: later, Want: Pass, Or: []Verdict{Drop}})
		run(Case{Name: "later, of another packet", After: [][]byte{first}, Want: Pass, Or: []Verdict{Drop},
			In: came(w, Fragment(208, false), ID(10)).Proto(17).Fill(99).Bytes()})
	})
}

// TestPortForwardAnswers is the way back of a forward, at the port of the webspace (port, step 5).
func TestPortForwardAnswers(t *testing.T) {
	w := world(t)
	from := func(h Host) *Frame { return Ether(h.MAC, w.Gateway.MAC).IPv4(h.IP, w.Client) }
	outside := Case{Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay}
	for _, row := range []struct {
		name    string
		on      Host
		in, out []byte
		after   [][]byte // at the underlay
		Case
	}{
		{"TCP", w.WS1, from(w.WS1).TCP(80, 40000, "SA", 1410).Bytes(), gone(w, w.Client).TCP(8080, 40000, "SA", 1410).Bytes(), nil, outside},
		{"UDP", w.WS1, from(w.WS1).UDP(53, 40000).Text("answer").Bytes(), gone(w, w.Client).UDP(5353, 40000).Text("answer").Bytes(), nil, outside},
		{"UDP without a checksum", w.WS1, NoUDPSum(from(w.WS1).UDP(53, 40000).Text("a").Bytes()), NoUDPSum(gone(w, w.Client).UDP(5353, 40000).Text("a").Bytes()), nil, outside},
		{"two external ports: the first", w.WS2, from(w.WS2).TCP(90, 40000, "SA", 1410).Bytes(), gone(w, w.Client).TCP(9001, 40000, "SA", 1410).Bytes(),
			[][]byte{came(w).TCP(40000, 9001, "S", 0).Bytes(), came(w).TCP(40001, 9002, "S", 0).Bytes()}, outside},
		{"two external ports: the second", w.WS2, from(w.WS2).TCP(90, 40001, "SA", 1410).Bytes(), gone(w, w.Client).TCP(9002, 40001, "SA", 1410).Bytes(),
			[][]byte{came(w).TCP(40000, 9001, "S", 0).Bytes(), came(w).TCP(40001, 9002, "S", 0).Bytes()}, outside},
		{"two external ports: first the one, then the other", w.WS2, from(w.WS2).TCP(90, 40000, "SA", 1410).Bytes(), gone(w, w.Client).TCP(9002, 40000, "SA", 1410).Bytes(),
			[][]byte{came(w).TCP(40000, 9001, "S", 0).Bytes(), came(w).TCP(40000, 9001, "A", 0).Bytes(), came(w).TCP(40000, 9002, "S", 0).Bytes()}, outside},
		// It entered at node 3: there it must leave, and there it is rewritten.
		{"entered at another node", w.WS1, from(w.WS1).TCP(81, 40000, "SA", 1410).Bytes(), nil, nil,
			Case{Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3}},
		{"two nodes: entered here", w.WS2, from(w.WS2).TCP(91, 40000, "SA", 0).Bytes(), gone(w, w.Client).TCP(9101, 40000, "SA", 0).Bytes(),
			[][]byte{came(w).TCP(40000, 9101, "S", 0).Bytes()}, outside},
		{"two nodes: entered at node 3", w.WS2, from(w.WS2).TCP(92, 40000, "SA", 0).Bytes(), nil,
			[][]byte{Tunnel(w.Peer3.MAC, w.UnderlayMAC, w.Peer3.VTEP, w.VTEP, 50001, w.Port, w.VNI,
				Ether(w.Gateway.MAC, w.WS2.MAC).IPv4(w.Client, w.WS2.IP, TTL(63)).TCP(40000, 92, "S", 0).Bytes())},
			Case{Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3}},
	} {
		c := row.Case
		c.Name, c.Program, c.On, c.In, c.Out, c.Entries = row.name, "port", row.on.Name, row.in, row.out, map[string]int{"flows": 0}
		c.With = func(w *World) error {
			for _, f := range row.after {
				if _, err := w.Run("underlay", underlay, f, 0); err != nil {
					return err
				}
			}
			return nil
		}
		c.Run(t, w)
	}
	Case{Name: "TTL 1", Program: "port", On: w.WS1.Name, In: Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, w.Client, TTL(1)).TCP(80, 40000, "A", 0).Bytes(),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, AnyOut: true}.Run(t, w)
}
