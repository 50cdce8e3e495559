/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments. Only the first has ports; they are noted for those that follow, which are dropped when they come before it
 * (as Cilium does): a program cannot hold a packet. Linux sends fragments in order, and so do all that matter.
 */
#pragma once

#include "pkt.h"

/* Fills in the ports of a fragment that follows. Negative when its first was not seen. */
GLOBAL int frag_ports(struct pkt *p)
{
	struct frag_key k = {};
	struct frag *f;

	if (!p)
		return -REASON_CHANGE_FAILED;
	set_v4(&k.src, p->saddr);
	set_v4(&k.dst, p->daddr);
	k.id = p->id;
	k.proto = p->proto;
	f = bpf_map_lookup_elem(&frags, &k);
	/* Identifiers come round again; RFC 791 gives a datagram's fragments 15 s, Linux 30 s. */
	if (!f || bpf_ktime_get_coarse_ns() - f->seen > 30ull * 1000000000)
		return -REASON_FRAGMENT_EARLY;
	p->sport = f->sport;
	p->dport = f->dport;
	return 0;
}

/* Notes the ports of a first fragment. The caller has found that the packet may go where it is going. */
GLOBAL int frag_note(const struct pkt *p)
{
	struct frag f = {.seen = bpf_ktime_get_coarse_ns()};
	struct frag_key k = {};

	if (!p)
		return 0;
	f.sport = p->sport;
	f.dport = p->dport;

	set_v4(&k.src, p->saddr);
	set_v4(&k.dst, p->daddr);
	k.id = p->id;
	k.proto = p->proto;
	bpf_map_update_elem(&frags, &k, &f, BPF_ANY);
	return 0;
}

static __always_inline void frag_accept(const struct pkt *p)
{
	if ((p->frag & (FRAG_MF | FRAG_OFFSET)) == FRAG_MF)
		frag_note(p);
}
