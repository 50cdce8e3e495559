/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes addresses, ports and the TTL of a packet, with differences added to its checksums (RFC 1624). */
#pragma once

#include "tunnel.h"

struct rewrite {
	__be32 saddr, daddr;
	__u16 sport, dport;
	struct mac_key smac, dmac;
	__u32 hops; /* to take from the TTL: 1 when routed */
};

static __always_inline void rewrite_none(const struct pkt *p, struct rewrite *r)
{
	r->saddr = p->saddr;
	r->daddr = p->daddr;
	r->sport = p->sport;
	r->dport = p->dport;
	r->smac = p->smac;
	r->dmac = p->dmac;
	r->hops = 1;
}

/* The difference that a changed 32-bit or (in the low half) 16-bit word makes to a sum, not folded. */
static __always_inline __u64 delta32(__u32 from, __u32 to)
{
	return (__u64)(__u32)~from + to;
}

static __always_inline __u64 delta16(__u16 from, __u16 to)
{
	return (__u64)(__u16)~from + to;
}

static __always_inline __u32 fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline int rewrite_sums(CTX *ctx, const struct pkt *p, const struct rewrite *r)
{
	__u32 addresses = fold32(delta32(p->saddr, r->saddr) + delta32(p->daddr, r->daddr));
	__u32 ports = fold32(delta16(bpf_htons(p->sport), bpf_htons(r->sport)) + delta16(bpf_htons(p->dport), bpf_htons(r->dport)));
	bool renumbered = p->sport != r->sport || p->dport != r->dport;
	__u64 zero = 0;
	__u32 off;

	switch (p->proto) {
	case IPPROTO_TCP:
		off = p->l4 + 16;
		break;
	case IPPROTO_UDP:
		off = p->l4 + 6;
		zero = BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMP: /* no pseudo header; an echo has one identifier, kept in both ports */
		if (!renumbered)
			return 0;
		return ctx_csum_add(ctx, p->l4 + 2, fold32(delta16(bpf_htons(p->sport), bpf_htons(r->sport))), 0);
	default:
		return 0;
	}
	/* Two calls: under CHECKSUM_PARTIAL the field holds the addresses, and not the ports. */
	if (ctx_csum_add(ctx, off, addresses, zero | BPF_F_PSEUDO_HDR))
		return -1;
	return renumbered ? ctx_csum_add(ctx, off, ports, zero) : 0;
}

/* All direct writes come first: the checksum helpers invalidate pointers into the packet. Needs p->eth == 0. */
GLOBAL int rewrite(CTX *ctx, struct pkt *p, const struct rewrite *r)
{
	struct ethhdr *eth;
	struct iphdr *ip;
	__be16 *port;
	__u64 sum;

	if (!p || !r)
		return -REASON_CHANGE_FAILED;
	eth = at(ctx, 0, ETHER_SIZE + sizeof(struct iphdr));
	if (!eth)
		return -REASON_CHANGE_FAILED;
	copy_mac(eth->h_dest, r->dmac.mac);
	copy_mac(eth->h_source, r->smac.mac);
	ip = (void *)(eth + 1);
	sum = (__u16)~ip->check + delta32(ip->saddr, r->saddr) + delta32(ip->daddr, r->daddr);
	if (r->hops) {
		/* TTL is the high byte of its word on the wire. */
		sum += delta16(bpf_htons(ip->ttl << 8 | ip->protocol), bpf_htons((ip->ttl - 1) << 8 | ip->protocol));
		ip->ttl--;
	}
	ip->check = ~fold(sum);
	ip->saddr = r->saddr;
	ip->daddr = r->daddr;
	p->smac = r->smac;
	p->dmac = r->dmac;
	if (follows(p))
		return 0;
	if (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) {
		port = at(ctx, p->l4, 8);
		if (!port)
			return -REASON_CHANGE_FAILED;
		port[0] = bpf_htons(r->sport);
		port[1] = bpf_htons(r->dport);
		if (p->proto == IPPROTO_UDP && !port[3]) /* no checksum was made, and none is */
			return 0;
	} else if (p->proto == IPPROTO_ICMP && (p->icmp == ICMP_ECHO || p->icmp == ICMP_ECHO_REPLY)) {
		port = at(ctx, p->l4 + 4, 2);
		if (!port)
			return -REASON_CHANGE_FAILED;
		port[0] = bpf_htons(r->sport);
	}
	return rewrite_sums(ctx, p, r) ? -REASON_CHANGE_FAILED : 0;
}
