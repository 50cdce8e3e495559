package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// many is a State with n remote endpoints and one forward to each.
func many(n int) State {
	peer := netip.MustParseAddr("192.0.2.254")
	s := State{Peers: []Peer{{VTEP: peer}}}
	for i := range n {
		ip := netip.AddrFrom4([4]byte{172, 24, byte(1 + i>>8), byte(i)})
		owner := fmt.Sprintf("ws-u%d", i)
		s.Endpoints = append(s.Endpoints, Endpoint{IP: ip, MAC: net.HardwareAddr{2, 0, 0, 1, byte(i >> 8), byte(i)}, VTEP: peer, Owner: owner})
		s.Forwards = append(s.Forwards, Forward{
			External: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1024+i)), Proto: TCP,
			Target: netip.AddrPortFrom(ip, 80), Owner: owner,
		})
	}
	return s
}

// BenchmarkApply measures what grows with the tables and what grows with the change.
func BenchmarkApply(b *testing.B) {
	const full = 16384
	n := newNode(b)
	n.cfg.Sizes = Sizes{}
	d := n.open()
	all := many(full)
	without := State{Peers: all.Peers, Endpoints: all.Endpoints}
	run := func(s State) {
		if c, err := d.Apply(b.Context(), s); err != nil || len(c.Problems) > 0 {
			b.Fatal(err, len(c.Problems), c.Problems[:min(3, len(c.Problems))])
		}
	}
	b.Run("16384 forwards", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			run(without)
			b.StartTimer()
			run(all)
		}
	})
	b.Run("nothing changed", func(b *testing.B) {
		run(all)
		for b.Loop() {
			run(all)
		}
	})
	b.Run("one changed", func(b *testing.B) {
		one := all
		one.Forwards = append([]Forward(nil), all.Forwards...)
		for i := 0; b.Loop(); i++ {
			one.Forwards[7].Target = netip.AddrPortFrom(one.Forwards[7].Target.Addr(), uint16(1+i%1000))
			run(one)
		}
	})
}
