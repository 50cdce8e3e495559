package dataplane

import (
	"net"
	"net/netip"
)

// State is everything that the dataplane of one node should know: plain values, no kernel objects. Apply makes the
// kernel equal to it. The order inside the slices carries no meaning.
type State struct {
	Peers     []Peer
	Ports     []Port
	Endpoints []Endpoint
	Forwards  []Forward
	// Deny lists destinations that no webspace may reach through NAT; Allow lists exceptions. The longest prefix wins.
	Deny, Allow []netip.Prefix
}

// Peer is another node, as a tunnel endpoint.
type Peer struct {
	VTEP netip.Addr
	// Foreign marks a plain kernel VXLAN peer, without a lanyardd: frames from it take the slow path, so that the
	// bridge learns where its MACs are.
	Foreign bool
}

// PortKind says which rules the frames of a port meet.
type PortKind uint8

const (
	PortWebspace PortKind = 1 // hostile: the whole source guard
	PortPod      PortKind = 2 // ours: no source guard
)

// Port is an interface of this node through which frames enter the LAN.
type Port struct {
	Name    string // of the host side, in the node's network namespace; for messages
	Ifindex int
	MAC     net.HardwareAddr
	IP      netip.Addr
	Kind    PortKind
	Owner   string // the webspace, e.g. "ws-u3"; the label of its counters
}

// Endpoint says where a LAN address is.
type Endpoint struct {
	IP   netip.Addr
	MAC  net.HardwareAddr
	VTEP netip.Addr // the peer that it is behind; invalid (zero) when it is on this node
	// Ifindex of its port when it is on this node. 0 means known but without a port (stopped): not forwarded to.
	Ifindex int
	Infra   bool   // a node, ingress or control address: webspaces may answer it, but not open anything towards it
	Owner   string // the webspace, or "" for infrastructure
	// Life and Wake are looked at when it is on this node. SetLife is above Life.
	Life Life
	Wake WakePolicy
}

// Proto is an IP protocol number.
type Proto uint8

const (
	ICMP Proto = 1
	TCP  Proto = 6
	UDP  Proto = 17
)

// Forward maps an external (address, protocol, port) to a port of a webspace.
type Forward struct {
	External netip.AddrPort
	Proto    Proto
	Target   netip.AddrPort // LAN address and port of the webspace
	Entry    netip.Addr     // VTEP of the node that owns the external address; invalid (zero) when it is this node
	Owner    string
	Wake     ForwardWake
}
