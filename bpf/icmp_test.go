package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// quote gives the beginning of a packet as an ICMP error carries it: the whole IPv4 packet, or header and 8 bytes.
func quote(f *Frame, whole bool) []byte {
	p := f.Bytes()[14:]
	if whole {
		return p
	}
	return p[:28]
}

// TestUnderlayICMPErrors is step 4 of the underlay: errors from outside about what a webspace sent, translated outside
// and inside. A TTL of the quoted packet is what it was where the error was made.
func TestUnderlayICMPErrors(t *testing.T) {
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		for _, whole := range []bool{true, false} {
			suffix := ", 8 bytes quoted"
			if whole {
				suffix = ", all quoted"
			}
			sent := func(f func(*Frame) *Frame) []byte { return f(routed(w, w.Server)).Bytes() }
			for _, flow := range []struct {
				name    string
				first   []byte
				outside func(port uint16) *Frame // as the reporter saw it
				inside  *Frame                   // as the webspace sent it
			}{
				{"UDP flow", sent(func(f *Frame) *Frame { return f.UDP(40000, 53).Text("query") }),
					func(p uint16) *Frame {
						return Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server, TTL(1)).UDP(p, 53).Text("query")
					},
					Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS1.IP, w.Server, TTL(1)).UDP(40000, 53).Text("query")},
				{"TCP flow", sent(func(f *Frame) *Frame { return f.TCP(40000, 80, "S", 1410) }),
					func(p uint16) *Frame {
						return Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server, TTL(1)).TCP(p, 80, "S", 1410)
					},
					Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS1.IP, w.Server, TTL(1)).TCP(40000, 80, "S", 1410)},
				{"ping", sent(func(f *Frame) *Frame { return f.ICMP(8, 0, 77, 1).Fill(32) }),
					func(p uint16) *Frame {
						return Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server, TTL(1)).ICMP(8, 0, p, 1).Fill(32)
					},
					Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS1.IP, w.Server, TTL(1)).ICMP(8, 0, 77, 1).Fill(32)},
			} {
				for _, e := range []struct {
					name       string
					kind, code uint8
					mtu        uint16
				}{{"time exceeded", 11, 0, 0}, {"port unreachable", 3, 3, 0}, {"too big", 3, 4, 1300}} {
					reporter := IP("198.51.100.254")
					run(Case{Name: e.name + " about a " + flow.name + suffix, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
						Frames: func(w *World) ([]byte, []byte, error) {
							port, err := opened(w, w.WS1, flow.first)
							return back(w, reporter).ICMP(e.kind, e.code, 0, e.mtu).Data(quote(flow.outside(port), whole)).Bytes(),
								home(w, reporter).ICMP(e.kind, e.code, 0, e.mtu).Data(quote(flow.inside, whole)).Bytes(), err
						}})
				}
			}
			// About the answer of a forward.
			answer := Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, TTL(1))
			inner := Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS1.IP, w.Client, TTL(1))
			run(Case{Name: "time exceeded about a forward's answer" + suffix, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
				In:  back(w, w.Router).ICMP(11, 0, 0, 0).Data(quote(answer.UDP(5353, 40000).Text("answer"), whole)).Bytes(),
				Out: home(w, w.Router).ICMP(11, 0, 0, 0).Data(quote(inner.UDP(53, 40000).Text("answer"), whole)).Bytes()})
			answer, inner = Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client), Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS3.IP, w.Client)
			run(Case{Name: "too big about the answer of a forward to node 3" + suffix, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3,
				In: back(w, w.Router).ICMP(3, 4, 0, 1300).Data(quote(answer.TCP(8083, 40000, "A", 0), whole)).Bytes(),
				Out: Ether(w.Gateway.MAC, w.WS3.MAC).IPv4(w.Router, w.WS3.IP, TTL(63)).ICMP(3, 4, 0, 1300).
					Data(quote(inner.TCP(80, 40000, "A", 0), whole)).Bytes()})
		}
		about := func(f *Frame) []byte { return back(w, w.Router).ICMP(3, 3, 0, 0).Data(f.Bytes()[14:]).Bytes() }
		for name, in := range map[string][]byte{
			"nothing known":          about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server).UDP(20001, 53)),
			"somebody else's packet": about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.Client, w.Server).UDP(40000, 53)),
			// The same port of another address is another service.
			"another address's packet":     about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(IP("192.0.2.100"), w.Client).UDP(5353, 40000)),
			"a webspace's inside address":  about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.WS1.IP, w.Server).UDP(40000, 53)),
			"a packet cut before 8 bytes":  Cut(about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client).UDP(5353, 40000)), AtL4+8+27),
			"a header that is no IPv4":     Set(about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client).UDP(5353, 40000)), AtL4+8, 0x65),
			"a later fragment of a packet": about(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, Fragment(208, false)).Proto(17).Fill(8)),
		} {
			run(Case{Name: "about " + name, In: in, Want: Pass, Or: []Verdict{Drop}})
		}
	})
}

// TestPortICMPErrors: a webspace reports about a packet that reached it through a forward or a flow. The error leaves
// with the address that the other side knows.
func TestPortICMPErrors(t *testing.T) {
	w := world(t)
	report := func(q []byte) []byte { return routed(w, w.Client).ICMP(3, 3, 0, 0).Data(q).Bytes() }
	for _, whole := range []bool{true, false} {
		got := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).UDP(40000, 53).Text("query")
		known := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.VTEP, TTL(63)).UDP(40000, 5353).Text("query")
		Case{Name: "port unreachable about a forwarded packet", Program: "port", On: w.WS1.Name, In: report(quote(got, whole)),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Out: gone(w, w.Client).ICMP(3, 3, 0, 0).Data(quote(known, whole)).Bytes()}.Run(t, w)
		Case{Name: "port unreachable about the answer to a flow", Program: "port", On: w.WS1.Name, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay,
			Frames: func(w *World) ([]byte, []byte, error) {
				port, err := opened(w, w.WS1, routed(w, w.Server).UDP(40000, 53).Text("query").Bytes())
				in := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Server, w.WS1.IP, TTL(63)).UDP(53, 40000).Text("answer")
				out := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Server, w.VTEP, TTL(63)).UDP(53, port).Text("answer")
				return routed(w, w.Server).ICMP(3, 3, 0, 0).Data(quote(in, whole)).Bytes(),
					gone(w, w.Server).ICMP(3, 3, 0, 0).Data(quote(out, whole)).Bytes(), err
			}}.Run(t, w)
	}
	// A forward that entered at node 3 leaves there, and is translated there.
	got := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).TCP(40000, 81, "A", 0)
	Case{Name: "about a packet that entered at another node", Program: "port", On: w.WS1.Name, In: report(quote(got, false)),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3}.Run(t, w)
	// It may only speak about what came to it, to whom it came from.
	neighbour := Ether(w.Gateway.MAC, w.WS2.MAC).IPv4(w.Client, w.WS2.IP, TTL(63)).TCP(40000, 90, "A", 0)
	Case{Name: "about a packet of a neighbour's forward", Program: "port", On: w.WS1.Name, In: report(quote(neighbour, false)), Want: Drop}.Run(t, w)
	mine := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Server, w.WS1.IP, TTL(63)).UDP(40000, 53).Text("query")
	Case{Name: "to another than it came from", Program: "port", On: w.WS1.Name, In: report(quote(mine, true)), Want: Drop}.Run(t, w)
	stranger := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS2.IP).UDP(40000, 53).Text("query")
	Case{Name: "about a neighbour's packet", Program: "port", On: w.WS1.Name, In: report(quote(stranger, true)), Want: Drop}.Run(t, w)
}
