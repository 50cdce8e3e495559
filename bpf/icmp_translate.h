/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about translated packets: they quote what their maker saw, and mean something to the other side only when the
 * quote is translated back (RFC 5508 section 4). The quoted IP header's checksum compensates for its addresses, so of the
 * quote only ports and transport checksums change the ICMP checksum.
 */
#pragma once

#include "forward.h"
#include "nat.h"

/* Where the quoted packet came from, or went to, really. */
struct truth {
	__be32 ip;
	__u16 port;
};

GLOBAL int parse_quote(CTX *ctx, const struct pkt *p, struct quote *q)
{
	__u8 b[20] __attribute__((aligned(8))), h[8] __attribute__((aligned(8)));
	__u32 size;

	if (!p || !q)
		return -REASON_CHANGE_FAILED;
	q->l3 = p->l4 + 8;
	if (ctx_load(ctx, q->l3, b, 20))
		return -REASON_TRUNCATED;
	size = (b[0] & 15) * 4;
	if (b[0] >> 4 != 4 || size < 20)
		return -REASON_MALFORMED;
	q->l4 = q->l3 + size;
	if (bpf_ntohs(*(__be16 *)(b + 6)) & FRAG_OFFSET || ctx_load(ctx, q->l4, h, 8))
		return -REASON_ICMP_UNMATCHED;
	q->t.proto = b[9];
	q->t.pad[0] = q->t.pad[1] = q->t.pad[2] = 0;
	set_v4(&q->t.src, *(__be32 *)(b + 12));
	set_v4(&q->t.dst, *(__be32 *)(b + 16));
	q->icmp = 0;
	switch (q->t.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		q->t.sport = bpf_ntohs(*(__be16 *)h);
		q->t.dport = bpf_ntohs(*(__be16 *)(h + 2));
		return 0;
	case IPPROTO_ICMP:
		q->icmp = 1;
		if (h[0] != ICMP_ECHO && h[0] != ICMP_ECHO_REPLY)
			return -REASON_ICMP_UNMATCHED;
		q->t.sport = q->t.dport = bpf_ntohs(*(__be16 *)(h + 4));
		return 0;
	}
	return -REASON_ICMP_UNMATCHED;
}

/* The tuple of a packet that answers t. */
static __always_inline void reverse(const struct tuple *t, struct tuple *r)
{
	r->src = t->dst;
	r->dst = t->src;
	r->sport = t->dport;
	r->dport = t->sport;
	r->proto = t->proto;
	r->pad[0] = r->pad[1] = r->pad[2] = 0;
}

/* Writes x into the quote: as its source (the error comes from outside) or its destination. Addresses, then sums. */
static __noinline int rewrite_quote(CTX *ctx, const struct pkt *p, const struct quote *q, const struct truth *x, __u32 source)
{
	__be32 old_ip = get_v4(source ? &q->t.src : &q->t.dst);
	__be16 old_port = bpf_htons(source ? q->t.sport : q->t.dport), port = bpf_htons(x->port);
	__u32 at_port = q->icmp ? q->l4 + 4 : source ? q->l4 : q->l4 + 2;
	__u32 at_sum = q->l4 + (q->t.proto == IPPROTO_TCP ? 16 : q->t.proto == IPPROTO_UDP ? 6 : 2);
	__u64 ports = delta16(old_port, port), change = ports;
	__u16 sum, old;

	if (ctx_load(ctx, q->l3 + 10, &old, 2))
		return -REASON_CHANGE_FAILED;
	sum = ~fold((__u16)~old + delta32(old_ip, x->ip));
	change += delta16(old, sum) + delta32(old_ip, x->ip);
	if (ctx_store(ctx, q->l3 + 10, &sum, 2) || ctx_store(ctx, q->l3 + (source ? 12 : 16), &x->ip, 4) ||
	    ctx_store(ctx, at_port, &port, 2))
		return -REASON_CHANGE_FAILED;
	/* TCP's checksum is beyond the 8 bytes that must be quoted: change it where it is there. */
	if (!ctx_load(ctx, at_sum, &old, 2) && (old || q->t.proto != IPPROTO_UDP)) {
		sum = ~fold((__u16)~old + ports + (q->icmp ? 0 : delta32(old_ip, x->ip)));
		change += delta16(old, sum);
		if (ctx_store(ctx, at_sum, &sum, 2))
			return -REASON_CHANGE_FAILED;
	}
	return ctx_csum_add(ctx, p->l4 + 2, fold32(change), 0) ? -REASON_CHANGE_FAILED : 0;
}

/* An error from outside about what a webspace sent. PASS when it is about the node's own. */
static __noinline int icmp_in(CTX *ctx, struct pkt *p)
{
	struct forward *f;
	struct endpoint *ep;
	struct rewrite r;
	struct flow *flow;
	struct scratch *room = get_scratch();
	struct quote *q;
	struct tuple t;
	struct truth x;
	struct addr to;
	int held = 0;
	int v;

	if (IS_XDP || !room)
		return PASS;
	q = &room->quote;
	if (parse_quote(ctx, p, q) || get_v4(&q->t.src) != p->daddr)
		return PASS;
	reverse(&q->t, &t);
	flow = bpf_map_lookup_elem(&flows, &t);
	f = flow ? 0 : find_forward(p->daddr, q->t.sport, q->t.proto);
	if (flow && flow->kind == FLOW_BACK) {
		x.ip = get_v4(&flow->other.src);
		x.port = flow->other.sport;
	} else if (f) {
		x.ip = get_v4(&f->ip);
		x.port = f->port;
	} else {
		return PASS;
	}
	if (never_outside(p->saddr))
		return -REASON_MARTIAN;
	set_v4(&to, x.ip);
	ep = bpf_map_lookup_elem(&endpoints, &to);
	if (!ep)
		return -REASON_ENDPOINT_ABSENT;
	p->slot = ep->slot;
	if (is_held(ep)) {
		held = hold(p, ep, x.port, HOLD_OWN);
		if (held != DELIVER)
			return held < 0 ? held : -REASON_ASLEEP;
	}
	if (p->ttl <= 1)
		return -REASON_TTL_EXCEEDED;
	v = rewrite_quote(ctx, p, q, &x, 1);
	if (v)
		return v;
	rewrite_none(p, &r);
	r.daddr = x.ip;
	return route_in(ctx, p, &r, ep, peer_of(ep), held);
}

/*
 * An error from a webspace about what came to it. It may only go to whom it quotes, and quote itself as the receiver. q is
 * filled in; x gets the external side, *entry the peer to leave through.
 */
static __noinline int icmp_out_match(CTX *ctx, const struct pkt *p, struct quote *q, struct external *x)
{
	struct flow *flow;
	struct tuple t;
	int v = parse_quote(ctx, p, q);

	if (v)
		return v;
	if (get_v4(&q->t.dst) != p->saddr || get_v4(&q->t.src) != p->daddr)
		return -REASON_ICMP_UNMATCHED;
	reverse(&q->t, &t);
	flow = bpf_map_lookup_elem(&flows, &t);
	if (flow && flow->kind == FLOW_OUT) {
		__builtin_memset(x, 0, sizeof(*x));
		x->ip = get_v4(&flow->other.dst);
		x->port = flow->other.dport;
		return 0;
	}
	return find_external(&t, x) ? 0 : -REASON_ICMP_UNMATCHED;
}

static __noinline int icmp_out_send(CTX *ctx, struct pkt *p, const struct settings *s, const struct quote *q, const struct external *x)
{
	struct truth truth = {.ip = x->ip, .port = x->port};
	struct rewrite r;
	struct way w;
	int v = find_way(ctx, s, p->daddr, &w);

	if (v != SENT)
		return v;
	v = rewrite_quote(ctx, p, q, &truth, 0);
	if (v)
		return v;
	rewrite_none(p, &r);
	r.saddr = x->ip;
	return route_out(ctx, p, &r, &w);
}
