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
		taken := 0
		table(t, w, func(c Case) {
			t.Helper()
			c.Program, c.On = "underlay_xdp", underlay
			c.RunTwin(t, w, &taken)
		})
		if taken == 0 {
			t.Error("the XDP program took no frame of this table: it accelerates nothing")
		}
	})
}
