/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP answers in the name of a webspace that cannot give them, built in place of the packet that they answer and sent back the
 * way it came. They need no memory of connections: a reset takes its numbers from the segment (RFC 9293 section 3.10.7.1).
 */
#pragma once

#include "cookie.h"
#include "icmp_error.h"

struct bare_tcp {
	struct ethhdr eth;
	struct iphdr ip;
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window;
	__u16 check;
	__be16 urgent;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct bare_tcp) == SEGMENT_SIZE, "room for it in struct scratch");

static __always_inline __u64 pseudo_sum(__be32 saddr, __be32 daddr, __u16 len)
{
	return (__u64)saddr + daddr + bpf_htons(IPPROTO_TCP) + bpf_htons(len);
}

static __always_inline __u64 words(const void *p, int n)
{
	const __u16 *w = p;
	__u64 sum = 0;

	for (int i = 0; i < n; i++)
		sum += w[i];
	return sum;
}

/*
 * Zeros from `at` to the end of a frame, of at most a wire's size: what is behind the packet is padding then, which every
 * receiver cuts off, and counts for nothing in a checksum.
 */
GLOBAL int blank(CTX *ctx, __u32 at)
{
	static const __u8 none[64];
	__u32 len = ctx_len(ctx);

	for (int i = 0; i < 24; i++) {
		__u32 n = len - at;

		if (at >= len)
			return 0;
		asm volatile("" : "+r"(n)); /* or clang tests one copy and passes another */
		if (n > sizeof(none))
			n = sizeof(none);
		if (!n || ctx_store(ctx, at, none, n))
			return -1;
		at += n;
	}
	return at >= len ? 0 : -1;
}

/*
 * Cuts a frame to size. The kernel does not cut one that counts as encapsulated (bpf_skb_change_tail, EOPNOTSUPP), which
 * taking the headers off does not change. A network card's frames never do, but those of a tunnel that comes over a veth:
 * they keep their length.
 */
static __always_inline int cut(CTX *ctx, __u32 size)
{
	return ctx_resize(ctx, size) ? blank(ctx, size) : 0;
}

/*
 * The packet becomes a bare TCP segment to its sender: addresses, ports and MACs as in p, which may differ from the packet's
 * (before a rewrite), the other way round. p->eth is 0. Also p becomes the answer. 0, or a negative reason.
 */
GLOBAL int answer_tcp(CTX *ctx, struct pkt *p, __u32 flags, __u32 seq, __u32 ack)
{
	struct scratch *room = get_scratch();
	struct bare_tcp *a;
	struct mac_key to;
	__be32 ip;
	__u16 port;
	bool partial;

	/* Behind options the kernel would finish an unfinished checksum at the wrong place. */
	if (!p || !room || p->eth || p->l4 != ETHER_SIZE + sizeof(struct iphdr))
		return -REASON_CHANGE_FAILED;
	a = (struct bare_tcp *)room->segment;
	if (ctx_load(ctx, 0, a, sizeof(*a)))
		return -REASON_CHANGE_FAILED;
	/*
	 * CHECKSUM_PARTIAL shows in nothing but this: the field holds the pseudo header's sum. It stays when the packet is cut,
	 * and the field must be the pseudo header's again, for whoever finishes it. A finished sum looks like that once in 65,536.
	 */
	partial = a->check == fold(pseudo_sum(a->ip.saddr, a->ip.daddr, bpf_ntohs(a->ip.tot_len) - sizeof(struct iphdr)));
	copy_mac(a->eth.h_dest, p->smac.mac);
	copy_mac(a->eth.h_source, p->dmac.mac);
	a->eth.h_proto = bpf_htons(ETH_P_IP);
	__builtin_memset(&a->ip, 0, sizeof(a->ip));
	a->ip.version = 4;
	a->ip.ihl = 5;
	a->ip.tot_len = bpf_htons(40);
	a->ip.frag_off = bpf_htons(FRAG_DF);
	a->ip.ttl = 64;
	a->ip.protocol = IPPROTO_TCP;
	a->ip.saddr = p->daddr;
	a->ip.daddr = p->saddr;
	a->ip.check = header_sum(&a->ip);
	a->sport = bpf_htons(p->dport);
	a->dport = bpf_htons(p->sport);
	a->seq = bpf_htonl(seq);
	a->ack = bpf_htonl(ack);
	a->offset = 5 << 4;
	a->flags = flags;
	a->window = flags & TCP_SYN ? 0xffff : 0; /* of a challenge: as wide as its number may lie back, for connection tracking */
	a->check = 0;
	a->urgent = 0;
	if (partial)
		a->check = fold(pseudo_sum(a->ip.saddr, a->ip.daddr, 20));
	else
		a->check = ~fold(pseudo_sum(a->ip.saddr, a->ip.daddr, 20) + words(&a->sport, 10));
	if (cut(ctx, sizeof(*a)) || ctx_store(ctx, 0, a, sizeof(*a)))
		return -REASON_CHANGE_FAILED;
	to = p->smac;
	p->smac = p->dmac;
	p->dmac = to;
	ip = p->saddr;
	p->saddr = p->daddr;
	p->daddr = ip;
	port = p->sport;
	p->sport = p->dport;
	p->dport = port;
	p->flags = flags;
	p->len = ctx_len(ctx); /* see cut */
	p->total = p->header = 40;
	p->frag = FRAG_DF;
	return 0;
}

/* A segment for a connection that there is not becomes its reset. Never called for a reset. */
static __noinline int reset(CTX *ctx, struct pkt *p)
{
	__u32 length = p->total > p->header ? p->total - p->header : 0;
	__be32 n[2];

	if (ctx_load(ctx, p->l4 + 4, n, 8))
		return -REASON_TRUNCATED;
	if (p->flags & TCP_ACK)
		return answer_tcp(ctx, p, TCP_RST, bpf_ntohl(n[1]), 0);
	length += !!(p->flags & TCP_SYN) + !!(p->flags & TCP_FIN);
	return answer_tcp(ctx, p, TCP_RST | TCP_ACK, 0, bpf_ntohl(n[0]) + length);
}

/* The same, sent back through the interface by which it came. */
static __always_inline int reset_back(CTX *ctx, struct pkt *p)
{
	int v = reset(ctx, p);

	return v ? v : ctx_redirect(ctx, ctx_ifindex(ctx));
}

/* A SYN for port `port` of a webspace with address ip becomes the challenge to its sender. */
static __always_inline int challenge(CTX *ctx, struct pkt *p, __be32 ip, __u16 port)
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	__be32 seq;

	if (!s || ctx_load(ctx, p->l4 + 4, &seq, 4))
		return -REASON_TRUNCATED;
	return answer_tcp(ctx, p, TCP_SYN | TCP_ACK, bpf_get_prandom_u32(), challenge_of(bpf_ntohl(seq), cookie(s, p, ip, port, 0)));
}
