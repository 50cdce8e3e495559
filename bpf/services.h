/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looks up the two sides of forwards. */
#pragma once

#include "pkt.h"

static __always_inline void service_of(struct service_key *k, __be32 ip, __u16 port, __u8 proto)
{
	set_v4(&k->ip, ip);
	k->port = port;
	k->proto = proto;
	k->pad = 0;
}

static __always_inline struct forward *find_forward(__be32 ip, __u16 port, __u8 proto)
{
	struct service_key k;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return 0;
	service_of(&k, ip, port, proto);
	return bpf_map_lookup_elem(&forwards, &k);
}

static __always_inline struct inverse *find_inverse(__be32 ip, __u16 port, __u8 proto)
{
	struct service_key k;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return 0;
	service_of(&k, ip, port, proto);
	return bpf_map_lookup_elem(&inverses, &k);
}
