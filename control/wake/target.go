package wake

import (
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

// Target is a webspace of this node, as LXD and the kernel show it.
type Target struct {
	UID    int
	Name   string
	Addr   netip.Addr
	Status webspace.Status
	// Ifindex of its port: 0 while it has none. It is told when its program is attached and packets can reach it.
	Ifindex int

	HTTPPort     uint16
	StartupDelay time.Duration // how long it may take from its start to its first answer
	Rule         webspace.WakeRule
	// Forwards are the ports that have a rule of their own, by protocol and port of the webspace.
	Forwards map[Port]webspace.WakeRule
	// Watched: somebody goes on to need its sockets when it is awake (the idle policy).
	Watched bool
}

// Port is a port of a webspace.
type Port struct {
	Proto dataplane.Proto
	Port  uint16
}
