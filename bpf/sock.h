/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's sockets, for the tracing programs. */
#pragma once

#include "ctx_skb.h"

#include "events.h"
#include "kernel_sock.h"

static __always_inline struct watch *watched(struct sock *sk, __u32 *inum)
{
	*inum = sk->__sk_common.skc_net.net->ns.inum;
	return bpf_map_lookup_elem(&netns, inum);
}

/* One side's address. Unspecified is zero, of either family. */
static __always_inline void address(struct sock *sk, bool remote, struct addr *a)
{
	__u32 *w = (__u32 *)a->ip;
	struct in6_addr *six;
	__be32 four;

	__builtin_memset(a, 0, sizeof(*a));
	if (sk->__sk_common.skc_family == AF_INET) {
		four = remote ? sk->__sk_common.skc_daddr : sk->__sk_common.skc_rcv_saddr;
		if (four)
			set_v4(a, four);
		return;
	}
	six = remote ? &sk->__sk_common.skc_v6_daddr : &sk->__sk_common.skc_v6_rcv_saddr;
	w[0] = six->in6_u.u6_addr32[0];
	w[1] = six->in6_u.u6_addr32[1];
	w[2] = six->in6_u.u6_addr32[2];
	w[3] = six->in6_u.u6_addr32[3];
}

static __always_inline bool is_loopback(const struct addr *a)
{
	const __u32 *w = (const __u32 *)a->ip;

	if (w[0] || w[1])
		return false;
	return w[2] == bpf_htonl(0xffff) ? a->ip[12] == 127 : !w[2] && w[3] == bpf_htonl(1);
}

/* A socket has become reachable: it listens, or is bound. */
static __always_inline void tell_socket(struct sock *sk, const struct watch *w, __u32 kind, __u8 proto, __u16 port)
{
	struct addr local;

	address(sk, false, &local);
	if (is_loopback(&local))
		return;
	tell(kind, &w->ip, w->slot, port, proto, 0, 0);
}
