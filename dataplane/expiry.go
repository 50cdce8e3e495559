package dataplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

const (
	sweepEvery = 5 * time.Second
	// sweepPause after each chunk keeps a sweep of a large table from holding a CPU.
	sweepPause = time.Millisecond
	// settled is how old an entry must be before a missing partner counts: a flow is made in two steps.
	settled = 2 * time.Second
)

// timeout is how long a flow may be idle, by what both directions have seen.
func (t *Timeouts) timeout(proto Proto, seen uint8) time.Duration {
	has := func(bits bpf.TcFlowState) bool { return seen&uint8(bits) == uint8(bits) }
	switch proto {
	case TCP:
		switch {
		case has(bpf.TcFlowStateSEEN_RST), has(bpf.TcFlowStateSEEN_FIN_OUT | bpf.TcFlowStateSEEN_FIN_BACK):
			return t.TCPClosed
		case has(bpf.TcFlowStateSEEN_FIN_OUT), has(bpf.TcFlowStateSEEN_FIN_BACK), !has(bpf.TcFlowStateSEEN_ACK_BACK):
			return t.TCPTransitory
		}
		return t.TCPEstablished
	case ICMP:
		return t.ICMP
	}
	if has(bpf.TcFlowStateSEEN_BACK) {
		return t.UDP
	}
	return t.UDPUnanswered
}

// opener reports whether an entry is the one that holds a flow's place: it is counted against a share.
func opener(f *bpf.TcFlow) bool {
	return bpf.TcFlowKind(f.Kind) == bpf.TcFlowKindFLOW_OUT || bpf.TcFlowKind(f.Kind) == bpf.TcFlowKindFLOW_HAIRPIN
}

// sweep looks once at every flow.
type sweep struct {
	d       *Dataplane
	flows   *ebpf.Map
	now     uint64
	denied  *lpm            // set when the prefixes have changed since the last sweep
	leaving map[uint32]bool // slots whose flows are to end
	count   []int64         // flows of each slot; [0]: of the pool
	hairpin []int64
	seen    int // entries
	removed int
}

// sweepFlows removes the flows that have been idle for too long, or may not be any more.
//
// A flow is removed in this order: looked up once more, and left alone when a packet came; then its opener's entry, and
// with it the share; then the answers'. So an answer still finds its way until the last moment, and a flow that is
// opened anew meanwhile gets entries of its own. A packet that comes between the look and the removal, some
// microseconds, opens a new flow: with the same port, as long as that is free.
func (d *Dataplane) sweepFlows(ctx context.Context) (*sweep, error) {
	d.mu.Lock()
	s := &sweep{d: d, flows: d.maps["flows"], leaving: map[uint32]bool{}}
	s.count, s.hairpin = make([]int64, d.shared.n), make([]int64, d.shared.n)
	for slot := range d.slots.leaving {
		s.leaving[slot] = true
	}
	asked := d.deniedChanged && d.wanted != nil
	if asked {
		s.denied = newLPM(d.wanted.prefixes)
		d.deniedChanged = false
	}
	d.mu.Unlock()

	s.now = monotonic()
	err := eachBatch(s.flows, func(keys []bpf.TcTuple, values []bpf.TcFlow) error {
		for i := range keys {
			if err := s.look(keys[i], &values[i]); err != nil {
				return err
			}
		}
		if len(keys) == chunk {
			time.Sleep(sweepPause)
		}
		return ctx.Err()
	})
	if err != nil {
		d.mu.Lock()
		d.deniedChanged = d.deniedChanged || asked
		d.mu.Unlock()
		return s, fmt.Errorf("sweep the flows: %w", err)
	}
	return s, nil
}

func (s *sweep) look(key bpf.TcTuple, f *bpf.TcFlow) error {
	s.seen++
	if !opener(f) {
		return s.lookBack(key, f)
	}
	refused := s.leaving[f.Slot] && f.Slot != 0 ||
		s.denied != nil && bpf.TcFlowKind(f.Kind) == bpf.TcFlowKindFLOW_OUT && s.denied.denies(unwire(key.Dst))
	if !refused && !s.idle(key, f, f.State, f.LastSeen) {
		s.tally(f, 1)
		return nil
	}
	// It may have lived on by answers alone, or since it was read.
	var back bpf.TcFlow
	if err := s.flows.Lookup(&key, f); err != nil {
		return ignoreGone(err)
	}
	seen, last := f.State, f.LastSeen
	switch err := s.flows.Lookup(&f.Other, &back); {
	case err == nil && back.Other == key:
		seen |= back.State
		last = max(last, back.LastSeen)
	case err != nil && !errors.Is(err, ebpf.ErrKeyNotExist):
		return err
	default:
		// Nothing answers to it any more: it can only be in the way.
		refused = refused || age(s.now, f.Created) > settled
	}
	if !refused && !s.idle(key, f, seen, last) {
		s.tally(f, 1)
		return nil
	}
	return s.remove(key, f)
}

func (s *sweep) idle(key bpf.TcTuple, _ *bpf.TcFlow, seen uint8, last uint64) bool {
	// One second, because programs write the time no more often than that.
	return age(s.now, last) > s.d.cfg.Timeouts.timeout(Proto(key.Proto), seen)+time.Second
}

func age(now, then uint64) time.Duration {
	if then >= now {
		return 0
	}
	return time.Duration(now - then)
}

func (s *sweep) remove(key bpf.TcTuple, f *bpf.TcFlow) error {
	if err := s.flows.Delete(&key); err != nil {
		return ignoreGone(err) // who removed it has given the share back
	}
	s.removed++
	s.d.giveBack(f)
	return ignoreGone(s.flows.Delete(&f.Other))
}

// lookBack finds answers' entries whose opener's entry is gone: a daemon died between two steps.
func (s *sweep) lookBack(key bpf.TcTuple, f *bpf.TcFlow) error {
	if age(s.now, max(f.LastSeen, f.Created)) <= settled {
		return nil
	}
	var front bpf.TcFlow
	err := s.flows.Lookup(&f.Other, &front)
	if err == nil && front.Other == key {
		return nil
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	s.removed++
	return ignoreGone(s.flows.Delete(&key))
}

func ignoreGone(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// giveBack takes a removed flow off its share, as take_share of bpf/flow.h put it there.
func (d *Dataplane) giveBack(f *bpf.TcFlow) {
	if f.State&uint8(bpf.TcFlowStateFLOW_POOLED) != 0 {
		d.shared.addFlows(0, -1)
	}
	if f.Slot == 0 {
		return
	}
	d.shared.addFlows(f.Slot, -1)
	if bpf.TcFlowKind(f.Kind) == bpf.TcFlowKindFLOW_HAIRPIN {
		d.shared.addHairpins(f.Slot, -1)
	}
}

func (s *sweep) tally(f *bpf.TcFlow, n int64) {
	if f.State&uint8(bpf.TcFlowStateFLOW_POOLED) != 0 {
		s.count[0] += n
	}
	if f.Slot == 0 || int(f.Slot) >= len(s.count) {
		return
	}
	s.count[f.Slot] += n
	if bpf.TcFlowKind(f.Kind) == bpf.TcFlowKindFLOW_HAIRPIN {
		s.hairpin[f.Slot] += n
	}
}

// flows is how many there are, both entries counted as one.
func (s *sweep) total() int { return max(s.seen/2-s.removed, 0) }
