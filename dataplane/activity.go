package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/lanyard-project/lanyard/bpf"
)

// Activity is how busy a webspace of this node is.
type Activity struct {
	// LastPacket is when the last packet was delivered to it that was not the gateway's (DHCP, DNS), ARP or broadcast; zero
	// when there was none since it came to this node. Exact to some milliseconds, and kept over restarts of the daemon.
	LastPacket time.Time
	// Flows counts its open TCP connections, in both directions, without those over loopback.
	Flows int
	// FlowsKnown says that Flows is complete: its network namespace was watched when its first process started, and no
	// connection was left out for lack of room.
	FlowsKnown bool
}

// Activity reads all webspaces of this node at once, by address.
func (d *Dataplane) Activity() (map[netip.Addr]Activity, error) {
	_, leave, err := d.enter(d.closing)
	if err != nil {
		return nil, err
	}
	defer leave()
	now, err := d.ticks.now()
	if err != nil {
		return nil, err
	}
	all := map[netip.Addr]Activity{}
	for ip, slot := range d.localSlots() {
		var perCPU []bpf.TcCounters
		if err := d.maps["counters"].Lookup(slot, &perCPU); err != nil {
			return nil, fmt.Errorf("read map counters: %w", err)
		}
		var a Activity
		var last uint64
		for i := range perCPU {
			last = max(last, perCPU[i].LastRx)
		}
		if last > 0 {
			a.LastPacket = now.wall(last)
		}
		all[ip] = a
	}
	watches, err := d.watches()
	if err != nil {
		return nil, err
	}
	for _, w := range watches {
		if a, ok := all[unwire(w.Ip)]; ok {
			a.FlowsKnown = w.Fresh != 0 && w.Lost == 0
			all[unwire(w.Ip)] = a
		}
	}
	err = d.eachSocket(func(s *bpf.TcSocket) {
		w, ok := watches[s.Netns]
		if a, here := all[unwire(w.Ip)]; ok && here {
			a.Flows++
			all[unwire(w.Ip)] = a
		}
	})
	return all, err
}

// localSlots are the slots of the webspaces of this node, by address.
func (d *Dataplane) localSlots() map[netip.Addr]uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[netip.Addr]uint32{}
	if d.wanted == nil {
		return all
	}
	for _, i := range d.wanted.endpoints {
		e := &d.wanted.state.Endpoints[i]
		if slot, ok := d.slots.owner[e.Owner]; ok && !e.VTEP.IsValid() {
			all[e.IP] = slot
		}
	}
	return all
}

// Flow is one open TCP connection of a watched webspace.
type Flow struct {
	Local, Remote netip.AddrPort
	Passive       bool // the other side opened it
	Since         time.Time
}

// Flows lists the open TCP connections of a webspace, oldest first.
func (d *Dataplane) Flows(ip netip.Addr) ([]Flow, error) {
	_, leave, err := d.enter(d.closing)
	if err != nil {
		return nil, err
	}
	defer leave()
	watches, err := d.watches()
	if err != nil {
		return nil, err
	}
	flows := []Flow{}
	err = d.eachSocket(func(s *bpf.TcSocket) {
		if w, ok := watches[s.Netns]; !ok || unwire(w.Ip) != ip {
			return
		}
		flows = append(flows, Flow{
			Local: netip.AddrPortFrom(unwire(s.Local), s.Lport), Remote: netip.AddrPortFrom(unwire(s.Remote), s.Rport),
			Passive: s.Passive != 0, Since: wallClock(s.Since),
		})
	})
	slices.SortFunc(flows, func(a, b Flow) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	return flows, err
}

func (d *Dataplane) eachSocket(f func(*bpf.TcSocket)) error {
	err := eachBatch(d.maps["sockets"], func(_ []uint64, sockets []bpf.TcSocket) error {
		for i := range sockets {
			f(&sockets[i])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read map sockets: %w", err)
	}
	return nil
}
