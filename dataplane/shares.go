package dataplane

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// shareMemory is the map `shares`, mapped into memory: programs add to it while we subtract, both atomically, so
// that a count is never lost to a write of a whole entry.
type shareMemory struct {
	b []byte
	n uint32
}

func mapShares(m *ebpf.Map) (*shareMemory, error) {
	page := os.Getpagesize()
	size := (int(m.MaxEntries())*int(unsafe.Sizeof(bpf.TcShare{})) + page - 1) &^ (page - 1)
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the shares into memory: %w", err)
	}
	return &shareMemory{b: b, n: m.MaxEntries()}, nil
}

func (s *shareMemory) close() error {
	b := s.b
	s.b = nil
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

// at is the entry of a slot. Array values are multiples of eight bytes, so the fields are aligned.
func (s *shareMemory) at(slot uint32) *bpf.TcShare {
	if slot >= s.n {
		slot = 0
	}
	return (*bpf.TcShare)(unsafe.Pointer(&s.b[uintptr(slot)*unsafe.Sizeof(bpf.TcShare{})]))
}

// flows of a slot; of slot 0: of the common pool.
func (s *shareMemory) flows(slot uint32) int64 { return atomic.LoadInt64(&s.at(slot).Flows) }

func (s *shareMemory) hairpins(slot uint32) int64 { return atomic.LoadInt64(&s.at(slot).Hairpins) }

func (s *shareMemory) addFlows(slot uint32, n int64) { atomic.AddInt64(&s.at(slot).Flows, n) }

func (s *shareMemory) addHairpins(slot uint32, n int64) { atomic.AddInt64(&s.at(slot).Hairpins, n) }
