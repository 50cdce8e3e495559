package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// table is one hash map of the kernel and what we know to be in it. Only user space writes such a map, so the shadow
// stays true until somebody else meddles; read makes it true again.
type table[K, V comparable] struct {
	name   string
	m      *ebpf.Map
	shadow map[K]V
}

func newTable[K, V comparable](name string, m *ebpf.Map) *table[K, V] {
	return &table[K, V]{name: name, m: m, shadow: map[K]V{}}
}

// chunk is how many entries one system call moves. A hash map's batch lookup needs room for its fullest bucket.
const chunk = 4096

// read fills the shadow from the kernel.
func (t *table[K, V]) read() error {
	shadow := make(map[K]V, len(t.shadow))
	err := eachBatch(t.m, func(keys []K, values []V) error {
		for i := range keys {
			shadow[keys[i]] = values[i]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read map %s: %w", t.name, err)
	}
	t.shadow = shadow
	return nil
}

// eachBatch calls f with all entries of a map, some thousand at a time.
func eachBatch[K, V any](m *ebpf.Map, f func([]K, []V) error) error {
	keys, values := make([]K, chunk), make([]V, chunk)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		done := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !done {
			return err
		}
		if err := f(keys[:n], values[:n]); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// change is what it takes to turn the shadow into the wanted table.
type change[K, V comparable] struct {
	keys    []K // to be written, with values
	values  []V
	gone    []K
	added   int
	updated int
}

// diff compares. Its cost grows with the table, but only by two look-ups in memory for each entry; the kernel is
// asked for what differs alone.
func (t *table[K, V]) diff(want map[K]V) (c change[K, V]) {
	for k, v := range want {
		t.compare(&c, k, v)
	}
	t.unwanted(&c, len(want), func(k K) bool { _, ok := want[k]; return ok })
	return c
}

// compare notes an entry that the shadow lacks, or has otherwise.
func (t *table[K, V]) compare(c *change[K, V], k K, v V) {
	old, ok := t.shadow[k]
	switch {
	case !ok:
		c.added++
	case old != v:
		c.updated++
	default:
		return
	}
	c.keys = append(c.keys, k)
	c.values = append(c.values, v)
}

// unwanted notes what the shadow has beyond n wanted entries.
func (t *table[K, V]) unwanted(c *change[K, V], n int, wanted func(K) bool) {
	if len(t.shadow)+c.added == n {
		return
	}
	for k := range t.shadow {
		if !wanted(k) {
			c.gone = append(c.gone, k)
		}
	}
}

// write puts the new and the changed entries into the kernel. When the map has no room for old and new at once, the old
// go first.
func (t *table[K, V]) write(c *change[K, V]) (Delta, error) {
	var d Delta
	if len(c.keys) == 0 {
		return d, nil
	}
	if len(t.shadow)+c.added > int(t.m.MaxEntries()) {
		var err error
		if d, err = t.remove(c); err != nil {
			return d, err
		}
	}
	n, err := batch(t.m.Type(), c.keys, func(from, to int) (int, error) {
		return t.m.BatchUpdate(c.keys[from:to], c.values[from:to], nil)
	}, func(i int) error { return t.m.Put(c.keys[i], c.values[i]) })
	before := len(t.shadow)
	if before == 0 {
		t.shadow = make(map[K]V, n) // once, not by doubling
	}
	for i := range n {
		t.shadow[c.keys[i]] = c.values[i]
	}
	d.Added += len(t.shadow) - before
	d.Updated += n - (len(t.shadow) - before)
	if err != nil {
		return d, fmt.Errorf("write %d entries to map %s: %w", len(c.keys), t.name, err)
	}
	return d, nil
}

// remove takes out of the kernel what is not wanted any more.
func (t *table[K, V]) remove(c *change[K, V]) (d Delta, err error) {
	for len(c.gone) > 0 {
		n, err := batch(t.m.Type(), c.gone, func(from, to int) (int, error) {
			return t.m.BatchDelete(c.gone[from:to], nil)
		}, func(i int) error { return t.m.Delete(c.gone[i]) })
		for _, k := range c.gone[:n] {
			delete(t.shadow, k)
			d.Removed++
		}
		c.gone = c.gone[n:]
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist) && len(c.gone) > 0:
			// Somebody was faster: that one is gone, the batch goes on behind it.
			delete(t.shadow, c.gone[0])
			c.gone = c.gone[1:]
		case err != nil:
			return d, fmt.Errorf("delete %d entries of map %s: %w", len(c.gone), t.name, err)
		}
	}
	return d, nil
}

// batch runs one system call for many entries, or one each where that is as cheap, or where the map's type knows no
// batches (LPM tries have no batch delete that goes on behind a missing key).
func batch[K any](t ebpf.MapType, keys []K, many func(from, to int) (int, error), one func(int) error) (int, error) {
	if len(keys) < 4 || t == ebpf.LPMTrie {
		for i := range keys {
			if err := one(i); err != nil {
				return i, err
			}
		}
		return len(keys), nil
	}
	return many(0, len(keys))
}

// set is a table of something that is no map: the kernel's forwarding entries, neighbours, attached programs.
type set[K, V comparable] struct {
	name   string
	shadow map[K]V
}

// apply adds and removes one by one. An item that fails is reported to failed, and tried again by the next apply.
func (s *set[K, V]) add(want map[K]V, put func(K, V) error, failed func(K, V, error)) (d Delta) {
	for k, v := range want {
		old, ok := s.shadow[k]
		if ok && old == v {
			continue
		}
		if err := put(k, v); err != nil {
			failed(k, v, err)
			continue
		}
		s.shadow[k] = v
		if ok {
			d.Updated++
		} else {
			d.Added++
		}
	}
	return d
}

func (s *set[K, V]) prune(want map[K]V, del func(K, V) error, failed func(K, V, error)) (d Delta) {
	for k, v := range s.shadow {
		if _, ok := want[k]; ok {
			continue
		}
		if err := del(k, v); err != nil {
			failed(k, v, err)
			continue
		}
		delete(s.shadow, k)
		d.Removed++
	}
	return d
}
