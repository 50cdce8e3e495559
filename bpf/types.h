/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every structure that crosses between the programs and Go. bpf2go generates the Go side from BTF, so this file is
 * the only place where a layout is written down. Rules:
 *   - addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, so that one key serves both families and `bpftool map dump`
 *     shows the dotted quad as the last four numbers;
 *   - ports are in host byte order (readable in a dump; one byte swap per lookup);
 *   - padding is explicit and zero, because hash keys are compared as bytes;
 *   - a changed layout means a new LAYOUT number, and a migration in dataplane/.
 */
#pragma once

#include <linux/types.h>

#define LAYOUT 2 /* pinned under <bpffs>/v<LAYOUT>/ */

enum { ADDR_LEN = 16, MAC_LEN = 6, SAMPLE_LEN = 96 };

struct addr {
	__u8 ip[ADDR_LEN];
} __attribute__((aligned(4))); /* or clang copies it byte by byte; no layout below changes by it */

struct mac_key {
	__u8 mac[MAC_LEN];
	__u8 pad[2];
} __attribute__((aligned(4)));

/* What a port is, and so which rules its frames meet. */
enum port_kind {
	PORT_WEBSPACE = 1, /* hostile: the whole source guard */
	PORT_POD = 2,	   /* ours (an ingress, a control plane): no source guard */
};

enum port_flags {
	PORT_BOOTING = 1, /* its endpoint is booting: see boot.h */
};

/* ports: ifindex of the host side -> the one MAC and address that may speak there. */
struct port {
	struct addr ip;
	__u8 mac[MAC_LEN];
	__u8 kind;  /* enum port_kind */
	__u8 flags; /* enum port_flags */
	__u32 slot; /* index into the per-webspace arrays; 0 = none */
};

enum endpoint_state { /* see wake.h */
	ENDPOINT_AWAKE = 1,
	ENDPOINT_ASLEEP = 2,
	ENDPOINT_BOOTING = 3,
	ENDPOINT_NAPPING = 4,
	ENDPOINT_UNREACHABLE = 5,
};

enum endpoint_flags {
	ENDPOINT_INFRA = 1,   /* a node, ingress or control address: webspaces may only answer it */
	ENDPOINT_NODE = 2,    /* this very node (ifindex = the bridge) */
};

enum wake_policy { /* which packets wake a local endpoint */
	WAKE_FORWARD = 1,   /* of its forwards */
	WAKE_LAN = 2,	    /* from webspaces */
	WAKE_NODE = 4,	    /* from infrastructure */
	WAKE_PING = 8,	    /* ICMP echo requests too, except through forwards */
	WAKE_VERIFIED = 16, /* of forwards only those whose sender has answered a challenge */
	WAKE_REFUSE = 32,   /* what may not wake it is answered with a reset */
};

/*
 * endpoints: LAN address -> where it is. macs: MAC -> the same value. A local endpoint that is not awake has no ifindex, so
 * that awake ones cost nothing more for it.
 */
struct endpoint {
	struct addr ip;
	struct addr vtep; /* the peer that it is behind; zero when local */
	__u8 mac[MAC_LEN];
	__u8 state; /* enum endpoint_state */
	__u8 flags; /* enum endpoint_flags */
	__u32 ifindex; /* host side of its port when local and awake, else 0 */
	__u32 slot;    /* of a local webspace, else 0 */
	__u32 port;    /* host side of its port when local and there is one, awake or not */
	__u8 wake;     /* enum wake_policy */
	__u8 pad[3];
};

enum peer_flags {
	PEER_READY = 1,	  /* next hop known: mac fields and ifindex may be used */
	PEER_FOREIGN = 2, /* no lanyardd there (a plain kernel VXLAN device): let the bridge learn from its frames */
};

/* peers: VTEP address -> the next hop towards it. */
struct peer {
	struct addr local; /* our outer source address towards it */
	__u8 smac[MAC_LEN];
	__u8 dmac[MAC_LEN];
	__u32 ifindex; /* underlay */
	__u16 mtu;     /* of the path's first link, outer, bytes */
	__u8 flags;    /* enum peer_flags */
	__u8 pad;
};

struct service_key { /* one side of a forward */
	struct addr ip;
	__u16 port;
	__u8 proto;
	__u8 pad;
};

enum forward_flags {
	FORWARD_TRACKED = 1, /* the inverse is not unique: note each client in `tracks` */
	/* Of inverses alone: what is above the wake policy of the endpoint. */
	FORWARD_WAKE_ANY = 2,
	FORWARD_WAKE_VERIFIED = 4,
	FORWARD_WAKE_NEVER = 8,
};

/* forwards: external (address, port, protocol) -> webspace. */
struct forward {
	struct addr ip;	   /* the webspace's LAN address */
	struct addr entry; /* VTEP of the node that owns the external address; zero = this node */
	__u16 port;
	__u8 flags; /* enum forward_flags */
	__u8 pad;
	__u32 slot; /* when the webspace is local */
};

/* inverses: webspace (address, port, protocol) -> the external side that its replies must show. */
struct inverse {
	struct addr ip;	   /* external address */
	struct addr entry; /* VTEP of the node to leave through; zero = this node */
	__u16 port;
	__u8 flags; /* FORWARD_TRACKED: look in `tracks` first, this is the default; FORWARD_WAKE_* */
	__u8 pad;
};

/* A 5-tuple as seen in the packet being looked up. */
struct tuple {
	struct addr src;
	struct addr dst;
	__u16 sport; /* ICMP echo: identifier in both ports */
	__u16 dport;
	__u8 proto;
	__u8 pad[3];
};

/*
 * tracks (LRU): reply tuple (webspace -> client) of a forward whose inverse is not unique. openings: the same, of clients that have
 * sent no more than a SYN, which can be forged: they push out each other, not those that are connected.
 */
struct track {
	struct addr ip;	   /* external address */
	struct addr entry; /* as in struct inverse */
	__u16 port;
	__u8 pad[6];
	__u64 last_seen; /* ns, CLOCK_MONOTONIC (coarse) */
};

enum flow_kind {
	FLOW_OUT = 1,	 /* webspace -> outside: rewrite the source */
	FLOW_BACK = 2,	 /* outside -> webspace: rewrite the destination */
	FLOW_HAIRPIN = 3,      /* webspace -> a forward's external address: rewrite the destination */
	FLOW_HAIRPIN_BACK = 4, /* its reply: rewrite the source */
};

enum flow_state { /* bits seen so far; user space derives the timeout */
	SEEN_OUT = 1,	 /* a packet from the opener */
	SEEN_BACK = 2,	 /* an answer */
	SEEN_FIN_OUT = 4,
	SEEN_FIN_BACK = 8,
	SEEN_RST = 16,
	SEEN_SYN = 32,	 /* TCP was opened by a SYN that we saw */
	SEEN_ACK_BACK = 64, /* the answering side acknowledged: established */
	FLOW_POOLED = 128, /* counted against the common pool, not the webspace's own share */
};

/*
 * flows: tuple -> rewrite. A flow is two entries that name each other: `other` is the key of the opposite direction.
 * State and time of a flow live in its FLOW_OUT (or FLOW_HAIRPIN) entry and in its opposite, each written by the
 * packets of its own direction; user space merges them.
 */
struct flow {
	struct tuple other;
	__u64 last_seen;   /* ns, CLOCK_MONOTONIC (coarse), refreshed at most once a second */
	__u64 created;
	__u64 packets;	   /* approximate under concurrency */
	__u64 bytes;
	__u32 slot;	   /* owner: whose share it is counted against */
	__u32 ifindex;	   /* next hop, cached under nh_epoch (FLOW_OUT) */
	__u32 nh_epoch;
	__u8 smac[MAC_LEN];
	__u8 dmac[MAC_LEN];
	__u8 kind;  /* enum flow_kind */
	__u8 state; /* enum flow_state bits */
	__u16 mtu;  /* of the route, bytes (FLOW_OUT), under nh_epoch */
	__u8 pad[4];
};

/* nexthops (LRU): destination address -> way out of the uplink, believed while `epoch` is the current nh_epoch. */
struct nexthop {
	__u32 ifindex;
	__u32 epoch;
	__u8 smac[MAC_LEN];
	__u8 dmac[MAC_LEN];
	__u16 mtu;
	__u8 flags; /* enum nexthop_flags */
	__u8 pad;
};

enum nexthop_flags {
	NEXTHOP_DENIED = 1, /* `prefixes` refuse it: only answers may go there */
};

/*
 * shares[slot]: flows held. Memory-mapped by user space; both sides use atomic adds. [0] counts the common pool: a flow
 * with FLOW_POOLED is counted in both, one of slot 0 in the pool alone.
 */
struct share {
	__s64 flows;
	__s64 hairpins; /* those of them that are hairpins (slot > 0); see hairpin.h */
};

struct frag_key {
	struct addr src;
	struct addr dst;
	__u32 id;
	__u8 proto;
	__u8 pad[3];
};

/* frags (LRU): ports of a first fragment, for the ones that follow it. */
struct frag {
	__u64 seen; /* ns */
	__u16 sport;
	__u16 dport;
	__u8 pad[4];
};

/* prefixes (LPM): destinations that webspaces may not reach through NAT. */
struct prefix_key {
	__u32 prefixlen; /* of the 128-bit address */
	struct addr ip;
};

enum prefix_class {
	PREFIX_DENY = 1,
	PREFIX_ALLOW = 2, /* an exception inside a denied prefix */
};

/* counters[slot], per CPU. "rx" is what the webspace received. */
struct counters {
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 slow_packets; /* handed to the bridge */
	__u64 flows_opened;
	__u64 parked_packets;
	__u64 last_rx; /* jiffies: when it received something last, apart from the gateway's DHCP and DNS */
};

struct drop_key {
	__u32 slot;
	__u32 reason; /* enum drop_reason */
};

struct drop_count { /* per CPU */
	__u64 packets;
	__u64 bytes;
};

/* drop_samples (ring buffer). */
struct drop_sample {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 slot;
	__u32 reason; /* enum drop_reason */
	__u32 len;    /* of the frame */
	__u32 captured;
	__u8 hook; /* enum hook */
	__u8 pad[3];
	__u8 data[SAMPLE_LEN];
};

enum hook {
	HOOK_PORT = 1,
	HOOK_UNDERLAY = 2,
	HOOK_NODE = 3,
	HOOK_UNDERLAY_XDP = 4,
	HOOK_PARKING = 5,
};

/* buckets[slot * BUCKETS + kind]: token buckets. Slot 0 is the node's own. */
enum bucket_kind {
	BUCKET_FLOOD = 0,  /* broadcast and multicast frames handed to the bridge */
	BUCKET_ERROR = 1,  /* ICMP errors made */
	BUCKET_SAMPLE = 2, /* drop samples; slot 0's is shared by all */
	BUCKET_UNKNOWN = 3, /* unicast frames to MACs that only the bridge may know (behind a plain VXLAN peer) */
	/* Of waking; slot 0's are shared by all. */
	BUCKET_PARK = 4,      /* packets parked */
	BUCKET_RESET = 5,     /* resets made */
	BUCKET_CHALLENGE = 6, /* challenges made */
	BUCKET_VERIFY = 7,    /* answers to challenges looked at: bounds how often one may be guessed */
	BUCKET_EVENT = 8,     /* events; of each slot alone */
	BUCKET_PROVED = 9,    /* packets parked of senders that have answered a challenge */
	BUCKET_COPY = 10,     /* copies of challenged SYNs */
	BUCKETS = 12,	      /* with room for more kinds without a new layout */
};

struct bucket {
	__u64 last;   /* ns */
	__u64 tokens; /* in 1/1000 of a packet */
};

/* settings[0]: what changes while programs run. */
struct settings {
	struct addr uplink;    /* source address of NAT */
	__u32 nh_epoch;	       /* bumped when routes or neighbours change: flows look their next hop up again */
	__u32 flow_share;      /* flows that each webspace always may hold */
	__u32 flow_quota;      /* flows that one webspace may hold at most */
	__u32 flow_pool;       /* flows beyond their shares that all may hold together */
	__u64 cookie_key[2];   /* of challenges; random, for the life of the map */
};

/* answered (LRU): what booting webspaces have shown of themselves: (address, port, protocol) that sent an answer, and with
 * port and protocol 0 the address itself. The same key serves as in inverses. */
struct answer {
	__u64 time; /* ns, CLOCK_MONOTONIC (coarse) */
	__u32 slot;
	__u8 pad[4];
};

/* proofs (LRU): connection attempt (client -> webspace) whose client has answered a challenge. */
struct proof {
	__u64 time; /* ns, CLOCK_MONOTONIC (coarse) */
};

enum event_kind {
	EVENT_LISTEN = 1,
	EVENT_BIND = 2,
	EVENT_ANSWERED = 3,
	EVENT_VERIFIED = 4,
	EVENT_KICKED = 5,
	EVENT_FIRST_FRAME = 6,
};

/* events (ring buffer): hints for user space; see dataplane.EventKind. */
struct event {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	struct addr ip;	  /* the webspace's */
	struct addr peer; /* zero when there is none */
	__u32 slot;
	__u16 port; /* the webspace's */
	__u16 peer_port;
	__u8 kind; /* enum event_kind */
	__u8 proto;
	__u8 pad[6];
};

/* netns: inode of a network namespace -> the webspace that lives in it. */
struct watch {
	struct addr ip;
	__u32 slot;
	__u32 lost; /* connections that found no room in `sockets` */
	__u8 fresh; /* watched from its first connection on */
	__u8 pad[7];
};

/* sockets: cookie of a socket -> the open TCP connection that it is. */
struct socket {
	struct addr local;
	struct addr remote;
	__u64 since; /* ns, CLOCK_MONOTONIC */
	__u32 netns;
	__u32 slot;
	__u16 lport;
	__u16 rport;
	__u8 passive; /* the other side opened it */
	__u8 pad[3];
};
