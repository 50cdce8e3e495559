package check

import "net/netip"

// Range of ports, inclusive at both ends. The zero Range is empty.
type Range struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Contains says whether p is in the range.
func (r Range) Contains(p uint16) bool { return r.Last != 0 && r.First <= p && p <= r.Last }

func (r Range) overlaps(o Range) bool {
	return r.Last != 0 && o.Last != 0 && r.First <= o.Last && o.First <= r.Last
}

// Want is what the machine has to offer: the parts of a node's configuration that meet the machine.
type Want struct {
	Prefix       netip.Prefix // of the LAN
	VNI          uint32
	TunnelPort   uint16 // UDP
	PeerPort     uint16 // TCP, for the other nodes of the cluster; 0: it is not used
	Underlay     string // "" = the interface with the default route
	Uplink       string // the same
	MTU          int    // of the LAN; 0 = minimum underlay MTU - 50
	NATPorts     Range
	ForwardPorts Range
	Bridge       string // our own devices, which must not count as somebody else's
	VXLAN        string
	BPFFS        string // where bpffs has to be, or a folder in it
	LXD          string // socket path or URL, for messages
	XDP          string // off, native, generic
	Reclaim      bool   // memory of napping webspaces is to be taken back
	IDsEach      int64  // ids that a webspace has for itself; 0 = LXD's own number, negative = webspaces share theirs
}

// overhead of a tunnel over IPv4: outer Ethernet is not counted in the MTU, inner Ethernet is (RFC 7348 section 4.3:
// IP 20 + UDP 8 + VXLAN 8 + inner Ethernet 14).
const overhead = 50

// MinLAN is the smallest MTU that the LAN may have: IPv6 needs it (RFC 8200 section 5).
const MinLAN = 1280
