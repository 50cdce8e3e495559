package bpf_test

import (
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// from wraps a frame in a tunnel from a VTEP to this node.
func from(w *World, p Peer, inner []byte) []byte {
	return Tunnel(p.MAC, w.UnderlayMAC, p.VTEP, w.VTEP, 50001, w.Port, w.VNI, inner)
}

// TestUnderlayTunnel is step 1 of the underlay: tunnel frames of known peers, and of nobody else.
func TestUnderlayTunnel(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		stranger := Peer{VTEP: w.Stranger, MAC: w.RouterMAC}
		inner := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Text("hello").Bytes()
		in := func(name string, frame []byte) Case {
			return Case{Name: name, In: from(w, w.Peer3, frame), Out: frame, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name}
		}
		pass := func(name string, frame []byte) Case { return Case{Name: name, In: frame, Want: Pass} }
		drop := func(name, reason string, frame []byte) Case {
			return Case{Name: name, In: frame, Want: Drop, Reason: reason}
		}
		tunnel := func(to netip.Addr, port uint16, vni uint32, src Peer) []byte {
			return Tunnel(src.MAC, w.UnderlayMAC, src.VTEP, to, 50001, port, vni, inner)
		}
		strange := from(w, stranger, inner)
		for _, c := range []Case{
			in("UDP", inner),
			in("TCP", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).TCP(1000, 80, "S", 1410).Bytes()),
			pass("ARP reply", from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).ARP(2, w.WS3.MAC, w.WS3.IP, w.WS1.MAC, w.WS1.IP).Bytes())),
			in("ping", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).ICMP(8, 0, 1, 1).Fill(56).Bytes()),
			in("later fragment", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP, Fragment(208, false)).Proto(17).Fill(99).Bytes()),
			in("IP options", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP, RecordRoute(40)).UDP(1, 2).Text("x").Bytes()),
			in("TTL 1: nothing is routed here", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP, TTL(1)).UDP(1, 2).Bytes()),
			in("as large as the LAN allows", Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Fill(int(w.MTU)-28).Bytes()),

			pass("inner broadcast", from(w, w.Peer3, Ether(w.WS3.MAC, Broadcast).ARP(1, w.WS3.MAC, w.WS3.IP, make([]byte, 6), w.WS1.IP).Bytes())),
			pass("inner multicast", from(w, w.Peer3, Ether(w.WS3.MAC, MAC("33:33:00:00:00:01")).IPv6(IP("fe80::3"), IP("ff02::1"), 17).UDP(1, 2).Bytes())),
			pass("inner unknown MAC", from(w, w.Peer3, Ether(w.WS3.MAC, MAC("02:99:00:00:00:01")).IPv4(w.WS3.IP, IP("172.24.9.9")).UDP(1, 2).Bytes())),
			pass("foreign peer", from(w, w.Foreign, inner)),
			pass("another VNI", tunnel(w.VTEP, w.Port, w.VNI+1, w.Peer3)),
			pass("another VNI from a stranger", tunnel(w.VTEP, w.Port, w.VNI+1, stranger)),
			pass("another port", tunnel(w.VTEP, w.Port+1, w.VNI, stranger)),
			// The kernel's VXLAN device takes frames to any address of the node, so a stranger's must not reach it.
			{Name: "not to our VTEP", In: tunnel(IP("192.0.2.100"), w.Port, w.VNI, w.Peer3), Want: Pass, Or: []Verdict{Sent}},
			{Name: "not to our VTEP, from a stranger", In: tunnel(IP("192.0.2.100"), w.Port, w.VNI, stranger), Want: Drop, Or: []Verdict{Pass}},
			pass("without the I flag", Set(from(w, w.Peer3, inner), AtL4+8, 0)),
			// The kernel refuses these (vxlan_rcv), and so may we.
			{Name: "reserved flags from a stranger", In: Set(strange, AtL4+8, 0x88), Want: Pass, Or: []Verdict{Drop}},
			{Name: "reserved byte from a stranger", In: Set(strange, AtL4+15, 1), Want: Drop, Or: []Verdict{Pass}},

			drop("stranger", "unknown_peer", strange),
			drop("stranger, inner broadcast", "unknown_peer", from(w, stranger, Ether(w.WS3.MAC, Broadcast).ARP(1, w.WS3.MAC, w.WS3.IP, make([]byte, 6), w.WS1.IP).Bytes())),
			drop("stranger, to the gateway", "unknown_peer", from(w, stranger, Ether(w.WS3.MAC, w.Gateway.MAC).IPv4(w.WS3.IP, w.Client).TCP(80, 40000, "SA", 0).Bytes())),
			drop("our own address, from outside", "unknown_peer", from(w, Peer{VTEP: w.VTEP, MAC: w.RouterMAC}, inner)),
			// The kernel would put these together, and its VXLAN device takes frames from anybody.
			drop("stranger behind IP options", "", insertOptions(strange, 8)),
			drop("stranger, first fragment", "", FixIPv4(Set16(strange, AtIPv4+6, 0x2000))),
			drop("stranger, first fragment that ends before the VNI", "",
				Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Stranger, w.VTEP, Fragment(0, true)).UDP(50001, w.Port).Bytes()),
			// What a peer's datagram was cut into by a router is whole again only in the kernel.
			pass("first fragment of a peer", FixIPv4(Set16(from(w, w.Peer3, inner), AtIPv4+6, 0x2000))),
			pass("later fragment of a peer", Ether(w.Peer3.MAC, w.UnderlayMAC).IPv4(w.Peer3.VTEP, w.VTEP, Fragment(208, false)).Proto(17).Fill(64).Bytes()),
		} {
			run(c)
		}
	})
}

// insertOptions puts n bytes of no-operation options into the IPv4 header.
func insertOptions(frame []byte, n int) []byte {
	out := append([]byte(nil), frame[:AtL4]...)
	for range n {
		out = append(out, 1)
	}
	out = append(out, frame[AtL4:]...)
	out[AtIPv4] += byte(n / 4)
	total := uint16(len(out) - 14)
	return FixIPv4(Set16(out, AtTotal, total))
}

// TestUnderlayShort cuts a tunnel frame at every length: nothing of it may reach a webspace.
func TestUnderlayShort(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		whole := from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Bytes())
		for n := 34; n < len(whole); n++ {
			run(Case{Name: "tunnel frame", In: Cut(whole, n), Want: Pass, Or: []Verdict{Drop}})
		}
		// The same with lengths that agree with the cut: inside the tunnel the frame is short.
		for n := TunnelSize; n < TunnelSize+14; n++ {
			cut := Set16(Set16(Cut(whole, n), AtTotal, uint16(n-14)), AtL4+4, uint16(n-AtL4))
			run(Case{Name: "inner Ethernet header", In: FixIPv4(cut), Want: Pass, Or: []Verdict{Drop}})
		}
		forward := Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Client, w.VTEP).TCP(40000, 8080, "S", 0).Bytes()
		for n := 34; n < len(forward); n++ {
			run(Case{Name: "forward", In: Cut(forward, n), Want: Pass, Or: []Verdict{Drop}})
		}
	})
}

// TestUnderlayGateway: an answer that must leave through this node, because it entered here. Its sender must live
// behind the peer that the frame comes from.
func TestUnderlayGateway(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		answer := func(src Host, port uint16) []byte {
			return Ether(src.MAC, w.Gateway.MAC).IPv4(src.IP, w.Client).TCP(port, 40000, "SA", 1410).Bytes()
		}
		run(Case{Name: "TCP", In: from(w, w.Peer3, answer(w.WS3, 80)), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Out: gone(w, w.Client).TCP(8083, 40000, "SA", 1410).Bytes()})
		run(Case{Name: "UDP", In: from(w, w.Peer3, Ether(w.WS3.MAC, w.Gateway.MAC).IPv4(w.WS3.IP, w.Client).UDP(53, 40000).Text("answer").Bytes()),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Out: gone(w, w.Client).UDP(5383, 40000).Text("answer").Bytes()})
		for _, c := range []Case{
			{Name: "of a webspace behind another peer", In: from(w, w.Peer2, answer(w.WS3, 80))},
			{Name: "of a local webspace's address", In: from(w, w.Peer3, answer(w.WS1, 80))},
			{Name: "of an address nobody has", In: from(w, w.Peer3, answer(Host{MAC: w.WS3.MAC, IP: IP("172.24.9.9")}, 80))},
			{Name: "of an outside address", In: from(w, w.Peer3, answer(Host{MAC: w.WS3.MAC, IP: w.Server}, 80))},
			{Name: "that answers no forward", In: from(w, w.Peer3, answer(w.WS3, 81))},
		} {
			c.Want = Drop
			run(c)
		}
	})
}
