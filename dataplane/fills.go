package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// fills are counts of maps that programs fill, as of the last sweep.
type fills struct {
	flows    int // complete flows, of both entries
	entries  int // of the map
	tracks   int
	frags    int
	nexthops int
}

// countFills counts what nobody else has to look at.
func countFills(m map[string]*ebpf.Map) (f fills, err error) {
	if f.tracks, err = count[bpf.TcTuple, bpf.TcTrack](m["tracks"]); err != nil {
		return f, fmt.Errorf("count the map tracks: %w", err)
	}
	if f.frags, err = count[bpf.TcFragKey, bpf.TcFrag](m["frags"]); err != nil {
		return f, fmt.Errorf("count the map frags: %w", err)
	}
	if f.nexthops, err = count[bpf.TcAddr, bpf.TcNexthop](m["nexthops"]); err != nil {
		return f, fmt.Errorf("count the map nexthops: %w", err)
	}
	return f, nil
}

func count[K, V any](m *ebpf.Map) (n int, err error) {
	err = eachBatch(m, func(keys []K, _ []V) error {
		n += len(keys)
		return nil
	})
	return n, err
}
