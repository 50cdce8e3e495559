/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hairpins: a webspace (the opener) uses the external address of a forward of its own LAN. The destination becomes the
 * target, the opener's address stays as the source, so the target sees who it is. Its answers go to the opener over the LAN,
 * and would show the wrong source there: they are found in flows when they are delivered to the opener, in its node's
 * port program (target on the same node) or at decapsulation.
 *
 * That lookup is kept off other packets: shares[slot].hairpins counts the hairpin flows of the opener's slot (user space
 * takes off what it removes), and only a destination whose count is not 0 is looked up. The array lookup is inlined by
 * the kernel: two loads and a compare per delivered packet.
 *
 * A webspace that uses its own forward would see its own address as source, which no stack accepts. It sees the forward's
 * external address instead, answers that through the gateway, and the answer's entry is found there like any flow's.
 */
#pragma once

#include "icmp_translate.h"

/* Do answers to this local endpoint have to be looked up? */
static __always_inline bool has_hairpins(__u32 slot)
{
	struct share *s = bpf_map_lookup_elem(&shares, &slot);

	return slot && s && s->hairpins > 0;
}

/* The packet becomes the reverse of f->other. */
static __always_inline void rewrite_flow(const struct pkt *p, const struct flow *f, struct rewrite *r)
{
	rewrite_none(p, r);
	r->saddr = get_v4(&f->other.dst);
	r->daddr = get_v4(&f->other.src);
	r->sport = f->other.dport;
	r->dport = f->other.sport;
}

/* An ICMP error of the target about what the opener sent: it quotes the target, and the opener knows the external side only. */
static __noinline int hairpin_error(CTX *ctx, struct pkt *p)
{
	struct scratch *room = get_scratch();
	struct rewrite r;
	struct flow *f;
	struct quote *q;
	struct truth x;
	struct tuple t;
	int v;

	if (IS_XDP || !room) /* tunnel_frame left it to tcx */
		return 0;
	q = &room->quote;
	if (parse_quote(ctx, p, q) || get_v4(&q->t.src) != p->daddr || get_v4(&q->t.dst) != p->saddr)
		return 0;
	reverse(&q->t, &t);
	f = bpf_map_lookup_elem(&flows, &t);
	if (!f || f->kind != FLOW_HAIRPIN_BACK)
		return 0;
	x.ip = get_v4(&f->other.dst);
	x.port = f->other.dport;
	v = rewrite_quote(ctx, p, q, &x, 0);
	if (v)
		return v;
	rewrite_none(p, &r);
	r.saddr = x.ip;
	copy_mac(r.smac.mac, gateway_mac.mac);
	r.hops = p->ttl > 1;
	return rewrite(ctx, p, &r);
}

/* Undoes the hairpin on an answer that is about to be delivered on this node. The frame begins at 0. */
static __noinline int hairpin_undo(CTX *ctx, struct pkt *p)
{
	struct tuple t __attribute__((aligned(8)));
	struct rewrite r;
	struct flow *f;

	if (is_icmp_error(p))
		return hairpin_error(ctx, p);
	if (follows(p) && frag_ports(p))
		return 0;
	tuple_of(p, &t);
	f = bpf_map_lookup_elem(&flows, &t);
	if (!f || f->kind != FLOW_HAIRPIN_BACK)
		return 0;
	frag_accept(p);
	touch(ctx, f, p);
	rewrite_flow(p, f, &r);
	copy_mac(r.smac.mac, gateway_mac.mac); /* as the opener sent it to the gateway */
	r.hops = p->ttl > 1;
	return rewrite(ctx, p, &r);
}

/* Opens a hairpin towards the forward f. */
GLOBAL int hairpin_open(const struct settings *s, const struct pkt *p, const struct tuple *key, const struct forward *f)
{
	int state, rc;
	struct scratch *room = get_scratch();
	struct counters *c;
	struct flow *new;
	__u32 slot;

	if (!s || !p || !key || !f || !room)
		return -REASON_CHANGE_FAILED;
	slot = p->slot;
	state = take_share(s, slot, true);
	if (state < 0)
		return -REASON_FLOW_SHARE_EXCEEDED;
	new = &room->flow;
	flow_init(new, p, state, FLOW_HAIRPIN);
	flow_opened(new, p);
	new->other.src = f->ip;
	set_v4(&new->other.dst, get_v4(&f->ip) == p->saddr ? p->daddr : p->saddr);
	new->other.sport = f->port;
	new->other.dport = p->sport;
	new->other.proto = p->proto;
	rc = flow_insert(key, new);
	if (rc == INSERTED) {
		c = bpf_map_lookup_elem(&counters, &slot);
		if (c)
			c->flows_opened++;
		return 0;
	}
	give_share(slot, state, true);
	if (rc == RACED)
		return 0;
	/* TAKEN: the opener already uses that port towards the target by another external side. */
	return rc == FULL ? -REASON_FLOW_TABLE_FULL : -REASON_NAT_PORTS_EXHAUSTED;
}

/* A packet of the opener, or an answer to itself: to wherever other says. */
static __noinline int hairpin_send(CTX *ctx, struct pkt *p, struct flow *f)
{
	struct endpoint *ep;
	struct peer *peer;
	struct rewrite r;
	struct addr to;
	int held = 0;
	__u32 most;

	rewrite_flow(p, f, &r);
	set_v4(&to, r.daddr);
	ep = bpf_map_lookup_elem(&endpoints, &to);
	if (!ep)
		return -REASON_ENDPOINT_ABSENT;
	if (is_held(ep)) {
		held = hold(p, ep, r.dport, f->kind == FLOW_HAIRPIN_BACK ? HOLD_OWN : 0);
		if (held == RESET)
			return reset_back(ctx, p);
		if (held < 0)
			return held;
	}
	peer = peer_of(ep);
	most = path_size(p, ep, peer);
	if (p->ttl <= 1 || wire_size(ctx, p) > most)
		return explain(ctx, p, get_v4(&gateway_ip), most);
	frag_accept(p);
	touch(ctx, f, p);
	return route_in(ctx, p, &r, ep, peer, held);
}
