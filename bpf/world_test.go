package bpf_test

import (
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

const underlay = Underlay

// shared is one world for all tables: every case begins with a Reset, so only the loading is shared.
var shared = sync.OnceValues(func() (*World, error) { return load(Fixture(), nil) })

func load(n Net, sizes map[string]uint32) (*World, error) {
	var specs []*ebpf.CollectionSpec
	for _, f := range []func() (*ebpf.CollectionSpec, error){bpf.LoadTc, bpf.LoadXdp} {
		s, err := f()
		if err != nil {
			return nil, err
		}
		specs = append(specs, s)
	}
	return Open(n, sizes, specs...)
}

// world gives the shared world. It never skips: who cannot load programs has tested nothing.
func world(t testing.TB) *World {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// open makes a world of its own, for tests that need other sizes.
func open(t testing.TB, n Net, sizes map[string]uint32) *World {
	t.Helper()
	w, err := load(n, sizes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// eachUnderlay runs a table against the tcx program and against its XDP twin. The twin may leave any frame to tcx
// ; see RunTwin.
func eachUnderlay(t *testing.T, table func(t *testing.T, w *World, run func(Case))) {
	w := world(t)
	t.Run("tcx", func(t *testing.T) {
		table(t, w, func(c Case) {
			t.Helper()
			c.Program, c.On = "underlay", underlay
			c.Run(t, w)
		})
	})
	t.Run("xdp", func(t *testing.T) {
		table(t, w, func(c Case) {
			t.Helper()
			c.Program, c.On = "underlay_xdp", underlay
			c.RunTwin(t, w)
		})
	})
}

// TestXDPTakes: what the XDP program is there for it does itself; TCP it leaves to GRO and tcx.
func TestXDPTakes(t *testing.T) {
	w := world(t)
	udp := Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).UDP(1, 2).Bytes()
	answer := Ether(w.WS3.MAC, w.Gateway.MAC).IPv4(w.WS3.IP, w.Client).UDP(53, 40000).Bytes()
	for _, c := range []struct {
		name  string
		frame []byte
		with  func() error
		want  Verdict
	}{
		{"from a tunnel", from(w, w.Peer3, udp), nil, Sent},
		{"forward here", came(w).UDP(40000, 5353).Bytes(), nil, Sent},
		{"forward to node 3", came(w).UDP(40000, 5383).Bytes(), nil, Sent},
		{"stranger's tunnel", from(w, Peer{VTEP: w.Stranger, MAC: w.RouterMAC}, udp), nil, Drop},
		{"answer of a forward, its next hop unknown", from(w, w.Peer3, answer), nil, Pass},
		{"answer of a forward, its next hop known", from(w, w.Peer3, answer), func() error {
			_, err := w.Run("underlay", underlay, from(w, w.Peer3, answer), 0)
			return err
		}, Sent},
		{"TCP forward", came(w).TCP(40000, 8080, "S", 0).Bytes(), nil, Pass},
		{"TCP from a tunnel", from(w, w.Peer3, Ether(w.WS3.MAC, w.WS1.MAC).IPv4(w.WS3.IP, w.WS1.IP).TCP(1, 2, "A", 0).Bytes()), nil, Pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.Reset(); err != nil {
				t.Fatal(err)
			}
			if c.with != nil {
				if err := c.with(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := w.Run("underlay_xdp", underlay, c.frame, 0)
			if err != nil || r.Verdict != c.want {
				t.Errorf("%v (code %d) %v, want %v", r.Verdict, r.Code, err, c.want)
			}
		})
	}
}
