/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Room for what the rarer paths need for a moment: the stack is 512 bytes for a whole chain of calls. Per CPU, and a program
 * is not interrupted by another of ours on the same CPU (all run with softirqs off), so that it is as good as a stack as
 * long as each member has one user per chain. Not pinned; nothing in it outlives a packet.
 */
#pragma once

#include "pkt.h"

enum { QUOTE_MAX = 128 }; /* bytes of a packet that our own ICMP errors quote: at least its header and 8 more */

enum { SEGMENT_SIZE = ETHER_SIZE + 20 + 20, ERROR_SIZE = ETHER_SIZE + 20 + 8 };

struct quote { /* the packet inside an ICMP error */
	struct tuple t; /* as quoted */
	__u32 l3, l4;	/* offsets in the frame */
	__u32 icmp;	/* is an echo, not TCP or UDP */
};

struct scratch {
	struct bpf_fib_lookup fib; /* find_way */
	struct flow flow;	   /* nat_open, hairpin_open */
	struct quote quote;	   /* icmp_in, icmp_out */
	__u8 quoted[QUOTE_MAX];	   /* make_error */
	__u8 error[ERROR_SIZE] __attribute__((aligned(8))); /* the same */
	__u8 segment[SEGMENT_SIZE] __attribute__((aligned(8))); /* answer_tcp */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct scratch));
} scratch SEC(".maps");

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}
