/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Forwards: an external (address, port) leads to a webspace; the webspace's answers get that source again. Where the
 * inverse is unique nothing is remembered per connection. Else each client is noted in tracks, an LRU, or first in openings.
 */
#pragma once

#include "deliver.h"
#include "flow.h"
#include "services.h"

/* Remembers where the client of the reply tuple t entered; `opening`: which has sent a SYN. Written at most once a second. */
GLOBAL int track_note(const struct tuple *t, const struct addr *ip, __u16 port, const struct addr *entry, __u32 opening)
{
	struct track *old, new = {};
	__u64 now = bpf_ktime_get_coarse_ns();

	if (!t || !ip || !entry)
		return 0;
	old = bpf_map_lookup_elem(&tracks, t);

	if (old && now - old->last_seen < SECOND && old->port == port && get_v4(&old->ip) == get_v4(ip) &&
	    get_v4(&old->entry) == get_v4(entry))
		return 0;
	new.ip = *ip;
	new.entry = *entry;
	new.port = port;
	new.last_seen = now;
	if (opening && !old) /* what is there already is of this client's last connection, and would be found first */
		bpf_map_update_elem(&openings, t, &new, BPF_ANY);
	else
		bpf_map_update_elem(&tracks, t, &new, BPF_ANY);
	return 0;
}

/* The external side of the answers in tuple t (webspace -> client). */
struct external {
	struct addr entry; /* zero: leaves through this node */
	__be32 ip;
	__u16 port;
	__u16 tracked; /* known from a note about this very client */
};

static __noinline bool find_external(const struct tuple *t, struct external *x)
{
	struct inverse *inv = find_inverse(get_v4(&t->src), t->sport, t->proto);
	struct track *track;

	if (!inv)
		return false;
	x->entry = inv->entry;
	x->ip = get_v4(&inv->ip);
	x->port = inv->port;
	x->tracked = 0;
	if (!(inv->flags & FORWARD_TRACKED))
		return true;
	track = bpf_map_lookup_elem(&tracks, t);
	if (!track)
		track = bpf_map_lookup_elem(&openings, t);
	if (!track)
		return true;
	x->entry = track->entry;
	x->ip = get_v4(&track->ip);
	x->port = track->port;
	x->tracked = 1;
	return true;
}

/*
 * A denied destination gets answers of a forward, nothing else: TCP shows which it is, of UDP the client is noted in tracks
 * when it comes (see forward_in).
 */
static __always_inline int may_answer(const struct pkt *p, const struct tuple *t, const struct way *w)
{
	if (p->proto == IPPROTO_UDP && p->dport == tunnel_port)
		return -REASON_DESTINATION_DENIED;
	if (!(w->hop.flags & NEXTHOP_DENIED) || is_icmp_error(p))
		return 0;
	if (p->proto == IPPROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return 0;
	return bpf_map_lookup_elem(&tracks, t) ? 0 : -REASON_DESTINATION_DENIED;
}

/* Notes the client of a packet to the forward f. Parked packets are few enough to be noted for good. */
static __noinline int note_client(const struct pkt *p, const struct forward *f, int held)
{
	struct tuple t __attribute__((aligned(8)));
	struct addr external, none = {};

	set_v4(&t.src, get_v4(&f->ip));
	set_v4(&t.dst, p->saddr);
	t.sport = f->port;
	t.dport = p->sport;
	t.proto = p->proto;
	t.pad[0] = t.pad[1] = t.pad[2] = 0;
	set_v4(&external, p->daddr);
	return track_note(&t, &external, p->dport, &none, is_syn(p) && held != PARK);
}

/* A SYN for a webspace that boots for none whose sender has not been seen to exist. p is as it came in, r what it becomes. */
static __noinline int forward_challenge(CTX *ctx, struct pkt *p, struct rewrite *r, __u32 slot, const struct endpoint *ep)
{
	struct mac_key near = p->dmac, far = p->smac;
	int v;

	if (may_copy(slot)) {
		copy_mac(r->dmac.mac, ep->mac);
		v = rewrite(ctx, p, r);
		if (v)
			return v;
		park_copy(ctx, slot);
		p->dmac = near;
		p->smac = far;
	}
	v = challenge(ctx, p, r->daddr, r->dport);
	if (v)
		return v;
	count_drop(ctx, slot, REASON_CHALLENGED, HOOK_UNDERLAY);
	return ctx_redirect(ctx, ctx_ifindex(ctx));
}

/* From outside to a forward's external side. Sources that cannot be outside are refused (RFC 1812 section 5.3.7). */
static __noinline int forward_in(CTX *ctx, struct pkt *p, const struct forward *f)
{
	struct addr to = f->ip;
	struct endpoint *ep;
	struct peer *peer;
	struct rewrite r;
	bool note = f->flags & FORWARD_TRACKED;
	int held = 0;
	__u32 most;

	if (never_outside(p->saddr))
		return -REASON_MARTIAN;
	ep = bpf_map_lookup_elem(&endpoints, &to);
	if (!ep)
		return -REASON_ENDPOINT_ABSENT;
	p->slot = f->slot;
	peer = peer_of(ep);
	if (leave_to_tcx(ep, peer))
		return PASS;
	if (!IS_XDP && is_held(ep)) {
		held = hold(p, ep, f->port, HOLD_OUTSIDE);
		if (held == JUDGE) {
			held = judge_reset(ctx, p, ep, f->port);
			if (note && held == -REASON_CHALLENGE_ANSWERED)
				note_client(p, f, held);
			return held;
		}
		if (held == RESET)
			return reset_back(ctx, p);
		if (held < 0)
			return held;
	}
	most = path_size(p, ep, peer);
	if (p->ttl <= 1 || wire_size(ctx, p) > most)
		return explain(ctx, p, p->daddr, most);
	if (p->proto == IPPROTO_UDP && denied(p->saddr)) /* its answers are known by this alone: see may_answer */
		note = true;
	if (note && held != CHALLENGE)
		note_client(p, f, held);
	frag_accept(p);
	rewrite_none(p, &r);
	r.daddr = get_v4(&f->ip);
	r.dport = f->port;
	if (held == CHALLENGE)
		return forward_challenge(ctx, p, &r, ep->slot, ep);
	return route_in(ctx, p, &r, ep, peer, held);
}

/* Notes the client of a packet that entered at a peer. */
static __noinline int note_entry(const struct pkt *p, const struct addr *from, int held)
{
	struct tuple t __attribute__((aligned(8)));
	struct addr none = {};

	set_v4(&t.src, p->daddr);
	set_v4(&t.dst, p->saddr);
	t.sport = p->dport;
	t.dport = p->sport;
	t.proto = p->proto;
	t.pad[0] = t.pad[1] = t.pad[2] = 0;
	return track_note(&t, &none, 0, from, is_syn(p) && held != PARK);
}

/*
 * At the node of the webspace: a packet of a forward that entered at a peer, and came through the tunnel with its client's
 * address. When the answer could leave by several ways, the peer is the right one.
 */
static __always_inline void forward_tunnelled(const struct pkt *p, const struct addr *from, int held)
{
	struct inverse *inv;

	if (in_lan(p->saddr))
		return;
	inv = find_inverse(p->daddr, p->dport, p->proto);
	if (inv && inv->flags & FORWARD_TRACKED)
		note_entry(p, from, held);
}
