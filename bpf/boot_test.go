package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestBootAnswers: what a booting webspace sends tells how far it is; what it refuses is held back.
func TestBootAnswers(t *testing.T) {
	w := world(t)
	to := func(h Host) *Frame { return Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP) }
	out := func() *Frame { return routed(w, w.Client) }
	first := Event{Kind: FirstFrame, IP: w.WS1.IP, Slot: w.WS1.Slot}
	answered := func(proto uint8, port uint16, peer Host, peerPort uint16) Event {
		return Event{Kind: Answered, IP: w.WS1.IP, Slot: w.WS1.Slot, Proto: proto, Port: port, Peer: peer.IP, PeerPort: peerPort}
	}
	dhcp := Ether(w.WS1.MAC, Broadcast).IPv4(IP("0.0.0.0"), IP("255.255.255.255")).UDP(68, 67).Fill(300).Bytes()
	toPeer := Redirect{How: ToPeer}
	for _, c := range []Case{
		{Name: "SYN-ACK", In: to(w.WS2).TCP(80, 1000, "SA", 1410).Bytes(), Want: Sent, To: toPeer, ToName: w.WS2.Name,
			Check: told(first, answered(6, 80, w.WS2, 1000)), Entries: map[string]int{"answered": 2}},
		{Name: "SYN-ACK to a client outside", In: out().TCP(80, 40000, "SA", 1410).Bytes(), Want: Sent, AnyOut: true,
			Check: told(first, answered(6, 80, Host{IP: w.Client}, 40000))},
		{Name: "datagram", In: to(w.WS2).UDP(53, 1000).Bytes(), Want: Sent, To: toPeer, ToName: w.WS2.Name, Check: told(first, answered(17, 53, w.WS2, 1000))},
		{Name: "a second SYN-ACK tells nothing new", After: [][]byte{to(w.WS2).TCP(80, 999, "SA", 0).Bytes()}, In: to(w.WS2).TCP(80, 1000, "SA", 1410).Bytes(),
			Want: Sent, To: toPeer, ToName: w.WS2.Name, Check: told(first, answered(6, 80, w.WS2, 999))},
		{Name: "ARP from its own address", In: Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS1.IP, make([]byte, 6), w.Gateway.IP).Bytes(),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, AnyOut: true, Check: told(first)},
		{Name: "ARP probe: the address is not up", In: Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, IP("0.0.0.0"), make([]byte, 6), w.Gateway.IP).Bytes(),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, AnyOut: true, Check: told()},
		{Name: "DHCP without an address", In: dhcp, Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name, AnyOut: true, Check: told()},
		{Name: "its own connections", In: out().TCP(2000, 443, "S", 1410).Bytes(), Want: Sent, AnyOut: true, Check: told(first)},

		{Name: "refusal of a SYN", In: to(w.WS2).TCP(80, 1000, "RA", 0).Numbers(0, seq+1, 0).Bytes(), Want: Drop, Reason: "booting_refusal", Check: told(first)},
		{Name: "refusal of a SYN from outside", In: out().TCP(80, 40000, "RA", 0).Numbers(0, seq+1, 0).Bytes(), Want: Drop, Reason: "booting_refusal"},
		{Name: "refusal of a datagram", In: to(w.WS2).ICMP(3, 3, 0, 0).Data(Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).UDP(1000, 53).Bytes()[14:]).Bytes(),
			Want: Drop, Reason: "booting_refusal"},
		{Name: "port that has answered refuses", After: [][]byte{to(w.WS2).TCP(80, 999, "SA", 0).Bytes()}, In: to(w.WS2).TCP(80, 1000, "RA", 0).Numbers(0, seq+1, 0).Bytes(),
			Want: Sent, To: toPeer, ToName: w.WS2.Name},
		{Name: "another port refuses", After: [][]byte{to(w.WS2).TCP(22, 999, "SA", 0).Bytes()}, In: to(w.WS2).TCP(80, 1000, "RA", 0).Numbers(0, seq+1, 0).Bytes(),
			Want: Drop, Reason: "booting_refusal"},
		{Name: "reset of a connection that there was", In: to(w.WS2).TCP(80, 1000, "R", 0).Numbers(ack, 0, 0).Bytes(), Want: Sent, To: toPeer, ToName: w.WS2.Name},
		{Name: "reset that ends a connection", In: to(w.WS2).TCP(80, 1000, "RA", 0).Bytes(), Want: Sent, To: toPeer, ToName: w.WS2.Name},
		{Name: "another unreachable", In: to(w.WS2).ICMP(3, 1, 0, 0).Data(Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).UDP(1000, 53).Bytes()[14:]).Bytes(),
			Want: Sent, To: toPeer, ToName: w.WS2.Name},
		{Name: "the guard comes first", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS2.IP, w.WS2.IP).TCP(80, 1000, "SA", 0).Bytes(), Want: Drop, Reason: "spoofed_ip", Check: told()},
	} {
		c.Program, c.On, c.With = "port", w.WS1.Name, laid(Booting, wakeAny, true)
		c.Run(t, w)
	}
	awake := Case{Name: "awake: refusals go out, nothing is told", Program: "port", On: w.WS1.Name, In: to(w.WS2).TCP(80, 1000, "RA", 0).Numbers(0, seq+1, 0).Bytes(),
		Want: Sent, To: toPeer, ToName: w.WS2.Name, With: laid(Napping, wakeAny, true), Check: told(), Entries: map[string]int{"answered": 0}}
	awake.Run(t, w)
}

// TestBootDelivers: a booting webspace with a port gets what it has asked for, and what is for a port that has answered.
func TestBootDelivers(t *testing.T) {
	w := world(t)
	lan := func() *Frame { return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP) }
	shown := func(frames ...[]byte) func(*World) error {
		return func(w *World) error {
			if err := laid(Booting, wakeAny|wakePing, true)(w); err != nil {
				return err
			}
			for _, f := range frames {
				if _, err := w.Run("port", w.WS1.Name, f, 0); err != nil {
					return err
				}
			}
			return nil
		}
	}
	up := Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS1.IP, make([]byte, 6), w.Gateway.IP).Bytes()
	web := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).TCP(80, 1000, "SA", 0).Bytes()
	asks := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(5000, 53).Bytes()
	gateway := func() *Frame { return Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP) }
	for _, c := range []struct {
		name string
		with func(*World) error
		in   []byte
		to   string
	}{
		{"SYN", shown(up), lan().TCP(1000, 80, "S", 0).Bytes(), Parking},
		{"SYN for a port that has answered", shown(up, web), lan().TCP(1000, 80, "S", 0).Bytes(), w.WS1.Name},
		{"SYN for another port", shown(up, web), lan().TCP(1000, 22, "S", 0).Bytes(), Parking},
		{"rest of a handshake", shown(up), lan().TCP(1000, 80, "A", 0).Bytes(), w.WS1.Name},
		{"datagram", shown(up), lan().UDP(53, 5000).Bytes(), Parking},
		{"answer to its datagram", shown(up, asks), lan().UDP(53, 5000).Bytes(), w.WS1.Name},
		{"ping, the address is not up", shown(), lan().ICMP(8, 0, 1, 1).Bytes(), Parking},
		{"ping, the address is up", shown(up), lan().ICMP(8, 0, 1, 1).Bytes(), w.WS1.Name},
		{"ICMP error", shown(), lan().ICMP(3, 1, 0, 0).Data(asks[14:]).Bytes(), w.WS1.Name},
	} {
		how := ToPeer
		if c.to == Parking {
			how = ToDevice
		}
		Case{Name: c.name, Program: "port", On: w.WS2.Name, With: c.with, In: c.in, Want: Sent, To: Redirect{How: how}, ToName: c.to}.Run(t, w)
	}
	for _, in := range [][]byte{gateway().UDP(67, 68).Fill(300).Bytes(), gateway().UDP(53, 40000).Bytes()} {
		Case{Name: "of the gateway", Program: "node", On: w.Node.Name, With: shown(), In: in, Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, AnyOut: true}.Run(t, w)
	}
	// Through NAT, and through the tunnel, with checks of hairpins as for any.
	Case{Name: "answer of a server", Program: "underlay", On: underlay, Frames: func(w *World) ([]byte, []byte, error) {
		port, err := opened(w, w.WS1, routed(w, w.Server).TCP(2000, 443, "S", 0).Bytes())
		if err != nil {
			return nil, nil, err
		}
		return back(w, w.Server).TCP(443, port, "SA", 0).Bytes(), home(w, w.Server).TCP(443, 2000, "SA", 0).Bytes(), shown()(w)
	}, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name}.Run(t, w)
	far := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).TCP(1000, 80, "SA", 0).Bytes()
	Case{Name: "from node 3", Program: "underlay", On: underlay, With: shown(), In: from(w, w.Peer3, far), Out: far, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name}.Run(t, w)
}

// TestNap: everything is delivered to a napping webspace; what its kernel cannot answer by itself thaws it.
func TestNap(t *testing.T) {
	w := world(t)
	lan := func() *Frame { return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP) }
	kicked := func(peer Host, proto uint8, port, peerPort uint16) []Event {
		return []Event{{Kind: Kicked, IP: w.WS1.IP, Slot: w.WS1.Slot, Proto: proto, Port: port, Peer: peer.IP, PeerPort: peerPort}}
	}
	for _, c := range []struct {
		name string
		wake uint8
		in   []byte
		told []Event
	}{
		{"SYN", wakeAny, lan().TCP(1000, 80, "S", 0).Bytes(), kicked(w.WS2, 6, 80, 1000)},
		{"SYN that may not", wakeForward, lan().TCP(1000, 80, "S", 0).Bytes(), nil},
		{"data", 0, lan().TCP(1000, 80, "PA", 0).Text("x").Bytes(), kicked(w.WS2, 6, 80, 1000)},
		{"keep-alive", wakeAny, lan().TCP(1000, 80, "A", 0).Bytes(), nil},
		{"end of a handshake, verified", wakeAny | wakeVerified, lan().TCP(1000, 80, "A", 0).Bytes(), kicked(w.WS2, 6, 80, 1000)},
		{"end of a connection", wakeAny, lan().TCP(1000, 80, "FA", 0).Bytes(), nil},
		{"reset", wakeAny, lan().TCP(1000, 80, "R", 0).Bytes(), nil},
		{"datagram", wakeAny, lan().UDP(1000, 53).Bytes(), kicked(w.WS2, 17, 53, 1000)},
		{"datagram that may not", wakeForward, lan().UDP(1000, 53).Bytes(), nil},
		{"ping", wakeAny | wakePing, lan().ICMP(8, 0, 1, 1).Bytes(), nil},
		{"ARP", wakeAny, Ether(w.WS2.MAC, w.WS1.MAC).ARP(2, w.WS2.MAC, w.WS2.IP, w.WS1.MAC, w.WS1.IP).Bytes(), nil},
	} {
		Case{Name: c.name, Program: "port", On: w.WS2.Name, With: laid(Napping, c.wake, true), In: c.in, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
			Check: told(c.told...)}.Run(t, w)
	}
	forward := Case{Name: "forward", Program: "underlay", On: underlay, With: laid(Napping, wakeForward, true), In: came(w).TCP(40000, 8080, "S", 0).Bytes(),
		Out: home(w, w.Client).TCP(40000, 80, "S", 0).Bytes(), Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, Check: told(kicked(Host{IP: w.Client}, 6, 80, 40000)...)}
	forward.Run(t, w)
	forward.Name, forward.With, forward.Check = "forward, verified: the kernel's handshake decides", laid(Napping, wakeForward|wakeVerified, true), told()
	forward.Run(t, w)
	node := Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Node.IP, w.WS1.IP).TCP(1000, 80, "S", 0).Bytes()
	Case{Name: "node", Program: "node", On: w.Node.Name, With: laid(Napping, wakeNode, true), In: node, Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name,
		MACs: true, Check: told(kicked(w.Node, 6, 80, 1000)...)}.Run(t, w)
}

// TestParking: what user space sends on ends where it belongs, in whatever state.
func TestParking(t *testing.T) {
	w := world(t)
	lan := func() *Frame { return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP) }
	syn := lan().TCP(1000, 80, "S", 1410).Bytes()
	for _, state := range []uint8{Awake, Asleep, Booting, Napping, Unreachable} {
		with := laid(state, 0, true)
		if state == Awake {
			with = nil
		}
		Case{Name: "to a webspace here", With: with, In: syn, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, Program: "parking", On: Parking}.Run(t, w)
	}
	answer := Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, w.Client).TCP(80, 40000, "RA", 0).Numbers(0, seq+1, 0).Bytes()
	for _, c := range []Case{
		{Name: "without a port", With: laid(Asleep, wakeAny, false), In: syn, Want: Drop, Reason: "endpoint_absent"},
		{Name: "moved to node 3", In: Ether(w.WS2.MAC, w.WS3.MAC).IPv4(w.WS2.IP, w.WS3.IP).TCP(1, 80, "S", 1410).Bytes(), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true, Tunnel: &w.Peer3},
		{Name: "moved out of reach", In: Ether(w.WS2.MAC, w.WS5.MAC).IPv4(w.WS2.IP, w.WS5.IP).TCP(1, 80, "S", 1410).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "to nobody", In: Ether(w.WS2.MAC, MAC("02:99:00:00:00:01")).IPv4(w.WS2.IP, IP("172.24.9.9")).TCP(1, 80, "S", 0).Bytes(), Want: Drop, Reason: "endpoint_absent"},
		{Name: "not IPv4", In: Ether(w.WS2.MAC, w.WS1.MAC).ARP(2, w.WS2.MAC, w.WS2.IP, w.WS1.MAC, w.WS1.IP).Bytes(), Want: Drop, Reason: "ethertype"},
		{Name: "cut off", In: syn[:40], Want: Drop, Reason: "truncated"},

		{Name: "answer to a neighbour, in WS1's name", With: laid(Asleep, 0, false), In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).TCP(80, 1000, "RA", 0).Bytes(),
			Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name},
		{Name: "answer to the node", With: laid(Asleep, 0, false), In: Ether(w.WS1.MAC, w.Node.MAC).IPv4(w.WS1.IP, w.Node.IP).TCP(80, 1000, "RA", 0).Bytes(),
			Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name},
		{Name: "answer through a forward here", With: laid(Asleep, 0, false), In: answer, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Out: gone(w, w.Client).TCP(8080, 40000, "RA", 0).Numbers(0, seq+1, 0).Bytes()},
		{Name: "answer through a forward of node 3", With: laid(Asleep, 0, false), In: Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, w.Client).TCP(81, 40000, "RA", 0).Bytes(),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true, Tunnel: &w.Peer3},
		{Name: "answer in nobody's name", In: Set(answer, 6, 2, 0x99), Want: Drop, Reason: "spoofed_mac"},
		{Name: "answer from another address", In: Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS2.IP, w.Client).TCP(80, 40000, "RA", 0).Bytes(), Want: Drop, Reason: "spoofed_mac"},
		{Name: "answer in the name of a webspace elsewhere", In: Ether(w.WS3.MAC, w.Gateway.MAC).IPv4(w.WS3.IP, w.Client).TCP(80, 40000, "RA", 0).Bytes(), Want: Drop, Reason: "spoofed_mac"},
	} {
		c.Program, c.On = "parking", Parking
		c.Run(t, w)
	}
}
