/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way out of the uplink. The kernel is asked once per destination and epoch (settings.nh_epoch; user space bumps it
 * when routes, neighbours or denied prefixes change, and every few seconds), everything else comes from a cache. The
 * packet that asked goes through bpf_redirect_neigh, so that the kernel's neighbour entry is used, and stays true.
 */
#pragma once

#include "rewrite.h"
#include "scratch.h"

#ifndef AF_INET
#define AF_INET 2
#endif

struct way {
	struct nexthop hop;
	__be32 via;  /* with fresh: the neighbour to send to */
	__u32 fresh; /* the kernel was just asked: send through its neighbour table */
};

/* What no webspace may reach whatever the configuration: its own LAN, this host, multicast, nothing. */
static __always_inline bool never_outside(__be32 ip)
{
	__u32 first = bpf_ntohl(ip) >> 24;

	return first == 0 || first == 127 || first >= 224 || in_lan(ip);
}

static __always_inline bool denied(__be32 ip)
{
	struct prefix_key k = {.prefixlen = 128};
	__u32 *class;

	if (never_outside(ip))
		return true;
	set_v4(&k.ip, ip);
	class = bpf_map_lookup_elem(&prefixes, &k);
	return class && *class == PREFIX_DENY;
}

/*
 * Finds the way to daddr. w->hop.flags is right even when there is no route. XDP takes only what is cached: PASS hands
 * the packet to the tcx program, which asks.
 */
GLOBAL int find_way(CTX *ctx, const struct settings *s, __be32 daddr, struct way *w)
{
	struct scratch *room = get_scratch();
	struct bpf_fib_lookup *fib;
	struct nexthop *cached;
	struct addr key;
	long rc;

	if (!s || !w)
		return -REASON_CHANGE_FAILED;
	w->hop.flags = 0;
	set_v4(&key, daddr);
	cached = bpf_map_lookup_elem(&nexthops, &key);
	if (cached && cached->epoch == s->nh_epoch) {
		w->hop = *cached;
		w->fresh = 0;
		return SENT;
	}
	/* Keeps the argument alive where nothing uses it (XDP): clang would pass garbage, and the verifier mind. */
	asm volatile("" : : "r"(ctx));
	if (IS_XDP)
		return PASS;
	w->fresh = 1;
	w->hop.flags = denied(daddr) ? NEXTHOP_DENIED : 0;
	w->hop.pad = 0;
	w->hop.epoch = s->nh_epoch;
	if (!room)
		return -REASON_NO_ROUTE;
	fib = &room->fib;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = AF_INET;
	fib->ipv4_src = get_v4(&s->uplink);
	fib->ipv4_dst = daddr;
	fib->ifindex = route_ifindex;
	fib->tot_len = 1; /* not 0: the answer is then the route's MTU (with what was learnt of the path), not the device's */
	rc = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -REASON_NO_ROUTE;
	w->via = fib->ipv4_dst; /* the next hop's by now */
	w->hop.ifindex = fib->ifindex;
	w->hop.mtu = uplink_mtu;
	if (rc == BPF_FIB_LKUP_RET_NO_NEIGH) { /* the kernel asks for it, and sends the packet when it knows */
		w->hop.epoch--;
		return SENT;
	}
	w->hop.mtu = fib->mtu_result;
	copy_mac(w->hop.smac, fib->smac);
	copy_mac(w->hop.dmac, fib->dmac);
	bpf_map_update_elem(&nexthops, &key, &w->hop, BPF_ANY);
	return SENT;
}

/* Sends a packet whose MACs are w's already. */
static __always_inline int send_way(CTX *ctx, const struct way *w)
{
	struct bpf_redir_neigh nh = {.nh_family = AF_INET, .ipv4_nh = w->via};

	if (!IS_XDP && w->fresh) {
		bpf_redirect_neigh(w->hop.ifindex, &nh, sizeof(nh), 0);
		return SENT;
	}
	return ctx_redirect(ctx, w->hop.ifindex);
}
