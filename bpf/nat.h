/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Outbound NAT: source address and port become the node's (RFC 4787, 5382, 5508). */
#pragma once

#include "deliver.h"
#include "flow.h"

/* May a packet that has no flow open one? */
static __always_inline int may_open(const struct pkt *p)
{
	switch (p->proto) {
	case IPPROTO_TCP: /* also in the middle: a connection may be older than this table */
		return p->flags & TCP_RST ? -REASON_NO_FLOW : 0;
	case IPPROTO_UDP:
		return 0;
	case IPPROTO_ICMP:
		return p->icmp == ICMP_ECHO ? 0 : -REASON_NO_FLOW;
	}
	return -REASON_PROTOCOL;
}

/*
 * Opens a flow. The first port tried depends on the webspace's address and port alone: as long as it is free the mapping is
 * endpoint-independent (RFC 4787 REQ-1), and the answer's tuple has the remote side in it, so that one port serves many.
 */
GLOBAL int nat_open(const struct settings *s, const struct pkt *p, const struct tuple *key, const struct way *w)
{
	__u32 range = (__u32)nat_last - nat_first + 1, start;
	int state, rc = TAKEN;
	struct scratch *room = get_scratch();
	struct counters *c;
	struct flow *f;

	if (!s || !p || !key || !w || !room)
		return -REASON_CHANGE_FAILED;
	/* The same webspace port starts its search at the same place whatever the destination. */
	start = mix(p->saddr ^ (__u32)p->sport << 16 ^ p->proto);
	state = take_share(s, p->slot, false);
	if (state < 0)
		return -REASON_FLOW_SHARE_EXCEEDED;
	f = &room->flow;
	flow_init(f, p, state, FLOW_OUT);
	flow_opened(f, p);
	set_v4(&f->other.src, p->daddr);
	set_v4(&f->other.dst, get_v4(&s->uplink));
	f->other.sport = p->dport;
	f->other.proto = p->proto;
	f->ifindex = w->hop.ifindex;
	f->nh_epoch = w->hop.epoch;
	f->mtu = w->hop.mtu;
	copy_mac(f->smac, w->hop.smac);
	copy_mac(f->dmac, w->hop.dmac);
	for (int i = 0; i < PORT_TRIES && rc == TAKEN; i++) {
		f->other.dport = nat_first + start % range;
		if (p->proto == IPPROTO_ICMP)
			f->other.sport = f->other.dport;
		rc = flow_insert(key, f);
		start = bpf_get_prandom_u32(); /* then anywhere: neighbours of a taken port are more likely taken */
	}
	if (rc == INSERTED) {
		__u32 slot = p->slot;

		c = bpf_map_lookup_elem(&counters, &slot);
		if (c)
			c->flows_opened++;
		return 0;
	}
	give_share(p->slot, state, false);
	if (rc == RACED)
		return 0;
	return rc == FULL ? -REASON_FLOW_TABLE_FULL : -REASON_NAT_PORTS_EXHAUSTED;
}

/* The way of a flow: its own copy while that is current, else the cache or the kernel. */
static __always_inline int flow_way(CTX *ctx, const struct settings *s, struct flow *f, __be32 daddr, struct way *w)
{
	int v;

	if (f->nh_epoch == s->nh_epoch) {
		w->fresh = 0;
		w->hop.ifindex = f->ifindex;
		w->hop.mtu = f->mtu;
		copy_mac(w->hop.smac, f->smac);
		copy_mac(w->hop.dmac, f->dmac);
		return SENT;
	}
	v = find_way(ctx, s, daddr, w);
	if (v != SENT)
		return v;
	f->ifindex = w->hop.ifindex;
	f->mtu = w->hop.mtu;
	copy_mac(f->smac, w->hop.smac);
	copy_mac(f->dmac, w->hop.dmac);
	f->nh_epoch = w->hop.epoch;
	return SENT;
}

/* Sends a packet from a webspace out with another source. MTU and TTL were asked about. */
static __always_inline int route_out(CTX *ctx, struct pkt *p, struct rewrite *r, const struct way *w)
{
	__u32 mtu = lan_mtu < w->hop.mtu ? lan_mtu : w->hop.mtu;
	int v = clamp_mss(ctx, p, mtu);

	if (v)
		return v;
	copy_mac(r->smac.mac, w->hop.smac);
	copy_mac(r->dmac.mac, w->hop.dmac);
	v = rewrite(ctx, p, r);
	return v ? v : send_way(ctx, w);
}
