/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hints for user space. What it must know for certain it reads from maps. */
#pragma once

#include "drop.h"

/* Begins an event, when its webspace has not sent too many. It must be submitted. */
static __always_inline struct event *begin_event(__u32 kind, const struct addr *ip, __u32 slot, __u16 port, __u8 proto)
{
	__u64 now = bpf_ktime_get_ns();
	struct event *e;

	if (!take_token_at(now, slot, BUCKET_EVENT, event_rate, event_burst))
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->time = now;
	e->kind = kind;
	e->ip = *ip;
	e->slot = slot;
	e->port = port;
	e->proto = proto;
	return e;
}

/* An event about a packet between port `port` of the webspace and somebody. */
static __always_inline bool tell(__u32 kind, const struct addr *ip, __u32 slot, __u16 port, __u8 proto, __be32 peer, __u16 peer_port)
{
	struct event *e = begin_event(kind, ip, slot, port, proto);

	if (!e)
		return false;
	if (peer)
		set_v4(&e->peer, peer);
	e->peer_port = peer_port;
	bpf_ringbuf_submit(e, 0);
	return true;
}
