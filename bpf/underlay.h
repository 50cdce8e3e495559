/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What arrives from outside: tunnels, forwards, answers of NAT. The body of the tcx program, and of its XDP twin, which
 * leaves every TCP flow whole to tcx: GRO makes superframes of it first, and one rewrite per 64 KB is cheaper than XDP's
 * one per 1,500 bytes; and half a flow on each path would be reordered.
 */
#pragma once

#include "gateway.h"

/* The inner destination is the gateway: an answer of a forward that came in here, for a webspace behind that peer. */
static __noinline int tunnel_gateway(CTX *ctx, struct pkt *p, const struct addr *from)
{
	struct tuple t __attribute__((aligned(8)));
	struct settings *s = get_settings();
	struct endpoint *ep;
	struct external x;
	struct addr src;
	int v;

	if (p->type != ETH_P_IP || !s)
		return -REASON_GATEWAY_SERVICE;
	v = parse_ip(ctx, p);
	if (v)
		return v;
	set_v4(&src, p->saddr);
	ep = bpf_map_lookup_elem(&endpoints, &src);
	if (!ep || get_v4(&ep->vtep) != get_v4(from) || !same_mac(&p->smac, (struct mac_key *)ep->mac))
		return -REASON_SPOOFED_INNER;
	if (follows(p)) {
		v = frag_ports(p);
		if (v)
			return v;
	}
	if (p->ttl <= 1)
		return -REASON_TTL_EXCEEDED;
	if (IS_XDP && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_ICMP))
		return PASS;
	if (is_icmp_error(p))
		return icmp_out(ctx, p, s);
	tuple_of(p, &t);
	if (!find_external(&t, &x))
		return -REASON_NO_FLOW;
	return forward_answer(ctx, p, s, &t, &x);
}

/* ARP for a webspace of this node that cannot answer. The tunnel frame goes back as it is, with its addresses swapped. */
static __noinline int tunnel_arp(CTX *ctx, const struct pkt *p, const struct addr *from)
{
	struct peer *peer = find_peer(from);
	struct endpoint *ep;
	struct outer *o;
	struct addr ip;
	struct arp *a;

	if (IS_XDP || !peer || !(peer->flags & PEER_READY))
		return PASS;
	a = at(ctx, TUNNEL_SIZE + ETHER_SIZE, sizeof(*a));
	if (!a)
		return PASS;
	set_v4(&ip, *(__be32 *)a->tip);
	ep = bpf_map_lookup_elem(&endpoints, &ip);
	if (!ep || !is_held(ep) || ep->state == ENDPOINT_NAPPING || !arp_answer(ctx, p))
		return PASS;
	o = at(ctx, 0, sizeof(*o));
	if (!o)
		return -REASON_CHANGE_FAILED;
	copy_mac(o->dmac, peer->dmac);
	copy_mac(o->smac, peer->smac);
	o->daddr = o->saddr; /* the header's checksum is the same in any order */
	o->saddr = get_v4(&vtep);
	o->udp_check = 0;
	return ctx_redirect(ctx, peer->ifindex);
}

/* A packet for a webspace of this node that is not awake. DELIVER is left to the caller. */
static __noinline int tunnel_held(CTX *ctx, struct pkt *p, const struct endpoint *ep, const struct addr *from)
{
	__u32 slot = ep->slot;
	__be32 ip = get_v4(&ep->ip);
	int held, v;

	p->slot = slot;
	held = hold_frame(p, ep, HOLD_OUTSIDE);
	if (held == JUDGE) {
		held = judge_reset(ctx, p, ep, p->dport);
		if (held == -REASON_CHALLENGE_ANSWERED)
			forward_tunnelled(p, from, held);
		return held;
	}
	if (held < 0 || held == DELIVER)
		return held;
	if (held == PARK && !follows(p))
		forward_tunnelled(p, from, held);
	v = decap(ctx, p);
	if (v)
		return v;
	if (held == PARK)
		return park(ctx, slot);
	if (held == CHALLENGE) {
		if (may_copy(slot))
			park_copy(ctx, slot);
		v = challenge(ctx, p, ip, p->dport);
		if (!v)
			count_drop(ctx, slot, REASON_CHALLENGED, HOOK_UNDERLAY);
	} else {
		v = reset(ctx, p);
	}
	if (!v)
		v = encap_answer(ctx, p, from);
	return v == PASS ? -REASON_PEER_NOT_READY : v;
}

/* From a plain kernel device: the bridge learns from its frames, and gets all that need not wait for a webspace. */
static __noinline int foreign_frame(CTX *ctx, struct pkt *p, const struct addr *from)
{
	struct mac_key k = {};
	struct endpoint *ep;
	int v;

	if (IS_XDP || parse_ether(ctx, p, TUNNEL_SIZE))
		return PASS;
	if (p->type == ETH_P_ARP)
		return tunnel_arp(ctx, p, from);
	copy_mac(k.mac, p->dmac.mac);
	ep = bpf_map_lookup_elem(&macs, &k);
	if (!ep || !is_held(ep) || p->type != ETH_P_IP || parse_ip(ctx, p))
		return PASS;
	v = tunnel_held(ctx, p, ep, from);
	return v == DELIVER ? PASS : v;
}

/* A frame of our VNI from a peer. What is not for an endpoint here goes on to the kernel's VXLAN device. */
static __always_inline int tunnel_frame(CTX *ctx, struct pkt *p, const struct addr *from)
{
	struct mac_key k = {};
	struct endpoint *ep;
	__u32 ifindex, slot;
	int v = parse_ether(ctx, p, TUNNEL_SIZE);

	if (v)
		return PASS;
	if (p->type == ETH_P_ARP)
		return tunnel_arp(ctx, p, from);
	if (is_multicast(&p->dmac))
		return PASS;
	if (same_mac(&p->dmac, &gateway_mac))
		return tunnel_gateway(ctx, p, from);
	copy_mac(k.mac, p->dmac.mac);
	ep = bpf_map_lookup_elem(&macs, &k);
	if (!ep || ep->flags & ENDPOINT_NODE || p->type != ETH_P_IP || parse_ip(ctx, p))
		return PASS;
	ifindex = ep->ifindex;
	if (!ifindex) {
		v = is_held(ep) && !IS_XDP ? tunnel_held(ctx, p, ep, from) : PASS;
		if (v != DELIVER)
			return v;
		ifindex = ep->port;
	}
	/* Larger than a frame: a superframe that generic XDP was given, whose metadata it cannot mend. */
	if (IS_XDP && (p->proto == IPPROTO_TCP || is_icmp_error(p) || p->len > lan_mtu + ETHER_SIZE))
		return PASS;
	slot = ep->slot;
	p->slot = slot;
	if (!follows(p))
		forward_tunnelled(p, from, 0);
	v = decap(ctx, p);
	if (v)
		return v;
	if (has_hairpins(slot)) {
		v = hairpin_undo(ctx, p);
		if (v)
			return v;
	}
	count_rx(ctx, slot, p->len);
	return ctx_redirect_peer(ctx, ifindex);
}

/* UDP to the tunnel port. Only frames of our VNI are ours, to whichever address of the node they come. */
static __always_inline int tunnel_in(CTX *ctx, struct pkt *p, __be32 saddr, bool whole, bool to_vtep)
{
	struct peer *peer;
	struct addr from;
	__be32 *vx;

	ctx_pull(ctx, TUNNEL_SIZE + HEADERS);
	vx = at(ctx, VXLAN_OFFSET, 8);
	if (whole && (!vx || vx[0] != bpf_htonl(0x08000000) || (vx[1] & bpf_htonl(0xffffff00)) != vxlan_vni()))
		return PASS;
	set_v4(&from, saddr);
	peer = bpf_map_lookup_elem(&peers, &from);
	if (!peer)
		return -REASON_UNKNOWN_PEER;
	/* A fragment, IP options, another of our addresses: the kernel may look at it. */
	if (!whole || !to_vtep)
		return PASS;
	if (peer->flags & PEER_FOREIGN)
		return foreign_frame(ctx, p, &from);
	return tunnel_frame(ctx, p, &from);
}

/* The answer of a flow: to the webspace that opened it. */
static __noinline int flow_in(CTX *ctx, struct pkt *p, struct flow *f)
{
	struct endpoint *ep;
	struct rewrite r;
	struct addr to = f->other.src;
	int held = 0;
	__u32 most;

	ep = bpf_map_lookup_elem(&endpoints, &to);
	if (!ep)
		return -REASON_ENDPOINT_ABSENT;
	p->slot = f->slot;
	if (!ep->ifindex) {
		if (!is_held(ep)) /* it has moved to another node, and its flows have not */
			return -REASON_ENDPOINT_ABSENT;
		if (IS_XDP)
			return PASS;
		held = hold(p, ep, f->other.sport, HOLD_OWN);
		if (held == RESET)
			return reset_back(ctx, p);
		if (held < 0)
			return held;
	}
	most = path_size(p, ep, 0);
	if (p->ttl <= 1 || wire_size(ctx, p) > most)
		return explain(ctx, p, p->daddr, most);
	frag_accept(p);
	touch(ctx, f, p);
	rewrite_flow(p, f, &r);
	return route_in(ctx, p, &r, ep, 0, held);
}

/* Not a tunnel's: a forward, an answer of NAT, or none of our business. */
static __noinline int routed_in(CTX *ctx, struct pkt *p)
{
	struct tuple t __attribute__((aligned(8)));
	struct forward *fw;
	struct flow *f;

	if (parse_ip(ctx, p))
		return PASS;
	/* Before its first it cannot be told from the node's own: the kernel may have it. */
	if (follows(p) && frag_ports(p))
		return PASS;
	if (IS_XDP && p->proto == IPPROTO_TCP)
		return PASS;
	if (is_icmp_error(p))
		return icmp_in(ctx, p);
	fw = find_forward(p->daddr, p->dport, p->proto);
	if (fw && is_zero(&fw->entry))
		return forward_in(ctx, p, fw);
	if (p->dport < nat_first || p->dport > nat_last)
		return PASS;
	tuple_of(p, &t);
	f = bpf_map_lookup_elem(&flows, &t);
	return f && f->kind == FLOW_BACK ? flow_in(ctx, p, f) : PASS;
}

static __always_inline int underlay_frame(CTX *ctx, struct pkt *p)
{
	struct ethhdr *h;
	struct iphdr *ip;
	struct udphdr *udp;
	__u32 size;

	/* The kernel has taken the tag off by now: it belongs to another network on the same wire. */
	if (ctx_tagged(ctx))
		return PASS;
	h = at(ctx, 0, sizeof(*h) + sizeof(*ip));
	if (!h || h->h_proto != bpf_htons(ETH_P_IP))
		return PASS;
	ip = (void *)(h + 1);
	size = ip->ihl * 4;
	if (ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(FRAG_OFFSET)) && size >= sizeof(*ip)) {
		bool whole = size == sizeof(*ip) && !(ip->frag_off & bpf_htons(FRAG_MF));
		bool to_vtep = ip->daddr == get_v4(&vtep);
		__be32 saddr = ip->saddr;

		if (size > sizeof(*ip))
			ctx_pull(ctx, ETHER_SIZE + size + 8);
		udp = at(ctx, ETHER_SIZE + size, sizeof(*udp));
		if (udp && udp->dest == bpf_htons(tunnel_port))
			return tunnel_in(ctx, p, saddr, whole, to_vtep);
	}
	return parse_ether(ctx, p, 0) ? PASS : routed_in(ctx, p);
}
