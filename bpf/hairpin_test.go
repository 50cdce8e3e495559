package bpf_test

import (
	"net/netip"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestHairpin: a webspace reaches a neighbour by the neighbour's public forward. The target sees the opener's LAN
// address, and the opener sees the answer come from the public one.
func TestHairpin(t *testing.T) {
	w := world(t)
	to := func(port uint16, flags string) []byte {
		return routed(w, w.VTEP).TCP(40000, port, flags, 0).Bytes()
	}
	at := func(h Host, port uint16, flags string) []byte {
		return Ether(w.Gateway.MAC, h.MAC).IPv4(w.WS1.IP, h.IP, TTL(63)).TCP(40000, port, flags, 0).Bytes()
	}
	Case{Name: "to a neighbour here", Program: "port", On: w.WS1.Name, In: to(9001, "S"), Out: at(w.WS2, 90, "S"),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name, Entries: map[string]int{"flows": 2}}.Run(t, w)
	Case{Name: "to a neighbour here, second packet", Program: "port", On: w.WS1.Name, After: [][]byte{to(9001, "S")}, In: to(9001, "A"), Out: at(w.WS2, 90, "A"),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name, Entries: map[string]int{"flows": 0}}.Run(t, w)
	Case{Name: "to a neighbour on node 3", Program: "port", On: w.WS1.Name, In: to(8083, "S"), Out: at(w.WS3, 80, "S"),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3, Entries: map[string]int{"flows": 2}}.Run(t, w)
	Case{Name: "UDP, to a neighbour on node 3", Program: "port", On: w.WS1.Name,
		In:   routed(w, w.VTEP).UDP(40000, 5383).Text("query").Bytes(),
		Out:  Ether(w.Gateway.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP, TTL(63)).UDP(40000, 53).Text("query").Bytes(),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, Tunnel: &w.Peer3, Entries: map[string]int{"flows": 2}}.Run(t, w)
	// A forward whose entry is another node is nevertheless a forward to those inside.
	Case{Name: "to a forward of another node, of a neighbour here", Program: "port", On: w.WS1.Name,
		In: routed(w, w.Peer3.VTEP).TCP(40000, 9101, "S", 0).Bytes(), Out: at(w.WS2, 91, "S"),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS2.Name, Entries: map[string]int{"flows": 2}}.Run(t, w)
	Case{Name: "to a port that is no forward", Program: "port", On: w.WS1.Name, In: to(9003, "S"), Want: Drop, Entries: map[string]int{"flows": 0}}.Run(t, w)

	reply := func(h Host, flags string, port uint16) *Frame {
		return Ether(h.MAC, w.WS1.MAC).IPv4(h.IP, w.WS1.IP).TCP(port, 40000, flags, 0)
	}
	sawn := func(h Host, public netip.AddrPort, flags string, o ...IPv4Option) []byte {
		return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(public.Addr(), w.WS1.IP, o...).TCP(public.Port(), 40000, flags, 0).Bytes()
	}
	opened := func(port uint16) func(w *World) error {
		return func(w *World) error {
			_, err := w.Run("port", w.WS1.Name, to(port, "S"), 0)
			return err
		}
	}
	judge := func(want func(ttl uint8) []byte) func(*World, Result) error {
		// Whether the reply counts as routed (TTL 63) is not written down; both are right.
		return func(w *World, r Result) error {
			return SameBut(r.Out, want(63), want(64))
		}
	}
	Case{Name: "answer of the neighbour here", Program: "port", On: w.WS2.Name, With: opened(9001), In: reply(w.WS2, "SA", 90).Bytes(),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, AnyOut: true,
		Check: judge(func(ttl uint8) []byte { return sawn(w.WS2, netip.AddrPortFrom(w.VTEP, 9001), "SA", TTL(ttl)) })}.Run(t, w)
	// Its error about what the opener sent quotes the target; the opener knows only the public side.
	quoted := Ether(w.Gateway.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, TTL(63)).TCP(40000, 90, "S", 0)
	opener := Ether(w.Gateway.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.VTEP, TTL(63)).TCP(40000, 9001, "S", 0)
	Case{Name: "error of the neighbour here", Program: "port", On: w.WS2.Name, With: opened(9001),
		In:   Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).ICMP(3, 3, 0, 0).Data(quote(quoted, true)).Bytes(),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, AnyOut: true,
		Check: judge(func(ttl uint8) []byte {
			return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.VTEP, w.WS1.IP, TTL(ttl)).ICMP(3, 3, 0, 0).Data(quote(opener, true)).Bytes()
		})}.Run(t, w)
	// Its own forward: it must not see its own address as the source, and the answer must find back.
	self := routed(w, w.VTEP).TCP(40000, 8080, "S", 0).Bytes()
	Case{Name: "to itself", Program: "port", On: w.WS1.Name, In: self, Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, Entries: map[string]int{"flows": 2},
		Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.VTEP, w.WS1.IP, TTL(63)).TCP(40000, 80, "S", 0).Bytes()}.Run(t, w)
	Case{Name: "answer to itself", Program: "port", On: w.WS1.Name, After: [][]byte{self}, In: routed(w, w.VTEP).TCP(80, 40000, "SA", 0).Bytes(),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
		Out: Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.VTEP, w.WS1.IP, TTL(63)).TCP(8080, 40000, "SA", 0).Bytes()}.Run(t, w)
	Case{Name: "a neighbour's own connection beside it", Program: "port", On: w.WS2.Name, With: opened(9001), In: reply(w.WS2, "S", 91).Bytes(),
		Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name}.Run(t, w)
	eachUnderlay(t, func(t *testing.T, w *World, run func(Case)) {
		run(Case{Name: "answer of the neighbour on node 3", With: opened(8083), In: from(w, w.Peer3, reply(w.WS3, "SA", 80).Bytes()),
			Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name, AnyOut: true,
			Check: judge(func(ttl uint8) []byte { return sawn(w.WS3, netip.AddrPortFrom(w.VTEP, 8083), "SA", TTL(ttl)) })})
		run(Case{Name: "another frame of the neighbour on node 3", With: opened(8083), In: from(w, w.Peer3, reply(w.WS3, "S", 81).Bytes()),
			Out: reply(w.WS3, "S", 81).Bytes(), Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name})
	})
}
