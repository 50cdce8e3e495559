/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Token buckets, counters, and what becomes of a verdict. */
#pragma once

#include "pkt.h"

enum { SECOND = 1000000000 };

/*
 * Takes a token. Two CPUs may take the same one: the rate is approximate, the bound is not far off. The coarse clock
 * (a tick) is good enough because every bucket holds many ticks' worth.
 */
static __always_inline bool take_token_at(__u64 now, __u32 slot, __u32 kind, __u32 rate, __u32 burst)
{
	__u32 i = slot * BUCKETS + kind;
	struct bucket *b = bpf_map_lookup_elem(&buckets, &i);
	__u64 since, tokens, most = burst * 1000ull;

	if (!b)
		return false;
	since = now - b->last;
	if (since > 10ull * SECOND) /* also a bucket never used, and keeps the product below 2^64 */
		since = 10ull * SECOND;
	tokens = b->tokens + since * rate / 1000000;
	if (tokens > most)
		tokens = most;
	b->last = now;
	if (tokens < 1000) {
		b->tokens = tokens;
		return false;
	}
	b->tokens = tokens - 1000;
	return true;
}

static __always_inline bool take_token(__u32 slot, __u32 kind, __u32 rate, __u32 burst)
{
	return take_token_at(bpf_ktime_get_coarse_ns(), slot, kind, rate, burst);
}

static __always_inline __u64 segments(CTX *ctx)
{
	__u32 n = ctx_segments(ctx);

	return n ? n : 1;
}

static __always_inline void count_tx(CTX *ctx, __u32 slot, int v)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &slot);

	if (!c)
		return;
	c->tx_packets += segments(ctx);
	c->tx_bytes += ctx_len(ctx);
	if (v == PASS)
		c->slow_packets += segments(ctx);
}

/* Takes a token of a slot's own bucket, and then one of the node's. */
static __always_inline bool take_both(__u32 slot, __u32 kind, __u32 rate, __u32 burst, __u32 node_rate, __u32 node_burst)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	return take_token_at(now, slot, kind, rate, burst) && take_token_at(now, 0, kind, node_rate, node_burst);
}

/* A packet that says nothing about whether the webspace is in use. */
static __always_inline void count_quiet(CTX *ctx, __u32 slot, __u32 bytes)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &slot);

	if (!c)
		return;
	c->rx_packets += segments(ctx);
	c->rx_bytes += bytes;
}

static __always_inline void count_rx(CTX *ctx, __u32 slot, __u32 bytes)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &slot);

	if (!c)
		return;
	c->rx_packets += segments(ctx);
	c->rx_bytes += bytes;
	c->last_rx = bpf_jiffies64(); /* two loads; any clock would be a call, 45 ns for each packet */
}

static __always_inline void sample(CTX *ctx, const struct drop_key *k, int hook)
{
	__u64 n = ctx_len(ctx);
	struct drop_sample *s;

	if (!take_token(0, BUCKET_SAMPLE, sample_rate, sample_burst))
		return;
	s = bpf_ringbuf_reserve(&drop_samples, sizeof(*s), 0);
	if (!s)
		return;
	s->time = bpf_ktime_get_ns();
	s->ifindex = ctx_ifindex(ctx);
	s->slot = k->slot;
	s->reason = k->reason;
	s->len = n;
	s->hook = hook;
	__builtin_memset(s->pad, 0, sizeof(s->pad));
	__builtin_memset(s->data, 0, sizeof(s->data));
	/* The helper wants a size that is provably 1..SAMPLE_LEN; hidden from clang, which would test one copy and pass another. */
	asm volatile("" : "+r"(n));
	if (n > SAMPLE_LEN)
		n = SAMPLE_LEN;
	s->captured = n;
	if (!n || ctx_load(ctx, 0, s->data, n))
		s->captured = 0;
	bpf_ringbuf_submit(s, 0);
}

GLOBAL int count_drop(CTX *ctx, __u32 slot, __u32 reason, __u32 hook)
{
	struct drop_key k = {slot, reason};
	struct drop_count first = {}, *c = bpf_map_lookup_elem(&drops, &k);

	if (!c) {
		bpf_map_update_elem(&drops, &k, &first, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&drops, &k);
	}
	if (!c) { /* full: charge it to the node */
		k.slot = 0;
		c = bpf_map_lookup_elem(&drops, &k);
	}
	if (c) {
		c->packets += segments(ctx);
		c->bytes += ctx_len(ctx);
	}
	sample(ctx, &k, hook);
	return 0;
}

/* The one exit of every program. `pass` is the hook's own code for "whatever comes next". */
static __always_inline int finish(CTX *ctx, const struct pkt *p, int hook, int v, int pass)
{
	if (v == PASS)
		return pass;
	if (v == SENT)
		return CTX_SENT;
	count_drop(ctx, p->slot, -v, hook);
	return CTX_DROP;
}
