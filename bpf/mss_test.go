package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestMSS: a SYN that passes NAT or a forward never asks for more than our links carry: outwards what the LAN brings to the
// webspace, inwards what the uplink takes from it (the LAN's MTU the webspace knows). Other options may stand before it;
// everything else stays.
func TestMSS(t *testing.T) {
	w := world(t)
	mss := func(n uint16) []byte { return []byte{2, 4, byte(n >> 8), byte(n)} }
	join := func(parts ...[]byte) []byte {
		var out []byte
		for _, p := range parts {
			out = append(out, p...)
		}
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
		return out
	}
	nop, sack, scale, stamp := []byte{1}, []byte{4, 2}, []byte{3, 3, 7}, append([]byte{8, 10}, make([]byte, 8)...)
	type row struct {
		name    string
		in, out []byte
	}
	rows := func(most uint16) []row {
		return []row{
			{"first option", join(mss(1500)), join(mss(most))},
			{"as Linux sends it", join(mss(1500), sack, stamp, nop, scale), join(mss(most), sack, stamp, nop, scale)},
			{"behind others", join(sack, stamp, nop, scale, mss(9000)), join(sack, stamp, nop, scale, mss(most))},
			{"at an odd offset", join(nop, mss(1500)), join(nop, mss(most))},
			{"behind an odd option", join(scale, mss(65535)), join(scale, mss(most))},
			{"exactly the most", join(mss(most)), join(mss(most))},
			{"less", join(mss(536)), join(mss(536))},
			{"none", nil, nil},
			{"behind the end", join([]byte{0, 0, 0, 0}, mss(1500)), join([]byte{0, 0, 0, 0}, mss(1500))},
			{"option of length 0", join([]byte{30, 0}, mss(1500)), join([]byte{30, 0}, mss(1500))},
			{"option beyond the header", join([]byte{30, 40, 0, 0}), join([]byte{30, 40, 0, 0})},
			{"wrong length", []byte{2, 3, 5, 0}, []byte{2, 3, 5, 0}},
			{"cut off", []byte{1, 1, 2, 4}, []byte{1, 1, 2, 4}},
		}
	}
	for _, c := range rows(w.MTU - 40) {
		Case{Name: "NAT, " + c.name, Program: "port", On: w.WS1.Name, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			In:  routed(w, w.Server).TCPOptions(40000, 80, "S", c.in).Text("data").Bytes(),
			NAT: func(p uint16) []byte { return gone(w, w.Server).TCPOptions(p, 80, "S", c.out).Text("data").Bytes() }}.Run(t, w)
	}
	for _, c := range rows(w.MTU + TunnelSize - 40) {
		Case{Name: "forward, " + c.name, Program: "underlay", On: underlay, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
			In:  came(w).TCPOptions(40000, 8080, "S", c.in).Bytes(),
			Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).TCPOptions(40000, 80, "S", c.out).Bytes()}.Run(t, w)
	}
	// What looks like the option in a packet that opens nothing is data.
	Case{Name: "no SYN", Program: "underlay", On: underlay, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
		In:  came(w).TCPOptions(40000, 8080, "A", mss(1500)).Bytes(),
		Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).TCPOptions(40000, 80, "A", mss(1500)).Bytes()}.Run(t, w)
	// The LAN itself is no router's business.
	Case{Name: "on the LAN", Program: "port", On: w.WS1.Name, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name,
		In: Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).TCPOptions(1, 2, "S", mss(8960)).Bytes()}.Run(t, w)
}
