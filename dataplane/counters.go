package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// Counters of one webspace, or of everything without an owner (""). Received is what the webspace received.
type Counters struct {
	RxPackets   uint64 `json:"rx_packets"`
	RxBytes     uint64 `json:"rx_bytes"`
	TxPackets   uint64 `json:"tx_packets"`
	TxBytes     uint64 `json:"tx_bytes"`
	SlowPackets uint64 `json:"slow_packets"` // handed to the kernel's bridge
	FlowsOpened uint64 `json:"flows_opened"`
	Parked      uint64 `json:"parked_packets"` // held for a sleeping webspace
}

func (c *Counters) add(v *bpf.TcCounters) {
	c.RxPackets += v.RxPackets
	c.RxBytes += v.RxBytes
	c.TxPackets += v.TxPackets
	c.TxBytes += v.TxBytes
	c.SlowPackets += v.SlowPackets
	c.FlowsOpened += v.FlowsOpened
	c.Parked += v.ParkedPackets
}

// DropCount counts the frames of one owner that were refused for one reason. Owner is "" when no webspace of this
// node is to blame.
type DropCount struct {
	Owner   string `json:"owner,omitempty"`
	Reason  Reason `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// names copies the slots' owners, so that maps are read without the lock. The caller must leave when it has read.
func (d *Dataplane) names() (names map[uint32]string, leave func(), err error) {
	_, leave, err = d.enter(context.Background())
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	names = maps.Clone(d.slots.name)
	names[0] = ""
	return names, leave, nil
}

// Counters reads the counters of all webspaces of this node, by owner; those without an owner are under "". They count
// since the webspace came to this node.
func (d *Dataplane) Counters() (map[string]Counters, error) {
	names, leave, err := d.names()
	if err != nil {
		return nil, err
	}
	defer leave()
	all := make(map[string]Counters, len(names))
	var perCPU []bpf.TcCounters
	for slot, name := range names {
		if err := d.maps["counters"].Lookup(slot, &perCPU); err != nil {
			return nil, fmt.Errorf("read map counters: %w", err)
		}
		var c Counters
		for i := range perCPU {
			c.add(&perCPU[i])
		}
		all[name] = c
	}
	return all, nil
}

// Drops reads what was refused since the maps were made, or the webspace came to this node; sorted by owner and reason.
func (d *Dataplane) Drops() ([]DropCount, error) {
	names, leave, err := d.names()
	if err != nil {
		return nil, err
	}
	defer leave()
	sums := map[bpf.TcDropKey]DropCount{}
	it := d.maps["drops"].Iterate()
	var key bpf.TcDropKey
	var perCPU []bpf.TcDropCount
	for it.Next(&key, &perCPU) {
		owner, ok := names[key.Slot]
		if !ok {
			key.Slot = 0 // its webspace has gone this very moment
		}
		s := sums[key]
		s.Owner, s.Reason = owner, Reason(key.Reason)
		for _, v := range perCPU {
			s.Packets += v.Packets
			s.Bytes += v.Bytes
		}
		sums[key] = s
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read map drops: %w", err)
	}
	all := slices.Collect(maps.Values(sums))
	slices.SortFunc(all, func(a, b DropCount) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}

// wipe clears what is counted under a slot, before another webspace gets it.
func (d *Dataplane) wipe(slot uint32) error {
	zero := make([]bpf.TcCounters, ebpf.MustPossibleCPU())
	errs := []error{d.maps["counters"].Put(slot, zero)}
	for _, r := range Reasons() {
		err := d.maps["drops"].Delete(bpf.TcDropKey{Slot: slot, Reason: uint32(r)})
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
		}
	}
	kinds := uint32(bpf.TcBucketKindBUCKETS)
	for kind := range kinds {
		errs = append(errs, d.maps["buckets"].Put(slot*kinds+kind, bpf.TcBucket{}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wipe the counters of slot %d: %w", slot, err)
	}
	return nil
}
