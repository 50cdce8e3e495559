//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tcx egress of the bridge: what the node itself sends to the LAN takes the short way too. */
#include "lan.h"

/* What the gateway says of its own (DHCP, DNS) does not mean that the webspace is in use. */
static __always_inline void node_count(CTX *ctx, const struct pkt *p, __u32 slot)
{
	if (p->saddr == get_v4(&gateway_ip))
		count_quiet(ctx, slot, p->len);
	else
		count_rx(ctx, slot, p->len);
}

/* The node asks for a webspace that cannot answer, or may be asleep behind a peer. Those that are awake here it never asks for. */
static __noinline int node_arp(CTX *ctx, const struct pkt *p)
{
	struct arp *a = at(ctx, ETHER_SIZE, sizeof(*a));
	struct endpoint *ep;
	struct addr ip;

	if (!a)
		return PASS;
	set_v4(&ip, *(__be32 *)a->tip);
	ep = bpf_map_lookup_elem(&endpoints, &ip);
	if (!ep || ep->ifindex || !arp_answer(ctx, p))
		return PASS;
	return ctx_receive(ctx, bridge_ifindex);
}

static __noinline int node_held(CTX *ctx, struct pkt *p, const struct endpoint *ep)
{
	__u32 slot = ep->slot;
	int v = hold_frame(p, ep, 0);

	if (v == PARK)
		return park(ctx, slot);
	if (v == RESET) {
		v = reset(ctx, p);
		return v ? v : ctx_receive(ctx, bridge_ifindex);
	}
	if (v != DELIVER)
		return v;
	node_count(ctx, p, slot);
	return ctx_redirect(ctx, ep->port);
}

static __always_inline int node_frame(CTX *ctx, struct pkt *p)
{
	struct mac_key k = {};
	struct endpoint *ep;
	struct addr to;
	int v = parse_ether(ctx, p, 0);

	if (v || ctx_tagged(ctx))
		return PASS;
	if (p->type == ETH_P_ARP)
		return node_arp(ctx, p);
	if (p->type != ETH_P_IP || parse_ip(ctx, p))
		return PASS;
	if (p->saddr == get_v4(&gateway_ip)) {
		struct ethhdr *h = at(ctx, 0, sizeof(*h));

		if (!h)
			return -REASON_TRUNCATED;
		copy_mac(h->h_source, gateway_mac.mac);
		copy_mac(p->smac.mac, gateway_mac.mac);
	}
	copy_mac(k.mac, p->dmac.mac);
	ep = bpf_map_lookup_elem(&macs, &k);
	if (!ep || ep->flags & ENDPOINT_NODE)
		return PASS;
	if (is_held(ep))
		return node_held(ctx, p, ep);
	if (ep->ifindex) {
		node_count(ctx, p, ep->slot);
		return ctx_redirect(ctx, ep->ifindex);
	}
	to = ep->vtep;
	return encap_to(ctx, p, &to);
}

SEC("tcx/egress")
int node(struct __sk_buff *skb)
{
	struct pkt p = {};

	ctx_pull(skb, HEADERS);
	return finish(skb, &p, HOOK_NODE, node_frame(skb, &p), CTX_NEXT);
}
