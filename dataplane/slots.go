package dataplane

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

type ownerValue [ownerMax + 1]byte

// slots gives each webspace of this node an index into the per-webspace arrays. The map `owners` remembers them, so
// that a new daemon counts on where the old one stopped.
//
// A webspace that is gone keeps its slot while flows are counted against it; then the slot is wiped and free.
type slots struct {
	m     *ebpf.Map
	size  uint32
	owner map[string]uint32
	name  map[uint32]string
	// leaving are the slots whose owner is not wanted any more.
	leaving map[uint32]bool
	next    uint32
}

func newSlots(m *ebpf.Map) *slots {
	return &slots{m: m, size: m.MaxEntries(), owner: map[string]uint32{}, name: map[uint32]string{}, leaving: map[uint32]bool{}, next: 1}
}

// read recovers what an earlier daemon gave away.
func (s *slots) read() error {
	it := s.m.Iterate()
	var slot uint32
	var v ownerValue
	for it.Next(&slot, &v) {
		n := bytes.IndexByte(v[:], 0)
		if n <= 0 || slot == 0 || slot >= s.size {
			continue
		}
		name := string(v[:n])
		s.owner[name], s.name[slot] = slot, name
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read map %s: %w", mapOwners, err)
	}
	return nil
}

var errNoSlot = errors.New("this node has no room for another webspace's counters; move or delete a webspace")

// give finds a slot for an owner, its old one if it has one.
func (s *slots) give(owner string) (uint32, error) {
	if slot, ok := s.owner[owner]; ok {
		delete(s.leaving, slot)
		return slot, nil
	}
	for range s.size - 1 {
		slot := s.next
		if s.next++; s.next >= s.size {
			s.next = 1
		}
		if _, taken := s.name[slot]; taken {
			continue
		}
		var v ownerValue
		copy(v[:ownerMax], owner)
		if err := s.m.Put(slot, v); err != nil {
			return 0, fmt.Errorf("write map %s: %w", mapOwners, err)
		}
		s.owner[owner], s.name[slot] = slot, owner
		return slot, nil
	}
	return 0, errNoSlot
}

// retain marks the slots of all others as leaving.
func (s *slots) retain(owners map[string]bool) {
	for name, slot := range s.owner {
		if !owners[name] {
			s.leaving[slot] = true
		}
	}
}

// free gives a slot back, once wiped.
func (s *slots) free(slot uint32) error {
	if err := s.m.Delete(slot); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("write map %s: %w", mapOwners, err)
	}
	delete(s.owner, s.name[slot])
	delete(s.name, slot)
	delete(s.leaving, slot)
	return nil
}

// staying counts the webspaces that share the flow table.
func (s *slots) staying() int { return len(s.owner) - len(s.leaving) }
