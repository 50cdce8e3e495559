/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP's maximum segment size, lowered where the smallest of our links is narrower than what the opener said: otherwise a
 * path whose routers swallow ICMP would hang (RFC 4459 section 3.2, as every tunnel does it).
 */
#pragma once

#include "rewrite.h"

enum { TCP_OPTION_END = 0, TCP_OPTION_NOP = 1, TCP_OPTION_MSS = 2, TCP_OPTIONS_WALKED = 8 };

GLOBAL int clamp_syn(CTX *ctx, const struct pkt *p, __u32 mtu)
{
	__u32 off, end;
	__u16 most = mtu - 40;
	__u8 o[4];

	if (!p)
		return -REASON_CHANGE_FAILED;
	off = p->l4 + 20;
	end = p->eth + ETHER_SIZE + p->header;

	for (int i = 0; i < TCP_OPTIONS_WALKED && off + 4 <= end; i++) {
		__be16 now, then = bpf_htons(most);
		__u64 sum;

		if (ctx_load(ctx, off, o, 4))
			return 0;
		if (o[0] == TCP_OPTION_END)
			return 0;
		if (o[0] == TCP_OPTION_NOP) {
			off++;
			continue;
		}
		if (o[0] != TCP_OPTION_MSS) {
			if (o[1] < 2)
				return 0;
			off += o[1];
			continue;
		}
		now = *(__be16 *)(o + 2);
		if (o[1] != 4 || bpf_ntohs(now) <= most)
			return 0;
		if (ctx_store(ctx, off + 2, &then, 2))
			return -REASON_CHANGE_FAILED;
		sum = delta16(now, then);
		if ((off - p->l4) & 1) /* at an odd offset the bytes are in the other halves of the summed words (RFC 1071) */
			sum = delta16(__builtin_bswap16(now), __builtin_bswap16(then));
		if (ctx_csum_add(ctx, p->l4 + 16, fold32(sum), 0))
			return -REASON_CHANGE_FAILED;
		return 0;
	}
	return 0;
}

static __always_inline int clamp_mss(CTX *ctx, const struct pkt *p, __u32 mtu)
{
	if (p->proto != IPPROTO_TCP || !(p->flags & TCP_SYN) || follows(p))
		return 0;
	return clamp_syn(ctx, p, mtu);
}
