/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Does what wake.h has decided. */
#pragma once

#include "answer.h"
#include "wake.h"

/* A local endpoint that is not awake. What is not IPv4 it gets as long as it has a port. */
static __always_inline bool is_held(const struct endpoint *ep)
{
	struct addr to = ep->vtep;

	return !ep->ifindex && is_zero(&to);
}

static __always_inline void count_parked(CTX *ctx, __u32 slot)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &slot);

	if (c)
		c->parked_packets += segments(ctx);
}

/* The frame, with the addresses that the webspace will see, goes to user space. */
static __always_inline int park(CTX *ctx, __u32 slot)
{
	count_parked(ctx, slot);
	return ctx_redirect(ctx, parking_ifindex);
}

/* May a SYN that is challenged be copied? Of a flood few are. */
static __always_inline bool may_copy(__u32 slot)
{
	return take_both(slot, BUCKET_COPY, copy_rate, copy_burst, node_copy_rate, node_copy_burst);
}

/*
 * The copy is parked, for when the SYN's sender turns out to exist: some stacks repeat it late. It is marked by having no source
 * MAC (a forward's packets have the gateway's).
 */
static __always_inline void park_copy(CTX *ctx, __u32 slot)
{
	struct mac_key none = {};

	if (ctx_store(ctx, MAC_LEN, none.mac, MAC_LEN))
		return;
	count_parked(ctx, slot);
	ctx_copy(ctx, parking_ifindex);
}

/* Decides about a frame of this LAN for an endpoint that is_held. flags: enum hold_flags. */
static __noinline int hold_frame(struct pkt *p, const struct endpoint *ep, __u32 flags)
{
	int v;

	if (p->type != ETH_P_IP)
		return ep->port ? DELIVER : -REASON_ENDPOINT_ABSENT;
	if (follows(p)) {
		v = frag_ports(p);
		if (v)
			return v;
	}
	v = hold(p, ep, p->dport, flags);
	if (v == PARK || v == DELIVER)
		frag_accept(p);
	return v;
}
