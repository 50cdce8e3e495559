package dataplane

import (
	"net/netip"
	"time"
)

// Status is what the dataplane is at one moment. Lists are sorted, and never null in JSON.
type Status struct {
	Layout    int              `json:"layout"` // of the maps
	MTU       int              `json:"mtu"`    // of the LAN, bytes
	Applied   time.Time        `json:"applied,omitzero"`
	Programs  []ProgramStatus  `json:"programs"`
	Maps      []MapStatus      `json:"maps"`
	Peers     []PeerStatus     `json:"peers"`
	Ports     []PortStatus     `json:"ports"`
	Endpoints []EndpointStatus `json:"endpoints"`
	Forwards  []ForwardStatus  `json:"forwards"`
	Flows     FlowStatus       `json:"flows"`
	Problems  []Problem        `json:"problems"` // of the last Apply, and of what Run is trying
}

// ProgramStatus is one of our programs at one hook.
type ProgramStatus struct {
	Name      string `json:"name"` // port, underlay, node, underlay_xdp
	Hook      string `json:"hook"` // tcx/ingress, tcx/egress, xdp
	Interface string `json:"interface"`
	Ifindex   int    `json:"ifindex"`
	ID        uint32 `json:"id"`
	Tag       string `json:"tag"` // the kernel's digest of its instructions
	Version   string `json:"version"`
	// Attached is false when the link has lost its interface.
	Attached bool `json:"attached"`
}

// MapStatus is the fill of one map.
type MapStatus struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"` // -1: not counted
	Max     int    `json:"max"`
	Bytes   int64  `json:"bytes"` // memory that the kernel says it holds
}

// PeerStatus is one peer and its next hop.
type PeerStatus struct {
	VTEP      netip.Addr `json:"vtep"`
	Ready     bool       `json:"ready"`
	Foreign   bool       `json:"foreign"`
	Interface string     `json:"interface,omitempty"`
	NextHop   string     `json:"next_hop,omitempty"` // MAC
	MTU       int        `json:"mtu,omitempty"`      // outer, bytes
	Detail    string     `json:"detail,omitempty"`   // why it is not ready
}

// PortStatus is one port.
type PortStatus struct {
	Name    string     `json:"name"`
	Ifindex int        `json:"ifindex"`
	MAC     string     `json:"mac"`
	IP      netip.Addr `json:"ip"`
	Kind    string     `json:"kind"` // webspace, pod
	Owner   string     `json:"owner"`
	Slot    uint32     `json:"slot"`
}

// EndpointStatus says where a LAN address is.
type EndpointStatus struct {
	IP      netip.Addr `json:"ip"`
	MAC     string     `json:"mac"`
	VTEP    netip.Addr `json:"vtep,omitzero"` // absent when it is on this node
	Ifindex int        `json:"ifindex,omitempty"`
	Port    string     `json:"port,omitempty"`
	State   string     `json:"state"` // awake, asleep, booting, napping, unreachable
	Infra   bool       `json:"infra"`
	Owner   string     `json:"owner,omitempty"`
}

// ForwardStatus is one forward.
type ForwardStatus struct {
	External netip.AddrPort `json:"external"`
	Proto    string         `json:"proto"` // tcp, udp
	Target   netip.AddrPort `json:"target"`
	Entry    netip.Addr     `json:"entry,omitzero"` // absent when it is this node
	Tracked  bool           `json:"tracked"`
	Owner    string         `json:"owner"`
}

// FlowStatus is the table of outbound flows.
type FlowStatus struct {
	Entries int `json:"entries"` // flows, as of the last sweep
	Max     int `json:"max"`
	Share   int `json:"share"` // each webspace may always hold these
	Quota   int `json:"quota"` // no webspace may hold more
	Pool    int `json:"pool"`  // beyond their shares, all together
}
