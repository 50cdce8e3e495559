package bpf_test

import (
	"fmt"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// Numbers that packettest gives every segment.
const (
	seq = 0x01020304
	ack = 0x0a0b0c0d
)

// TestReset: a segment of a connection that ended with the webspace's last life is answered with the reset that its
// kernel would send (RFC 9293 section 3.10.7.1), back the way it came.
func TestReset(t *testing.T) {
	w := world(t)
	back := func(f *Frame, sport, dport uint16, flags string, s, a uint32) []byte {
		return f.TCP(sport, dport, flags, 0).Numbers(s, a, 0).Bytes()
	}
	bare := []IPv4Option{ID(0), DontFragment}
	lan := func(flags string, n int) []byte {
		return Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).TCP(1000, 80, flags, 0).Fill(n).Bytes()
	}
	toWS2 := func(flags string, s, a uint32) []byte {
		return back(Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, bare...), 80, 1000, flags, s, a)
	}
	neighbour := func(name string, in, out []byte) Case {
		return Case{Name: name, Program: "port", On: w.WS2.Name, In: in, Out: out, Want: Sent, To: Redirect{How: ToDevice}, ToName: w.WS2.Name, MACs: true}
	}
	far := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).TCP(1000, 80, "PA", 0).Fill(500).Bytes()
	entered := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(62)).TCP(40000, 81, "PA", 0).Fill(500).Bytes()
	for _, c := range []Case{
		neighbour("data", lan("PA", 100), toWS2("R", ack, 0)),
		neighbour("acknowledgement alone", lan("A", 0), toWS2("R", ack, 0)),
		neighbour("end", lan("FA", 0), toWS2("R", ack, 0)),
		neighbour("answer to a SYN of its last life", lan("SA", 0), toWS2("R", ack, 0)),
		neighbour("data without acknowledgement", lan("P", 100), toWS2("RA", 0, seq+100)),
		neighbour("end without acknowledgement", lan("F", 100), toWS2("RA", 0, seq+101)),
		neighbour("nothing at all", lan("", 0), toWS2("RA", 0, seq)),
		neighbour("data with options", Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).
			TCPOptions(1000, 80, "P", []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}).Fill(33).Bytes(), toWS2("RA", 0, seq+33)),
		neighbour("as large as the LAN allows", lan("PA", int(w.MTU)-40), toWS2("R", ack, 0)),
		{Name: "from node 3", Program: "underlay", On: underlay, In: from(w, w.Peer3, far), Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true,
			Tunnel: &w.Peer3, Out: back(Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP, bare...), 80, 1000, "R", ack, 0)},
		{Name: "of a forward here", Program: "underlay", On: underlay, In: came(w).TCP(40000, 8080, "PA", 0).Fill(500).Bytes(),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true,
			Out: back(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, bare...), 8080, 40000, "R", ack, 0)},
		// It goes back to node 3, which gives it the forward's external source.
		{Name: "of a forward that entered at node 3", Program: "underlay", On: underlay, In: from(w, w.Peer3, entered),
			Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true, Tunnel: &w.Peer3,
			Out: back(Ether(w.WS1.MAC, w.Gateway.MAC).IPv4(w.WS1.IP, w.Client, bare...), 81, 40000, "R", ack, 0)},
		{Name: "of the node", Program: "node", On: w.Node.Name, In: Ether(w.Node.MAC, w.WS1.MAC).IPv4(w.Node.IP, w.WS1.IP).TCP(1000, 80, "PA", 0).Fill(9).Bytes(),
			Want: Sent, To: Redirect{How: ToIngress}, ToName: w.Node.Name,
			Out: back(Ether(w.WS1.MAC, w.Node.MAC).IPv4(w.WS1.IP, w.Node.IP, bare...), 80, 1000, "R", ack, 0)},
		// An outbound connection of its last life: the server is told, with the node's address and port.
		{Name: "of a server", Program: "underlay", On: underlay, Frames: func(w *World) ([]byte, []byte, error) {
			port, err := opened(w, w.WS1, routed(w, w.Server).TCP(2000, 443, "S", 0).Bytes())
			if err != nil {
				return nil, nil, err
			}
			if err := laid(Asleep, wakeAny, false)(w); err != nil {
				return nil, nil, err
			}
			return Ether(w.RouterMAC, w.UnderlayMAC).IPv4(w.Server, w.VTEP).TCP(443, port, "PA", 0).Fill(9).Bytes(),
				back(Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Server, bare...), port, 443, "R", ack, 0), nil
		}, Want: Sent, To: Redirect{How: ToDevice}, ToName: underlay, MACs: true},
		// Behind IP options an unfinished checksum would be finished at the wrong place.
		{Name: "with IP options", Program: "port", On: w.WS2.Name, In: Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP, RecordRoute(8)).TCP(1000, 80, "A", 0).Bytes(),
			Want: Drop, Reason: "change_failed"},
	} {
		if c.Frames == nil {
			c.With = laid(Asleep, wakeAny, false)
		}
		c.Run(t, w)
	}
	// A booting one without a port is no different; one with a port answers for itself.
	booting := neighbour("booting, without a port", lan("PA", 100), toWS2("R", ack, 0))
	booting.With = laid(Booting, wakeAny, false)
	booting.Run(t, w)
	booting = Case{Name: "booting, with a port", Program: "port", On: w.WS2.Name, In: lan("PA", 100), Want: Sent, To: Redirect{How: ToPeer}, ToName: w.WS1.Name,
		With: laid(Booting, wakeAny, true)}
	booting.Run(t, w)
	// What must not wake it is refused where the policy says so, and not answered where it does not.
	refused := neighbour("SYN, refused", lan("S", 0), toWS2("RA", 0, seq+1))
	refused.With = laid(Asleep, wakeForward|wakeRefuse, false)
	refused.Run(t, w)
	refused = neighbour("SYN, out of reach", lan("S", 0), toWS2("RA", 0, seq+1))
	refused.With = laid(Unreachable, wakeAny|wakeRefuse, false)
	refused.Run(t, w)
	Case{Name: "SYN, out of reach and silent", Program: "port", On: w.WS2.Name, With: laid(Unreachable, wakeAny, false), In: lan("S", 0),
		Want: Drop, Reason: "endpoint_absent"}.Run(t, w)
	Case{Name: "data, out of reach", Program: "port", On: w.WS2.Name, With: laid(Unreachable, wakeAny|wakeRefuse, false), In: lan("PA", 3),
		Want: Drop, Reason: "endpoint_absent"}.Run(t, w)
}

// TestWireReset: a real kernel's frames, whose checksums are not finished, or which are superframes, get a reset whose checksum is
// right once it reaches a wire.
func TestWireReset(t *testing.T) {
	w, taps := wired(t)
	if err := laid(Asleep, wakeAny, false)(w); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, on string
		in       []byte
		o        Offload
		want     []byte
	}{
		{"unfinished checksum", w.WS2.Name, Partial(Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).TCP(1000, 80, "PA", 0).Fill(100).Bytes()),
			Offload{Flags: 1, SumStart: AtL4, SumOffset: 16},
			Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, ID(0), DontFragment).TCP(80, 1000, "R", 0).Numbers(ack, 0, 0).Bytes()},
		{"superframe", w.WS2.Name, Partial(Ether(w.WS2.MAC, w.WS1.MAC).IPv4(w.WS2.IP, w.WS1.IP).TCP(1000, 80, "PA", 0).Fill(20000).Bytes()), TCP4(1390, 20),
			Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP, ID(0), DontFragment).TCP(80, 1000, "R", 0).Numbers(ack, 0, 0).Bytes()},
		{"superframe of a forward, to a plain card", underlay, Partial(came(w).TCP(40000, 8080, "PA", 0).Fill(20000).Bytes()), TCP4(1390, 20),
			Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, ID(0), DontFragment).TCP(8080, 40000, "R", 0).Numbers(ack, 0, 0).Bytes()},
		{"finished checksum, to a plain card", underlay, came(w).TCP(40000, 8080, "PA", 0).Fill(99).Bytes(), Offload{},
			Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client, ID(0), DontFragment).TCP(8080, 40000, "R", 0).Numbers(ack, 0, 0).Bytes()},
	} {
		t.Run(c.name, func(t *testing.T) {
			send(t, taps[c.on], c.in, c.o)
			frame, o := receive(t, taps[c.on])
			if err := SameBut(Finish(frame, o), c.want); err != nil || o.GSOType != 0 {
				t.Errorf("offload %+v: %v", o, err)
			}
		})
	}
}

// TestHeld: whatever comes, by whichever hook, a webspace that is asleep gets none of it, and sums stay right.
func TestHeld(t *testing.T) {
	w := world(t)
	policies := []uint8{wakeAny, wakeAny | wakePing | wakeVerified | wakeRefuse}
	if testing.Short() { // in an emulated kernel
		policies = policies[1:]
	}
	for _, state := range []uint8{Asleep, Booting, Napping, Unreachable} {
		for _, wake := range policies {
			t.Run(fmt.Sprintf("state %d, policy %d", state, wake), func(t *testing.T) {
				if err := w.Reset(); err != nil {
					t.Fatal(err)
				}
				if err := laid(state, wake, state == Napping)(w); err != nil {
					t.Fatal(err)
				}
				for _, frame := range underlaySeeds(t, w) {
					for _, program := range []string{"underlay", "underlay_xdp"} {
						heldOne(t, w, program, underlay, frame, state)
					}
				}
				for i, frame := range portSeeds(w) {
					if i%4 == int(state)%4 { // many are alike; each is seen in some state
						heldOne(t, w, "port", w.WS1.Name, frame, state)
					}
				}
			})
		}
	}
}

func heldOne(t *testing.T, w *World, program, on string, frame []byte, state uint8) {
	t.Helper()
	if !Runnable(frame) {
		return
	}
	if _, err := w.TakeDrops(); err != nil {
		t.Fatal(err)
	}
	r, err := w.Run(program, on, frame, 0)
	if err != nil {
		t.Fatal(err)
	}
	drops, err := w.TakeDrops()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Always(frame, r, drops); err != nil {
		t.Errorf("%s: %v: %s", program, err, Describe(frame))
	}
	delivered := r.To.Ifindex == w.Ifindex[w.WS1.Name] && (r.To.How == ToPeer || r.To.How == ToDevice)
	if state != Napping && on != w.WS1.Name && delivered {
		t.Errorf("%s delivered to one that is not awake: %s", program, Describe(frame))
	}
}
