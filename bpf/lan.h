/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Within the LAN: ARP answered on the spot, unicast frames to endpoints, the rest to the bridge. */
#pragma once

#include "guard.h"
#include "hairpin.h"
#include "park.h"

/* Can packets for it be taken? */
static __always_inline bool is_there(const struct endpoint *ep)
{
	struct addr to = ep->vtep;

	return ep->ifindex || !is_zero(&to) ||
	       (ep->state >= ENDPOINT_ASLEEP && ep->state <= ENDPOINT_NAPPING);
}

/*
 * Turns an ARP request for the gateway or a known endpoint into its answer, to be sent back. The frame may be inside a tunnel
 * frame. False when it is neither, or no request.
 */
static __noinline bool arp_answer(CTX *ctx, const struct pkt *p)
{
	struct arp *a = at(ctx, p->eth + ETHER_SIZE, sizeof(*a));
	struct ethhdr *h = at(ctx, p->eth, sizeof(*h));
	struct endpoint *ep;
	struct mac_key mac;
	struct addr ip;
	__be32 target;

	if (!a || !h || a->op != bpf_htons(ARP_REQUEST))
		return false;
	target = *(__be32 *)a->tip;
	if (target == get_v4(&gateway_ip)) {
		copy_mac(mac.mac, gateway_mac.mac);
	} else {
		set_v4(&ip, target);
		ep = bpf_map_lookup_elem(&endpoints, &ip);
		if (!ep || !is_there(ep))
			return false;
		copy_mac(mac.mac, ep->mac);
		if (same_mac(&mac, &p->smac)) /* itself: an announcement, or a probe that must not be answered */
			return false;
	}
	copy_mac(h->h_dest, p->smac.mac);
	copy_mac(h->h_source, mac.mac);
	a->op = bpf_htons(ARP_REPLY);
	copy_mac(a->tmac, a->smac);
	copy_mac(a->smac, mac.mac);
	*(__be32 *)a->tip = *(__be32 *)a->sip;
	*(__be32 *)a->sip = target;
	return true;
}

/*
 * May a webspace send this to infrastructure? Answers only: TCP that opens nothing, echo replies and errors.
 * Later fragments go where their first one went.
 */
static __always_inline int guard_infra(struct pkt *p)
{
	bool ok = false;

	if (p->type != ETH_P_IP)
		return p->type == ETH_P_ARP ? 0 : -REASON_INFRASTRUCTURE;
	if (follows(p))
		return frag_ports(p);
	if (p->proto == IPPROTO_TCP)
		ok = (p->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	if (p->proto == IPPROTO_ICMP)
		ok = p->icmp == ICMP_ECHO_REPLY || is_icmp_error(p);
	if (ok)
		frag_accept(p);
	return ok ? 0 : -REASON_INFRASTRUCTURE;
}

/*
 * A frame that the bridge decides about. It could end in this node's own stack (the MACs of all bridge ports are the
 * node's, and a broadcast frame may carry a unicast packet), so its IP destination is held to the same rules.
 */
static __always_inline int to_bridge(struct pkt *p, const struct port *port)
{
	bool multicast = is_multicast(&p->dmac);

	if (p->type == ETH_P_IP && port->kind != PORT_POD) {
		bool all = is_broadcast(p->daddr) || bpf_ntohl(p->daddr) >> 28 == 14;

		if (multicast && !all)
			return -REASON_UNICAST_IN_BROADCAST;
		if (!multicast && !all) {
			if (!in_lan(p->daddr))
				return -REASON_OFF_LAN;
			if (in_infra(p->daddr))
				return -REASON_INFRASTRUCTURE;
		}
	}
	if (multicast)
		return take_token(p->slot, BUCKET_FLOOD, flood_rate, flood_burst) ? PASS : -REASON_FLOOD_RATE;
	return take_token(p->slot, BUCKET_UNKNOWN, unknown_rate, unknown_burst) ? PASS : -REASON_FLOOD_RATE;
}

/* A unicast frame to an endpoint that is known by its MAC, from a port of this node. */
static __always_inline int to_endpoint(CTX *ctx, struct pkt *p, const struct port *port, const struct endpoint *ep)
{
	struct addr to = ep->vtep;
	__u32 ifindex = ep->ifindex, slot = ep->slot;
	int v;

	if (port->kind != PORT_POD && ep->flags & ENDPOINT_INFRA) {
		if (p->type == ETH_P_IP && p->daddr != get_v4(&ep->ip))
			return -REASON_INFRASTRUCTURE;
		v = guard_infra(p);
		if (v)
			return v;
	}
	if (ep->flags & ENDPOINT_NODE)
		return ctx_receive(ctx, bridge_ifindex);
	if (is_held(ep)) {
		v = hold_frame(p, ep, 0);
		if (v == PARK)
			return park(ctx, slot);
		if (v == RESET)
			return reset_back(ctx, p);
		if (v != DELIVER)
			return v;
		ifindex = ep->port;
	}
	if (ifindex == ctx_ifindex(ctx))
		return PASS;
	if (ifindex) {
		if (p->type == ETH_P_IP && has_hairpins(slot)) {
			v = hairpin_undo(ctx, p);
			if (v)
				return v;
		}
		count_rx(ctx, slot, p->len);
		return ctx_redirect_peer(ctx, ifindex);
	}
	return p->type == ETH_P_IP ? encap_to(ctx, p, &to) : PASS;
}
