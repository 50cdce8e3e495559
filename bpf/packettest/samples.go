package packettest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
)

// Sample is a dropped frame as the programs show it to user space.
type Sample struct {
	Ifindex int
	Slot    uint32
	Reason  string
	Len     int
	Hook    int
	Data    []byte
}

// Equal says whether two samples are of the same drop.
func (s Sample) Equal(o Sample) bool {
	return s.Ifindex == o.Ifindex && s.Slot == o.Slot && s.Reason == o.Reason && s.Len == o.Len && s.Hook == o.Hook && bytes.Equal(s.Data, o.Data)
}

// Sample reads the newest sample; there must be one already.
func (w *World) Sample() (Sample, error) {
	r, err := ringbuf.NewReader(w.Tables["drop_samples"].Map)
	if err != nil {
		return Sample{}, err
	}
	defer r.Close()
	r.SetDeadline(time.Now().Add(-time.Second)) // take what there is
	var record ringbuf.Record
	for {
		next, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return Sample{}, err
		}
		record = next
	}
	if record.RawSample == nil {
		return Sample{}, errors.New("there is no sample")
	}
	var t *btf.Struct
	if err := w.types.TypeByName("drop_sample", &t); err != nil {
		return Sample{}, err
	}
	if len(record.RawSample) < int(t.Size) {
		return Sample{}, fmt.Errorf("a sample of %d bytes, struct drop_sample has %d", len(record.RawSample), t.Size)
	}
	v := Value{t, record.RawSample}
	captured := int(v.Uint("captured"))
	data := v.bytes("data")
	if captured > len(data) {
		return Sample{}, fmt.Errorf("a sample of %d captured bytes", captured)
	}
	return Sample{int(v.Uint("ifindex")), uint32(v.Uint("slot")), w.reasons[v.Uint("reason")], int(v.Uint("len")), int(v.Uint("hook")), data[:captured]}, nil
}

// Counter reads a field of the counters of a slot, summed over the CPUs.
func (w *World) Counter(slot uint32, name string) (uint64, error) {
	t := w.Tables["counters"]
	var perCPU [][]byte
	if err := t.Lookup(slot, &perCPU); err != nil {
		return 0, err
	}
	var n uint64
	for _, v := range perCPU {
		n += Value{t.value, v}.Uint(name)
	}
	return n, nil
}
