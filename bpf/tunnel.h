/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* VXLAN (RFC 7348) to and from peers. */
#pragma once

#include "drop.h"

struct outer {
	__u8 dmac[MAC_LEN], smac[MAC_LEN];
	__be16 type;
	__u8 version, tos;
	__be16 total, id, frag;
	__u8 ttl, proto;
	__u16 check;
	__be32 saddr, daddr;
	__be16 sport, dport, length;
	__u16 udp_check; /* 0: RFC 7348 allows it over IPv4, and the inner frame has its own */
	__be32 flags, vni;
	__u8 inner_dmac[MAC_LEN], inner_smac[MAC_LEN];
	__be16 inner_type;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct outer) == ETHER_SIZE + TUNNEL_SIZE, "headers of the tunnel");

enum { VXLAN_OFFSET = ETHER_SIZE + 20 + 8 };

static __always_inline __u32 vxlan_vni(void)
{
	return bpf_htonl(vni << 8);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/*
 * Sends the frame to a peer. PASS when the next hop is not known or the frame cannot be tunnelled here (it is already): the
 * bridge and the kernel's VXLAN device do it then, but for an answer of ours. The outer packet looks like the kernel's: TTL 64,
 * fragments allowed.
 */
GLOBAL int encap(CTX *ctx, const struct pkt *p, const struct peer *peer, __be32 to, __u32 answer)
{
	struct outer *o;
	__u32 size, hash;

	asm volatile("" : : "r"(answer)); /* as in find_way */
	if (!p || !peer || !(peer->flags & PEER_READY))
		return PASS;
	if (wire_size(ctx, p) + TUNNEL_SIZE > peer->mtu)
		return -REASON_TOO_BIG;
	hash = flow_hash(ctx, p);
	size = ctx_len(ctx) + TUNNEL_SIZE - ETHER_SIZE;
	if (ctx_grow(ctx) && (!answer || ctx_push(ctx, TUNNEL_SIZE)))
		return PASS;
	o = at(ctx, 0, sizeof(*o));
	if (!o)
		return -REASON_CHANGE_FAILED;
	copy_mac(o->dmac, peer->dmac);
	copy_mac(o->smac, peer->smac);
	o->type = bpf_htons(ETH_P_IP);
	o->version = 0x45;
	o->tos = 0;
	o->total = bpf_htons(size);
	o->id = bpf_get_prandom_u32();
	o->frag = 0;
	o->ttl = 64;
	o->proto = IPPROTO_UDP;
	o->saddr = get_v4(&peer->local);
	o->daddr = to;
	o->check = ~fold((__u64)bpf_htons(0x4500) + o->total + o->id + bpf_htons(64 << 8 | IPPROTO_UDP) + o->saddr + o->daddr);
	o->sport = bpf_htons(49152 | ((hash ^ hash >> 16) & 0x3fff)); /* RFC 7348 section 5: the dynamic range */
	o->dport = bpf_htons(tunnel_port);
	o->length = bpf_htons(size - 20);
	o->udp_check = 0;
	o->flags = bpf_htonl(0x08000000);
	o->vni = vxlan_vni();
	copy_mac(o->inner_dmac, p->dmac.mac);
	copy_mac(o->inner_smac, p->smac.mac);
	o->inner_type = bpf_htons(ETH_P_IP);
	return ctx_redirect(ctx, peer->ifindex);
}

static __always_inline struct peer *find_peer(const struct addr *vtep)
{
	return bpf_map_lookup_elem(&peers, vtep);
}

static __always_inline int encap_to(CTX *ctx, const struct pkt *p, const struct addr *vtep)
{
	return encap(ctx, p, find_peer(vtep), get_v4(vtep), 0);
}

/* An answer of ours in place of a frame that came through the tunnel, and, from a veth, still counts as tunnelled. */
static __always_inline int encap_answer(CTX *ctx, const struct pkt *p, const struct addr *vtep)
{
	return encap(ctx, p, find_peer(vtep), get_v4(vtep), 1);
}

/* Takes the tunnel's headers off: p and the frame then begin with the inner Ethernet header. */
static __always_inline int decap(CTX *ctx, struct pkt *p)
{
	struct ethhdr *h;

	if (ctx_shrink(ctx))
		return -REASON_CHANGE_FAILED;
	h = at(ctx, 0, sizeof(*h));
	if (!h)
		return -REASON_CHANGE_FAILED;
	copy_mac(h->h_dest, p->dmac.mac);
	copy_mac(h->h_source, p->smac.mac);
	h->h_proto = bpf_htons(ETH_P_IP);
	p->l4 -= p->eth;
	p->eth = 0;
	return 0;
}
