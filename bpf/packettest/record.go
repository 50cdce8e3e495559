package packettest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Record is a key or value of a map by the names of its C fields, laid out by the BTF of the map: a field that moves
// in types.h moves here too, one that is renamed or goes away is an error. Values may be netip.Addr (as 16 bytes,
// IPv4 mapped), net.HardwareAddr, Record (a nested struct), []Record (an array of them), or any integer. Fields not named are zero.
type Record map[string]any

func encode(t btf.Type, r Record) ([]byte, error) {
	size, err := btf.Sizeof(t)
	if err != nil {
		return nil, err
	}
	out := make([]byte, size)
	for name, v := range r {
		offset, n, member, err := field(t, name)
		if err != nil {
			return nil, err
		}
		if err := put(out[offset:offset+n], member, v); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	return out, nil
}

func put(out []byte, t btf.Type, v any) error {
	switch v := v.(type) {
	case netip.Addr:
		if len(out) != 16 {
			return fmt.Errorf("%d bytes are no address", len(out))
		}
		if v.IsValid() { // else it stays zero: "none"
			a := v.As16()
			copy(out, a[:])
		}
	case net.HardwareAddr:
		if len(out) != 6 {
			return fmt.Errorf("%d bytes are no MAC", len(out))
		}
		copy(out, v)
	case []Record:
		a, ok := btf.UnderlyingType(t).(*btf.Array)
		if !ok || len(v) > int(a.Nelems) {
			return fmt.Errorf("%d elements do not fit %v", len(v), t)
		}
		size := len(out) / int(a.Nelems)
		for i, r := range v {
			if err := put(out[i*size:(i+1)*size], a.Type, r); err != nil {
				return err
			}
		}
	case []uint64:
		if len(out) != 8*len(v) {
			return fmt.Errorf("%d words do not fit %v", len(v), t)
		}
		for i, n := range v {
			binary.NativeEndian.PutUint64(out[8*i:], n)
		}
	case Record:
		b, err := encode(t, v)
		if err != nil {
			return err
		}
		copy(out, b)
	default:
		return putInt(out, v)
	}
	return nil
}

func putInt(out []byte, v any) error {
	var n uint64
	switch v := v.(type) {
	case int:
		n = uint64(v)
	case uint8:
		n = uint64(v)
	case uint16:
		n = uint64(v)
	case uint32:
		n = uint64(v)
	case uint64:
		n = v
	default:
		return fmt.Errorf("no encoding for a %T", v)
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n) // little-endian: bpf2go's target is bpfel
	if len(out) > 8 {
		return fmt.Errorf("%d bytes are no integer", len(out))
	}
	copy(out, b[:len(out)])
	return nil
}

// field finds a member of a struct: where it is, how long, and of what type.
func field(t btf.Type, name string) (offset, size uint32, _ btf.Type, _ error) {
	s, ok := btf.UnderlyingType(t).(*btf.Struct)
	if !ok {
		return 0, 0, nil, fmt.Errorf("%v is no struct", t)
	}
	for _, m := range s.Members {
		if m.Name == name {
			n, err := btf.Sizeof(m.Type)
			return m.Offset.Bytes(), uint32(n), m.Type, err
		}
	}
	return 0, 0, nil, fmt.Errorf("struct %s has no field %s: has types.h changed?", s.Name, name)
}

// Value reads fields of an encoded record.
type Value struct {
	t    btf.Type
	data []byte
}

func (v Value) bytes(name string) []byte {
	offset, n, _, err := field(v.t, name)
	if err != nil {
		panic(err) // a typing error in a test
	}
	return v.data[offset : offset+n]
}

// Uint reads an integer.
func (v Value) Uint(name string) uint64 {
	var b [8]byte
	copy(b[:], v.bytes(name))
	return binary.NativeEndian.Uint64(b[:])
}

// Struct reads a nested record.
func (v Value) Struct(name string) Value {
	_, _, t, err := field(v.t, name)
	if err != nil {
		panic(err)
	}
	return Value{t, v.bytes(name)}
}

// Addr reads an address.
func (v Value) Addr(name string) netip.Addr {
	return netip.AddrFrom16([16]byte(v.bytes(name))).Unmap()
}

// Entry is one key and its value.
type Entry struct{ Key, Value Value }

// Table is a map of the programs under test.
type Table struct {
	*ebpf.Map
	key, value btf.Type
	touched    *bool // written by a test since the last Reset
}

// Put adds or replaces an entry. Key and value are what a Record may hold, or Records.
func (t Table) Put(key, value any) error {
	k, err := marshal(t.key, t.KeySize(), key)
	if err != nil {
		return err
	}
	v, err := marshal(t.value, t.ValueSize(), value)
	if err != nil {
		return err
	}
	*t.touched = true
	return t.Map.Put(k, v)
}

// Delete removes an entry.
func (t Table) Delete(key any) error {
	k, err := marshal(t.key, t.KeySize(), key)
	if err != nil {
		return err
	}
	*t.touched = true
	return t.Map.Delete(k)
}

func marshal(t btf.Type, size uint32, v any) ([]byte, error) {
	out := make([]byte, size)
	return out, put(out, t, v)
}

// Entries gives all of a map that has one value per key.
func (t Table) Entries() ([]Entry, error) {
	var out []Entry
	var key, value []byte
	it := t.Iterate()
	for it.Next(&key, &value) {
		out = append(out, Entry{Value{t.key, key}, Value{t.value, value}})
		key, value = nil, nil
	}
	return out, it.Err()
}
