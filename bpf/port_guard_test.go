package bpf_test

import (
	"net"
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestPortGuard is what a webspace may not send, whatever the destination (decision 1, port, step 1).
func TestPortGuard(t *testing.T) {
	w := world(t)
	var zero netip.Addr = IP("0.0.0.0")
	nobody := make(net.HardwareAddr, 6)
	own := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1000, 2000).Text("hello").Bytes()
	bad := func(name, reason string, f *Frame) Case {
		return Case{Name: name, In: f.Bytes(), Want: Drop, Reason: reason}
	}
	from := func(src, dst net.HardwareAddr, ip netip.Addr) *Frame {
		return Ether(src, dst).IPv4(ip, w.WS2.IP).UDP(1000, 2000).Text("hello")
	}
	arp := func(op uint16, ethernet, sender net.HardwareAddr, ip netip.Addr) *Frame {
		return Ether(ethernet, Broadcast).ARP(op, sender, ip, nobody, w.WS2.IP)
	}
	cases := []Case{
		bad("MAC of a neighbour", "spoofed_mac", from(w.WS2.MAC, w.WS3.MAC, w.WS1.IP)),
		bad("MAC of the gateway", "spoofed_gateway", from(w.Gateway.MAC, w.WS2.MAC, w.WS1.IP)),
		bad("MAC of the node", "spoofed_mac", from(w.Node.MAC, w.WS2.MAC, w.WS1.IP)),
		bad("broadcast MAC as source", "spoofed_mac", from(Broadcast, w.WS2.MAC, w.WS1.IP)),
		bad("one bit off", "spoofed_mac", from(net.HardwareAddr(Flip(w.WS1.MAC, 5, 0x80)), w.WS2.MAC, w.WS1.IP)),
		bad("another MAC in an IPv6 frame", "spoofed_mac", Ether(w.WS2.MAC, w.WS3.MAC).IPv6(IP("fe80::1"), IP("fe80::2"), 17).UDP(1, 2)),
		bad("another MAC in a broadcast", "spoofed_mac", Ether(w.WS2.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS1.IP, nobody, w.WS2.IP)),

		bad("IP of a neighbour", "spoofed_ip", from(w.WS1.MAC, w.WS2.MAC, w.WS2.IP)),
		bad("IP of the gateway", "spoofed_gateway", from(w.WS1.MAC, w.WS2.MAC, w.Gateway.IP)),
		bad("IP of the node", "spoofed_ip", from(w.WS1.MAC, w.WS2.MAC, w.Node.IP)),
		bad("IP from outside the LAN", "spoofed_ip", from(w.WS1.MAC, w.WS2.MAC, w.Server)),
		bad("IP of a neighbour, routed", "spoofed_ip", Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS2.IP, w.Server).TCP(1000, 80, "S", 0)),
		bad("IP of a neighbour, broadcast", "spoofed_ip", Ether(w.WS1.MAC, Broadcast).IPv4(w.WS2.IP, IP("172.24.255.255")).UDP(1, 2)),
		bad("IP of a neighbour behind IP options", "spoofed_ip", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS2.IP, w.WS2.IP, RecordRoute(40)).UDP(1, 2)),
		bad("no IP, and not DHCP", "spoofed_ip", from(w.WS1.MAC, w.WS2.MAC, zero)),
		bad("no IP, TCP to port 67", "spoofed_ip", Ether(w.WS1.MAC, Broadcast).IPv4(zero, IP("255.255.255.255")).TCP(68, 67, "S", 0)),

		bad("ARP request with another sender MAC", "spoofed_arp", arp(1, w.WS1.MAC, w.WS2.MAC, w.WS1.IP)),
		bad("ARP request with another sender IP", "spoofed_arp", arp(1, w.WS1.MAC, w.WS1.MAC, w.WS2.IP)),
		bad("ARP reply for the gateway", "spoofed_gateway", arp(2, w.WS1.MAC, w.WS1.MAC, w.Gateway.IP)),
		bad("ARP reply for the node", "spoofed_arp", arp(2, w.WS1.MAC, w.WS1.MAC, w.Node.IP)),
		bad("gratuitous ARP for a neighbour", "spoofed_arp", Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS3.IP, nobody, w.WS3.IP)),
		bad("ARP reply without an address", "spoofed_arp", Ether(w.WS1.MAC, w.WS2.MAC).ARP(2, w.WS1.MAC, zero, w.WS2.MAC, w.WS2.IP)),

		bad("VLAN tag", "vlan", Ether(w.WS1.MAC, w.WS2.MAC).VLAN(7).IPv4(w.WS1.IP, w.WS2.IP).UDP(1000, 2000)),
		bad("VLAN tag in front of a spoofed address", "vlan", Ether(w.WS1.MAC, w.WS2.MAC).VLAN(7).IPv4(w.WS2.IP, w.WS3.IP).UDP(1000, 2000)),
		bad("priority tag", "vlan", Ether(w.WS1.MAC, w.WS2.MAC).VLAN(0).IPv4(w.WS1.IP, w.WS2.IP).UDP(1000, 2000)),
		{Name: "802.1ad tag", In: Set16(own, AtEtherType, 0x88a8), Want: Drop, Reason: "vlan"},
		bad("LLDP", "ethertype", Ether(w.WS1.MAC, MAC("01:80:c2:00:00:0e")).Type(0x88cc).Fill(50)),
		bad("spanning tree (802.3 length)", "ethertype", Ether(w.WS1.MAC, MAC("01:80:c2:00:00:00")).Type(38).Fill(38)),
		bad("PPPoE discovery", "ethertype", Ether(w.WS1.MAC, Broadcast).Type(0x8863).Fill(46)),
		bad("MPLS", "ethertype", Ether(w.WS1.MAC, w.WS2.MAC).Type(0x8847).Fill(46)),
		{Name: "IPv6 in an IPv4 ethertype", In: Set(own, AtIPv4, 0x65), Want: Drop},

		bad("DHCP server, broadcast", "rogue_dhcp", Ether(w.WS1.MAC, Broadcast).IPv4(w.WS1.IP, IP("255.255.255.255")).UDP(67, 68).Fill(300)),
		bad("DHCP server, unicast", "rogue_dhcp", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(67, 68).Fill(300)),
		bad("DHCP server to a neighbour on another node", "rogue_dhcp", Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP).UDP(67, 68).Fill(300)),
		bad("DHCP server behind IP options", "rogue_dhcp", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, RecordRoute(40)).UDP(67, 68).Fill(300)),
		bad("DHCP server from another port", "rogue_dhcp", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(6767, 68).Fill(300)),
		bad("DHCP server, first fragment", "rogue_dhcp", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, Fragment(0, true)).UDP(67, 68).Fill(296)),
		bad("ICMP redirect", "redirect", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).ICMP(5, 1, 0, 0).Data(own[14:])),
		bad("ICMP router advertisement", "", Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).ICMP(9, 0, 0, 0).Fill(8)),
	}
	for _, c := range cases {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
	Case{Name: "a frame like these from its owner", Program: "port", On: w.WS1.Name, In: own, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name}.Run(t, w)
	Case{Name: "no guard at a pod's port", Program: "port", On: w.Pod.Name,
		In:   Ether(w.Pod.MAC, w.WS2.MAC).IPv4(w.Client, w.WS2.IP).TCP(1000, 80, "S", 0).Bytes(),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name}.Run(t, w)
}

// TestPortGuardIPv6 is the same for IPv6, which otherwise crosses the LAN by the slow path. The headers that hide an
// advertisement are those of RFC 7113, section 2.
func TestPortGuardIPv6(t *testing.T) {
	w := world(t)
	all := MAC("33:33:00:00:00:01")
	ip, everyone := IP("fe80::57:53ff:fe00:1"), IP("ff02::1")
	advert := append([]byte{134, 0, 0, 0}, make([]byte, 12)...)
	hopByHop := append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, advert...)
	destination := append([]byte{60, 0, 1, 4, 0, 0, 0, 0}, hopByHop...)
	fragment := append([]byte{58, 0, 0, 1, 0, 0, 0, 9}, advert...) // first of several
	cases := []Case{
		{Name: "router advertisement", In: Ether(w.WS1.MAC, all).IPv6(ip, everyone, 58).ICMPv6(134, make([]byte, 12)).Bytes(), Want: Drop, Reason: "rogue_router"},
		{Name: "router advertisement, unicast", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv6(ip, IP("fe80::2"), 58).ICMPv6(134, make([]byte, 12)).Bytes(), Want: Drop, Reason: "rogue_router"},
		{Name: "router advertisement behind hop-by-hop options", In: Ether(w.WS1.MAC, all).IPv6(ip, everyone, 0).Data(hopByHop).Bytes(), Want: Drop},
		{Name: "router advertisement behind two extension headers", In: Ether(w.WS1.MAC, all).IPv6(ip, everyone, 0).Data(destination).Bytes(), Want: Drop},
		{Name: "router advertisement in a fragment", In: Ether(w.WS1.MAC, all).IPv6(ip, everyone, 44).Data(fragment).Bytes(), Want: Drop},
		{Name: "redirect", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv6(ip, IP("fe80::2"), 58).ICMPv6(137, make([]byte, 36)).Bytes(), Want: Drop, Reason: "redirect"},
		{Name: "DHCPv6 server", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv6(ip, IP("fe80::2"), 17).UDP(547, 546).Fill(60).Bytes(), Want: Drop, Reason: "rogue_dhcpv6"},
		{Name: "DHCPv6 server from another port", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv6(ip, IP("fe80::2"), 17).UDP(5470, 546).Fill(60).Bytes(), Want: Drop, Reason: "rogue_dhcpv6"},
		{Name: "neighbour solicitation", In: Ether(w.WS1.MAC, MAC("33:33:ff:00:00:02")).IPv6(ip, IP("ff02::1:ff00:2"), 58).ICMPv6(135, make([]byte, 20)).Bytes(), Want: Pass},
		{Name: "multicast listener report", In: Ether(w.WS1.MAC, MAC("33:33:00:00:00:16")).IPv6(ip, IP("ff02::16"), 0).
			Data([]byte{58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0}).Bytes(), Want: Pass},
		{Name: "unicast to a neighbour", In: Ether(w.WS1.MAC, w.WS2.MAC).IPv6(ip, IP("fe80::2"), 58).ICMPv6(128, make([]byte, 20)).Bytes(),
			Want: Pass, Or: []Verdict{Sent}},
		// What follows the packet in the frame is not the packet: here it looks like a harmless ICMPv6 type.
		{Name: "router advertisement behind padding", In: append(Ether(w.WS1.MAC, all).IPv6(ip, everyone, 44).
			Data([]byte{60, 0, 0, 1, 0, 0, 0, 9, 58, 0, 1, 4, 0, 0, 0, 0}).Bytes(), 128, 0, 0, 0, 0, 0, 0, 0), Want: Drop},
		{Name: "cut in the ICMPv6 header", In: Cut(Ether(w.WS1.MAC, all).IPv6(ip, everyone, 58).ICMPv6(134, make([]byte, 12)).Bytes(), 54), Want: Drop},
	}
	for _, c := range cases {
		c.Program, c.On = "port", w.WS1.Name
		c.Run(t, w)
	}
}
