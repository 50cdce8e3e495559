package bpf_test

import (
	"net"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestPortARP is step 2 of the port: known addresses are answered on the spot.
func TestPortARP(t *testing.T) {
	w := world(t)
	nobody := make(net.HardwareAddr, 6)
	ask := func(who Host) []byte {
		return Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS1.IP, nobody, who.IP).Bytes()
	}
	answered := func(name string, in []byte, who Host) Case {
		return Case{Name: name, In: in, Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, MACs: true,
			Out: Ether(who.MAC, w.WS1.MAC).ARP(2, who.MAC, who.IP, w.WS1.MAC, w.WS1.IP).Bytes()}
	}
	probe := Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, IP("0.0.0.0"), nobody, w.WS2.IP).Bytes()
	padded := append(ask(w.WS2), make([]byte, 18)...)
	answerPadded := answered("padded to 60 bytes", padded, w.WS2)
	answerPadded.Out = append(answerPadded.Out, make([]byte, 18)...)
	cases := []Case{
		answered("for the gateway", ask(w.Gateway), w.Gateway),
		answered("for a webspace here", ask(w.WS2), w.WS2),
		answered("for a webspace elsewhere", ask(w.WS3), w.WS3),
		answered("for a webspace whose node is out of reach for now", ask(w.WS5), w.WS5),
		answered("for the node", ask(w.Node), w.Node),
		answered("unicast to the gateway, as neighbour tables do to refresh",
			Ether(w.WS1.MAC, w.Gateway.MAC).ARP(1, w.WS1.MAC, w.WS1.IP, nobody, w.Gateway.IP).Bytes(), w.Gateway),
		answerPadded,
		// RFC 5227: an answer to a probe says that the address is taken, which is true for a neighbour's...
		{Name: "probe for a neighbour's address", In: probe, Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, MACs: true,
			Out: Ether(w.WS2.MAC, w.WS1.MAC).ARP(2, w.WS2.MAC, w.WS2.IP, w.WS1.MAC, IP("0.0.0.0")).Bytes()},
		// ...and must never be said about the prober's own, or every DHCP client declines its lease.
		{Name: "probe for its own address", In: Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, IP("0.0.0.0"), nobody, w.WS1.IP).Bytes(), Want: Pass},
		{Name: "announcement of its own address", In: ask(w.WS1), Want: Pass},
		{Name: "for an address nobody has", In: ask(Host{IP: IP("172.24.9.9")}), Want: Pass},
		{Name: "for an address outside of the LAN", In: ask(Host{IP: w.Server}), Want: Pass},
		{Name: "reply to a neighbour", In: Ether(w.WS1.MAC, w.WS2.MAC).ARP(2, w.WS1.MAC, w.WS1.IP, w.WS2.MAC, w.WS2.IP).Bytes(),
			Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name},
	}
	for _, c := range cases {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
	for n := 14; n < 42; n++ {
		Case{Name: "cut", Program: "port", On: w.WS1.Name, In: Cut(ask(w.Gateway), n), Want: Drop}.Run(t, w)
	}
	for _, broken := range []struct {
		name     string
		at, byte int
	}{{"hardware type", 15, 6}, {"protocol type", 16, 0x86}, {"hardware size", 18, 8}, {"protocol size", 19, 16}} {
		// What it means is unknown, so its sender cannot be checked.
		Case{Name: "strange " + broken.name, Program: "port", On: w.WS1.Name, In: Set(ask(w.Gateway), broken.at, byte(broken.byte)), Want: Drop}.Run(t, w)
	}
}

// TestPortLAN is step 4: unicast between webspaces, here and elsewhere.
func TestPortLAN(t *testing.T) {
	w := world(t)
	to := func(h Host) *Frame { return Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP) }
	here := func(name string, in []byte) Case {
		return Case{Name: name, In: in, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name}
	}
	away := func(name string, in []byte, p Peer) Case {
		return Case{Name: name, In: in, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &p, MACs: true}
	}
	tcp := to(w.WS2).TCP(1000, 80, "S", 1410).Bytes()
	large := int(w.MTU) - 20 - 8
	cases := []Case{
		here("TCP to a webspace here", tcp),
		here("UDP to a webspace here", to(w.WS2).UDP(1, 2).Text("x").Bytes()),
		here("ping to a webspace here", to(w.WS2).ICMP(8, 0, 1, 1).Fill(56).Bytes()),
		here("IP options", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, RecordRoute(40)).UDP(1, 2).Text("x").Bytes()),
		here("first fragment", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, Fragment(0, true)).UDP(1, 2).Fill(200).Bytes()),
		here("later fragment", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, Fragment(208, false)).Proto(17).Fill(200).Bytes()),
		here("another protocol", to(w.WS2).Proto(132).Fill(40).Bytes()),
		here("TTL 1: nothing is routed here", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, TTL(1)).UDP(1, 2).Text("x").Bytes()),
		here("UDP without a checksum", NoUDPSum(to(w.WS2).UDP(1, 2).Text("x").Bytes())),
		here("padding behind the packet", append(to(w.WS2).UDP(1, 2).Bytes(), make([]byte, 18)...)),
		away("TCP to a webspace on node 3", to(w.WS3).TCP(1000, 80, "S", 1410).Bytes(), w.Peer3),
		away("UDP to a webspace on node 2", to(w.WS4).UDP(1, 2).Text("x").Bytes(), w.Peer2),
		away("later fragment to node 3", Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP, Fragment(208, false)).Proto(17).Fill(200).Bytes(), w.Peer3),
		away("as large as the LAN allows", to(w.WS3).UDP(1, 2).Fill(large).Bytes(), w.Peer3),
		{Name: "ARP reply to node 3", In: Ether(w.WS1.MAC, w.WS3.MAC).ARP(2, w.WS1.MAC, w.WS1.IP, w.WS3.MAC, w.WS3.IP).Bytes(), Want: Pass},
		// A redirect of what the underlay cannot carry would be lost uncounted in the kernel.
		{Name: "larger than the LAN allows", In: to(w.WS3).UDP(1, 2).Fill(large + 1).Bytes(), Want: Drop, Or: []Verdict{Pass}},
		{Name: "its node's next hop is unknown", In: to(w.WS5).UDP(1, 2).Text("x").Bytes(), Want: Pass},
		{Name: "unknown MAC", In: Ether(w.WS1.MAC, MAC("02:99:00:00:00:01")).IPv4(w.WS1.IP, IP("172.24.9.9")).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "LAN broadcast", In: Ether(w.WS1.MAC, Broadcast).IPv4(w.WS1.IP, IP("172.24.255.255")).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "limited broadcast", In: Ether(w.WS1.MAC, Broadcast).IPv4(w.WS1.IP, IP("255.255.255.255")).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "multicast DNS", In: Ether(w.WS1.MAC, MAC("01:00:5e:00:00:fb")).IPv4(w.WS1.IP, IP("224.0.0.251"), TTL(255)).UDP(5353, 5353).Bytes(), Want: Pass},
		// A broken transport checksum is the receiver's to judge.
		{Name: "bad TCP checksum", In: Flip(tcp, AtL4+16, 0xff), Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name, BadSums: true},
	}
	for _, c := range cases {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
}

// TestPortShort cuts a frame at every length (shorter ones: TestWireShort): where a header is not whole the guard cannot have checked it, so the
// frame must not go on.
func TestPortShort(t *testing.T) {
	w := world(t)
	for name, whole := range map[string][]byte{
		"TCP":  Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).TCP(1000, 80, "S", 0).Bytes(),
		"UDP":  Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1000, 80).Bytes(),
		"ICMP": Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).ICMP(8, 0, 1, 1).Bytes(),
	} {
		for n := 34; n < len(whole); n++ {
			Case{Name: name, Program: "port", On: w.WS1.Name, In: Cut(whole, n), Want: Drop}.Run(t, w)
		}
	}
	udp := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1000, 80).Fill(20).Bytes()
	for _, c := range []Case{
		{Name: "header length 16", In: FixIPv4(Set(Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, RecordRoute(40)).UDP(1, 2).Bytes(), AtIPv4, 0x44))},
		{Name: "header longer than the packet", In: Set(udp, AtIPv4, 0x4f)},
		{Name: "total length shorter than the header", In: FixIPv4(Set16(udp, AtTotal, 19))},
		{Name: "total length longer than the frame", In: FixIPv4(Set16(udp, AtTotal, uint16(len(udp)-14+1)))},
		{Name: "total length cuts the UDP header", In: FixIPv4(Set16(udp, AtTotal, 27))},
	} {
		c.Program, c.On, c.Want = "port", w.WS1.Name, Drop
		c.Run(t, w)
	}
}
