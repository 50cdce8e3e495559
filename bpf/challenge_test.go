package bpf_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// sip is SipHash-1-3 of three words, written from its description.
func sip(k0, k1 uint64, words ...uint64) uint64 {
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, m := range append(words, uint64(8*len(words))<<56) {
		v3 ^= m
		round()
		v0 ^= m
	}
	v2 ^= 0xff
	for range 3 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// cookies are those of a connection that may be in force: of now, and of the period before.
func cookies(t *testing.T, peer, ip netip.Addr, sport, port uint16) (now, before uint32) {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	word := func(a netip.Addr) uint64 { b := a.As4(); return uint64(binary.NativeEndian.Uint32(b[:])) }
	at := func(period uint64) uint32 {
		return uint32(sip(CookieKey0, CookieKey1, word(peer)<<32|word(ip), uint64(sport)<<16|uint64(port), period) & 0xffff)
	}
	period := uint64(ts.Nano()) >> 36
	return at(period), at(period - 1)
}

// numbers reads the sequence and acknowledgement numbers of a segment.
func numbers(frame []byte) (s, a uint32) {
	return binary.BigEndian.Uint32(frame[AtL4+4:]), binary.BigEndian.Uint32(frame[AtL4+8:])
}

// TestChallenge: under "verified" a SYN is answered with a challenge, back the way it came; the reset that a real client then
// sends proves it, and no other does.
func TestChallenge(t *testing.T) {
	w := world(t)
	entered := func() *Frame { return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(62)) }
	for _, c := range []struct {
		name      string
		port, ext uint16
		syn       func(number uint32) []byte
		reset     func(number uint32, flags string) []byte
		open      func([]byte) ([]byte, error) // the challenge out of what was sent
		answer    func() *Frame
	}{
		{"forward here", 80, 8080,
			func(n uint32) []byte { return came(w).TCP(40000, 8080, "S", 1410).Numbers(n, 0, 64000).Bytes() },
			func(n uint32, flags string) []byte {
				return came(w).TCP(40000, 8080, flags, 0).Numbers(n, 0, 0).Bytes()
			},
			func(b []byte) ([]byte, error) { return b, nil },
			func() *Frame { return Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, ID(0), DontFragment) }},
		{"forward that entered at node 3", 81, 81,
			func(n uint32) []byte {
				return from(w, w.Peer3, entered().TCP(40000, 81, "S", 1410).Numbers(n, 0, 64000).Bytes())
			},
			func(n uint32, flags string) []byte {
				return from(w, w.Peer3, entered().TCP(40000, 81, flags, 0).Numbers(n, 0, 0).Bytes())
			},
			func(b []byte) ([]byte, error) { return w.Untunnel(b, w.Peer3) },
			func() *Frame { return Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, w.Client, ID(0), DontFragment) }},
	} {
		for _, isn := range []uint32{0, 1, 0xffff, 0x10000, 0x7fffffff, 0x80001234, 0xffffffff} {
			t.Run(fmt.Sprintf("%s, number %#x", c.name, isn), func(t *testing.T) {
				if err := w.Reset(); err != nil {
					t.Fatal(err)
				}
				if err := laid(Asleep, wakeForward|wakeVerified, false)(w); err != nil {
					t.Fatal(err)
				}
				now, before := cookies(t, w.Client, w.WS1.IP, 40000, c.port)
				r, err := w.Run("underlay", underlay, c.syn(isn), 0)
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict != Sent || r.To.How != ToDevice || r.To.Ifindex != w.Ifindex[underlay] {
					t.Fatalf("%v %v", r.Verdict, r.To)
				}
				got, err := c.open(r.Out)
				if err != nil {
					t.Fatal(err)
				}
				s, a := numbers(got)
				if err := SameBut(got, c.answer().TCP(c.ext, 40000, "SA", 0).Numbers(s, a, 0xffff).Bytes()); err != nil {
					t.Fatal(err)
				}
				// Not what would be the end of the handshake, and what connection tracking takes for an old one.
				if lower := isn - a; lower > 0xffff {
					t.Errorf("a SYN of %#x got %#x acknowledged", isn, a)
				}
				again, _ := cookies(t, w.Client, w.WS1.IP, 40000, c.port)
				if a&0xffff != now && a&0xffff != before && a&0xffff != again {
					t.Errorf("acknowledged %#x; the cookie is %#x, before it was %#x", a, now, before)
				}
				if n, err := w.Counter(w.WS1.Slot, "parked_packets"); err != nil || n != 1 {
					t.Errorf("%d copies were parked, %v", n, err)
				}
				if drops, err := w.TakeDrops(); err != nil || len(drops) != 1 || drops[0].Reason != "challenged" || drops[0].Packets != 1 {
					t.Errorf("the challenge was counted as %v %v", drops, err)
				}
				if events, err := w.TakeEvents(); err != nil || len(events) != 0 {
					t.Errorf("a SYN alone raised %+v %v", events, err)
				}
				judge := func(name string, frame []byte, reason string, want ...Event) {
					t.Helper()
					r, err := w.Run("underlay", underlay, frame, 0)
					if err != nil {
						t.Fatal(err)
					}
					drops, err := w.TakeDrops()
					if err != nil || r.Verdict != Drop || len(drops) != 1 || drops[0].Reason != reason {
						t.Errorf("%s: %v, counted %v %v, want %s", name, r.Verdict, drops, err, reason)
					}
					if err := told(want...)(w, r); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				judge("the right answer", c.reset(a, "R"), "challenge_answered",
					Event{Kind: Verified, IP: w.WS1.IP, Peer: w.Client, Slot: w.WS1.Slot, Proto: 6, Port: c.port, PeerPort: 40000})
				if r, err = w.Run("underlay", underlay, c.syn(isn), 0); err != nil || r.Verdict != Sent || r.To.Ifindex != w.Ifindex[Parking] {
					t.Errorf("its SYN, come again: %v %v %v", r.Verdict, r.To, err)
				}
				judge("another number", c.reset(a+1, "R"), "challenge_failed")
				judge("the right number, but no answer to a challenge", c.reset(a, "RA"), "asleep")
			})
		}
	}
	reset := came(w).TCP(40000, 8080, "R", 0).Bytes()
	for _, wake := range []uint8{wakeAny, 0} {
		Case{Name: "nobody was challenged", Program: "underlay", On: underlay, With: laid(Asleep, wake, false), In: reset, Want: Drop, Reason: "asleep", Check: told()}.Run(t, w)
	}
	// Once somebody was verified, it boots for all.
	Case{Name: "booting", Program: "underlay", On: underlay, With: laid(Booting, wakeForward|wakeVerified, false), In: came(w).TCP(40000, 8080, "S", 1410).Bytes(),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: Parking, AnyOut: true}.Run(t, w)
	// A neighbour is who it says it is.
	Case{Name: "neighbour", Program: "port", On: w.WS2.Name, With: laid(Asleep, wakeAny|wakeVerified, false),
		In:   Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).TCP(1000, 80, "S", 0).Bytes(),
		Want: Sent, To: Redirect{How: ToDevice}, ToName: Parking}.Run(t, w)
}

// TestChallengeLeavesNothing: a SYN that is challenged is not remembered, whatever the forward; who has answered is, and where it entered.
func TestChallengeLeavesNothing(t *testing.T) {
	w := world(t)
	at := func(flags string, n uint32) []byte {
		return came(w).TCP(40000, 9001, flags, 0).Numbers(n, 0, 0).Bytes()
	}
	tunnelled := func(flags string, n uint32) []byte {
		return from(w, w.Peer3, Ether(w.Gateway.MAC, w.WS2.MAC).IPv4(w.Client, w.WS2.IP, TTL(62)).TCP(40000, 92, flags, 0).Numbers(n, 0, 0).Bytes())
	}
	lay := func(w *World) error { return w.Lay(w.WS2, Asleep, wakeForward|wakeVerified, false) }
	for _, c := range []struct {
		name    string
		port    uint16
		segment func(flags string, n uint32) []byte
	}{{"forward here", 90, at}, {"forward that entered at node 3", 92, tunnelled}} {
		syn, none := c.segment("S", 0x12345678), map[string]int{"tracks": 0, "openings": 0, "proofs": 0}
		Case{Name: c.name, Program: "underlay", On: underlay, With: lay, In: syn, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, AnyOut: true,
			Reason: "challenged", Entries: none}.Run(t, w)
		now, _ := cookies(t, w.Client, w.WS2.IP, 40000, c.port)
		Case{Name: c.name + ", its answer", Program: "underlay", On: underlay, With: lay, In: c.segment("R", now), Want: Drop, Reason: "challenge_answered",
			Entries: map[string]int{"tracks": 1, "openings": 0, "proofs": 1}}.Run(t, w)
		Case{Name: c.name + ", a wrong answer", Program: "underlay", On: underlay, With: lay, In: c.segment("R", now+1), Want: Drop, Reason: "challenge_failed", Entries: none}.Run(t, w)
		Case{Name: c.name + ", its SYN again", Program: "underlay", On: underlay, After: [][]byte{c.segment("R", now)}, With: lay, In: syn,
			Want: Sent, To: Redirect{How: ToDevice}, ToName: Parking, AnyOut: true, Entries: map[string]int{"tracks": 0, "openings": 0}}.Run(t, w)
	}
}

// TestWireChallenge: the copy that is parked is as WS1 would see it, without a source MAC; the client gets the challenge.
func TestWireChallenge(t *testing.T) {
	w, taps := wired(t)
	if err := laid(Asleep, wakeForward|wakeVerified, false)(w); err != nil {
		t.Fatal(err)
	}
	tap, err := w.Tap(Parking)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	send(t, taps[underlay], Partial(came(w).TCP(40000, 8080, "S", 1410).Bytes()), Offload{Flags: 1, SumStart: AtL4, SumOffset: 16})
	parked, o := receive(t, tap)
	if err := SameBut(Finish(parked, o), Ether(make([]byte, 6), w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).TCP(40000, 80, "S", 1410).Bytes()); err != nil {
		t.Error(err)
	}
	answer, o := receive(t, taps[underlay])
	s, a := numbers(answer)
	want := Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, ID(0), DontFragment).TCP(8080, 40000, "SA", 0).Numbers(s, a, 0xffff).Bytes()
	if err := SameBut(Finish(answer, o), want); err != nil {
		t.Error(err)
	}
}
