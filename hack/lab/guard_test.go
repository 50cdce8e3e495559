package lab_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

var gatewayMAC = net.HardwareAddr{0x02, 0x4c, 172, 24, 254, 1}

const guardMarker = "lanyard-guard-marker"

func arpReply(t *testing.T, srcMAC, dstMAC, sender net.HardwareAddr, senderIP, targetIP string) string {
	t.Helper()
	return serialize(t, ethernet(srcMAC, dstMAC, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
		SourceHwAddress: sender, SourceProtAddress: net.ParseIP(senderIP).To4(), DstHwAddress: dstMAC, DstProtAddress: net.ParseIP(targetIP).To4(),
	}, gopacket.Payload(guardMarker))
}

func TestSpoofedFramesReachNobody(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	me, neighbour := webspace.MAC(onN1.IP), webspace.MAC(onN1too.IP)
	stranger := net.HardwareAddr{0x02, 1, 2, 3, 4, 5}
	offer := &layers.DHCPv4{Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 1,
		ClientIP: net.IPv4zero.To4(), YourClientIP: net.IP{172, 24, 9, 9}, NextServerIP: net.IPv4zero.To4(), RelayAgentIP: net.IPv4zero.To4(), ClientHWAddr: neighbour,
		ServerName: []byte(guardMarker),
		Options:    layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeOffer)})}}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: onN1.IP.AsSlice(), DstIP: net.IPv4bcast.To4()}
	udp := &layers.UDP{SrcPort: 67, DstPort: 68}
	must(t, udp.SetNetworkLayerForChecksum(ip))
	rogue := serialize(t, ethernet(me, broadcast, layers.EthernetTypeIPv4), ip, udp, offer)
	ip6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::1")}
	icmp6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	must(t, icmp6.SetNetworkLayerForChecksum(ip6))
	advertisement := serialize(t, ethernet(me, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, layers.EthernetTypeIPv6), ip6, icmp6,
		gopacket.Payload(make([]byte, 12)))

	a, b := onN1.IP.String(), onN1too.IP.String()
	for _, c := range []struct{ name, frame, reason string }{
		{"MAC", datagram(t, stranger, neighbour, a, b, 1, 2, guardMarker), "spoofed_mac"},
		{"the neighbour's MAC", datagram(t, neighbour, webspace.MAC(onN3.IP), a, onN3.IP.String(), 1, 2, guardMarker), "spoofed_mac"},
		{"IP", datagram(t, me, neighbour, "172.24.77.77", b, 1, 2, guardMarker), "spoofed_ip"},
		{"IP of a webspace, across nodes", datagram(t, me, webspace.MAC(onN3.IP), onN2.IP.String(), onN3.IP.String(), 1, 2, guardMarker), "spoofed_ip"},
		{"IP, through NAT", datagram(t, me, gatewayMAC, "172.24.77.77", lab.ServerAddr, 1, 2, guardMarker), "spoofed_ip"},
		{"ARP sender", arpReply(t, me, neighbour, me, "172.24.77.77", b), "spoofed_arp"},
		{"ARP for the gateway", arpReply(t, me, broadcast, me, "172.24.254.1", b), "spoofed_gateway"},
		{"MAC of the gateway", datagram(t, gatewayMAC, neighbour, a, b, 1, 2, guardMarker), "spoofed_gateway"},
		{"IP of the gateway", datagram(t, me, neighbour, "172.24.254.1", b, 1, 2, guardMarker), "spoofed_gateway"},
		{"DHCP server", rogue, "rogue_dhcp"},
		{"router advertisement", advertisement, "rogue_router"},
		{"VLAN tag", serialize(t, ethernet(me, neighbour, layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeIPv4},
			gopacket.Payload(guardMarker)), "vlan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := drops(t, ctx, shared.Node(1), c.reason)
			got := frames(t, ctx, guardMarker, []*lab.Webspace{onN1too, onN2, onN3}, func() {
				var r struct{ Sent int }
				must(t, onN1.Probe(ctx, &r, "send", "--count", "3", c.frame))
			})
			for who, n := range got {
				if n != 0 {
					t.Errorf("%s got %d of them", who, n)
				}
			}
			if after := drops(t, ctx, shared.Node(1), c.reason); after != before+3 {
				t.Errorf("%s counts %d more, want 3", c.reason, after-before)
			}
		})
	}
	wantPing(t, ctx, onN1too, onN3.IP.String(), 10)
	wantPing(t, ctx, onN1too, lab.ServerAddr, 10)
}

func TestTunnelFramesOfStrangersAreRefused(t *testing.T) {
	ctx := testContext(t, time.Minute)
	host, err := shared.AddHost(ctx, "stranger", "192.0.2.66")
	must(t, err)
	defer shared.RemoveHost(host)
	before := drops(t, ctx, shared.Node(1), "unknown_peer")
	got := frames(t, ctx, guardMarker, []*lab.Webspace{onN1, onN1too, onN3}, func() { forgeTunnel(t, ctx, host, onN1) })
	for who, n := range got {
		if n != 0 {
			t.Errorf("%s got %d frames of a stranger", who, n)
		}
	}
	if after := drops(t, ctx, shared.Node(1), "unknown_peer"); after == before {
		t.Error("unknown_peer counts nothing")
	}
	wantPing(t, ctx, onN3, onN1.IP.String(), 10)
}

// forgeTunnel sends frames to a webspace through a VXLAN device that its node does not know. They look like a neighbour's.
func forgeTunnel(t *testing.T, ctx context.Context, host *lab.Namespace, to *lab.Webspace) {
	t.Helper()
	for _, c := range []string{
		"ip link add vx type vxlan id 7331 dstport 4789 dev eth0 remote " + to.Node.Addr(),
		"ip link set vx up",
	} {
		_, err := host.Exec(ctx, strings.Fields(c)...)
		must(t, err)
	}
	frame := datagram(t, webspace.MAC(onN3.IP), webspace.MAC(to.IP), onN3.IP.String(), to.IP.String(), 4000, 4000, guardMarker)
	var r struct{ Sent int }
	must(t, host.Probe(ctx, &r, "send", "--iface", "vx", "--count", "3", frame))
}
