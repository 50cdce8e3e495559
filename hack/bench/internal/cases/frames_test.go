package cases

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

func TestTunnelledFrame(t *testing.T) {
	in, out := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	src, dst := netip.MustParseAddrPort("172.24.2.1:7000"), netip.MustParseAddrPort("172.24.1.1:7001")
	inner := small(in, out, src, dst)
	if len(inner) != smallest {
		t.Fatalf("the inner frame has %d bytes", len(inner))
	}
	f := tunnelled(out, in, netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"), inner)
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	vx, ok := p.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN)
	if !ok || vx.VNI != world.VNI || !vx.ValidIDFlag {
		t.Fatalf("no VXLAN header of our VNI: %v", p)
	}
	ls := p.Layers()
	udp, ok := ls[len(ls)-2].(*layers.UDP)
	if !ok || udp.SrcPort != 7000 || udp.DstPort != 7001 {
		t.Errorf("the inner packet is %v", ls)
	}
	for _, at := range []int{offIP, offIP + 28 + 8 + offIP} {
		if sum := load.HeaderSum(f[at : at+20]); sum != 0 {
			t.Errorf("the IPv4 header at %d does not sum to zero: %#x", at, sum)
		}
	}
}
