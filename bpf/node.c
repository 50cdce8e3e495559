//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tcx egress of the bridge: what the node itself sends to the LAN takes the short way too. */
#include "lan.h"

static __always_inline int node_frame(CTX *ctx, struct pkt *p)
{
	struct mac_key k = {};
	struct endpoint *ep;
	struct addr to;
	int v = parse_ether(ctx, p, 0);

	if (v || ctx_tagged(ctx) || p->type != ETH_P_IP || parse_ip(ctx, p))
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
	if (ep->ifindex) {
		count_rx(ctx, ep->slot, p->len);
		return ctx_redirect(ctx, ep->ifindex);
	}
	to = ep->vtep;
	return is_zero(&to) ? -REASON_ENDPOINT_ABSENT : encap_to(ctx, p, &to);
}

SEC("tcx/egress")
int node(struct __sk_buff *skb)
{
	struct pkt p = {};

	ctx_pull(skb, HEADERS);
	return finish(skb, &p, HOOK_NODE, node_frame(skb, &p), CTX_NEXT);
}
