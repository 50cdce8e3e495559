package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// Config is the whole configuration of a node. Lists are comma-separated in the environment and in flags.
type Config struct {
	LAN       LAN       `koanf:"lan" doc:"The LAN. It must be the same on every node."`
	Node      Node      `koanf:"node" doc:"This node."`
	Underlay  Underlay  `koanf:"underlay" doc:"What carries tunnels to other nodes."`
	Uplink    Uplink    `koanf:"uplink" doc:"The way to the outside."`
	Peers     Peers     `koanf:"peers" doc:"The other nodes."`
	Forwards  Forwards  `koanf:"forwards" doc:"Ports of webspaces that are reachable from outside."`
	Egress    Egress    `koanf:"egress" doc:"What webspaces may reach through NAT."`
	LXD       LXD       `koanf:"lxd" doc:"Where the webspaces are kept."`
	DHCP      DHCP      `koanf:"dhcp" doc:"What webspaces are told by DHCP, beside their address."`
	Webspaces Webspaces `koanf:"webspaces" doc:"What members may have."`
	Wake      Wake      `koanf:"wake" doc:"Which packets boot a webspace that is asleep, and what that may cost."`
	Sleep     Sleep     `koanf:"sleep" doc:"Which webspaces go to sleep, beside their own idle times. See how-to/put-to-sleep.md."`
	Ledger    Ledger    `koanf:"ledger" doc:"What the node remembers of wakes and sleeps: lanyard wakes."`
	DNS       DNS       `koanf:"dns" doc:"Names: those of webspaces, and what is forwarded. See how-to/configure-names.md."`
	API       API       `koanf:"api" doc:"The REST API (role control)."`
	Limits    Limits    `koanf:"limits" doc:"Sizes of tables. Memory is allocated up front, see maps.md. A change takes effect with the next start."`
	Timeouts  Timeouts  `koanf:"timeouts" doc:"After how long an idle outbound flow is forgotten."`
	Accounts  Accounts  `koanf:"accounts" doc:"The members, and how they prove who they are. For the role control."`
	Images    Images    `koanf:"images" doc:"The server of images for LXD and Incus (role images). See how-to/serve-images.md."`
	Metrics   Metrics   `koanf:"metrics" doc:"The HTTP server for /metrics, /healthz and /readyz."`
	Admin     Admin     `koanf:"admin" doc:"The socket for the lanyard command."`
	Paths     Paths     `koanf:"paths" doc:"Where things are kept."`
	Log       Log       `koanf:"log" doc:"What the daemon writes to standard error."`
}

// LAN is the private network of all webspaces.
type LAN struct {
	Prefix     netip.Prefix   `koanf:"prefix" doc:"Addresses of the LAN, IPv4, a /24 or larger."`
	Gateway    netip.Addr     `koanf:"gateway" doc:"Answered by every node for its own webspaces."`
	GatewayMAC MAC            `koanf:"gateway_mac" doc:"Of the gateway, the same on every node."`
	Infra      []netip.Prefix `koanf:"infrastructure" doc:"Ranges of nodes, ingress and control: webspaces may answer them, but open nothing towards them. Empty: the first and the gateway's /24 of the prefix."`
	Pool       AddrRange      `koanf:"pool" doc:"Addresses of webspaces. Empty: from the second /24 of the prefix to the last one before the gateway's, or to its end."`
	VNI        uint32         `koanf:"vni" doc:"VXLAN network identifier."`
	MTU        int            `koanf:"mtu" doc:"Of webspaces, bytes. 0: what the underlay leaves (its MTU - 50)."`
	Domain     string         `koanf:"domain" doc:"DNS domain of webspaces."`
	Bridge     string         `koanf:"bridge" doc:"Name of the bridge that the daemon makes."`
	VXLAN      string         `koanf:"vxlan" doc:"Name of the VXLAN device that the daemon makes."`
	Pods       bool           `koanf:"pods" doc:"Let networks of the node reach the LAN through it, as those of its pods, when they show the node's own address there (masquerade). Webspaces may answer them, and open nothing. It lets the kernel forward what comes from the bridge."`
}

// Node is this machine.
type Node struct {
	Name  string     `koanf:"name" doc:"In LXD's cluster and in messages. Empty: the host name."`
	Index int        `koanf:"index" doc:"Number of this node, 1-253, unlike every other node's. Its LAN address is the prefix's address plus this. 0: 1, which is only allowed when there are no other nodes."`
	MAC   MAC        `koanf:"mac" doc:"Of the bridge. Empty: 02:4c and the LAN address."`
	IP    netip.Addr `koanf:"ip" doc:"LAN address of this node. Empty: by its index."`
}

// Underlay carries tunnels.
type Underlay struct {
	Interface string     `koanf:"interface" doc:"Empty: the one with the default route."`
	Address   netip.Addr `koanf:"address" doc:"This node's tunnel address (VTEP). Empty: the first address of the interface."`
	Port      uint16     `koanf:"port" doc:"UDP port of tunnels, the same on every node."`
	XDP       string     `koanf:"xdp" doc:"Also run the underlay program at the XDP hook: off, native or generic."`
}

// Uplink leads outside.
type Uplink struct {
	Interface string     `koanf:"interface" doc:"Empty: the one with the default route."`
	Address   netip.Addr `koanf:"address" doc:"Source address of NAT. Empty: the preferred source of the default route, or the first address of the interface."`
	NATPorts  PortRange  `koanf:"nat_ports" doc:"Source ports of NAT. They must touch neither the kernel's own (net.ipv4.ip_local_port_range) nor forwards.ports."`
}

// Where peers come from.
const (
	PeersStatic = "static"
	PeersLXD    = "lxd"
)

// Peers are the other nodes.
type Peers struct {
	From string `koanf:"from" doc:"static: those in the list. lxd: the members of LXD's cluster, and those in the list."`
	Port uint16 `koanf:"port" doc:"TCP port of this node's underlay.address for the others' questions about its webspaces (lanyard ws why), the same on every node. It is there in an LXD cluster only (from: lxd), and answers only who has the cluster's own key. 0: none."`
	List []Peer `koanf:"list" doc:"Further nodes, each with vtep, and (as known) name, index, forwards, foreign. In the environment and in flags as a YAML or JSON list."`
}

// Peer is one other node.
type Peer struct {
	Name     string       `koanf:"name" doc:"As LXD names the node."`
	VTEP     netip.Addr   `koanf:"vtep" doc:"Its tunnel address."`
	Index    int          `koanf:"index" doc:"Its number; 0: unknown, its LAN address is then not announced."`
	Forwards []netip.Addr `koanf:"forwards" doc:"External addresses that it forwards from."`
	Foreign  bool         `koanf:"foreign" doc:"A plain kernel VXLAN device, without a lanyardd."`
}

// Forwards reach webspaces from outside.
type Forwards struct {
	Addresses []netip.Addr `koanf:"addresses" doc:"External addresses of this node. Empty: the uplink's."`
	Ports     PortRange    `koanf:"ports" doc:"External ports that a webspace may have. The node's own services must listen elsewhere."`
}

// Egress bounds NAT. The longest prefix wins.
type Egress struct {
	Deny  []netip.Prefix `koanf:"deny" doc:"Destinations that no webspace may reach. The nodes' own addresses always are. Empty: private, shared, link-local, loopback, multicast and reserved ranges."`
	Allow []netip.Prefix `koanf:"allow" doc:"Exceptions to deny."`
}

// LXD holds the webspaces.
type LXD struct {
	Address    string        `koanf:"address" doc:"Path of the unix socket, or https://host:port."`
	ServerCert string        `koanf:"server_cert" doc:"File: LXD's own certificate (PEM), for https."`
	ClientCert string        `koanf:"client_cert" doc:"File: the certificate (PEM) that LXD trusts, for https."`
	ClientKey  string        `koanf:"client_key" doc:"File: its key (PEM)."`
	Project    string        `koanf:"project" doc:"LXD project of the webspaces."`
	Prefix     string        `koanf:"prefix" doc:"Of the names of webspaces: the one of member 3 is ws-u3."`
	Resync     time.Duration `koanf:"resync" doc:"Look at everything again at least this often."`
	Timeout    time.Duration `koanf:"timeout" doc:"Of one request."`
}

// Folder is LXD's own, on this machine: where its socket is, or where it mostly is.
func (l LXD) Folder() string {
	if strings.HasPrefix(l.Address, "/") {
		return filepath.Dir(l.Address)
	}
	return "/var/lib/lxd"
}

// DHCP is what webspaces are told.
type DHCP struct {
	Lease  time.Duration `koanf:"lease" doc:"A webspace's address never changes; changed options spread at half of this."`
	DNS    []netip.Addr  `koanf:"dns" doc:"Name servers. Empty: the gateway; without dns.enabled those of the node's resolv.conf that webspaces can reach."`
	Search []string      `koanf:"search" doc:"Search domains (option 119). Empty: lan.domain; without dns.enabled none."`
}

// DNS answers names at the gateway's address.
type DNS struct {
	Enabled     bool          `koanf:"enabled" doc:"Answer names at the gateway's address."`
	Upstreams   []string      `koanf:"upstreams" doc:"Who is asked about all names outside, in this order: 192.0.2.53, 192.0.2.53:5353, or tls://192.0.2.53#dns.example (DNS over TLS, with the name of its certificate). Empty: those of the node's resolv.conf."`
	CA          string        `koanf:"ca" doc:"File: root certificates (PEM) for upstreams by TLS. Empty: the system's."`
	Names       []string      `koanf:"names" doc:"Further names of lan.domain, each label=address. Empty: control (the address behind the gateway) and ingress (the 254th of the prefix)."`
	AllowRebind []string      `koanf:"allow_rebind" doc:"Domains outside, with everything below, that may have addresses of the LAN and of nodes."`
	Block       []string      `koanf:"block" doc:"Domains that do not exist for webspaces, with everything below."`
	Override    []string      `koanf:"override" doc:"Names with other addresses than the world says, each name=address."`
	Cache       int           `koanf:"cache" doc:"MiB of answers that are kept."`
	Timeout     time.Duration `koanf:"timeout" doc:"After so long without an answer from upstreams a question has failed."`
	Rate        int           `koanf:"rate" doc:"Queries per second of one webspace; twice as many at once. 0: no limit."`
	Open        int           `koanf:"open" doc:"Questions that wait for upstreams at a time."`
	Share       int           `koanf:"share" doc:"How many of them one webspace may have."`
	Log         bool          `koanf:"log" doc:"Write a line for each query: who asked for what. Mind your members' privacy."`
}

// Limits are sizes of tables.
type Limits struct {
	Flows     int `koanf:"flows" doc:"Outbound flows."`
	Forwards  int `koanf:"forwards" doc:"Forwards."`
	Endpoints int `koanf:"endpoints" doc:"Webspaces and nodes, of the whole LAN."`
	Peers     int `koanf:"peers" doc:"Other nodes."`
	Tracks    int `koanf:"tracks" doc:"Connections through forwards whose target has several external sides."`
	Frags     int `koanf:"frags" doc:"Fragmented datagrams on their way."`
}

// Timeouts of idle flows.
type Timeouts struct {
	TCPEstablished time.Duration `koanf:"tcp_established" doc:"RFC 5382: at least 2h4m."`
	TCPTransitory  time.Duration `koanf:"tcp_transitory" doc:"Opening or half closed. RFC 5382: at least 4m."`
	TCPClosed      time.Duration `koanf:"tcp_closed" doc:"Closed by both sides, or reset."`
	UDP            time.Duration `koanf:"udp" doc:"Answered. RFC 4787: at least 2m."`
	UDPUnanswered  time.Duration `koanf:"udp_unanswered" doc:"Not answered yet."`
	ICMP           time.Duration `koanf:"icmp" doc:"RFC 5508: at least 60s."`
}

// Metrics is the HTTP server.
type Metrics struct {
	Address   string `koanf:"address" doc:"Host and port. The host must be a loopback address: webspaces can never reach it. Empty: no server."`
	Webspaces bool   `koanf:"webspaces" doc:"Give traffic and drops of each webspace under its name. Off: only sums, so that no member's traffic is in the time series."`
}

// Admin is the socket of the lanyard command.
type Admin struct {
	Socket string `koanf:"socket" doc:"Path of a unix socket that only root can use."`
}

// Paths are folders and files.
type Paths struct {
	BPFFS string `koanf:"bpffs" doc:"Where programs, links and maps are pinned; on a mounted bpf file system."`
	State string `koanf:"state" doc:"Folder for what survives a restart of the daemon, but not of the machine: the last known webspaces."`
}

// Log of the daemon.
type Log struct {
	Level  string `koanf:"level" doc:"debug, info, warn or error."`
	Format string `koanf:"format" doc:"text or json."`
}

// Default is the configuration of a node about which nothing was said.
func Default() Config {
	return Config{
		LAN: LAN{
			Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"),
			GatewayMAC: MAC{0x02, 0x4c, 172, 24, 254, 1}, VNI: 7331, Domain: "webspace",
			Bridge: "lanyard0", VXLAN: "lanyard0-vx",
		},
		Underlay: Underlay{Port: 4789, XDP: "off"},
		// Below the kernel's usual 32768-60999, and apart from kubelet's 10250 and Kubernetes' NodePorts 30000-32767.
		Uplink:   Uplink{NATPorts: PortRange{12000, 29999}},
		Peers:    Peers{From: PeersStatic, Port: 9470},
		Forwards: Forwards{Ports: PortRange{49152, 65535}},
		LXD: LXD{Address: "/var/lib/lxd/unix.socket", Project: "default", Prefix: "ws-",
			Resync: 10 * time.Second, Timeout: 30 * time.Second},
		DHCP:      DHCP{Lease: 2 * time.Hour},
		Webspaces: defaultWebspaces(),
		Wake:      defaultWake(),
		API:       defaultAPI(),
		Sleep:     defaultSleep(),
		Ledger:    defaultLedger(),
		DNS:       DNS{Enabled: true, Cache: 16, Timeout: 4 * time.Second, Rate: 1000, Open: 1024, Share: 128},
		Limits:    Limits{Flows: 65536, Forwards: 16384, Endpoints: 16384, Peers: 1024, Tracks: 65536, Frags: 8192},
		Timeouts: Timeouts{TCPEstablished: 2*time.Hour + 4*time.Minute, TCPTransitory: 4 * time.Minute, TCPClosed: 10 * time.Second,
			UDP: 2 * time.Minute, UDPUnanswered: 30 * time.Second, ICMP: time.Minute},
		Accounts: defaultAccounts(),
		Images:   defaultImages(),
		Metrics:  Metrics{Address: "127.0.0.1:9469"},
		Admin:    Admin{Socket: "/run/lanyard/node.sock"},
		Paths:    Paths{BPFFS: "/sys/fs/bpf/lanyard", State: "/run/lanyard"},
		Log:      Log{Level: "info", Format: "text"},
	}
}
