/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table of flows: outbound NAT, and hairpins. A flow is two entries that name each other, and a packet of either becomes
 * the reverse of `other`. Entries are made here and removed by user space, which understands timeouts.
 */
#pragma once

#include "frag.h"
#include "route.h"

enum { PORT_TRIES = 32 };

static __always_inline struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* Notes a packet in its entry. Only what changes is written, so that CPUs do not fight for the cache line of the clock. */
static __always_inline void touch(CTX *ctx, struct flow *f, const struct pkt *p)
{
	bool back = f->kind == FLOW_BACK || f->kind == FLOW_HAIRPIN_BACK;
	__u64 now = bpf_ktime_get_coarse_ns();
	__u8 state = f->state | (back ? SEEN_BACK : SEEN_OUT);

	if (p->proto == IPPROTO_TCP) {
		if (p->flags & TCP_FIN)
			state |= back ? SEEN_FIN_BACK : SEEN_FIN_OUT;
		if (p->flags & TCP_RST)
			state |= SEEN_RST;
		if (back && p->flags & TCP_ACK)
			state |= SEEN_ACK_BACK;
	}
	if (state != f->state)
		f->state = state;
	if (now - f->last_seen > SECOND)
		f->last_seen = now;
	f->packets += segments(ctx);
	f->bytes += p->len;
}

/* A SYN on a tuple whose connection has ended begins a new one in the same two entries. */
static __noinline int reopen(struct flow *f)
{
	struct tuple key = f->other;
	struct flow *back = bpf_map_lookup_elem(&flows, &key);
	__u8 seen = f->state;

	if (!back)
		return 0;
	seen |= back->state;
	if (!(seen & SEEN_RST) && (seen & (SEEN_FIN_OUT | SEEN_FIN_BACK)) != (SEEN_FIN_OUT | SEEN_FIN_BACK))
		return 0;
	back->state &= FLOW_POOLED;
	f->state = (f->state & FLOW_POOLED) | SEEN_SYN;
	return 0;
}

/*
 * Counts a flow against its webspace: within its share always, beyond it as long as the common pool has room. Returns
 * the initial state (FLOW_POOLED or 0), or -1.
 */
static __noinline int take_share(const struct settings *s, __u32 slot, bool hairpin)
{
	__u32 zero = 0;
	struct share *pool = bpf_map_lookup_elem(&shares, &zero), *own = bpf_map_lookup_elem(&shares, &slot);
	__s64 held;

	if (!pool || !own)
		return -1;
	if (slot) {
		held = __sync_fetch_and_add(&own->flows, 1);
		if (held < s->flow_share && held < s->flow_quota)
			goto taken;
		if (held >= s->flow_quota) {
			__sync_fetch_and_add(&own->flows, -1);
			return -1;
		}
	}
	held = __sync_fetch_and_add(&pool->flows, 1);
	if (held >= s->flow_pool) {
		__sync_fetch_and_add(&pool->flows, -1);
		if (slot)
			__sync_fetch_and_add(&own->flows, -1);
		return -1;
	}
	if (hairpin && slot)
		__sync_fetch_and_add(&own->hairpins, 1);
	return FLOW_POOLED;
taken:
	if (hairpin)
		__sync_fetch_and_add(&own->hairpins, 1);
	return 0;
}

static __noinline int give_share(__u32 slot, int state, bool hairpin)
{
	__u32 zero = 0;
	struct share *pool = bpf_map_lookup_elem(&shares, &zero), *own = bpf_map_lookup_elem(&shares, &slot);

	if (!pool || !own)
		return 0;
	if (state & FLOW_POOLED)
		__sync_fetch_and_add(&pool->flows, -1);
	if (slot)
		__sync_fetch_and_add(&own->flows, -1);
	if (slot && hairpin)
		__sync_fetch_and_add(&own->hairpins, -1);
	return 0;
}

/* What is the same in both entries of a new flow. */
static __always_inline void flow_init(struct flow *f, const struct pkt *p, int state, __u8 kind)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->created = f->last_seen = bpf_ktime_get_coarse_ns();
	f->slot = p->slot;
	f->kind = kind;
	f->state = state;
}

static __always_inline void flow_opened(struct flow *f, const struct pkt *p)
{
	if (p->proto == IPPROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		f->state |= SEEN_SYN;
}

/*
 * Inserts both entries: first the answer's (under f->other, naming key), for it is the one that may collide, then f under key.
 */
enum insert { INSERTED, TAKEN, FULL, RACED };

static __noinline int flow_insert(const struct tuple *key, struct flow *f)
{
	struct tuple other = f->other;
	__u8 kind = f->kind, state = f->state;
	long rc;

	f->other = *key;
	f->kind = kind + 1; /* FLOW_OUT -> FLOW_BACK, FLOW_HAIRPIN -> FLOW_HAIRPIN_BACK */
	f->state = state & FLOW_POOLED;
	rc = bpf_map_update_elem(&flows, &other, f, BPF_NOEXIST);
	f->other = other;
	f->kind = kind;
	f->state = state;
	if (rc)
		return rc == -17 /* EEXIST */ ? TAKEN : FULL;
	rc = bpf_map_update_elem(&flows, key, f, BPF_NOEXIST);
	if (rc) {
		bpf_map_delete_elem(&flows, &other);
		return rc == -17 ? RACED /* another CPU opened it just now */ : FULL;
	}
	return INSERTED;
}
