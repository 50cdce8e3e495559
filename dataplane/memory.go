package dataplane

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf"
)

// MapMemory is what one map costs.
type MapMemory struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Key     int    `json:"key"`   // bytes
	Value   int    `json:"value"` // bytes
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"` // of kernel memory when it is full
}

// Memory estimates the kernel memory of all maps with the given sizes on a machine with so many CPUs, sorted by name. Maps
// are allocated whole when they are made, except prefixes and drops, which grow.
func Memory(s Sizes, cpus int) ([]MapMemory, error) {
	specs, err := builtin()
	if err != nil {
		return nil, err
	}
	var all []MapMemory
	for name, spec := range mapSpecs(specs, Config{Sizes: s}.WithDefaults().Sizes) {
		all = append(all, MapMemory{
			Name: name, Type: spec.Type.String(), Key: int(spec.KeySize), Value: int(spec.ValueSize),
			Entries: int(spec.MaxEntries), Bytes: mapBytes(spec, int64(cpus)),
		})
	}
	slices.SortFunc(all, func(a, b MapMemory) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Sizes of the kernel's own bookkeeping (kernel/bpf/hashtab.c, lpm_trie.c, Linux 6.6 to 6.18).
const (
	hashElement = 48
	hashBucket  = 16
	trieNode    = 40
)

func mapBytes(m *ebpf.MapSpec, cpus int64) int64 {
	n, key, value := int64(m.MaxEntries), round8(m.KeySize), round8(m.ValueSize)
	buckets := int64(1) << bits.Len64(uint64(n-1)) * hashBucket
	switch m.Type {
	case ebpf.Hash, ebpf.LRUHash:
		return buckets + n*(hashElement+key+value)
	case ebpf.PerCPUHash:
		return buckets + n*(hashElement+key+8+cpus*value)
	case ebpf.Array:
		return n * value
	case ebpf.PerCPUArray:
		return n * (8 + cpus*value)
	case ebpf.LPMTrie:
		return n * (trieNode + int64(m.KeySize) - 4 + int64(m.ValueSize))
	}
	return n // ring buffer: its size is in bytes
}

func round8(n uint32) int64 { return (int64(n) + 7) &^ 7 }
