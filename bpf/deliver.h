/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hands a frame to an endpoint of the LAN, wherever that is. */
#pragma once

#include "icmp_error.h"
#include "mss.h"
#include "route.h"

/* A routed packet that the fast path cannot send on: its addresses are the LAN's by now, so the bridge can. */
static __always_inline int by_bridge(CTX *ctx)
{
	return ctx_redirect(ctx, bridge_ifindex);
}

/* Rewrites a packet and delivers it. The caller has asked about TTL and size. */
static __always_inline int route_in(CTX *ctx, struct pkt *p, struct rewrite *r, const struct endpoint *ep)
{
	struct addr to = ep->vtep;
	__u32 ifindex = ep->ifindex, slot = ep->slot;
	int v;

	copy_mac(r->smac.mac, gateway_mac.mac);
	copy_mac(r->dmac.mac, ep->mac);
	v = clamp_mss(ctx, p, uplink_mtu); /* what the webspace will send */
	if (v)
		return v;
	v = rewrite(ctx, p, r);
	if (v)
		return v;
	if (ifindex) {
		count_rx(ctx, slot, p->len);
		return ctx_redirect_peer(ctx, ifindex);
	}
	v = encap(ctx, p, &to);
	return v == PASS ? by_bridge(ctx) : v;
}

/* XDP has no bridge to fall back to: what it may not be able to deliver is left to the tcx program, untouched. */
static __always_inline bool leave_to_tcx(const struct endpoint *ep)
{
	struct peer *peer;

	if (!IS_XDP || ep->ifindex)
		return false;
	peer = bpf_map_lookup_elem(&peers, &ep->vtep);
	return !peer || !(peer->flags & PEER_READY);
}

/*
 * The largest packet that may be sent to an endpoint. A local veth would take any size, but a sender that asks to be told
 * (DF) is told: answers come in the same size, and do not fit. XDP cannot send what is larger than the device's MTU.
 */
static __always_inline __u32 path_size(const struct pkt *p, const struct endpoint *ep)
{
	struct peer *peer;

	if (ep->ifindex)
		return IS_XDP || p->frag & FRAG_DF ? lan_mtu : 0xffff;
	peer = bpf_map_lookup_elem(&peers, &ep->vtep);
	return peer && peer->flags & PEER_READY ? peer->mtu - TUNNEL_SIZE : lan_mtu;
}
