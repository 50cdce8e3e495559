package bpf_test

import (
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// TestCounters: what a webspace sent and received is counted under its slot, once per frame.
func TestCounters(t *testing.T) {
	w := world(t)
	lan := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS1.IP, w.WS2.IP).UDP(1, 2).Text("hello").Bytes()
	inner := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Text("hello").Bytes()
	flood := Ether(w.WS1.MAC, Broadcast).IPv4(w.WS1.IP, IP("172.24.255.255")).UDP(1, 2).Bytes()
	for _, c := range []struct {
		name, program, on string
		frame             []byte
		slot              uint32
		want              map[string]uint64
	}{
		{"sent on the LAN", "port", w.WS1.Name, lan, w.WS1.Slot, map[string]uint64{"tx_packets": 1, "tx_bytes": uint64(len(lan)), "rx_packets": 0, "slow_packets": 0}},
		{"received on the LAN", "port", w.WS1.Name, lan, w.WS2.Slot, map[string]uint64{"rx_packets": 1, "rx_bytes": uint64(len(lan)), "tx_packets": 0}},
		{"received from a tunnel", "underlay", underlay, from(w, w.Peer3, inner), w.WS1.Slot, map[string]uint64{"rx_packets": 1, "rx_bytes": uint64(len(inner)), "tx_packets": 0}},
		{"received from a forward", "underlay", underlay, came(w).TCP(40000, 8080, "S", 0).Bytes(), w.WS1.Slot, map[string]uint64{"rx_packets": 1}},
		{"opened a flow", "port", w.WS1.Name, routed(w, w.Server).UDP(1, 53).Bytes(), w.WS1.Slot, map[string]uint64{"tx_packets": 1, "flows_opened": 1}},
		{"broadcast", "port", w.WS1.Name, flood, w.WS1.Slot, map[string]uint64{"tx_packets": 1, "slow_packets": 1}},
		{"dropped", "port", w.WS1.Name, routed(w, IP("10.0.0.1")).UDP(1, 53).Bytes(), w.WS1.Slot, map[string]uint64{"flows_opened": 0, "rx_packets": 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.Reset(); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Run(c.program, c.on, c.frame, 0); err != nil {
				t.Fatal(err)
			}
			for field, want := range c.want {
				got, err := w.Counter(c.slot, field)
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%s of slot %d is %d, want %d", field, c.slot, got, want)
				}
			}
		})
	}
}

// TestFlood: broadcast and unknown destinations pass a token bucket, per webspace.
func TestFlood(t *testing.T) {
	w := world(t)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	broadcast := func(h Host) []byte { return Ether(h.MAC, Broadcast).IPv4(h.IP, IP("172.24.255.255")).UDP(1, 2).Bytes() }
	const n = 5000
	if _, err := w.Repeat("port", w.WS1.Name, broadcast(w.WS1), n); err != nil {
		t.Fatal(err)
	}
	drops, err := w.TakeDrops()
	if err != nil {
		t.Fatal(err)
	}
	if len(drops) != 1 || drops[0].Reason != "flood_rate" || drops[0].Slot != w.WS1.Slot || drops[0].Packets < n/2 || drops[0].Packets >= n {
		t.Errorf("of %d broadcasts at once these are counted: %v", n, drops)
	}
	r, err := w.Run("port", w.WS2.Name, broadcast(w.WS2), 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != Pass {
		t.Error("the flood of WS1 used up the tokens of WS2")
	}
}

// TestSamples: a dropped frame leaves a sample that says what, where and why.
func TestSamples(t *testing.T) {
	w := world(t)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	frame := Ether(w.WS1.MAC, w.WS2.MAC).IPv4(w.WS2.IP, w.WS2.IP).UDP(1, 2).Fill(200).Bytes()
	if _, err := w.Run("port", w.WS1.Name, frame, 0); err != nil {
		t.Fatal(err)
	}
	s, err := w.Sample()
	if err != nil {
		t.Fatal(err)
	}
	want := Sample{Ifindex: w.Ifindex[w.WS1.Name], Slot: w.WS1.Slot, Reason: "spoofed_ip", Len: len(frame), Hook: 1, Data: frame[:96]}
	if !s.Equal(want) {
		t.Errorf("sample %+v, want %+v", s, want)
	}
}
