package bpf_test

import (
	"net"
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestPortServices is step 3: DHCP, DNS and ping reach the node, and nobody else.
func TestPortServices(t *testing.T) {
	w := world(t)
	toNode := func(name string, dst net.HardwareAddr, src, ip netip.Addr, f func(*Frame) *Frame) Case {
		return Case{Name: name, In: f(Ether(w.WS1.MAC, dst).IPv4(src, ip)).Bytes(), Out: f(Ether(w.WS1.MAC, w.Node.MAC).IPv4(src, ip)).Bytes(),
			Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name}
	}
	udp := func(port uint16) func(*Frame) *Frame {
		return func(f *Frame) *Frame { return f.UDP(68, port).Fill(300) }
	}
	zero, all := IP("0.0.0.0"), IP("255.255.255.255")
	gw := w.Gateway
	cases := []Case{
		toNode("DHCP discover", Broadcast, zero, all, udp(67)),
		toNode("DHCP rebind", Broadcast, w.WS1.IP, all, udp(67)),
		toNode("DHCP renew", gw.MAC, w.WS1.IP, gw.IP, udp(67)),
		toNode("DNS", gw.MAC, w.WS1.IP, gw.IP, udp(53)),
		toNode("DNS over TCP", gw.MAC, w.WS1.IP, gw.IP, func(f *Frame) *Frame { return f.TCP(1000, 53, "S", 1410) }),
		toNode("ping to the gateway", gw.MAC, w.WS1.IP, gw.IP, func(f *Frame) *Frame { return f.ICMP(8, 0, 1, 1).Fill(56) }),
		{Name: "another UDP port of the gateway", In: Ether(w.WS1.MAC, gw.MAC).IPv4(w.WS1.IP, gw.IP).UDP(1, 161).Bytes(), Want: Drop, Reason: "gateway_service"},
		{Name: "SSH to the gateway", In: Ether(w.WS1.MAC, gw.MAC).IPv4(w.WS1.IP, gw.IP).TCP(1000, 22, "S", 0).Bytes(), Want: Drop, Reason: "gateway_service"},
		{Name: "LXD on the gateway", In: Ether(w.WS1.MAC, gw.MAC).IPv4(w.WS1.IP, gw.IP).TCP(1000, 8443, "S", 0).Bytes(), Want: Drop, Reason: "gateway_service"},
	}
	for _, c := range cases {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
}

// TestPortInfra is the second half of step 4: towards nodes, ingress and control only answers pass, whatever way the
// frame tries: by MAC, by address, by broadcast, through the gateway.
func TestPortInfra(t *testing.T) {
	w := world(t)
	for _, target := range []struct {
		host Host
		sent Case
	}{
		{w.Node, Case{To: Redirect{How: ToIngress}, ToName: w.Node.Name}},
		{w.Node3, Case{To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3, MACs: true}},
		{w.Pod, Case{To: Redirect{How: ToPeer}, ToName: w.Pod.Name}},
	} {
		h := target.host
		to := func() *Frame { return Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP) }
		quote := Ether(h.MAC, w.WS1.MAC).IPv4(h.IP, w.WS1.IP).UDP(7, 8).Text("x").Bytes()[14:]
		for name, in := range map[string][]byte{
			"SYN":                          to().TCP(1000, 443, "S", 0).Bytes(),
			"SYN with FIN":                 to().TCP(1000, 443, "SF", 0).Bytes(),
			"SYN with RST":                 to().TCP(1000, 443, "SR", 0).Bytes(),
			"SYN with ECN":                 to().TCP(1000, 443, "SEC", 0).Bytes(),
			"SYN with data and PSH":        to().TCP(1000, 443, "SPU", 0).Fill(10).Bytes(),
			"SYN in a first fragment":      Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, Fragment(0, true)).TCP(1000, 443, "S", 0).Fill(4).Bytes(),
			"first fragment without flags": Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, Fragment(0, true)).Proto(6).Fill(8).Bytes(),
			"fragment over the flags":      Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, Fragment(8, false)).Proto(6).Fill(32).Bytes(),
			"SYN behind IP options":        Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, RecordRoute(40)).TCP(1000, 443, "S", 0).Bytes(),
			"UDP":                          to().UDP(1000, 443).Bytes(),
			"UDP from the DNS port":        to().UDP(53, 1000).Bytes(),
			"later UDP fragment":           Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, Fragment(208, false)).Proto(17).Fill(8).Bytes(),
			"ping":                         to().ICMP(8, 0, 1, 1).Bytes(),
			"ICMP timestamp":               to().ICMP(13, 0, 1, 1).Fill(12).Bytes(),
			"SCTP":                         to().Proto(132).Fill(40).Bytes(),
			"nested tunnel":                to().UDP(50000, w.Port).Fill(60).Bytes(),
			"its address in a broadcast":   Ether(w.WS1.MAC, Broadcast).IPv4(w.WS1.IP, h.IP).UDP(1000, 443).Bytes(),
			"its address at multicast":     Ether(w.WS1.MAC, MAC("01:00:5e:00:00:01")).IPv4(w.WS1.IP, h.IP).UDP(1000, 443).Bytes(),
			"its address at unknown MAC":   Ether(w.WS1.MAC, MAC("fe:00:00:00:00:01")).IPv4(w.WS1.IP, h.IP).TCP(1000, 443, "S", 0).Bytes(),
			"through the gateway":          Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, h.IP).TCP(1000, 443, "S", 0).Bytes(),
			"UDP through the gateway":      Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, h.IP).UDP(1000, 443).Bytes(),
			"another address at its MAC":   Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, w.VTEP).TCP(1000, 22, "S", 0).Bytes(),
			"UDP elsewhere at its MAC":     Ether(w.WS1.MAC, h.MAC).IPv4(w.WS1.IP, w.Server).UDP(1000, 53).Bytes(),
			"IPv6 at its MAC":              Ether(w.WS1.MAC, h.MAC).IPv6(IP("fe80::1"), IP("fe80::2"), 17).UDP(1, 2).Bytes(),
		} {
			Case{Name: h.Name + "/" + name, Program: "port", On: w.WS1.Name, In: in, Want: Drop}.Run(t, w)
		}
		for name, in := range map[string][]byte{
			"SYN-ACK":    to().TCP(80, 40000, "SA", 1410).Bytes(),
			"data":       to().TCP(80, 40000, "PA", 0).Fill(100).Bytes(),
			"RST":        to().TCP(80, 40000, "R", 0).Bytes(),
			"FIN":        to().TCP(80, 40000, "FA", 0).Bytes(),
			"echo reply": to().ICMP(0, 0, 1, 1).Fill(56).Bytes(),
			"ICMP error": to().ICMP(3, 3, 0, 0).Data(quote).Bytes(),
		} {
			c := target.sent
			c.Name, c.Program, c.On, c.In, c.Want = h.Name+"/answers: "+name, "port", w.WS1.Name, in, Sent
			c.Run(t, w)
		}
	}
	// The node's other addresses, by the ways that reach its stack.
	for name, dst := range map[string]net.HardwareAddr{"broadcast": Broadcast, "multicast": MAC("01:00:5e:00:00:01"), "unknown MAC": MAC("fe:00:00:00:00:01")} {
		for _, ip := range []netip.Addr{w.VTEP, w.Gateway.IP, IP("127.0.0.1"), w.Server} {
			Case{Name: "UDP to " + ip.String() + " by " + name, Program: "port", On: w.WS1.Name,
				In: Ether(w.WS1.MAC, dst).IPv4(w.WS1.IP, ip).UDP(1000, 443).Bytes(), Want: Drop}.Run(t, w)
			if ip != w.Gateway.IP { // there it is a request, however it came
				Case{Name: "UDP to " + ip.String() + " by " + name + ", dressed as DHCP", Program: "port", On: w.WS1.Name,
					In: Ether(w.WS1.MAC, dst).IPv4(w.WS1.IP, ip).UDP(68, 67).Fill(300).Bytes(), Want: Drop}.Run(t, w)
			}
		}
	}
	Case{Name: "a pod may open to the node", Program: "port", On: w.Pod.Name,
		In:   Ether(w.Pod.MAC, w.Node.MAC).IPv4(w.Pod.IP, w.Node.IP).TCP(1000, 443, "S", 0).Bytes(),
		Want: Sent, Or: []Verdict{Pass}, To: Redirect{How: ToIngress}, ToName: w.Node.Name}.Run(t, w)
}
