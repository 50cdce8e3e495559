/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a webspace sends to the gateway's MAC: its services, answers of forwards, hairpins, outbound NAT. */
#pragma once

#include "lan.h"

enum { DNS = 53 };

/* To the node's own stack, as if it had come by the bridge and been sent to the node. */
static __always_inline int to_node(CTX *ctx)
{
	struct ethhdr *h = at(ctx, 0, sizeof(*h));

	if (!h)
		return -REASON_TRUNCATED;
	copy_mac(h->h_dest, node_mac.mac);
	return ctx_receive(ctx, bridge_ifindex);
}

/* A packet to the gateway's address: DHCP, DNS, ping; and answers, should the node itself have asked. */
static __always_inline int gateway_service(CTX *ctx, struct pkt *p)
{
	bool ok = false;

	if (follows(p)) {
		int v = frag_ports(p);

		return v ? v : to_node(ctx);
	}
	if (p->proto == IPPROTO_UDP)
		ok = p->dport == DNS || is_dhcp_request(p);
	if (p->proto == IPPROTO_TCP)
		ok = p->dport == DNS || (p->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	if (p->proto == IPPROTO_ICMP)
		ok = p->icmp == ICMP_ECHO || p->icmp == ICMP_ECHO_REPLY || is_icmp_error(p);
	if (!ok)
		return -REASON_GATEWAY_SERVICE;
	frag_accept(p);
	return to_node(ctx);
}

/* An answer of a forward: out of this node, or, as it is, to the node where the client's packet came in. */
static __noinline int forward_answer(CTX *ctx, struct pkt *p, const struct settings *s, const struct tuple *t, struct external *x)
{
	struct rewrite r;
	struct way w;
	int v;

	if (!is_zero(&x->entry)) {
		if (p->proto == IPPROTO_UDP && p->dport == tunnel_port)
			return -REASON_DESTINATION_DENIED;
		v = p->eth ? -REASON_NO_FLOW /* it has just come through the tunnel */ : encap_to(ctx, p, &x->entry);
		return v == PASS ? -REASON_PEER_NOT_READY : v;
	}
	v = find_way(ctx, s, p->daddr, &w);
	if (w.hop.flags & NEXTHOP_DENIED || v == SENT) {
		int denial = may_answer(p, t, &w);

		if (denial)
			return denial;
	}
	if (v != SENT)
		return v;
	if (wire_size(ctx, p) > w.hop.mtu)
		return p->eth ? -REASON_TOO_BIG : explain(ctx, p, get_v4(&gateway_ip), w.hop.mtu);
	frag_accept(p);
	if (p->eth) {
		v = decap(ctx, p);
		if (v)
			return v;
	}
	rewrite_none(p, &r);
	r.saddr = x->ip;
	r.sport = x->port;
	return route_out(ctx, p, &r, &w);
}

static __noinline int icmp_out(CTX *ctx, struct pkt *p, const struct settings *s)
{
	struct scratch *room = get_scratch();
	struct external x;
	struct quote *q;
	int v;

	if (!room)
		return -REASON_CHANGE_FAILED;
	q = &room->quote;
	v = icmp_out_match(ctx, p, q, &x);
	if (v)
		return v;
	if (!is_zero(&x.entry)) {
		v = p->eth ? -REASON_ICMP_UNMATCHED : encap_to(ctx, p, &x.entry);
		return v == PASS ? -REASON_PEER_NOT_READY : v;
	}
	if (p->eth) {
		v = decap(ctx, p);
		if (v)
			return v;
		q->l3 -= TUNNEL_SIZE;
		q->l4 -= TUNNEL_SIZE;
	}
	return icmp_out_send(ctx, p, s, q, &x);
}

static __noinline int flow_out(CTX *ctx, struct pkt *p, const struct way *w, struct flow *f)
{
	struct rewrite r;

	if (wire_size(ctx, p) > w->hop.mtu)
		return explain(ctx, p, get_v4(&gateway_ip), w->hop.mtu);
	frag_accept(p);
	touch(ctx, f, p);
	rewrite_flow(p, f, &r);
	return route_out(ctx, p, &r, w);
}

/* Opens the flow of a packet that has none: a hairpin, or NAT (and then finds its way). 0 or a reason. */
static __always_inline int open_flow(CTX *ctx, const struct settings *s, const struct pkt *p, const struct tuple *t, struct way *w)
{
	struct forward *fw = find_forward(p->daddr, p->dport, p->proto);
	int v = may_open(p);

	if (v)
		return v;
	if (fw)
		return hairpin_open(s, p, t, fw);
	/* NAT gives the packet the node's address, which peers trust: it must not look like a tunnel's. */
	if (p->proto == IPPROTO_UDP && p->dport == tunnel_port)
		return -REASON_DESTINATION_DENIED;
	if (!get_v4(&s->uplink)) /* none is configured, or it has lost its address */
		return -REASON_NO_ROUTE;
	v = find_way(ctx, s, p->daddr, w);
	if (w->hop.flags & NEXTHOP_DENIED)
		return -REASON_DESTINATION_DENIED;
	return v == SENT ? nat_open(s, p, t, w) : v;
}

static __noinline int to_gateway(CTX *ctx, struct pkt *p)
{
	struct tuple t __attribute__((aligned(8)));
	struct settings *s = get_settings();
	struct external x;
	struct way w = {};
	struct flow *f;
	int v;

	if (p->type != ETH_P_IP || !s)
		return -REASON_GATEWAY_SERVICE;
	if (p->daddr == get_v4(&gateway_ip))
		return gateway_service(ctx, p);
	if (follows(p)) {
		v = frag_ports(p);
		if (v)
			return v;
	}
	if (p->ttl <= 1)
		return explain(ctx, p, get_v4(&gateway_ip), 0);
	if (is_icmp_error(p))
		return icmp_out(ctx, p, s);
	tuple_of(p, &t);
	f = bpf_map_lookup_elem(&flows, &t);
	if (f) {
		if (p->proto == IPPROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			reopen(f);
		if (f->kind == FLOW_OUT) {
			v = flow_way(ctx, s, f, p->daddr, &w);
			if (v != SENT)
				return v;
		}
	} else {
		if (find_external(&t, &x))
			return forward_answer(ctx, p, s, &t, &x);
		v = follows(p) ? -REASON_NO_FLOW : open_flow(ctx, s, p, &t, &w);
		if (v)
			return v;
		f = bpf_map_lookup_elem(&flows, &t);
		if (!f)
			return -REASON_NO_FLOW;
	}
	if (f->kind == FLOW_OUT)
		return flow_out(ctx, p, &w, f);
	if (f->kind == FLOW_HAIRPIN || f->kind == FLOW_HAIRPIN_BACK)
		return hairpin_send(ctx, p, f);
	return -REASON_NO_FLOW;
}
