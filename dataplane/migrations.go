package dataplane

import (
	"encoding/binary"
	"slices"
)

// known are the migrations of this build.
func known() migrations {
	return migrations{
		// Layout 2 came with waking: endpoints know their port beside where packets go, and which packets wake them.
		1: {
			"endpoints": endpoint1, "macs": endpoint1,
			"counters": longer(64), // parked packets, and when the last one came
			"settings": longer(48), // the secret of challenges; made when it is zero
			"buckets":  bucket1,
		},
	}
}

// endpoint1 adds the port, which was where packets go, and a wake policy that wakes for nothing.
func endpoint1(k, v []byte) ([]byte, []byte, bool) {
	const ifindex = 40
	if len(v) != 48 {
		return nil, nil, false
	}
	v = slices.Concat(v, v[ifindex:ifindex+4], make([]byte, 4))
	return k, v, true
}

// longer appends zeros.
func longer(size int) convert {
	return func(k, v []byte) ([]byte, []byte, bool) {
		if len(v) > size {
			return nil, nil, false
		}
		return k, append(slices.Clone(v), make([]byte, size-len(v))...), true
	}
}

// bucket1 makes room for more kinds: there were 4 of each slot, there are 12.
func bucket1(k, v []byte) ([]byte, []byte, bool) {
	i := binary.NativeEndian.Uint32(k)
	return binary.NativeEndian.AppendUint32(nil, i/4*12+i%4), v, true
}
