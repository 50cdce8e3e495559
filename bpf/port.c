//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tcx ingress of the host side of a port: what a webspace (or a pod of ours) sends. */
#include "gateway.h"

static __always_inline int port_frame(CTX *ctx, struct pkt *p, const struct port *port)
{
	struct endpoint *ep;
	int v = guard(ctx, p, port);

	if (v)
		return v;
	if (port->flags & PORT_BOOTING) {
		v = boot_frame(ctx, p, port);
		if (v)
			return v;
	}
	if (p->type == ETH_P_ARP) {
		if (arp_answer(ctx, p))
			return ctx_redirect(ctx, ctx_ifindex(ctx));
	}
	/* To everybody, but for the node alone: it is not flooded. */
	if (p->type == ETH_P_IP && is_multicast(&p->dmac) && is_broadcast(p->daddr) && is_dhcp_request(p) && !is_fragment(p))
		return to_node(ctx);
	if (same_mac(&p->dmac, &gateway_mac))
		return to_gateway(ctx, p);
	if (!is_multicast(&p->dmac)) {
		struct mac_key k = {};

		copy_mac(k.mac, p->dmac.mac);
		ep = bpf_map_lookup_elem(&macs, &k);
		if (ep)
			return to_endpoint(ctx, p, port, ep);
	}
	return to_bridge(p, port);
}

SEC("tcx/ingress")
int port(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);
	struct pkt p = {};
	int v;

	if (!port) /* fail closed: user space removes the program after the entry */
		return finish(skb, &p, HOOK_PORT, -REASON_NO_PORT, CTX_PASS);
	p.slot = port->slot;
	ctx_pull(skb, HEADERS);
	v = parse_ether(skb, &p, 0);
	if (!v)
		v = port_frame(skb, &p, port);
	if (v >= 0)
		count_tx(skb, port->slot, v);
	return finish(skb, &p, HOOK_PORT, v, CTX_PASS);
}
