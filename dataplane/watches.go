package dataplane

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// WatchNetns begins to watch the sockets of a webspace: inum is the inode of its network namespace (the number in
// /proc/PID/ns/net). fresh says that none of its processes had a connection before. The tracing programs are
// attached while at least one webspace is watched, also over a restart of the daemon. A second call for an address replaces
// the first; the watch ends by UnwatchNetns, or when the webspace leaves the State.
//
// EventListen comes from every kernel. EventBind needs a kernel whose functions can be traced: where TracesBinds is false,
// PollBinds makes up for it.
func (d *Dataplane) WatchNetns(ip netip.Addr, inum uint32, fresh bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	e, ok := d.local(ip)
	if !ok {
		return fmt.Errorf("watch the sockets of %v: %w", ip, ErrNoEndpoint)
	}
	if err := d.unwatch(func(w *bpf.TcWatch, at uint32) bool { return unwire(w.Ip) == ip && at != inum }); err != nil {
		return err
	}
	v := bpf.TcWatch{Ip: wire(ip), Slot: d.slots.owner[e.Owner]}
	var old bpf.TcWatch
	switch err := d.maps["netns"].Lookup(inum, &old); {
	case err == nil && old.Ip == v.Ip && old.Slot == v.Slot:
		v.Fresh, v.Lost = old.Fresh, old.Lost // it has been watched all the while
	case fresh:
		v.Fresh = 1
	}
	if err := d.maps["netns"].Put(inum, v); err != nil {
		return fmt.Errorf("write map netns: %w", err)
	}
	return d.attachTracers()
}

// UnwatchNetns ends it. It is no error when nothing was watched.
func (d *Dataplane) UnwatchNetns(ip netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	return d.unwatch(func(w *bpf.TcWatch, _ uint32) bool { return unwire(w.Ip) == ip })
}

// pruneWatches ends the watches of webspaces that are not on this node any more. mu is held.
func (d *Dataplane) pruneWatches() error {
	return d.unwatch(func(w *bpf.TcWatch, _ uint32) bool {
		e, ok := d.local(unwire(w.Ip))
		return !ok || d.slots.owner[e.Owner] != w.Slot
	})
}

// unwatch ends some watches, forgets their sockets, and detaches the tracing programs after the last. mu is held.
func (d *Dataplane) unwatch(which func(*bpf.TcWatch, uint32) bool) error {
	watches, err := d.watches()
	if err != nil {
		return err
	}
	ended := map[uint32]bool{}
	for inum, w := range watches {
		if !which(&w, inum) {
			continue
		}
		if err := d.maps["netns"].Delete(inum); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("write map netns: %w", err)
		}
		ended[inum] = true
	}
	if len(ended) == 0 {
		return nil
	}
	var keys []uint64
	if err := eachBatch(d.maps["sockets"], func(k []uint64, v []bpf.TcSocket) error {
		for i := range v {
			if ended[v[i].Netns] {
				keys = append(keys, k[i])
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read map sockets: %w", err)
	}
	for _, k := range keys {
		if err := d.maps["sockets"].Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("write map sockets: %w", err)
		}
	}
	if len(ended) == len(watches) {
		return d.detachTracers()
	}
	return nil
}

func (d *Dataplane) watches() (map[uint32]bpf.TcWatch, error) {
	all := map[uint32]bpf.TcWatch{}
	err := eachBatch(d.maps["netns"], func(k []uint32, v []bpf.TcWatch) error {
		for i := range k {
			all[k[i]] = v[i]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read map netns: %w", err)
	}
	return all, nil
}
