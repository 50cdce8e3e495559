//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * UDP sockets of watched network namespaces being bound. No tracepoint tells of it, so it hangs on a function of the kernel, in
 * an object of its own: not every kernel lets functions be traced. Where this one is refused, user space polls.
 */
#include "sock.h"

/* Every UDP socket gets its port here, of both families; snum is 0 when any port will do. */
SEC("fexit/udp_lib_get_port")
int BPF_PROG(socket_bind, struct sock *sk, unsigned short snum, unsigned int hash, int failed)
{
	struct watch *w;
	__u32 inum;

	if (failed || !snum)
		return 0;
	w = watched(sk, &inum);
	if (w)
		tell_socket(sk, w, EVENT_BIND, IPPROTO_UDP, snum);
	return 0;
}

char dual_license[] SEC("license") = "Dual BSD/GPL";
