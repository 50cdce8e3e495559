/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hands a frame to an endpoint of the LAN, wherever that is. */
#pragma once

#include "mss.h"
#include "park.h"
#include "route.h"

/* A routed packet that the fast path cannot send on: its addresses are the LAN's by now, so the bridge can. */
static __always_inline int by_bridge(CTX *ctx)
{
	return ctx_redirect(ctx, bridge_ifindex);
}

/*
 * Rewrites a packet and delivers it. The caller has asked about TTL and size, and of an endpoint that is_held what is to become
 * of the packet (held: DELIVER or PARK, else 0).
 */
static __always_inline int route_in(CTX *ctx, struct pkt *p, struct rewrite *r, const struct endpoint *ep, const struct peer *peer, int held)
{
	__be32 to = get_v4(&ep->vtep);
	__u32 ifindex = ep->ifindex, slot = ep->slot;
	int v;

	copy_mac(r->smac.mac, gateway_mac.mac);
	copy_mac(r->dmac.mac, ep->mac);
	v = clamp_mss(ctx, p, uplink_mtu); /* what the webspace will send */
	if (v)
		return v;
	if (held == DELIVER)
		ifindex = ep->port;
	v = rewrite(ctx, p, r);
	if (v)
		return v;
	if (held == PARK)
		return park(ctx, slot);
	if (ifindex) {
		count_rx(ctx, slot, p->len);
		return ctx_redirect_peer(ctx, ifindex);
	}
	v = encap(ctx, p, peer, to, 0);
	return v == PASS ? by_bridge(ctx) : v;
}

/* The peer that an endpoint is behind, if it is behind one. */
static __always_inline struct peer *peer_of(const struct endpoint *ep)
{
	return ep->ifindex ? 0 : find_peer(&ep->vtep);
}

/* XDP has no bridge to fall back to: what it may not be able to deliver is left to the tcx program, untouched. */
static __always_inline bool leave_to_tcx(const struct endpoint *ep, const struct peer *peer)
{
	return IS_XDP && !ep->ifindex && (!peer || !(peer->flags & PEER_READY)); /* which is true of one that is_held, too */
}

/*
 * The largest packet that may be sent to an endpoint. A local veth would take any size, but a sender that asks to be told
 * (DF) is told: answers come in the same size, and do not fit. XDP cannot send what is larger than the device's MTU.
 */
static __always_inline __u32 path_size(const struct pkt *p, const struct endpoint *ep, const struct peer *peer)
{
	if (ep->ifindex)
		return IS_XDP || p->frag & FRAG_DF ? lan_mtu : 0xffff;
	return peer && peer->flags & PEER_READY ? peer->mtu - TUNNEL_SIZE : lan_mtu;
}
