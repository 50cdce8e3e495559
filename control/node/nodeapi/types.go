package nodeapi

import (
	"net/netip"
	"time"
)

// DefaultSocket is where lanyardd listens unless it is configured otherwise.
const DefaultSocket = "/run/lanyard/node.sock"

// Paths of the API.
const (
	PathStatus = "/v1/node/status"
	PathDrops  = "/v1/node/drops"
	PathResync = "/v1/node/resync"
	PathWakes  = "/v1/node/wakes"
	PathAwake  = "/v1/node/awake"
	PathWoken  = "/v1/node/woken"
)

// Status is everything that a node can say about itself at one moment. Lists are sorted, and never null in JSON.
type Status struct {
	Version string    `json:"version"` // of the daemon
	Time    time.Time `json:"time"`    // when this was put together
	Started time.Time `json:"started"` // when the daemon started; the dataplane may be older

	Node      Node       `json:"node"`
	Readiness Readiness  `json:"readiness"`
	LXD       LXD        `json:"lxd"`
	Sync      Sync       `json:"sync"`
	Programs  []Program  `json:"programs"`
	Maps      []Map      `json:"maps"`
	Peers     []Peer     `json:"peers"`
	Ports     []Port     `json:"ports"`
	Endpoints []Endpoint `json:"endpoints"`
	Forwards  []Forward  `json:"forwards"`
	Flows     Flows      `json:"flows"`
	Drops     []Drops    `json:"drops"`
	DHCP      DHCP       `json:"dhcp"`
	DNS       DNS        `json:"dns"`
	Wake      Waking     `json:"wake"`
	// Counters are per webspace of this node, by its name.
	Counters map[string]Counters `json:"counters"`
	// Problems are single bad items that were skipped: they affect only themselves.
	Problems []Problem `json:"problems"`
	// Errors say which parts of this status could not be read; what they would have filled is then empty.
	Errors []string `json:"errors"`
}

// Node says who this node is.
type Node struct {
	Name       string       `json:"name"`
	Index      int          `json:"index"`
	IP         netip.Addr   `json:"ip"`  // on the LAN
	MAC        string       `json:"mac"` // of the bridge
	Prefix     netip.Prefix `json:"prefix"`
	Gateway    netip.Addr   `json:"gateway"`
	GatewayMAC string       `json:"gateway_mac"`
	VNI        uint32       `json:"vni"`
	Port       uint16       `json:"port"` // UDP, of the tunnel
	VTEP       netip.Addr   `json:"vtep"`
	Underlay   string       `json:"underlay"`
	Uplink     string       `json:"uplink"`
	UplinkIP   netip.Addr   `json:"uplink_ip"`
	MTU        int          `json:"mtu"` // of the LAN, bytes
	XDP        string       `json:"xdp"` // off, native, generic
	Bridge     string       `json:"bridge"`
	BPFFS      string       `json:"bpffs"` // folder of the pins
}

// Readiness is what /readyz answers.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Check is one reason to be ready or not. A failed check that is not required is a warning.
type Check struct {
	Name     string `json:"name"` // programs, maps, first-sync, lxd, dhcp
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail"`
}

// LXD says how the connection to LXD is. While it is down the last state stays in force.
type LXD struct {
	Target    string    `json:"target"` // socket path or URL
	Connected bool      `json:"connected"`
	Error     string    `json:"error,omitempty"`
	LastSeen  time.Time `json:"last_seen,omitzero"` // of the last good answer
}

// Sync says how the way from LXD into the kernel goes.
type Sync struct {
	Runs     uint64        `json:"runs"`
	Failures uint64        `json:"failures"`
	Last     time.Time     `json:"last,omitzero"` // end of the last good one
	Duration time.Duration `json:"duration_ns"`   // of the last good one
	Error    string        `json:"error,omitempty"`
}

// Program is one of ours at its hook.
type Program struct {
	Name      string `json:"name"`      // port, underlay, node, underlay_xdp
	Hook      string `json:"hook"`      // tcx/ingress, tcx/egress, xdp
	Interface string `json:"interface"` // by name; empty when it is gone
	Ifindex   int    `json:"ifindex"`
	Tag       string `json:"tag"`     // the kernel's digest of its instructions
	Version   string `json:"version"` // of the build that loaded it, or its layout
}

// Map is the fill of one map.
type Map struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"` // -1: not counted (arrays, or too costly)
	Max     int    `json:"max"`
	Bytes   int64  `json:"bytes"` // memory that it holds; 0: unknown
}

// Peer is another node, as a tunnel endpoint.
type Peer struct {
	Name      string     `json:"name,omitempty"`
	VTEP      netip.Addr `json:"vtep"`
	Ready     bool       `json:"ready"` // its next hop is known: the short way is in use
	Foreign   bool       `json:"foreign"`
	Interface string     `json:"interface,omitempty"`
	NextHop   string     `json:"next_hop,omitempty"` // MAC
	MTU       int        `json:"mtu,omitempty"`      // outer, bytes
	Detail    string     `json:"detail,omitempty"`   // why it is not ready
}

// Port is an interface through which frames enter the LAN.
type Port struct {
	Name    string     `json:"name"`
	Ifindex int        `json:"ifindex"`
	MAC     string     `json:"mac"`
	IP      netip.Addr `json:"ip"`
	Kind    string     `json:"kind"`  // webspace, pod
	Owner   string     `json:"owner"` // the webspace
	Slot    uint32     `json:"slot"`
}

// Endpoint says where a LAN address is.
type Endpoint struct {
	IP    netip.Addr `json:"ip"`
	MAC   string     `json:"mac"`
	VTEP  netip.Addr `json:"vtep,omitzero"` // the peer that it is behind; absent when it is on this node
	Port  string     `json:"port,omitempty"`
	State string     `json:"state"` // awake, asleep
	Infra bool       `json:"infra"`
	Owner string     `json:"owner,omitempty"`
}

// Forward maps an external address and port to a webspace.
type Forward struct {
	External netip.AddrPort `json:"external"`
	Proto    string         `json:"proto"` // tcp, udp
	Target   netip.AddrPort `json:"target"`
	Entry    netip.Addr     `json:"entry,omitzero"` // VTEP of the node that owns External; absent when it is this node
	Tracked  bool           `json:"tracked"`        // its replies are found by a table, because the target has several externals
	Owner    string         `json:"owner"`
}

// Flows are the outbound connections that NAT holds.
type Flows struct {
	Entries int `json:"entries"` // flows, not map entries
	Max     int `json:"max"`
	Share   int `json:"share"` // each webspace may always hold these
	Quota   int `json:"quota"` // no webspace may hold more
}

// Drops counts what was refused, by reason. Owner is empty when no webspace of this node is to blame.
type Drops struct {
	Owner   string `json:"owner,omitempty"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counters of one webspace. Received is seen from the webspace.
type Counters struct {
	RxPackets   uint64 `json:"rx_packets"`
	RxBytes     uint64 `json:"rx_bytes"`
	TxPackets   uint64 `json:"tx_packets"`
	TxBytes     uint64 `json:"tx_bytes"`
	SlowPackets uint64 `json:"slow_packets"` // handed to the kernel's bridge
	FlowsOpened uint64 `json:"flows_opened"`
	Parked      uint64 `json:"parked_packets"` // held for a sleeping webspace
}

// DNS says how the name server does. Without dns.enabled it is empty.
type DNS struct {
	Running bool `json:"running"`
	Records int  `json:"records"` // names of the LAN
	// Queries are by type ("A", ..., "other"), Answers by source ("zone", "cache", "upstream", "protocol") and code.
	Queries      map[string]uint64            `json:"queries"`
	Answers      map[string]map[string]uint64 `json:"answers"`
	Dropped      map[string]uint64            `json:"dropped"` // by reason
	CacheEntries int                          `json:"cache_entries"`
	CacheBytes   int                          `json:"cache_bytes"`
	Open         int                          `json:"open"` // questions that wait for upstreams
	Upstreams    []DNSUpstream                `json:"upstreams"`
}

// DNSUpstream is a name server that is asked about names outside.
type DNSUpstream struct {
	Name     string `json:"name"`
	Up       bool   `json:"up"`
	Asked    uint64 `json:"asked"`
	Answered uint64 `json:"answered"`
}

// Waking says how this node's webspaces are, and what waking did since the daemon started.
type Waking struct {
	Enabled    bool          `json:"enabled"`
	Webspaces  []WakingState `json:"webspaces"`
	Queued     int           `json:"queued"`      // starts that wait for their turn
	HeldFrames int           `json:"held_frames"` // packets that wait now
	HeldBytes  int           `json:"held_bytes"`

	Parked   uint64            `json:"parked"`   // packets that came for a webspace which could not take them
	Strange  uint64            `json:"strange"`  // of these, not understood or for nobody
	Dropped  uint64            `json:"dropped"`  // of these, without room to wait
	Unproven uint64            `json:"unproven"` // of these, dropped because nobody answered the challenge
	Injected uint64            `json:"injected"` // sent on, repetitions included
	Refused  uint64            `json:"refused"`  // answered with a refusal
	Denied   map[string]uint64 `json:"denied"`   // not let wake, by reason
}

// WakingState is how one webspace is.
type WakingState struct {
	Webspace string     `json:"webspace"`
	UID      int        `json:"uid"`
	IP       netip.Addr `json:"ip"`
	Life     string     `json:"life"` // awake, asleep, booting, napping, unreachable
	Since    time.Time  `json:"since"`
	Doing    string     `json:"doing,omitempty"` // wake, thaw, nap, sleep: under way now
	Held     int        `json:"held"`            // packets that wait for it
	Error    string     `json:"error,omitempty"` // of its last start, when that failed
	RetryAt  time.Time  `json:"retry_at,omitzero"`
}

// DHCP counts the messages of the DHCP server.
type DHCP struct {
	Running      bool              `json:"running"`
	Reservations int               `json:"reservations"`
	Received     map[string]uint64 `json:"received"` // by message type: discover, request, ...
	Sent         map[string]uint64 `json:"sent"`     // offer, ack, nak
	Dropped      map[string]uint64 `json:"dropped"`  // by reason
}

// Problem is a single bad item.
type Problem struct {
	Subject string `json:"subject"` // e.g. "webspace ws-u3"
	Error   string `json:"error"`
}

// SyncResult is the answer to a resync.
type SyncResult struct {
	Duration time.Duration     `json:"duration_ns"`
	Changes  map[string]Change `json:"changes"` // by table: peers, ports, endpoints, forwards, ...
	Problems []Problem         `json:"problems"`
}

// Change counts what one table went through.
type Change struct {
	Added   int `json:"added"`
	Updated int `json:"updated"`
	Removed int `json:"removed"`
}

// Drop is one sampled frame that was refused.
type Drop struct {
	Time      time.Time `json:"time"`
	Webspace  string    `json:"webspace,omitempty"`
	Reason    string    `json:"reason"`
	Hook      string    `json:"hook"` // port, underlay, node, underlay_xdp
	Interface string    `json:"interface,omitempty"`
	Ifindex   int       `json:"ifindex"`
	Length    int       `json:"length"` // of the whole frame, bytes
	// Data is the frame from its Ethernet header, cut to the sample's length (base64 in JSON). It is hostile.
	Data []byte `json:"data"`
	// Missed counts samples that were lost before this one because this reader was too slow.
	Missed uint64 `json:"missed,omitempty"`
}
