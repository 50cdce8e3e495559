/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the shared bodies need of a packet, for XDP; the counterpart of ctx_skb.h. There are no offloads here: bytes are all. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tunnel_size.h"
#include "verdict.h"

#define CTX struct xdp_md
#define IS_XDP 1

enum { CTX_PASS = XDP_PASS, CTX_DROP = XDP_DROP, CTX_SENT = XDP_REDIRECT };

#define ctx_data(ctx) ((void *)(long)(ctx)->data)
#define ctx_end(ctx) ((void *)(long)(ctx)->data_end)
#define ctx_ifindex(ctx) ((ctx)->ingress_ifindex)
#define ctx_gso_size(ctx) ((void)(ctx), 0)
#define ctx_segments(ctx) ((void)(ctx), 1)
#define ctx_hash(ctx) ((void)(ctx), 0)
#define ctx_load(ctx, off, to, len) bpf_xdp_load_bytes(ctx, off, to, len)
#define ctx_store(ctx, off, from, len) bpf_xdp_store_bytes(ctx, off, (void *)(from), len)
/* A tag is in the bytes (another ethertype), as long as the driver does not strip it: ethtool -K DEV rxvlan off. */
#define ctx_tagged(ctx) ((void)(ctx), false)
#define ctx_pull(ctx, n) ((void)0)

static __always_inline __u32 ctx_len(CTX *ctx)
{
	__u64 n = ctx_end(ctx) - ctx_data(ctx);

	/* Pointers are subtracted in 64 bits, or the verifier (6.6, 6.18) sees half a pointer being spilled. */
	asm volatile("" : "+r"(n));
	return n;
}

static __always_inline int ctx_csum_add(CTX *ctx, __u32 off, __u32 diff, __u64 flags)
{
	__u16 *sum = ctx_data(ctx) + (off & 0xff);
	__u64 s;

	if ((void *)(sum + 1) > ctx_end(ctx))
		return -1;
	if (flags & BPF_F_MARK_MANGLED_0 && !*sum)
		return 0;
	s = (__u16)~*sum + (__u64)diff;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	*sum = ~s;
	if (flags & BPF_F_MARK_MANGLED_0 && !*sum)
		*sum = 0xffff;
	return 0;
}

static __always_inline int ctx_grow(CTX *ctx)
{
	return bpf_xdp_adjust_head(ctx, -TUNNEL_SIZE);
}

static __always_inline int ctx_shrink(CTX *ctx)
{
	return bpf_xdp_adjust_head(ctx, TUNNEL_SIZE);
}

/*
 * Also back out of the interface by which it came: XDP_TX would ask less of a driver, but on a veth it wakes only a far side
 * that runs XDP itself (veth_xdp_flush, 6.18), and frames would lie in the ring.
 */
static __always_inline int ctx_redirect(CTX *ctx __attribute__((unused)), __u32 ifindex)
{
	bpf_redirect(ifindex, 0);
	return SENT;
}

/* XDP can only send out of this side of a veth, which is the same wire. Its far side needs NAPI (GRO on). */
static __always_inline int ctx_redirect_peer(CTX *ctx, __u32 ifindex)
{
	return ctx_redirect(ctx, ifindex);
}

/* What would be copied, or answered, is left to tcx. */
#define ctx_copy(ctx, ifindex) ((void)0)
/* The bridge cannot be reached from here: callers see to it that this is not needed. */
#define ctx_receive(ctx, ifindex) (-REASON_CHANGE_FAILED)
#define ctx_resize(ctx, size) (-1)

static __always_inline int ctx_push(CTX *ctx __attribute__((unused)), __u32 size __attribute__((unused)))
{
	return -1;
}
