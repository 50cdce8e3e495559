package bpf_test

import (
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// FuzzPort: whatever a webspace sends, nothing leaves under another's name, reaches infrastructure unasked, or goes
// where webspaces may not go. `go test` runs the seeds; `go test -fuzz FuzzPort ./bpf` goes on from there.
func FuzzPort(f *testing.F) {
	w := world(f)
	for i, frame := range portSeeds(w) {
		if !testing.Short() || i%5 == 0 { // short: in an emulated kernel
			f.Add(frame, uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, gso uint16) {
		examine(t, w, "port", w.WS1.Name, frame, gso, w.PortInvariant)
	})
}

// FuzzPortGuarded keeps the addresses right, so that the fuzzer gets past the guard.
func FuzzPortGuarded(f *testing.F) {
	w := world(f)
	f.Add([]byte{0, 80, 0, 81, 0, 8, 0, 0}, uint8(17), []byte{198, 51, 100, 10}, uint8(0), uint16(0), uint8(64))
	f.Add([]byte{0, 80, 0, 81, 0, 8, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0}, uint8(6), []byte{172, 24, 0, 1}, uint8(3), uint16(0x2000), uint8(1))
	f.Add([]byte{8, 0, 0, 0, 0, 1, 0, 1}, uint8(1), []byte{172, 24, 254, 1}, uint8(0), uint16(0), uint8(64))
	f.Add([]byte{3, 3, 0, 0, 0, 0, 0, 0, 0x45}, uint8(1), []byte{192, 0, 2, 1}, uint8(0), uint16(1), uint8(2))
	to := []Host{w.Gateway, w.WS2, w.WS3, w.Node, w.Node3, w.Pod, {MAC: Broadcast}, {MAC: MAC("01:00:5e:00:00:01")}}
	f.Fuzz(func(t *testing.T, body []byte, proto uint8, dst []byte, mac uint8, frag uint16, ttl uint8) {
		if len(dst) != 4 {
			return
		}
		frame := Ether(w.WS1.MAC, to[int(mac)%len(to)].MAC).IPv4(w.WS1.IP, netip.AddrFrom4([4]byte(dst)), TTL(ttl)).Proto(proto).Data(body).Bytes()
		examine(t, w, "port", w.WS1.Name, FixIPv4(Set16(frame, AtIPv4+6, frag)), 0, w.PortInvariant)
	})
}

// FuzzUnderlay: whatever comes from outside, nobody but a peer tunnels, and a webspace gets only what is for it.
func FuzzUnderlay(f *testing.F) {
	w := world(f)
	if err := w.Reset(); err != nil {
		f.Fatal(err)
	}
	for _, frame := range underlaySeeds(f, w) {
		f.Add(frame, uint16(0))
	}
	f.Fuzz(func(t *testing.T, frame []byte, gso uint16) {
		for _, program := range []string{"underlay", "underlay_xdp"} {
			examine(t, w, program, underlay, frame, gso, w.UnderlayInvariant)
		}
	})
}

func examine(t *testing.T, w *World, program, on string, frame []byte, gso uint16, invariant func([]byte, Result, []DropCount) error) {
	t.Helper()
	if !Runnable(frame) {
		return
	}
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	if program != "port" { // flows for the frame to belong to
		if err := openSeeds(w); err != nil {
			t.Fatal(err)
		}
	}
	if program == "underlay_xdp" {
		gso = 0
	}
	r, err := w.Run(program, on, frame, uint32(gso))
	if err != nil {
		t.Fatal(err)
	}
	drops, err := w.TakeDrops()
	if err != nil {
		t.Fatal(err)
	}
	if err := invariant(frame, r, drops); err != nil {
		t.Errorf("%s: %v\n  %v %v, counted %v\n  in:  %s\n  out: %s\n  %x", program, err, r.Verdict, r.To, drops, Describe(frame), Describe(r.Out), frame)
	}
}

func portSeeds(w *World) [][]byte {
	var seeds [][]byte
	for _, h := range []Host{w.Gateway, w.WS1, w.WS2, w.WS3, w.WS5, w.Node, w.Node3, w.Pod, {MAC: Broadcast, IP: IP("255.255.255.255")}, {MAC: Broadcast, IP: w.Node.IP}} {
		for _, ip := range []netip.Addr{h.IP, w.Server, w.VTEP, w.Peer3.VTEP, IP("10.1.1.1"), IP("10.9.1.1")} {
			f := func(o ...IPv4Option) *Frame { return Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, ip, o...) }
			seeds = append(seeds,
				f().TCP(80, 40000, "SA", 1460).Bytes(), f().TCP(40000, 8080, "S", 1460).Bytes(), f().TCP(81, 40000, "A", 0).Bytes(),
				f().UDP(53, 53).Fill(30).Bytes(), f().UDP(68, 67).Fill(300).Bytes(), f().UDP(40000, w.Port).Fill(60).Bytes(),
				f().ICMP(8, 0, 1, 1).Fill(8).Bytes(), f().ICMP(0, 0, 1, 1).Fill(8).Bytes(), f(TTL(1)).UDP(1, 2).Fill(700).Bytes(),
				f(RecordRoute(40)).UDP(1, 2).Bytes(), f(Fragment(0, true)).UDP(1, 2).Fill(64).Bytes(), f(Fragment(64, false)).Proto(17).Fill(64).Bytes(),
				f().ICMP(3, 3, 0, 0).Data(Ether(h.MAC, w.WS1.MAC).IPv4(ip, w.WS1.IP).UDP(40000, 53).Text("q").Bytes()[14:]).Bytes(),
				f(DontFragment).UDP(1, 2).Fill(1600).Bytes())
		}
		seeds = append(seeds, Ether(w.WS1.MAC, h.MAC).ARP(1, w.WS1.MAC, w.WS1.IP, make([]byte, 6), h.IP).Bytes(),
			Ether(w.WS1.MAC, h.MAC).IPv6(IP("fe80::1"), IP("fe80::2"), 58).ICMPv6(134, make([]byte, 12)).Bytes(),
			Ether(w.WS1.MAC, h.MAC).IPv4(IP("0.0.0.0"), IP("255.255.255.255")).UDP(68, 67).Fill(300).Bytes())
	}
	return seeds
}

// openSeeds opens one flow of each protocol from WS1.
func openSeeds(w *World) error {
	for _, frame := range seedFlows(w) {
		if _, err := opened(w, w.WS1, frame); err != nil {
			return err
		}
	}
	return nil
}

func seedFlows(w *World) [][]byte {
	return [][]byte{
		routed(w, w.Server).TCP(40000, 80, "S", 1410).Bytes(), routed(w, w.Server).UDP(40000, 53).Bytes(), routed(w, w.Server).ICMP(8, 0, 77, 1).Bytes(),
	}
}

func underlaySeeds(f testing.TB, w *World) [][]byte {
	var ports []uint16
	for _, frame := range seedFlows(w) {
		port, err := opened(w, w.WS1, frame)
		if err != nil {
			f.Fatal(err)
		}
		ports = append(ports, port)
	}
	seeds := [][]byte{
		back(w, w.Server).TCP(80, ports[0], "SA", 1460).Bytes(), back(w, w.Server).UDP(53, ports[1]).Text("x").Bytes(), back(w, w.Server).ICMP(0, 0, ports[2], 1).Bytes(),
		back(w, w.Router).ICMP(11, 0, 0, 0).Data(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server).UDP(ports[1], 53).Bytes()[14:]).Bytes(),
		back(w, w.Router).ICMP(3, 4, 0, 1300).Data(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client).TCP(8080, 40000, "A", 0).Bytes()[14:]).Bytes(),
		came(w, Fragment(0, true)).UDP(40000, 5353).Fill(64).Bytes(), came(w, Fragment(64, false)).Proto(17).Fill(64).Bytes(),
		came(w, DontFragment).UDP(40000, 5353).Fill(1600).Bytes(), came(w, TTL(1)).TCP(40000, 8080, "S", 0).Bytes(), came(w, RecordRoute(40)).TCP(40000, 8080, "S", 0).Bytes(),
	}
	for _, port := range []uint16{8080, 8083, 9001, 9002, 9101, 22} {
		seeds = append(seeds, came(w).TCP(40000, port, "S", 1460).Bytes(), came(w).UDP(40000, port).Bytes())
	}
	for _, p := range []Peer{w.Peer2, w.Peer3, w.Peer5, w.Foreign, {VTEP: w.Stranger, MAC: w.RouterMAC}, {VTEP: w.VTEP, MAC: w.RouterMAC}} {
		for _, h := range []Host{w.WS1, w.WS2, w.WS3, w.Node, w.Pod, w.Gateway, {MAC: Broadcast, IP: w.WS1.IP}} {
			inner := func() *Frame { return Ether(w.WS3.MAC, h.MAC).IPv4(w.WS3.IP, h.IP) }
			seeds = append(seeds, from(w, p, inner().TCP(80, 40000, "SA", 0).Bytes()), from(w, p, inner().UDP(53, 40000).Bytes()),
				from(w, p, Ether(w.WS3.MAC, h.MAC).IPv4(w.WS3.IP, w.Client).TCP(80, 40000, "SA", 0).Bytes()),
				from(w, p, Ether(w.WS3.MAC, h.MAC).ARP(1, w.WS3.MAC, w.WS3.IP, make([]byte, 6), h.IP).Bytes()))
		}
	}
	return seeds
}
