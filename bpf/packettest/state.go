package packettest

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/cilium/ebpf"
)

// constants are what bpf/config.h leaves to user space.
func (w *World) constants() map[string]any {
	prefix := func(p netip.Prefix) Record {
		return Record{"prefixlen": p.Bits() + 96, "ip": p.Masked().Addr()}
	}
	var infra []Record
	for _, p := range w.InfraPrefixes {
		infra = append(infra, prefix(p))
	}
	all := map[string]any{
		"vni": w.VNI, "tunnel_port": w.Port, "vtep": w.VTEP,
		"lan": prefix(w.Prefix), "infra": infra,
		"gateway_ip": w.Gateway.IP, "gateway_mac": Record{"mac": w.Gateway.MAC},
		"node_ip": w.Node.IP, "node_mac": Record{"mac": w.Node.MAC},
		"nat_first": w.NATFirst, "nat_last": w.NATLast,
		"bridge_ifindex": w.Ifindex[w.Node.Name], "route_ifindex": w.Ifindex[Router], "parking_ifindex": w.Ifindex[Parking],
		"lan_mtu": w.MTU, "uplink_mtu": int(w.MTU) + TunnelSize,
	}
	if w.Still {
		for _, name := range []string{"park_rate", "reset_rate", "challenge_rate", "verify_rate", "proved_rate", "copy_rate"} {
			all[name], all["node_"+name] = 0, 0
		}
	}
	return all
}

// Kinds of buckets, enum bucket_kind; the event bucket is refilled always.
const (
	BucketPark = iota + 4
	BucketReset
	BucketChallenge
	BucketVerify
	_
	BucketProved
	BucketCopy
	buckets = 12
)

// Fill puts tokens into a bucket of a slot.
func (w *World) Fill(slot, kind uint32, tokens int) error {
	return w.Tables["buckets"].Put(slot*buckets+kind, Record{"last": 0, "tokens": tokens * 1000})
}

func constant(c *ebpf.VariableSpec, v any) ([]byte, error) {
	if c.Type == nil {
		return nil, errors.New("it has no BTF")
	}
	return marshal(c.Type.Type, c.Size(), v)
}

// Reset makes every map what it is in the fixture. What only user space writes is filled anew only when a test has
// written to it since.
func (w *World) Reset() error {
	untouched := w.filled
	for name, t := range w.Tables {
		if configuration[name] {
			untouched = untouched && !*t.touched
		} else if err := t.clear(); err != nil {
			return fmt.Errorf("emptying map %s: %w", name, err)
		}
	}
	if untouched {
		return nil
	}
	for name := range configuration {
		t := w.Tables[name]
		if err := t.clear(); err != nil {
			return fmt.Errorf("emptying map %s: %w", name, err)
		}
	}
	if err := w.fill(); err != nil {
		return err
	}
	for name := range configuration {
		*w.Tables[name].touched = false
	}
	w.filled = true
	return nil
}

// configuration are the maps that programs only read.
var configuration = map[string]bool{"ports": true, "endpoints": true, "macs": true, "peers": true, "forwards": true, "inverses": true, "prefixes": true, "settings": true}

func (w *World) fill() error {
	var errs []error
	put := func(table string, key, value any) {
		t, ok := w.Tables[table]
		if !ok {
			errs = append(errs, fmt.Errorf("there is no map %s", table))
			return
		}
		if err := t.Put(key, value); err != nil {
			errs = append(errs, fmt.Errorf("map %s: %w", table, err))
		}
	}
	for _, h := range []Host{w.WS1, w.WS2, w.WS3, w.WS4, w.WS5, w.Node, w.Node3, w.Pod} {
		if h.Kind != 0 {
			put("ports", uint32(w.Ifindex[h.Name]), Record{"ip": h.IP, "mac": h.MAC, "kind": h.Kind, "slot": h.Slot})
		}
		e := w.Endpoint(h)
		put("endpoints", Record{"ip": h.IP}, e)
		put("macs", Record{"mac": h.MAC}, e)
	}
	for _, p := range []Peer{w.Peer2, w.Peer3, w.Peer5, w.Foreign} {
		r := Record{"flags": p.Flag, "local": w.VTEP, "mtu": w.MTU + TunnelSize}
		if p.Flag&1 != 0 {
			r["smac"], r["dmac"], r["ifindex"] = w.UnderlayMAC, p.MAC, w.Ifindex[Underlay]
		}
		put("peers", Record{"ip": p.VTEP}, r)
	}
	for _, f := range w.Forwards() {
		w.forward(put, f)
	}
	for _, p := range w.Deny {
		put("prefixes", Record{"prefixlen": p.Bits() + 96, "ip": p.Addr()}, 1)
	}
	for _, p := range w.Allow {
		put("prefixes", Record{"prefixlen": p.Bits() + 96, "ip": p.Addr()}, 2)
	}
	errs = append(errs, w.Limits(1000, 2000, 1000))
	return errors.Join(errs...)
}

// Endpoint gives the value of the maps endpoints and macs for a host.
func (w *World) Endpoint(h Host) Record {
	e := Record{"ip": h.IP, "vtep": h.VTEP, "mac": h.MAC, "state": 1, "flags": h.Flag, "slot": h.Slot}
	if !h.VTEP.IsValid() {
		e["ifindex"], e["port"] = w.Ifindex[h.Name], w.Ifindex[h.Name]
	}
	return e
}

// States of an endpoint, enum endpoint_state.
const (
	Awake = iota + 1
	Asleep
	Booting
	Napping
	Unreachable
)

// Lay puts a local host into a state other than awake, with a wake policy (enum wake_policy) and, unless it is stopped, its port.
func (w *World) Lay(h Host, state, wake uint8, port bool) error {
	e := w.Endpoint(h)
	e["state"], e["wake"], e["ifindex"] = state, wake, 0
	if !port {
		e["port"] = 0
	}
	flags := uint8(0)
	if state == Booting {
		flags = 1
	}
	return errors.Join(
		w.Tables["endpoints"].Put(Record{"ip": h.IP}, e), w.Tables["macs"].Put(Record{"mac": h.MAC}, e),
		w.Tables["ports"].Put(uint32(w.Ifindex[h.Name]), Record{"ip": h.IP, "mac": h.MAC, "kind": h.Kind, "slot": h.Slot, "flags": flags}))
}

// WakeOf sets what a forward's inverse says of waking (the FORWARD_WAKE_ bits of enum forward_flags).
func (w *World) WakeOf(f Forward, flags uint8) error {
	if f.Tracked {
		flags |= 1
	}
	return w.Tables["inverses"].Put(Record{"ip": f.Target.Addr(), "port": f.Target.Port(), "proto": f.Proto},
		Record{"ip": f.External.Addr(), "entry": f.Entry, "port": f.External.Port(), "flags": flags})
}

// forward fills in one forward: the way in at the node that has the external address, the way back at both.
func (w *World) forward(put func(table string, key, value any), f Forward) {
	flags, slot := 0, uint32(0)
	if f.Tracked {
		flags = 1
	}
	for _, h := range []Host{w.WS1, w.WS2} {
		if h.IP == f.Target.Addr() {
			slot = h.Slot
		}
	}
	service := func(a netip.AddrPort) Record { return Record{"ip": a.Addr(), "port": a.Port(), "proto": f.Proto} }
	put("forwards", service(f.External), Record{"ip": f.Target.Addr(), "entry": f.Entry, "port": f.Target.Port(), "flags": flags, "slot": slot})
	put("inverses", service(f.Target), Record{"ip": f.External.Addr(), "entry": f.Entry, "port": f.External.Port(), "flags": flags})
}

// Limits sets how many flows a webspace always may hold, may hold at most, and how many there may be beyond the shares.
func (w *World) Limits(share, quota, pool uint32) error {
	return w.settings(share, quota, pool, 7)
}

// Epoch begins a new epoch of next hops; 7 is the fixture's.
func (w *World) Epoch(n uint32) error { return w.settings(1000, 2000, 1000, n) }

func (w *World) settings(share, quota, pool, epoch uint32) error {
	return w.Tables["settings"].Put(uint32(0), Record{"uplink": w.VTEP, "nh_epoch": epoch, "flow_share": share, "flow_quota": quota, "flow_pool": pool,
		"cookie_key": []uint64{CookieKey0, CookieKey1}})
}

// CookieKey0 and CookieKey1 are the secret of challenges.
const CookieKey0, CookieKey1 = 0x0706050403020100, 0x0f0e0d0c0b0a0908

// clear empties a hash, and zeroes an array as far as the fixture's slots go.
func (t Table) clear() error {
	switch t.Type() {
	case ebpf.RingBuf:
		return nil
	case ebpf.Array:
		return t.zero(1)
	case ebpf.PerCPUArray:
		if t.MaxEntries() == 1 { // room to work in: nobody reads it before writing
			return nil
		}
		return t.zero(ebpf.MustPossibleCPU())
	}
	keys, err := t.keys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := t.Map.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// slots is how many entries of an array the fixture may have used; of buckets there are several for each slot.
const slots = 64

// zero empties the first entries of an array, in one call.
func (t Table) zero(cpus int) error {
	n := min(int(t.MaxEntries()), slots)
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = uint32(i)
	}
	value := reflect.ArrayOf(int(t.ValueSize()), reflect.TypeFor[byte]())
	_, err := t.BatchUpdate(keys, reflect.MakeSlice(reflect.SliceOf(value), n*cpus, n*cpus).Interface(), nil)
	return err
}

func (t Table) keys() ([][]byte, error) {
	var keys [][]byte
	var last any
	for {
		next := make([]byte, t.KeySize())
		err := t.NextKey(last, &next)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, next)
		last = next
	}
}

// Count gives the number of entries of a hash.
func (w *World) Count(table string) (int, error) {
	t, ok := w.Tables[table]
	if !ok {
		return 0, fmt.Errorf("there is no map %s", table)
	}
	keys, err := t.keys()
	return len(keys), err
}

// Share gives how many flows the programs count for a slot (0: the pool).
func (w *World) Share(slot uint32) (int64, error) {
	t := w.Tables["shares"]
	data, err := t.LookupBytes(slot)
	if err != nil {
		return 0, err
	}
	return int64(Value{t.value, data}.Uint("flows")), nil
}

// DropCount is one counter of the map drops.
type DropCount struct {
	Slot    uint32
	Reason  string
	Packets uint64
	Bytes   uint64
}

// TakeDrops reads the drop counters, summed over the CPUs, and empties them.
func (w *World) TakeDrops() ([]DropCount, error) {
	t := w.Tables["drops"]
	keys, err := t.keys()
	if err != nil {
		return nil, err
	}
	var out []DropCount
	for _, k := range keys {
		var perCPU [][]byte
		if err := t.Lookup(k, &perCPU); err != nil {
			return nil, err
		}
		key := Value{t.key, k}
		d := DropCount{Slot: uint32(key.Uint("slot")), Reason: w.reasons[key.Uint("reason")]}
		for _, v := range perCPU {
			d.Packets += Value{t.value, v}.Uint("packets")
			d.Bytes += Value{t.value, v}.Uint("bytes")
		}
		if d.Packets > 0 {
			out = append(out, d)
		}
		if err := t.Map.Delete(k); err != nil {
			return nil, err
		}
	}
	return out, nil
}
