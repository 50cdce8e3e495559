//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP sockets of watched network namespaces, seen from the kernel: which listen, which connections are open. Nothing of it
 * is in the path of packets. Attached only while something is watched.
 */
#include "sock.h"

enum tcp_state { /* include/net/tcp_states.h */
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_FIN_WAIT1 = 4,
	TCP_CLOSE_WAIT = 8,
	TCP_LISTEN = 10,
};

static __always_inline void note_socket(struct sock *sk, struct watch *w, __u32 inum, bool passive)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct socket s = {};

	address(sk, false, &s.local);
	address(sk, true, &s.remote);
	if (is_loopback(&s.remote))
		return;
	s.since = bpf_ktime_get_ns();
	s.netns = inum;
	s.slot = w->slot;
	s.lport = sk->__sk_common.skc_num;
	s.rport = bpf_ntohs(sk->__sk_common.skc_dport);
	s.passive = passive;
	if (bpf_map_update_elem(&sockets, &cookie, &s, BPF_ANY))
		__sync_fetch_and_add(&w->lost, 1);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(socket_state, struct sock *sk, int from, int to)
{
	struct watch *w;
	__u64 cookie;
	__u32 inum;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	w = watched(sk, &inum);
	if (!w)
		return 0;
	switch (to) {
	case TCP_LISTEN:
		tell_socket(sk, w, EVENT_LISTEN, IPPROTO_TCP, sk->__sk_common.skc_num);
		return 0;
	case TCP_ESTABLISHED:
		note_socket(sk, w, inum, from != TCP_SYN_SENT);
		return 0;
	case TCP_FIN_WAIT1: /* what was written is still on its way */
	case TCP_CLOSE_WAIT: /* the other side has said all, and listens */
		return 0;
	}
	if (from == TCP_LISTEN || from == TCP_SYN_SENT)
		return 0;
	cookie = bpf_get_socket_cookie(sk);
	bpf_map_delete_elem(&sockets, &cookie);
	return 0;
}

char dual_license[] SEC("license") = "Dual BSD/GPL";
