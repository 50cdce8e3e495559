/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame, parsed once. */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "config.h"
#include "maps.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };
enum icmp_type {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_REDIRECT_MESSAGE = 5,
	ICMP_ECHO = 8,
	ICMP_ROUTER = 9, /* advertisement, RFC 1256 */
	ICMP_EXPIRED = 11,
	ICMP_PARAMETER = 12,
};

enum { FRAG_DF = 0x4000, FRAG_MF = 0x2000, FRAG_OFFSET = 0x1fff };

/* Ethernet, IPv4 and TCP without options: what is read of nearly every frame. */
enum { HEADERS = ETHER_SIZE + 20 + 20 };

struct pkt {
	struct mac_key smac, dmac;
	__u32 eth; /* offset of the Ethernet header: 0, or TUNNEL_SIZE inside a tunnel */
	__u32 l4;  /* offset of the transport header */
	__u32 len; /* of the frame from eth on, bytes */
	__u32 slot; /* whom a drop is charged to */
	__be32 saddr, daddr;
	__u32 header; /* IP and transport header, bytes */
	__u16 type;   /* ethertype; all below is of IPv4 only */
	__u16 total;  /* total length */
	__u16 frag;   /* flags and offset */
	__u16 id;
	__u16 sport, dport; /* TCP, UDP; ICMP echo has its identifier in both */
	__u8 proto;
	__u8 ttl;
	__u8 flags; /* of TCP */
	__u8 icmp;  /* type */
};

/*
 * A pointer to len bytes at off, or NULL when they are not all there. The mask tells the verifier a bound where it
 * has lost it: off comes out of struct pkt on the stack, and 16-bit and merged spills lose their range (6.6).
 */
static __always_inline void *at(CTX *ctx, __u32 off, __u32 len)
{
	void *p = ctx_data(ctx) + (off & 0xff);

	return p + len > ctx_end(ctx) ? 0 : p;
}

static __always_inline void set_v4(struct addr *a, __be32 ip)
{
	__u32 *w = (__u32 *)a->ip;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = ip;
}

static __always_inline __be32 get_v4(const volatile struct addr *a)
{
	return *(const volatile __u32 *)&a->ip[12];
}

static __always_inline bool is_zero(const struct addr *a)
{
	const __u32 *w = (const __u32 *)a->ip;

	return !(w[0] | w[1] | w[2] | w[3]);
}

static __always_inline bool same_mac(const volatile struct mac_key *a, const volatile struct mac_key *b)
{
	return *(const volatile __u32 *)a->mac == *(const volatile __u32 *)b->mac &&
	       *(const volatile __u16 *)&a->mac[4] == *(const volatile __u16 *)&b->mac[4];
}

/* In halfwords: half of all MACs are aligned no better, and the verifier insists on alignment on the stack. */
static __always_inline void copy_mac(void *to, const volatile void *from)
{
	for (int i = 0; i < MAC_LEN / 2; i++)
		((__u16 *)to)[i] = ((const volatile __u16 *)from)[i];
}

static __always_inline bool is_multicast(const struct mac_key *m)
{
	return m->mac[0] & 1;
}

static __always_inline bool in_prefix(__be32 ip, const volatile struct prefix_key *p)
{
	__u32 len = p->prefixlen;

	if (len <= 96 || len > 128)
		return false;
	return !((ip ^ get_v4(&p->ip)) & bpf_htonl(~0u << (128 - len)));
}

static __always_inline bool in_lan(__be32 ip)
{
	return in_prefix(ip, &lan);
}

/* To all: the limited broadcast, or the LAN's. */
static __always_inline bool is_broadcast(__be32 ip)
{
	__be32 host = bpf_htonl(~(~0u << ((128 - lan.prefixlen) & 31)));

	return ip == bpf_htonl(0xffffffff) || (in_lan(ip) && (ip & host) == host);
}

static __always_inline bool in_infra(__be32 ip)
{
	if (ip == get_v4(&gateway_ip) || ip == get_v4(&node_ip))
		return true;
	for (int i = 0; i < INFRA_MAX; i++)
		if (in_prefix(ip, &infra[i]))
			return true;
	return false;
}

static __always_inline bool is_fragment(const struct pkt *p)
{
	return p->frag & (FRAG_MF | FRAG_OFFSET);
}

/* Has no transport header: a fragment that is not the first. */
static __always_inline bool follows(const struct pkt *p)
{
	return p->frag & FRAG_OFFSET;
}

static __always_inline bool is_icmp_error(const struct pkt *p)
{
	return p->proto == IPPROTO_ICMP && !follows(p) &&
	       (p->icmp == ICMP_UNREACHABLE || p->icmp == ICMP_EXPIRED || p->icmp == ICMP_PARAMETER);
}

static __always_inline void tuple_of(const struct pkt *p, struct tuple *t)
{
	set_v4(&t->src, p->saddr);
	set_v4(&t->dst, p->daddr);
	t->sport = p->sport;
	t->dport = p->dport;
	t->proto = p->proto;
	t->pad[0] = t->pad[1] = t->pad[2] = 0;
}

/* Multiplicative mixing: every bit of h reaches every bit of the result. */
static __always_inline __u32 mix(__u32 h)
{
	h ^= h >> 16;
	h *= 0x7feb352d;
	h ^= h >> 15;
	h *= 0x846ca68b;
	return h ^ h >> 16;
}

/* Of a flow: the socket's or the card's where there is one. */
static __always_inline __u32 flow_hash(CTX *ctx, const struct pkt *p)
{
	__u32 h = ctx_hash(ctx);

	return h ? h : mix(p->saddr ^ mix(p->daddr ^ ((__u32)p->sport << 16 | p->dport)) ^ p->proto);
}

/* Length of the largest IP packet that the frame becomes on a wire: superframes are cut up on the way. */
static __always_inline __u32 wire_size(CTX *ctx, const struct pkt *p)
{
	__u32 gso = ctx_gso_size(ctx);

	return gso ? p->header + gso : p->len - ETHER_SIZE;
}

static __always_inline int parse_ether(CTX *ctx, struct pkt *p, __u32 eth)
{
	struct ethhdr *h = at(ctx, eth, sizeof(*h));

	if (!h)
		return -REASON_TRUNCATED;
	p->eth = eth;
	p->len = ctx_len(ctx) - eth;
	copy_mac(p->dmac.mac, h->h_dest);
	copy_mac(p->smac.mac, h->h_source);
	p->type = bpf_ntohs(h->h_proto);
	return 0;
}

static __always_inline int parse_transport(CTX *ctx, struct pkt *p, __u32 payload)
{
	__u32 need = p->proto == IPPROTO_TCP ? 20 : 8;
	__u8 *h;

	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->proto != IPPROTO_ICMP)
		return 0;
	if (payload < need)
		return p->frag & FRAG_MF ? -REASON_FRAGMENT_TINY : -REASON_TRUNCATED;
	h = at(ctx, p->l4, 8);
	if (!h)
		return -REASON_TRUNCATED;
	if (p->proto == IPPROTO_ICMP) {
		p->icmp = h[0];
		if (p->icmp == ICMP_ECHO || p->icmp == ICMP_ECHO_REPLY)
			p->sport = p->dport = bpf_ntohs(*(__be16 *)(h + 4));
		p->header += 8;
		return 0;
	}
	p->sport = bpf_ntohs(*(__be16 *)h);
	p->dport = bpf_ntohs(*(__be16 *)(h + 2));
	p->header += 8;
	if (p->proto == IPPROTO_TCP) {
		h = at(ctx, p->l4, 20);
		if (!h)
			return -REASON_TRUNCATED;
		p->flags = h[13];
		p->header += (h[12] >> 4) * 4 - 8;
	}
	return 0;
}

/* IPv4 (the caller knows the ethertype). Checksums are not verified: a bad one stays bad, as differences are added. */
static __always_inline int parse_ip(CTX *ctx, struct pkt *p)
{
	struct iphdr *ip = at(ctx, p->eth + ETHER_SIZE, sizeof(*ip));
	__u32 size;

	if (!ip)
		return -REASON_TRUNCATED;
	size = ip->ihl * 4;
	p->total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || size < sizeof(*ip) || p->total < size)
		return -REASON_MALFORMED;
	if (p->total > p->len - ETHER_SIZE)
		return -REASON_TRUNCATED;
	p->saddr = ip->saddr;
	p->daddr = ip->daddr;
	p->proto = ip->protocol;
	p->ttl = ip->ttl;
	p->frag = bpf_ntohs(ip->frag_off);
	p->id = bpf_ntohs(ip->id);
	p->l4 = p->eth + ETHER_SIZE + size;
	p->header = size;
	if (size > sizeof(*ip)) /* options: HEADERS was too little */
		ctx_pull(ctx, p->l4 + 20);
	p->sport = p->dport = 0;
	p->flags = p->icmp = 0;
	if (follows(p)) /* a second one at offset 1 would overwrite the flags of TCP that were judged (RFC 1858) */
		return p->proto == IPPROTO_TCP && (p->frag & FRAG_OFFSET) == 1 ? -REASON_FRAGMENT_TINY : 0;
	return parse_transport(ctx, p, p->total - size);
}
