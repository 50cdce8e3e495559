/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A socket as the kernel keeps it, as far as tracing programs read it. */
#pragma once

#include <bpf/bpf_tracing.h>

#define AF_INET 2
#define AF_INET6 10

/* Of the kernel's own, the fields that are used (relocated when loading). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};
#pragma clang attribute pop
