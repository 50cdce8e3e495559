//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP of the underlay and the uplink: the same bodies as underlay.c. What it leaves (TCP, errors to be made or translated,
 * next hops to be asked for) it leaves untouched, for underlay.c to do.
 */
#include "underlay.h"

SEC("xdp")
int underlay_xdp(struct xdp_md *ctx)
{
	struct pkt p = {};

	return finish(ctx, &p, HOOK_UNDERLAY_XDP, underlay_frame(ctx, &p), CTX_PASS);
}
