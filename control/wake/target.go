package wake

import (
	"net/netip"
	"time"

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
	Policy       Policy        // of what may wake it
	// Forwards are the ports that have a policy of their own, by protocol and port of the webspace.
	Forwards map[Port]Policy
}

// Port is a port of a webspace.
type Port struct {
	Proto Proto
	Port  uint16
}

// Mode is which packets wake.
type Mode string

// The modes.
const (
	Any       Mode = "any"       // every packet that the dataplane parks
	Verified  Mode = "verified"  // only one whose sender has proved that it is there
	Allowlist Mode = "allowlist" // only from listed addresses, and from the LAN and the nodes
	Never     Mode = "never"     // none
)

// Policy is who may wake.
type Policy struct {
	Mode  Mode // "": Any
	Allow []netip.Prefix
}
