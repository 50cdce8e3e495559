//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tcx ingress of the underlay and the uplink. */
#include "underlay.h"

SEC("tcx/ingress")
int underlay(struct __sk_buff *skb)
{
	struct pkt p = {};

	ctx_pull(skb, HEADERS);
	return finish(skb, &p, HOOK_UNDERLAY, underlay_frame(skb, &p), CTX_NEXT);
}
