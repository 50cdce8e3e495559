/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the shared bodies need of a packet, for tcx. ctx_xdp.h is the other side of the same coin. Everything here is
 * always-inline and costs nothing where a hook has no such thing.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tunnel_size.h"
#include "verdict.h"

#define CTX struct __sk_buff
#define IS_XDP 0

/* enum tcx_action_base of linux/bpf.h, which the headers of Debian 12 (6.1) do not have yet. */
enum { CTX_NEXT = -1, CTX_PASS = 0, CTX_DROP = 2, CTX_SENT = 7 };

#define ctx_data(ctx) ((void *)(long)(ctx)->data)
#define ctx_end(ctx) ((void *)(long)(ctx)->data_end)
#define ctx_len(ctx) ((ctx)->len)
#define ctx_ifindex(ctx) ((ctx)->ifindex)
#define ctx_gso_size(ctx) ((ctx)->gso_size)
#define ctx_segments(ctx) ((ctx)->gso_segs)
#define ctx_load(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#define ctx_store(ctx, off, from, len) bpf_skb_store_bytes(ctx, off, from, len, 0)

static __always_inline bool ctx_tagged(CTX *ctx)
{
	return ctx->vlan_present;
}

/*
 * Makes the first n bytes (or as many as there are) readable directly: some drivers leave even headers in pages. n must be no
 * more than the headers that are really there: TCP keeps exactly those in front, and one byte more reallocates every packet.
 */
static __always_inline void ctx_pull(CTX *ctx, __u32 n)
{
	if (ctx_data(ctx) + n > ctx_end(ctx) && ctx_end(ctx) - ctx_data(ctx) < ctx->len)
		bpf_skb_pull_data(ctx, n < ctx->len ? n : ctx->len);
}

/*
 * Adds a ones' complement difference to the checksum at off. The helper knows what the bytes do not show: with
 * CHECKSUM_PARTIAL the field holds the pseudo header's sum alone, with CHECKSUM_COMPLETE skb->csum has to follow.
 * flags: BPF_F_PSEUDO_HDR when the difference is of addresses, BPF_F_MARK_MANGLED_0 for UDP (0 = none was made, and stays).
 */
static __always_inline int ctx_csum_add(CTX *ctx, __u32 off, __u32 diff, __u64 flags)
{
	return bpf_l4_csum_replace(ctx, off, 0, diff, flags);
}

/* Room for the headers of the tunnel behind the Ethernet header. Fails on frames that are tunnelled already. */
static __always_inline int ctx_grow(CTX *ctx)
{
	return bpf_skb_adjust_room(ctx, TUNNEL_SIZE, BPF_ADJ_ROOM_MAC,
				   BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
					   BPF_F_ADJ_ROOM_ENCAP_L2(14) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
					   BPF_F_ADJ_ROOM_NO_CSUM_RESET | BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Room in front of the frame, whatever it was: only for frames that no card need cut into pieces. */
static __always_inline int ctx_push(CTX *ctx, __u32 size)
{
	return bpf_skb_change_head(ctx, size, 0);
}

static __always_inline int ctx_shrink(CTX *ctx)
{
	return bpf_skb_adjust_room(ctx, -TUNNEL_SIZE, BPF_ADJ_ROOM_MAC,
				   BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET);
}

#define ctx_hash(ctx) ((ctx)->hash) /* 0: nobody has made one; asking the kernel for it costs 110 ns */

/* Out of an interface. */
static __always_inline int ctx_redirect(CTX *ctx __attribute__((unused)), __u32 ifindex)
{
	bpf_redirect(ifindex, 0);
	return SENT;
}

/* A copy of it out of an interface. */
static __always_inline void ctx_copy(CTX *ctx, __u32 ifindex)
{
	bpf_clone_redirect(ctx, ifindex, 0);
}

/* Into the stack of this node, as if it had come in by that interface. */
static __always_inline int ctx_receive(CTX *ctx __attribute__((unused)), __u32 ifindex)
{
	bpf_redirect(ifindex, BPF_F_INGRESS);
	return SENT;
}

/* To the far side of a veth, without a second pass through this side's queue. Ingress hooks only. */
static __always_inline int ctx_redirect_peer(CTX *ctx __attribute__((unused)), __u32 ifindex)
{
	bpf_redirect_peer(ifindex, 0);
	return SENT;
}

/* Cuts or grows a frame at its end. */
static __always_inline int ctx_resize(CTX *ctx, __u32 size)
{
	return bpf_skb_change_tail(ctx, size, 0);
}
