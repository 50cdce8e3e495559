/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors of our own: time exceeded, fragmentation needed (RFC 792, 1191, 1812 section 4.3). The packet that caused it
 * is turned round in place, cut to what is quoted. Never about ICMP errors, later fragments or multicast (RFC 1122 3.2.2).
 */
#pragma once

#include "rewrite.h"
#include "scratch.h"

struct error {
	struct ethhdr eth;
	struct iphdr ip;
	__u8 type, code;
	__u16 check;
	__be16 unused, mtu;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct error) == ERROR_SIZE, "room for it in struct scratch");

static __always_inline __u16 header_sum(const void *ip)
{
	const __u16 *w = ip;
	__u64 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += w[i];
	return ~fold(sum);
}

/* Turns the frame into an error from `source` to its sender. 0, or a negative reason. */
GLOBAL int make_error(CTX *ctx, const struct pkt *p, __be32 source, __u32 type, __u32 mtu)
{
	struct scratch *room = get_scratch();
	struct error *e;
	__u32 size;
	__s64 sum;

	if (!p || !room)
		return -REASON_CHANGE_FAILED;
	size = p->total;
	e = (struct error *)room->error;
	/* The helpers want a size that is provably within the buffer; parse_ip saw that there are 20 bytes at least. */
	size = size < 20 ? 20 : size > QUOTE_MAX ? QUOTE_MAX : size;
	__builtin_memset(room->quoted, 0, QUOTE_MAX);
	if (ctx_load(ctx, ETHER_SIZE, room->quoted, size))
		return -REASON_CHANGE_FAILED;
	copy_mac(e->eth.h_dest, p->smac.mac);
	copy_mac(e->eth.h_source, p->dmac.mac);
	e->eth.h_proto = bpf_htons(ETH_P_IP);
	__builtin_memset(&e->ip, 0, sizeof(e->ip));
	e->ip.version = 4;
	e->ip.ihl = 5;
	e->ip.tos = 0xc0; /* RFC 1812 section 4.3.2.5: internetwork control */
	e->ip.tot_len = bpf_htons(28 + size);
	e->ip.id = bpf_get_prandom_u32();
	e->ip.ttl = 64;
	e->ip.protocol = IPPROTO_ICMP;
	e->ip.saddr = source;
	e->ip.daddr = p->saddr;
	e->ip.check = header_sum(&e->ip);
	e->type = type;
	e->code = type == ICMP_UNREACHABLE ? 4 : 0;
	e->check = 0;
	e->unused = 0;
	e->mtu = type == ICMP_UNREACHABLE ? bpf_htons(mtu) : 0;
	sum = bpf_csum_diff(0, 0, (__be32 *)room->quoted, QUOTE_MAX, 0); /* zeros behind the quote add nothing */
	if (sum < 0)
		return -REASON_CHANGE_FAILED;
	e->check = ~fold((__u64)sum + (e->type | e->code << 8) + e->mtu);
	/*
	 * Also resets GSO. A frame of CHECKSUM_PARTIAL (it never saw a wire) stays so: receivers take it as valid, and no
	 * virtual link fills the field in, which would hit the quote. The kernel does not resize what counts as encapsulated (see
	 * cut in answer.h), as all does that a webspace sends through a tunnel of its own: it keeps its length when that is
	 * enough, and what is behind the error is padding then.
	 */
	if (ctx_resize(ctx, sizeof(*e) + size) && ctx_len(ctx) < sizeof(*e) + size && ctx_push(ctx, sizeof(*e) - ETHER_SIZE))
		return -REASON_CHANGE_FAILED;
	if (ctx_store(ctx, 0, e, sizeof(*e)) || ctx_store(ctx, sizeof(*e), room->quoted, size))
		return -REASON_CHANGE_FAILED;
	return 0;
}

/*
 * Answers a packet that cannot be routed on, because its TTL has run out or because it is larger than mtu, through the
 * interface by which it came. Where no error may be sent, or they are too many, the packet is dropped for that reason.
 * A packet without DF ought to be cut up instead (RFC 1812), which a program cannot do; senders that are told cut theirs.
 * XDP leaves it to the tcx program.
 */
static __always_inline int explain(CTX *ctx, const struct pkt *p, __be32 source, __u32 mtu)
{
	bool expired = p->ttl <= 1;
	int reason = expired ? REASON_TTL_EXCEEDED : REASON_TOO_BIG;
	int v;

	if (IS_XDP)
		return PASS;
	if (is_icmp_error(p) || follows(p) || !take_token(p->slot, BUCKET_ERROR, error_rate, error_burst))
		return -reason;
	v = make_error(ctx, p, source, expired ? ICMP_EXPIRED : ICMP_UNREACHABLE, mtu);
	return v ? v : ctx_redirect(ctx, ctx_ifindex(ctx));
}
