package bpf_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// wires is one world whose programs are attached, with taps at the far ends, for all tests of this file.
var wires = sync.OnceValues(func() (*wiring, error) {
	w, err := load(Fixture(), nil)
	if err != nil {
		return nil, err
	}
	wi := &wiring{w, map[string]*Tap{}}
	for _, d := range []string{w.WS1.Name, w.WS2.Name, underlay} {
		program := "port"
		if d == underlay {
			program = "underlay"
		}
		if err := w.Attach(program, d); err != nil {
			return nil, err
		}
		if wi.taps[d], err = w.Tap(d); err != nil {
			return nil, err
		}
	}
	return wi, w.Plain(underlay)
})

type wiring struct {
	w    *World
	taps map[string]*Tap
}

func wired(t *testing.T) (*World, map[string]*Tap) {
	t.Helper()
	wi, err := wires()
	if err != nil {
		t.Fatal(err)
	}
	if err := wi.w.Reset(); err != nil {
		t.Fatal(err)
	}
	for _, tap := range wi.taps { // what an earlier test left
		for {
			frame, _, err := tap.Receive(time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if frame == nil {
				break
			}
		}
	}
	return wi.w, wi.taps
}

func send(t *testing.T, tap *Tap, frame []byte, o Offload) {
	t.Helper()
	if err := tap.Send(frame, o); err != nil {
		t.Fatalf("%v: %s", err, Describe(frame))
	}
}

func receive(t *testing.T, tap *Tap) ([]byte, Offload) {
	t.Helper()
	frame, o, err := tap.Receive(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if frame == nil {
		t.Fatal("nothing came out")
	}
	return frame, o
}

func silent(t *testing.T, taps map[string]*Tap) {
	t.Helper()
	for name, tap := range taps {
		frame, _, err := tap.Receive(50 * time.Millisecond)
		if err != nil || frame != nil {
			t.Errorf("something came out of %s: %v %s", name, err, Describe(frame))
		}
	}
}

// TestWireVLAN: the kernel takes a tag out of the frame before the program sees it, so the guard must look beside it.
func TestWireVLAN(t *testing.T) {
	w, taps := wired(t)
	whole := Ether(w.WS1.MAC, w.WS2.MAC).VLAN(7).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Text("x").Bytes()
	for name, frame := range map[string][]byte{
		"802.1Q":      whole,
		"802.1ad":     Set16(whole, AtEtherType, 0x88a8),
		"two tags":    Ether(w.WS1.MAC, w.WS2.MAC).VLAN(7).VLAN(8).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Text("x").Bytes(),
		"priority":    Ether(w.WS1.MAC, w.WS2.MAC).VLAN(0).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Text("x").Bytes(),
		"tagged ARP":  Ether(w.WS1.MAC, Broadcast).VLAN(7).ARP(1, w.WS1.MAC, w.WS2.IP, make([]byte, 6), w.WS1.IP).Bytes(),
		"tagged DHCP": Ether(w.WS1.MAC, Broadcast).VLAN(7).IPv4(w.WS1.IP, IP("255.255.255.255")).UDP(67, 68).Fill(300).Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			send(t, taps[w.WS1.Name], frame, Offload{})
			silent(t, taps)
			drops, err := w.TakeDrops()
			if err != nil {
				t.Fatal(err)
			}
			if len(drops) != 1 || drops[0].Reason != "vlan" || drops[0].Packets != 1 {
				t.Errorf("counted %v, want one vlan", drops)
			}
		})
	}
}

// TestWireUnderlayVLAN: a frame of another VLAN on the underlay's wire is nobody's here, whatever is in it.
func TestWireUnderlayVLAN(t *testing.T) {
	w, taps := wired(t)
	tag := func(frame []byte) []byte {
		out := append([]byte(nil), frame[:12]...)
		return append(append(out, 0x81, 0, 0, 100), frame[12:]...)
	}
	inner := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Text("x").Bytes()
	for _, frame := range [][]byte{from(w, w.Peer3, inner), came(w).UDP(40000, 5353).Text("x").Bytes()} {
		send(t, taps[underlay], tag(frame), Offload{})
		silent(t, taps)
	}
}

// TestWireShort: frames cut before a test run would take them.
func TestWireShort(t *testing.T) {
	w, taps := wired(t)
	v4 := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Bytes()
	v6 := Ether(w.WS1.MAC, MAC("33:33:00:00:00:01")).IPv6(IP("fe80::1"), IP("ff02::1"), 58).ICMPv6(134, make([]byte, 12)).Bytes()
	for _, whole := range [][]byte{v4, v6} {
		for n := 14; n < 54 && n < len(whole); n++ {
			send(t, taps[w.WS1.Name], Cut(whole, n), Offload{})
			if frame, _, err := taps[w.WS2.Name].Receive(time.Millisecond); err != nil || frame != nil {
				t.Errorf("%d bytes went on: %v %x", n, err, frame)
			}
			drops, err := w.TakeDrops()
			if err != nil {
				t.Fatal(err)
			}
			if len(drops) != 1 || drops[0].Packets != 1 {
				t.Errorf("%d bytes of %s: counted %v", n, Describe(whole), drops)
			}
		}
	}
	tunnel := from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Bytes())
	for n := 14; n < 34; n++ {
		send(t, taps[underlay], Cut(tunnel, n), Offload{})
	}
	silent(t, taps)
}

// TestWirePaths sends one frame along each path, and looks where it ends.
func TestWirePaths(t *testing.T) {
	w, taps := wired(t)
	for _, c := range []struct {
		name, from, to string
		in, out        []byte
		tunnel         bool
	}{
		{"between webspaces here", w.WS1.Name, w.WS2.Name,
			Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Text("x").Bytes(), nil, false},
		{"to a webspace on node 3", w.WS1.Name, underlay,
			Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP).UDP(1, 2).Text("x").Bytes(), nil, true},
		{"from a webspace on node 3", underlay, w.WS1.Name,
			from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Text("x").Bytes()),
			Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Text("x").Bytes(), false},
		{"a forward", underlay, w.WS1.Name, came(w).UDP(40000, 5353).Text("x").Bytes(),
			Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).UDP(40000, 53).Text("x").Bytes(), false},
		{"the answer of a forward", w.WS1.Name, underlay, routed(w, w.Client).UDP(53, 40000).Text("x").Bytes(),
			gone(w, w.Client).UDP(5353, 40000).Text("x").Bytes(), false},
		{"a second answer", w.WS1.Name, underlay, routed(w, w.Client).UDP(53, 40000).Text("y").Bytes(),
			gone(w, w.Client).UDP(5353, 40000).Text("y").Bytes(), false},
		{"ARP for the gateway", w.WS1.Name, w.WS1.Name, Ether(w.WS1.MAC, Broadcast).ARP(1, w.WS1.MAC, w.WS1.IP, make([]byte, 6), w.Gateway.IP).Bytes(),
			Ether(w.Gateway.MAC, w.WS1.MAC).ARP(2, w.Gateway.MAC, w.Gateway.IP, w.WS1.MAC, w.WS1.IP).Bytes(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			send(t, taps[c.from], c.in, Offload{})
			frame, o := receive(t, taps[c.to])
			got, want := Finish(frame, o), c.out
			if want == nil {
				want = c.in
			}
			if c.tunnel {
				inner, err := w.Untunnel(got, w.Peer3)
				if err != nil {
					t.Fatal(err)
				}
				got = inner
			}
			if err := SameBut(got, want); err != nil {
				t.Error(err)
			}
			silent(t, taps)
		})
	}
}

// TestWireSuperframes: a TCP superframe with an unfinished checksum goes in, as any local sender makes them; what
// reaches the wire must be ordinary frames with right checksums, none of them too large, nothing lost.
func TestWireSuperframes(t *testing.T) {
	w, taps := wired(t)
	const segment, payload = 1390, 20000
	data := func(f *Frame) []byte { return Partial(f.TCP(40000, 9, "PA", 0).Fill(payload).Bytes()) }
	// As some drivers do it: nothing but the Ethernet header (and what the kernel pulls up) in front, the rest in pages.
	paged := TCP4(segment, 20)
	paged.HeaderLen = 14
	whole := Ether(w.WS1.MAC, w.WS1.MAC).IPv4(w.WS1.IP, w.WS1.IP).TCP(1, 2, "A", 0).Fill(payload).Bytes()[AtL4+20:]

	t.Run("NAT", func(t *testing.T) {
		send(t, taps[w.WS1.Name], data(routed(w, w.Server)), TCP4(segment, 20))
		collect(t, w, taps[underlay], whole, func(frame []byte) ([]byte, error) {
			v := Look(frame)
			if v.From != w.VTEP || v.To != w.Server || v.SPort < w.NATFirst || v.SPort > w.NATLast {
				return nil, fmt.Errorf("a segment %v:%d>%v", v.From, v.SPort, v.To)
			}
			return frame, nil
		})
	})
	t.Run("tunnel", func(t *testing.T) {
		send(t, taps[w.WS1.Name], data(Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP)), TCP4(segment, 20))
		collect(t, w, taps[underlay], whole, func(frame []byte) ([]byte, error) { return w.Untunnel(frame, w.Peer3) })
	})
	t.Run("tunnel, paged", func(t *testing.T) {
		send(t, taps[w.WS1.Name], data(Ether(w.WS1.MAC, w.WS3.MAC).IPv4(w.WS1.IP, w.WS3.IP)), paged)
		collect(t, w, taps[underlay], whole, func(frame []byte) ([]byte, error) { return w.Untunnel(frame, w.Peer3) })
	})
	t.Run("forward to node 3, paged", func(t *testing.T) {
		send(t, taps[underlay], Partial(came(w).TCP(40000, 8083, "PA", 0).Fill(payload).Bytes()), paged)
		collect(t, w, taps[underlay], whole, func(frame []byte) ([]byte, error) { return w.Untunnel(frame, w.Peer3) })
	})
	t.Run("forward to node 3", func(t *testing.T) {
		send(t, taps[underlay], Partial(came(w).TCP(40000, 8083, "PA", 0).Fill(payload).Bytes()), TCP4(segment, 20))
		collect(t, w, taps[underlay], whole, func(frame []byte) ([]byte, error) { return w.Untunnel(frame, w.Peer3) })
	})
	t.Run("forward here", func(t *testing.T) {
		send(t, taps[underlay], Partial(came(w).TCP(40000, 8080, "PA", 0).Fill(payload).Bytes()), TCP4(segment, 20))
		frame, o := receive(t, taps[w.WS1.Name])
		want := Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Client, w.WS1.IP, TTL(63)).TCP(40000, 80, "PA", 0).Fill(payload).Bytes()
		if err := SameBut(Finish(frame, o), want); err != nil || o.GSOSize != segment {
			t.Errorf("segments of %d, want %d: %v", o.GSOSize, segment, err)
		}
	})
}

// collect puts the segments together again and verifies each.
func collect(t *testing.T, w *World, tap *Tap, whole []byte, unwrap func([]byte) ([]byte, error)) {
	t.Helper()
	got := make([]byte, 0, len(whole))
	for n := 0; len(got) < len(whole); n++ {
		frame, o := receive(t, tap)
		if len(frame) > 14+int(w.MTU)+TunnelSize || o.GSOType != 0 || o.Flags&1 != 0 {
			t.Fatalf("frame %d on the wire has %d bytes, offload %+v", n, len(frame), o)
		}
		if err := CheckSums(frame, w.Port); err != nil {
			t.Fatalf("frame %d: %v: %s", n, err, Describe(frame))
		}
		inner, err := unwrap(frame)
		if err != nil {
			t.Fatalf("frame %d: %v", n, err)
		}
		got = append(got, inner[AtL4+20:]...)
	}
	if !bytes.Equal(got, whole) {
		t.Error("the segments do not make up what was sent")
	}
}
