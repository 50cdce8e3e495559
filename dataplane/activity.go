package dataplane

import (
	"errors"
	"net/netip"
	"time"
)

var errNotYet = errors.New("not built yet")

// Activity is how busy a webspace of this node is.
type Activity struct {
	// LastPacket is when the last packet was delivered to it that was not the gateway's (DHCP, DNS), ARP or broadcast; zero
	// when there was none since it came to this node. Exact to some milliseconds, and kept over restarts of the daemon.
	LastPacket time.Time
	// Flows counts its open TCP connections, in both directions, without those over loopback.
	Flows int
	// FlowsKnown says that Flows is complete: its network namespace was watched when its first process started.
	FlowsKnown bool
}

// Activity reads all webspaces of this node at once, by address.
func (d *Dataplane) Activity() (map[netip.Addr]Activity, error) { return nil, errNotYet }

// Flow is one open TCP connection of a watched webspace.
type Flow struct {
	Local, Remote netip.AddrPort
	Passive       bool // the other side opened it
	Since         time.Time
}

// Flows lists the open TCP connections of a webspace, oldest first.
func (d *Dataplane) Flows(ip netip.Addr) ([]Flow, error) { return nil, errNotYet }

// WatchNetns begins to watch the sockets of a webspace: inum is the inode of its network namespace (the number in
// /proc/PID/ns/net). fresh says that none of its processes had a connection before. The tracing programs are
// attached while at least one webspace is watched. A second call for an address replaces the first; the watch ends by
// UnwatchNetns, or when the webspace leaves the State.
func (d *Dataplane) WatchNetns(ip netip.Addr, inum uint32, fresh bool) error { return errNotYet }

// UnwatchNetns ends it. It is no error when nothing was watched.
func (d *Dataplane) UnwatchNetns(ip netip.Addr) error { return nil }
