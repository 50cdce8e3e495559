/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a packet for a local endpoint that is not awake. Such an endpoint has no ifindex, so that the paths to awake
 * ones never come here.
 *
 *   asleep       what may wake it is parked: redirected to a TAP, where user space takes it, boots the webspace and sends
 *                the same bytes on (parking.c). TCP segments of connections that ended with its last life are reset.
 *   booting      the same, but when it has a port already that gets what is an answer to the webspace itself, and what is for
 *                a port that has answered (boot.h).
 *   napping      it is frozen, its kernel is not: delivered, and user space is told when it must be thawed.
 *   unreachable  dropped, or refused.
 */
#pragma once

#include "boot.h"
#include "cookie.h"
#include "frag.h"

enum held {
	DELIVER = 1,   /* to its port */
	PARK = 2,
	RESET = 3,     /* answer it with a reset */
	CHALLENGE = 4, /* park a copy, and answer it with a challenge */
	JUDGE = 5,     /* ask judge_reset; only with HOLD_OUTSIDE */
};

enum hold_flags {
	HOLD_OWN = 1,	  /* it belongs to a flow that the webspace has opened */
	HOLD_OUTSIDE = 2, /* it may have come from outside, through a forward */
};

static __always_inline bool is_syn(const struct pkt *p)
{
	return p->proto == IPPROTO_TCP && !follows(p) && (p->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static __always_inline bool is_ping(const struct pkt *p)
{
	return p->proto == IPPROTO_ICMP && !follows(p) && p->icmp == ICMP_ECHO;
}

/* May this packet wake the endpoint? PARK, CHALLENGE, or the reason why not. */
static __noinline int may_wake(const struct pkt *p, const struct endpoint *ep, __u16 dport)
{
	__u8 policy = ep->wake, may = WAKE_NODE;
	struct inverse *inv;

	if (p->saddr == get_v4(&gateway_ip)) /* answers of DHCP and DNS */
		return -REASON_ASLEEP;
	if (in_lan(p->saddr)) {
		may = in_infra(p->saddr) ? WAKE_NODE : WAKE_LAN;
		policy &= ~WAKE_VERIFIED; /* the guard has seen to it that it is who it says */
	} else {
		may = WAKE_FORWARD;
		inv = find_inverse(get_v4(&ep->ip), dport, p->proto);
		if (!inv)
			return -REASON_ASLEEP;
		if (inv->flags & FORWARD_WAKE_ANY)
			policy = (policy | WAKE_FORWARD) & ~WAKE_VERIFIED;
		if (inv->flags & FORWARD_WAKE_VERIFIED)
			policy |= WAKE_FORWARD | WAKE_VERIFIED;
		if (inv->flags & FORWARD_WAKE_NEVER)
			policy &= ~WAKE_FORWARD;
	}
	if (is_ping(p) && !(policy & WAKE_PING))
		return -REASON_ASLEEP;
	if (!is_syn(p) && p->proto != IPPROTO_UDP && !is_ping(p))
		return -REASON_ASLEEP;
	if (!(policy & may))
		return -REASON_WAKE_DENIED;
	if (!(policy & WAKE_VERIFIED))
		return PARK;
	return p->proto == IPPROTO_TCP ? CHALLENGE : -REASON_WAKE_DENIED;
}

/* Must a frozen webspace be thawed for it? Its kernel answers handshakes, probes and pings by itself. */
static __always_inline bool kicks(const struct pkt *p, const struct endpoint *ep, __u16 dport, bool own)
{
	if (p->proto == IPPROTO_ICMP)
		return false;
	if (p->proto != IPPROTO_TCP || follows(p) || is_syn(p))
		return own || may_wake(p, ep, dport) == PARK;
	if (p->flags & (TCP_RST | TCP_FIN))
		return false;
	/* Under WAKE_VERIFIED it is the end of the handshake that counts. */
	return p->total > p->header || (ep->wake & WAKE_VERIFIED && !own);
}

/* Has a booting webspace, which has a port by now, asked for this packet, or answered one like it? */
static __always_inline bool is_expected(const struct pkt *p, __be32 ip, __u16 dport)
{
	if (p->saddr == get_v4(&gateway_ip))
		return true;
	switch (p->proto) {
	case IPPROTO_TCP:
		return !is_syn(p) || has_answered(ip, dport, IPPROTO_TCP);
	case IPPROTO_UDP:
		return has_answered(ip, dport, IPPROTO_UDP);
	case IPPROTO_ICMP:
		return !is_ping(p) || has_answered(ip, 0, 0);
	}
	return true;
}

/* The connection that a SYN or the answer to its challenge is about. */
static __always_inline void attempt(struct tuple *t, const struct pkt *p, __be32 ip, __u16 dport)
{
	set_v4(&t->src, p->saddr);
	set_v4(&t->dst, ip);
	t->sport = p->sport;
	t->dport = dport;
	t->proto = IPPROTO_TCP;
	t->pad[0] = t->pad[1] = t->pad[2] = 0;
}

static __noinline int note_proof(const struct pkt *p, __be32 ip, __u16 dport)
{
	struct tuple t __attribute__((aligned(8)));
	struct proof now = {.time = bpf_ktime_get_coarse_ns()};

	attempt(&t, p, ip, dport);
	return bpf_map_update_elem(&proofs, &t, &now, BPF_ANY);
}

/* Has the sender of a SYN answered its challenge? So that it is not lost in the flood which that SYN came with. */
static __noinline bool has_proved(const struct pkt *p, __be32 ip, __u16 dport)
{
	struct tuple t __attribute__((aligned(8)));
	struct proof *proof;

	attempt(&t, p, ip, dport);
	proof = bpf_map_lookup_elem(&proofs, &t);
	return proof && (bpf_ktime_get_coarse_ns() - proof->time) >> COOKIE_PERIOD == 0;
}

/* The reset that answers a challenge is the proof that its sender exists. */
static __noinline int judge_reset(CTX *ctx, const struct pkt *p, const struct endpoint *ep, __u16 dport)
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct inverse *inv = find_inverse(get_v4(&ep->ip), dport, IPPROTO_TCP);
	__be32 seq;

	if (!s || !inv || p->flags & TCP_ACK || !(ep->wake & WAKE_VERIFIED || inv->flags & FORWARD_WAKE_VERIFIED))
		return -REASON_ASLEEP;
	if (!take_both(ep->slot, BUCKET_VERIFY, verify_rate, verify_burst, node_verify_rate, node_verify_burst))
		return -REASON_WAKE_RATE;
	if (ctx_load(ctx, p->l4 + 4, &seq, 4))
		return -REASON_TRUNCATED;
	if ((bpf_ntohl(seq) & 0xffff) != cookie(s, p, get_v4(&ep->ip), dport, 0) &&
	    (bpf_ntohl(seq) & 0xffff) != cookie(s, p, get_v4(&ep->ip), dport, 1))
		return -REASON_CHALLENGE_FAILED;
	note_proof(p, get_v4(&ep->ip), dport);
	tell(EVENT_VERIFIED, &ep->ip, ep->slot, dport, IPPROTO_TCP, p->saddr, p->sport);
	return -REASON_CHALLENGE_ANSWERED;
}

/*
 * Decides about a packet for a local endpoint without ifindex; dport is the webspace's port, which of a forward is not the
 * packet's. enum held, or a negative reason.
 */
GLOBAL int hold(const struct pkt *p, const struct endpoint *ep, __u32 dport, __u32 flags)
{
	bool own = flags & HOLD_OWN;
	int v;

	if (!p || !ep)
		return -REASON_CHANGE_FAILED;
	switch (ep->state) {
	case ENDPOINT_NAPPING:
		if (!ep->port)
			return -REASON_ENDPOINT_ABSENT;
		if (kicks(p, ep, dport, own))
			tell(EVENT_KICKED, &ep->ip, ep->slot, dport, p->proto, p->saddr, p->sport);
		return DELIVER;
	case ENDPOINT_BOOTING:
		if (ep->port && (own || is_expected(p, get_v4(&ep->ip), dport)))
			return DELIVER;
		break;
	case ENDPOINT_ASLEEP:
		break;
	case ENDPOINT_UNREACHABLE:
		if (ep->wake & WAKE_REFUSE && is_syn(p))
			goto reset;
		return -REASON_ENDPOINT_ABSENT;
	default:
		return -REASON_ENDPOINT_ABSENT;
	}
	if (p->proto == IPPROTO_TCP && !follows(p) && !is_syn(p)) {
		if (p->flags & TCP_RST)
			return flags & HOLD_OUTSIDE && !in_lan(p->saddr) ? JUDGE : -REASON_ASLEEP;
		goto reset;
	}
	v = own ? -REASON_ASLEEP : may_wake(p, ep, dport);
	if (v == CHALLENGE && has_proved(p, get_v4(&ep->ip), dport))
		return take_both(ep->slot, BUCKET_PROVED, proved_rate, proved_burst, node_proved_rate, node_proved_burst) ? PARK :
															     -REASON_WAKE_RATE;
	/* It boots because somebody was verified: others need not prove anything, unless they come in a flood. */
	if (v == CHALLENGE && ep->state == ENDPOINT_BOOTING &&
	    take_both(ep->slot, BUCKET_PARK, park_rate, park_burst, node_park_rate, node_park_burst))
		return PARK;
	if (v == PARK)
		return take_both(ep->slot, BUCKET_PARK, park_rate, park_burst, node_park_rate, node_park_burst) ? PARK : -REASON_WAKE_RATE;
	if (v == CHALLENGE)
		return take_both(ep->slot, BUCKET_CHALLENGE, challenge_rate, challenge_burst, node_challenge_rate, node_challenge_burst) ?
			       CHALLENGE :
			       -REASON_WAKE_RATE;
	if (!(ep->wake & WAKE_REFUSE && is_syn(p)))
		return v;
reset:
	return take_both(ep->slot, BUCKET_RESET, reset_rate, reset_burst, node_reset_rate, node_reset_burst) ? RESET : -REASON_ASLEEP;
}
