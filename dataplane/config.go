package dataplane

import (
	"net"
	"net/netip"
	"time"
)

// XDPMode says whether the underlay program also runs at the XDP hook.
type XDPMode string

const (
	XDPOff     XDPMode = "off"
	XDPNative  XDPMode = "native"
	XDPGeneric XDPMode = "generic"
)

// Config is what a node's dataplane is built with. It holds for the life of one daemon; a change needs a restart,
// which interrupts no traffic.
type Config struct {
	Prefix     netip.Prefix     // the LAN, e.g. 172.24.0.0/16
	Gateway    netip.Addr       // anycast, e.g. 172.24.254.1
	GatewayMAC net.HardwareAddr // the same on every node
	NodeIP     netip.Addr       // this node's LAN address, e.g. 172.24.0.1
	NodeMAC    net.HardwareAddr // of the bridge
	Infra      []netip.Prefix   // LAN ranges of infrastructure: webspaces may answer these, not open towards them

	VNI      uint32
	Port     uint16     // UDP, of the tunnel
	VTEP     netip.Addr // this node's tunnel address
	Underlay string     // interface that carries tunnels
	Uplink   string     // interface with the default route; often the same
	UplinkIP netip.Addr // source of NAT
	Pods     bool       // the kernel may forward what comes from the bridge: answers to pods of the node
	MTU      int        // of the LAN; 0: minimum underlay MTU - 50
	XDP      XDPMode

	NATPorts PortRange // source ports of NAT, kept apart from the host's ephemeral range and from forwards
	Sizes    Sizes
	Timeouts Timeouts

	Bridge string // default lanyard0
	VXLAN  string // default lanyard0-vx
	TAP    string // where packets for sleeping webspaces are parked; default lanyard0-pk
	BPFFS  string // default /sys/fs/bpf/lanyard

	Version string // of the daemon's build: noted beside the programs that it loads
}

// PortRange is inclusive at both ends.
type PortRange struct{ First, Last uint16 }

// Sizes are maximum entries of maps. Zero means the default.
type Sizes struct {
	Flows     int // outbound flows; 65,536 (two entries each)
	Forwards  int // 16,384
	Endpoints int // 16,384
	Peers     int // 1,024
	Tracks    int // 65,536
	Frags     int // 8,192
}

// Timeouts after which an idle flow is forgotten.
type Timeouts struct {
	TCPEstablished time.Duration // RFC 5382 REQ-5: at least 2 h 4 min
	TCPTransitory  time.Duration // opening or half closed; RFC 5382: at least 4 min
	TCPClosed      time.Duration // both FINs or a RST seen
	UDP            time.Duration // answered; RFC 4787 REQ-5: at least 2 min
	UDPUnanswered  time.Duration
	ICMP           time.Duration // RFC 5508 REQ-2: at least 60 s
}
