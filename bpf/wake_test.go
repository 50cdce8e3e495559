package bpf_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// Bits of a wake policy.
const (
	wakeForward = 1 << iota
	wakeLAN
	wakeNode
	wakePing
	wakeVerified
	wakeRefuse
	wakeAny = wakeForward | wakeLAN | wakeNode
)

// laid puts WS1 into a state, and empties the ring of events.
func laid(state, wake uint8, port bool) func(*World) error {
	return func(w *World) error {
		if err := w.Lay(w.WS1, state, wake, port); err != nil {
			return err
		}
		_, err := w.TakeEvents()
		return err
	}
}

// told asks for exactly these events.
func told(want ...Event) func(*World, Result) error {
	return func(w *World, _ Result) error {
		got, err := w.TakeEvents()
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("events %+v, want %+v", got, want)
		}
		return err
	}
}

// TestPark: what may wake WS1, which is asleep, is parked as WS1 will see it; everything else is dropped for a reason.
func TestPark(t *testing.T) {
	w := world(t)
	lan := func() *Frame { return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP) }
	far := func() *Frame { return Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP) }
	node := func() *Frame { return Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Node.IP, w.WS1.IP) }
	routed := func() *Frame { return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)) }
	entered := func() *Frame { return Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(62)) }
	type hook struct{ program, on string }
	port, under, bridge := hook{"port", w.WS2.Name}, hook{"underlay", underlay}, hook{"node", w.Node.Name}
	for _, c := range []struct {
		name   string
		at     hook
		wake   uint8
		in     []byte
		out    []byte // nil: as it came
		reason string // not parked
	}{
		{"SYN of a neighbour", port, wakeLAN, lan().TCP(1000, 80, "S", 1410).Bytes(), nil, ""},
		{"SYN of a neighbour, with ECN", port, wakeLAN, lan().TCP(1000, 80, "SEC", 1410).Bytes(), nil, ""},
		{"SYN of a neighbour with data", port, wakeLAN, lan().TCP(1000, 80, "S", 1410).Text("early").Bytes(), nil, ""},
		{"datagram of a neighbour", port, wakeLAN, lan().UDP(1000, 53).Text("question").Bytes(), nil, ""},
		{"ping of a neighbour", port, wakeLAN | wakePing, lan().ICMP(8, 0, 1, 1).Fill(56).Bytes(), nil, ""},
		{"ping, not asked for", port, wakeLAN, lan().ICMP(8, 0, 1, 1).Fill(56).Bytes(), nil, "asleep"},
		{"echo reply", port, wakeLAN | wakePing, lan().ICMP(0, 0, 1, 1).Fill(56).Bytes(), nil, "asleep"},
		{"SYN, neighbours may not", port, wakeForward | wakeNode, lan().TCP(1000, 80, "S", 0).Bytes(), nil, "wake_denied"},
		{"datagram, neighbours may not", port, wakeForward | wakeNode, lan().UDP(1000, 53).Bytes(), nil, "wake_denied"},
		{"nobody may", port, 0, lan().TCP(1000, 80, "S", 0).Bytes(), nil, "wake_denied"},
		{"reset", port, wakeLAN, lan().TCP(1000, 80, "R", 0).Bytes(), nil, "asleep"},
		{"SYN and reset", port, wakeLAN, lan().TCP(1000, 80, "SR", 0).Bytes(), nil, "asleep"},
		{"another protocol", port, wakeLAN, lan().Proto(47).Fill(30).Bytes(), nil, "asleep"},
		{"IPv6", port, wakeLAN, Ether(w.WS2.MAC, w.WS1.MAC).IPv6(IP("fe80::2"), IP("fe80::1"), 17).UDP(1, 2).Bytes(), nil, "endpoint_absent"},
		{"later fragment without its first", port, wakeLAN, Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP, Fragment(208, false)).Proto(17).Fill(99).Bytes(), nil, "fragment_early"},

		{"SYN of a neighbour on node 3", under, wakeLAN, from(w, w.Peer3, far().TCP(1000, 80, "S", 1410).Bytes()), far().TCP(1000, 80, "S", 1410).Bytes(), ""},
		{"datagram of a neighbour on node 3", under, wakeLAN, from(w, w.Peer3, far().UDP(1000, 53).Text("x").Bytes()), far().UDP(1000, 53).Text("x").Bytes(), ""},
		{"datagram of a plain VXLAN peer", under, wakeLAN, from(w, w.Foreign, far().UDP(1000, 53).Text("x").Bytes()), far().UDP(1000, 53).Text("x").Bytes(), ""},
		{"datagram of node 3 itself", under, wakeNode, from(w, w.Peer3, Ether(w.Node3.MAC, w.WS1.MAC).IPv4(w.Node3.IP, w.WS1.IP).UDP(1, 53).Bytes()),
			Ether(w.Node3.MAC, w.WS1.MAC).IPv4(w.Node3.IP, w.WS1.IP).UDP(1, 53).Bytes(), ""},
		{"node 3 may not", under, wakeLAN, from(w, w.Peer3, Ether(w.Node3.MAC, w.WS1.MAC).IPv4(w.Node3.IP, w.WS1.IP).UDP(1, 53).Bytes()), nil, "wake_denied"},
		{"SYN of a forward here", under, wakeForward, came(w).TCP(40000, 8080, "S", 1410).Bytes(), routed().TCP(40000, 80, "S", 1410).Bytes(), ""},
		{"datagram of a forward here", under, wakeForward, came(w).UDP(40000, 5353).Text("x").Bytes(), routed().UDP(40000, 53).Text("x").Bytes(), ""},
		{"forwards may not", under, wakeLAN | wakeNode, came(w).TCP(40000, 8080, "S", 1410).Bytes(), nil, "wake_denied"},
		{"SYN of a forward that entered at node 3", under, wakeForward, from(w, w.Peer3, entered().TCP(40000, 81, "S", 1410).Bytes()), entered().TCP(40000, 81, "S", 1410).Bytes(), ""},
		{"from outside through node 3, but no forward", under, wakeAny, from(w, w.Peer3, entered().TCP(40000, 99, "S", 1410).Bytes()), nil, "asleep"},
		{"answer of an outbound flow that is not there", under, wakeAny, from(w, w.Peer3, entered().UDP(53, 40000).Bytes()), nil, "asleep"},

		{"SYN of the node", bridge, wakeNode, node().TCP(1000, 80, "S", 1410).Bytes(), nil, ""},
		{"datagram of the node", bridge, wakeNode, node().UDP(1000, 53).Text("x").Bytes(), nil, ""},
		{"the node may not", bridge, wakeLAN, node().TCP(1000, 80, "S", 1410).Bytes(), nil, "wake_denied"},
		{"DNS answer of the gateway", bridge, wakeAny, Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP).UDP(53, 40000).Text("late").Bytes(), nil, "asleep"},
		{"DHCP of the gateway", bridge, wakeAny, Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP).UDP(67, 68).Fill(300).Bytes(), nil, "asleep"},
	} {
		for _, state := range []uint8{Asleep, Booting} {
			kase := Case{Name: fmt.Sprint(c.name, ", state ", state), Program: c.at.program, On: c.at.on, With: laid(state, c.wake, false), In: c.in}
			if c.reason != "" {
				kase.Want, kase.Reason = Drop, c.reason
			} else {
				kase.Want, kase.To, kase.ToName, kase.Out = Sent, Redirect{How: ToDevice}, Parking, c.out
				kase.MACs = true
				kase.Check = func(w *World, _ Result) error {
					n, err := w.Counter(w.WS1.Slot, "parked_packets")
					if err == nil && n != 1 {
						err = fmt.Errorf("%d packets were counted as parked", n)
					}
					return err
				}
			}
			kase.Run(t, w)
		}
	}
}

// TestParkFragments: a datagram in pieces is parked piece by piece.
func TestParkFragments(t *testing.T) {
	w := world(t)
	whole := func(offset int, more bool) *Frame {
		return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP, Fragment(offset, more), ID(77))
	}
	first := whole(0, true).UDP(1000, 53).Fill(200).Bytes()
	Case{Name: "second piece", Program: "port", On: w.WS2.Name, With: laid(Asleep, wakeLAN, false), After: [][]byte{first},
		In: whole(208, false).Proto(17).Fill(99).Bytes(), Want: Sent, To: Redirect{How: ToDevice}, ToName: Parking}.Run(t, w)
}

// TestWakeRates: a flood costs a counted drop for each packet beyond what the buckets hold: of the webspace, and of the node. Guesses
// at challenges are counted apart. Nothing is refilled here, so that a slow machine counts alike.
func TestWakeRates(t *testing.T) {
	n := Fixture()
	n.Still = true
	w := open(t, n, nil)
	lan := func() *Frame { return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP) }
	for _, c := range []struct {
		name, program, on string
		kind              uint32
		wake              uint8
		in                []byte
		taken, left       string // reasons of those that found a token ("": sent on), and of the others
	}{
		{"park", "port", w.WS2.Name, BucketPark, wakeLAN, lan().TCP(1000, 80, "S", 1410).Bytes(), "", "wake_rate"},
		{"datagrams", "port", w.WS2.Name, BucketPark, wakeLAN, lan().UDP(1000, 53).Bytes(), "", "wake_rate"},
		{"reset", "underlay", underlay, BucketReset, 0, came(w).TCP(40000, 8080, "A", 0).Bytes(), "", "asleep"},
		{"challenge", "underlay", underlay, BucketChallenge, wakeForward | wakeVerified, came(w).TCP(40000, 8080, "S", 0).Bytes(), "challenged", "wake_rate"},
		{"proved", "underlay", underlay, BucketProved, wakeForward | wakeVerified, came(w).TCP(40000, 8080, "S", 0).Bytes(), "", "wake_rate"},
		{"guess", "underlay", underlay, BucketVerify, wakeForward | wakeVerified, came(w).TCP(40000, 8080, "R", 0).Bytes(), "challenge_failed", "wake_rate"},
	} {
		for _, fill := range []struct {
			name       string
			own, node  int
			sent, lost uint64
		}{{"own", 5, 100, 5, 15}, {"node", 100, 7, 7, 13}, {"none", 0, 100, 0, 20}} {
			t.Run(c.name+", "+fill.name, func(t *testing.T) {
				err := errors.Join(w.Reset(), laid(Asleep, c.wake, false)(w), w.Fill(w.WS1.Slot, c.kind, fill.own), w.Fill(0, c.kind, fill.node))
				if c.kind == BucketProved {
					err = errors.Join(err, proved(w, w.Client, w.WS1.IP, 40000, 80))
				}
				if err != nil {
					t.Fatal(err)
				}
				var sent uint64
				for range 20 {
					r, err := w.Run(c.program, c.on, c.in, 0)
					if err != nil {
						t.Fatal(err)
					}
					if r.Verdict == Sent {
						sent++
					}
					if c.kind == BucketChallenge && r.Verdict == Sent { // the same whether there is a copy or none
						s, a := numbers(r.Out)
						want := Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, ID(0), DontFragment).TCP(8080, 40000, "SA", 0).Numbers(s, a, 0xffff).Bytes()
						if err := SameBut(r.Out, want); err != nil {
							t.Error(err)
						}
					}
				}
				drops, err := w.TakeDrops()
				if err != nil {
					t.Fatal(err)
				}
				count := map[string]uint64{"": sent}
				for _, d := range drops {
					count[d.Reason] += d.Packets
				}
				if count[c.taken] != fill.sent || count[c.left] != fill.lost || sent+count[c.left]+count["challenge_failed"] != 20 {
					t.Errorf("%d sent, counted %v; want %d and %d", sent, drops, fill.sent, fill.lost)
				}
				if events, err := w.TakeEvents(); err != nil || len(events) != 0 {
					t.Errorf("events %+v %v", events, err)
				}
				if copies, err := w.Counter(w.WS1.Slot, "parked_packets"); c.kind == BucketChallenge && (err != nil || copies != 0) {
					t.Errorf("%d copies without a token to park: %v", copies, err)
				}
			})
		}
	}
}

// proved notes that the client of a connection has answered a challenge.
func proved(w *World, client, ws netip.Addr, sport, port uint16) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return err
	}
	return w.Tables["proofs"].Put(Record{"src": client, "dst": ws, "sport": sport, "dport": port, "proto": 6}, Record{"time": uint64(ts.Nano())})
}

// TestChallengeWhileBooting: one that boots parks the SYNs of all. In a flood, those that find no room are challenged, and who
// has answered finds room.
func TestChallengeWhileBooting(t *testing.T) {
	n := Fixture()
	n.Still = true
	w := open(t, n, nil)
	syn := came(w).TCP(40000, 8080, "S", 1410).Bytes()
	for _, c := range []struct {
		name   string
		kind   uint32
		proved bool
		to     string
		reason string
	}{
		{"room", BucketPark, false, Parking, ""},
		{"no room", BucketChallenge, false, underlay, "challenged"},
		{"no room, and has answered", BucketProved, true, Parking, ""},
		{"nothing at all", BucketReset, false, "", "wake_rate"},
	} {
		Case{Name: c.name, Program: "underlay", On: underlay, In: syn, AnyOut: true, Reason: c.reason,
			Want: map[bool]Verdict{true: Sent, false: Drop}[c.to != ""], To: Redirect{How: map[bool]How{true: ToDevice}[c.to != ""]}, ToName: c.to,
			With: func(w *World) error {
				err := errors.Join(laid(Booting, wakeForward|wakeVerified, false)(w), w.Fill(w.WS1.Slot, c.kind, 5), w.Fill(0, c.kind, 5))
				if c.proved {
					err = errors.Join(err, proved(w, w.Client, w.WS1.IP, 40000, 80))
				}
				return err
			}}.Run(t, w)
	}
}

// TestForwardWake: the word of a forward is above that of the webspace.
func TestForwardWake(t *testing.T) {
	w := world(t)
	forward := w.Forwards()[0]
	const any, verified, never = 2, 4, 8
	for _, c := range []struct {
		name        string
		wake, flags uint8
		reason      string
		to          string
	}{
		{"any, where nobody else may", 0, any, "", Parking},
		{"any, where others are verified", wakeForward | wakeVerified, any, "", Parking},
		{"never, where others may", wakeForward, never, "wake_denied", ""},
		{"never, and a refusal", wakeForward | wakeRefuse, never, "", underlay},
		{"verified, where others are not", wakeForward, verified, "challenged", underlay},
		{"verified alone", 0, verified, "challenged", underlay},
	} {
		kase := Case{Name: c.name, Program: "underlay", On: underlay, In: came(w).TCP(40000, 8080, "S", 1410).Bytes(), AnyOut: true,
			With: func(w *World) error {
				if err := w.WakeOf(forward, c.flags); err != nil {
					return err
				}
				return laid(Asleep, c.wake, false)(w)
			}}
		if kase.Want, kase.Reason = Drop, c.reason; c.to != "" {
			kase.Want, kase.To, kase.ToName = Sent, Redirect{How: ToDevice}, c.to
		}
		kase.Run(t, w)
	}
	Case{Name: "a datagram cannot be verified", Program: "underlay", On: underlay, With: laid(Asleep, wakeForward|wakeVerified, false),
		In: came(w).UDP(40000, 5353).Bytes(), Want: Drop, Reason: "wake_denied"}.Run(t, w)
}

// TestAsleepARP: the owner's node answers for a webspace that cannot, to whoever asks: another port, a peer, the node.
func TestAsleepARP(t *testing.T) {
	w := world(t)
	ask := func(who Host, target Host) []byte {
		return Ether(who.MAC, Broadcast).ARP(1, who.MAC, who.IP, make([]byte, 6), target.IP).Bytes()
	}
	answer := func(who Host) []byte {
		return Ether(w.WS1.MAC, who.MAC).ARP(2, w.WS1.MAC, w.WS1.IP, who.MAC, who.IP).Bytes()
	}
	for _, state := range []uint8{Asleep, Booting, Napping, Unreachable} {
		port := Case{Name: fmt.Sprint("neighbour, state ", state), Program: "port", On: w.WS2.Name, With: laid(state, 0, state == Napping),
			In: ask(w.WS2, w.WS1), Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS2.Name, MACs: true, Out: answer(w.WS2)}
		node := Case{Name: fmt.Sprint("node, state ", state), Program: "node", On: w.Node.Name, With: laid(state, 0, state == Napping),
			In: ask(w.Node, w.WS1), Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name, Out: answer(w.Node)}
		peer := Case{Name: fmt.Sprint("peer, state ", state), Program: "underlay", On: underlay, With: laid(state, 0, state == Napping),
			In: from(w, w.Peer3, ask(w.WS3, w.WS1)), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true,
			Out: Tunnel(w.UnderlayMAC, w.Peer3.MAC, w.VTEP, w.Peer3.VTEP, 50001, w.Port, w.VNI, answer(w.WS3))}
		unicast := peer
		unicast.Name += ", asked again"
		unicast.In = from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).ARP(1, w.WS3.MAC, w.WS3.IP, w.WS1.MAC, w.WS1.IP).Bytes())
		foreign := peer
		foreign.Name += ", foreign"
		foreign.In = from(w, w.Foreign, ask(w.WS3, w.WS1))
		foreign.Out = Tunnel(w.UnderlayMAC, w.Foreign.MAC, w.VTEP, w.Foreign.VTEP, 50001, w.Port, w.VNI, answer(w.WS3))
		if state == Unreachable {
			port.Want, port.Out, port.ToName = Pass, nil, ""
			node.Want, node.Out, node.ToName = Pass, nil, ""
		}
		cases := []Case{port, node, peer, unicast, foreign}
		for i := range cases {
			if i >= 2 && state >= Napping { // its own kernel answers, or nobody
				cases[i].Want, cases[i].Out, cases[i].ToName = Pass, nil, ""
			}
			cases[i].Run(t, w)
		}
	}
	// Those that are awake answer peers by themselves; the node has a permanent entry for its own.
	Case{Name: "peer, awake", Program: "underlay", On: underlay, In: from(w, w.Peer3, ask(w.WS3, w.WS1)), Want: Pass}.Run(t, w)
	Case{Name: "node, awake", Program: "node", On: w.Node.Name, In: ask(w.Node, w.WS1), Want: Pass}.Run(t, w)
	// Behind a peer it may be asleep, and the peer's bridge would ask nobody.
	Case{Name: "node, behind a peer", Program: "node", On: w.Node.Name, In: ask(w.Node, w.WS3), Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name,
		Out: Ether(w.WS3.MAC, w.Node.MAC).ARP(2, w.WS3.MAC, w.WS3.IP, w.Node.MAC, w.Node.IP).Bytes()}.Run(t, w)
}
