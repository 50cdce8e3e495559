package dataplane

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/lanyard-project/lanyard/bpf"
)

// older makes the objects as an older layout might have had them: a bucket was its time alone.
func older() ([]*ebpf.CollectionSpec, error) {
	specs, err := builtin()
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		stub(s)
		if m := s.Maps["buckets"]; m != nil {
			m.ValueSize, m.Value, m.Key = 8, nil, nil
		}
	}
	return specs, nil
}

// stub puts programs that know no maps in place of an old build's: they leave everything to the bridge.
func stub(s *ebpf.CollectionSpec) {
	for _, p := range s.Programs {
		verdict := int32(-1) // TCX_NEXT
		if p.Type == ebpf.XDP {
			verdict = 2 // XDP_PASS
		}
		p.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}
	}
}

// A new layout takes over the maps of the old one: those of the same shape as they are, the others converted; links go over to
// the new programs, and nothing of the old layout is left.
func TestMigration(t *testing.T) {
	n := newNode(t)
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	d, err := open(t.Context(), n.cfg, nil, 1, older, nil)
	n.must(err)
	apply(t, d, s)
	n.works(ns1, e2.IP)
	key, flow := n.flow(d, d.slots.owner["ws-u1"], 9)
	n.must(d.maps["buckets"].Put(uint32(5), uint64(77)))
	traffic := n.ping(ns1, e2.IP, time.Millisecond)
	n.must(d.Close())

	mig := migrations{1: {"buckets": func(k, v []byte) ([]byte, []byte, bool) {
		return k, binary.LittleEndian.AppendUint64(append([]byte{}, v...), 42), true
	}}}
	// Cut off in the middle: what was begun must be begun again.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(ctx, n.cfg, nil, 2, builtin, mig); err == nil {
		t.Fatal("opened with a context that has ended")
	}
	d, err = open(t.Context(), n.cfg, nil, 2, builtin, mig)
	n.must(err)
	t.Cleanup(func() { d.Close() })
	if c := apply(t, d, s); !c.Empty() {
		t.Errorf("after the migration the same state changed %+v", c.Tables)
	}
	var b bpf.TcBucket
	n.must(d.maps["buckets"].Lookup(uint32(5), &b))
	if b.Last != 77 || b.Tokens != 42 {
		t.Errorf("the bucket became %+v", b)
	}
	var f bpf.TcFlow
	if err := d.maps["flows"].Lookup(key, &f); err != nil || f.Other != flow.Other {
		t.Errorf("the flow: %v %+v", err, f)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.BPFFS, "v1")); !os.IsNotExist(err) {
		t.Errorf("the old layout is still there: %v", err)
	}
	programIDs(t, d)
	if lost := traffic.lost(t); lost != 0 {
		t.Errorf("%d pings were lost", lost)
	}
	// An older build must not touch what a newer one has made.
	n.must(d.Close())
	if _, err := open(t.Context(), n.cfg, nil, 1, older, nil); err == nil {
		t.Error("an older build opened the newer layout")
	} else {
		t.Log(err)
	}
	n.must(Teardown(t.Context(), n.cfg, nil))
	if _, err := os.Stat(n.cfg.BPFFS); !os.IsNotExist(err) {
		t.Errorf("the folder of pins: %v", err)
	}
}

// A map of another shape without a migration is no accident to be papered over.
func TestShapeWithoutMigration(t *testing.T) {
	n := newNode(t)
	d, err := open(t.Context(), n.cfg, nil, 1, older, nil)
	n.must(err)
	n.must(d.Close())
	if _, err := open(t.Context(), n.cfg, nil, 1, builtin, nil); err == nil {
		t.Fatal("opened maps of another shape")
	} else {
		t.Log(err)
	}
	if _, err := open(t.Context(), n.cfg, nil, 2, builtin, nil); err == nil {
		t.Fatal("opened maps of another shape")
	} else {
		t.Log(err)
	}
}

// XDP is put on, changed and taken off again by configuration alone.
func TestXDPModes(t *testing.T) {
	n := newNode(t)
	p1, e1, _ := n.webspace(1)
	s := State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}}
	for _, mode := range []XDPMode{XDPGeneric, XDPNative, XDPNative, XDPOff, XDPGeneric} {
		n.cfg.XDP = mode
		d := n.open()
		apply(t, d, s)
		ids := programIDs(t, d)
		if _, on := ids["underlay_xdp@eth0"]; on != (mode != XDPOff) {
			t.Errorf("%s: programs are %v", mode, ids)
		}
		if mode != XDPOff && !d.xdpModeIs(n.underlay.Attrs().Index) {
			t.Errorf("%s: XDP runs in another mode", mode)
		}
		n.must(d.Close())
	}
}
