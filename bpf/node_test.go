package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestNode is the egress of the bridge: what the node itself says on the LAN.
func TestNode(t *testing.T) {
	w := world(t)
	own := func(h Host) *Frame { return Ether(w.Node.MAC, h.MAC).IPv4(w.Node.IP, h.IP) }
	gateway := func(from Host, h Host) *Frame { return Ether(from.MAC, h.MAC).IPv4(w.Gateway.IP, h.IP) }
	cases := []Case{
		{Name: "to a webspace here", In: own(w.WS1).TCP(1000, 80, "S", 0).Bytes(), Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, MACs: true},
		{Name: "to a webspace on node 3", In: own(w.WS3).TCP(1000, 80, "S", 0).Bytes(), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3, MACs: true},
		{Name: "ARP request", In: Ether(w.Node.MAC, Broadcast).ARP(1, w.Node.MAC, w.Node.IP, make([]byte, 6), w.WS1.IP).Bytes(), Want: Pass},
		{Name: "multicast", In: Ether(w.Node.MAC, MAC("33:33:00:00:00:01")).IPv6(IP("fe80::1"), IP("ff02::1"), 17).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "unknown MAC", In: Ether(w.Node.MAC, MAC("02:99:00:00:00:01")).IPv4(w.Node.IP, IP("172.24.9.9")).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "to a node that is out of reach for now", In: own(w.WS5).UDP(1, 2).Bytes(), Want: Pass},
		{Name: "as the gateway, to a webspace here", In: gateway(w.Node, w.WS1).UDP(53, 40000).Text("answer").Bytes(), Out: gateway(w.Gateway, w.WS1).UDP(53, 40000).Text("answer").Bytes(),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS1.Name, MACs: true},
		{Name: "larger than the LAN allows", In: own(w.WS3).UDP(1, 2).Fill(int(w.MTU) - 27).Bytes(), Want: Pass, Or: []Verdict{Drop}},
	}
	for _, c := range cases {
		c.Program, c.On = "node", w.Node.Name
		c.Run(t, w)
	}
	whole := own(w.WS3).TCP(1000, 80, "S", 0).Bytes()
	for n := 34; n < len(whole); n++ {
		Case{Name: "cut", Program: "node", On: w.Node.Name, In: Cut(whole, n), Want: Pass, Or: []Verdict{Drop, Sent}, AnyOut: true, ToName: underlay, To: Redirect{How: ToDevice}}.Run(t, w)
	}
}
