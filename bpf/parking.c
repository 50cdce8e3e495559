//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tcx ingress of the parking TAP: what user space sends on. Frames that were parked go to their webspace, whatever its state;
 * answers that user space gives in the name of a webspace go the way the webspace's own would.
 */
#include "gateway.h"

static __always_inline int parking_frame(CTX *ctx, struct pkt *p)
{
	struct mac_key k = {};
	struct endpoint *ep;
	struct addr to;
	__u32 ifindex;
	int v = parse_ether(ctx, p, 0);

	if (v)
		return v;
	if (p->type != ETH_P_IP)
		return -REASON_ETHERTYPE;
	v = parse_ip(ctx, p);
	if (v)
		return v;
	if (same_mac(&p->dmac, &gateway_mac)) {
		copy_mac(k.mac, p->smac.mac);
		ep = bpf_map_lookup_elem(&macs, &k);
		if (!ep || !ep->slot || p->saddr != get_v4(&ep->ip))
			return -REASON_SPOOFED_MAC;
		p->slot = ep->slot;
		return to_gateway(ctx, p);
	}
	copy_mac(k.mac, p->dmac.mac);
	ep = bpf_map_lookup_elem(&macs, &k);
	if (!ep)
		return -REASON_ENDPOINT_ABSENT;
	if (ep->flags & ENDPOINT_NODE)
		return ctx_receive(ctx, bridge_ifindex);
	p->slot = ep->slot;
	ifindex = ep->port;
	to = ep->vtep;
	if (!ifindex)
		return is_zero(&to) ? -REASON_ENDPOINT_ABSENT : encap_to(ctx, p, &to);
	if (has_hairpins(p->slot)) {
		v = hairpin_undo(ctx, p);
		if (v)
			return v;
	}
	count_rx(ctx, p->slot, p->len);
	return ctx_redirect_peer(ctx, ifindex);
}

SEC("tcx/ingress")
int parking(struct __sk_buff *skb)
{
	struct pkt p = {};
	int v;

	ctx_pull(skb, HEADERS);
	v = parking_frame(skb, &p);
	if (v == PASS) /* nothing here is for the stack */
		v = -REASON_ENDPOINT_ABSENT;
	return finish(skb, &p, HOOK_PARKING, v, CTX_DROP);
}
