//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stamps every listen() on this machine, for the benchmark of waking: whoever looks at the tables of sockets looks too late.
 * The daemon does not load it.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kernel_sock.h"

#define TCP_LISTEN 10 /* include/net/tcp_states.h */

struct listen {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u32 netns;
	__u16 port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} listens SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(stamp_listen, struct sock *sk, int from, int to)
{
	struct listen *l;

	if (to != TCP_LISTEN)
		return 0;
	l = bpf_ringbuf_reserve(&listens, sizeof(*l), 0);
	if (!l)
		return 0;
	l->time = bpf_ktime_get_ns();
	l->netns = sk->__sk_common.skc_net.net->ns.inum;
	l->port = sk->__sk_common.skc_num;
	l->pad = 0;
	bpf_ringbuf_submit(l, 0);
	return 0;
}

const struct listen *unused __attribute__((unused)); /* so that its layout is in the BTF */

char dual_license[] SEC("license") = "Dual BSD/GPL";
