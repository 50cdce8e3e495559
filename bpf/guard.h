/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a webspace may not send, whatever the destination: it speaks for itself, and offers no service of the gateway's. */
#pragma once

#include "pkt.h"

enum { DHCP_SERVER = 67, DHCP_CLIENT = 68, DHCPV6_CLIENT = 546, DHCPV6_SERVER = 547 };
enum { ICMPV6_ROUTER_ADVERTISEMENT = 134, ICMPV6_REDIRECT = 137 };
enum { IPV6_HEADERS_MAX = 6, IPV6_ICMP = 58 };

/* RFC 826, for Ethernet and IPv4. */
struct arp {
	__be16 hardware, protocol;
	__u8 hlen, plen;
	__be16 op;
	__u8 smac[MAC_LEN];
	__u8 sip[4];
	__u8 tmac[MAC_LEN];
	__u8 tip[4];
};
enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

static __always_inline bool is_dhcp_request(const struct pkt *p)
{
	return p->proto == IPPROTO_UDP && p->sport == DHCP_CLIENT && p->dport == DHCP_SERVER;
}

static __always_inline int guard_arp(CTX *ctx, const struct pkt *p, const struct port *port)
{
	struct arp *a = at(ctx, ETHER_SIZE, sizeof(*a));
	__be32 sender, own = get_v4(&port->ip);

	if (!a)
		return -REASON_TRUNCATED;
	if (a->hardware != bpf_htons(1) || a->protocol != bpf_htons(ETH_P_IP) || a->hlen != MAC_LEN || a->plen != 4 ||
	    (a->op != bpf_htons(ARP_REQUEST) && a->op != bpf_htons(ARP_REPLY)))
		return -REASON_MALFORMED;
	sender = *(__be32 *)a->sip;
	if (sender == get_v4(&gateway_ip))
		return -REASON_SPOOFED_GATEWAY;
	/* 0.0.0.0 asks whether an address is free (RFC 5227); nobody answers from it. */
	if (!same_mac((struct mac_key *)a->smac, &p->smac) || (sender != own && (sender || a->op != bpf_htons(ARP_REQUEST))))
		return -REASON_SPOOFED_ARP;
	return 0;
}

static __always_inline int guard_ip(const struct pkt *p, const struct port *port)
{
	if (p->saddr != get_v4(&port->ip)) {
		if (p->saddr == get_v4(&gateway_ip))
			return -REASON_SPOOFED_GATEWAY;
		if (p->saddr || !is_dhcp_request(p) || is_fragment(p))
			return -REASON_SPOOFED_IP;
	}
	if (p->proto == IPPROTO_UDP && (p->sport == DHCP_SERVER || p->dport == DHCP_CLIENT))
		return -REASON_ROGUE_DHCP;
	if (p->proto == IPPROTO_ICMP && !follows(p)) {
		if (p->icmp == ICMP_REDIRECT_MESSAGE)
			return -REASON_REDIRECT;
		if (p->icmp == ICMP_ROUTER)
			return -REASON_ROGUE_ROUTER;
	}
	return 0;
}

/*
 * IPv6 crosses the LAN on the slow path, but nobody may be a router or a DHCPv6 server on it. Extension headers are
 * followed, or a router advertisement would hide behind them (RFC 7113); a chain whose end is not seen is dropped.
 */
GLOBAL int guard_ipv6(CTX *ctx)
{
	__u32 off = ETHER_SIZE + 40, end;
	__u8 h[8], next;

	if (ctx_load(ctx, ETHER_SIZE, h, 8))
		return -REASON_TRUNCATED;
	if (h[0] >> 4 != 6)
		return -REASON_MALFORMED;
	if (ctx_len(ctx) < off)
		return -REASON_TRUNCATED;
	next = h[6];
	/* What is behind the packet (padding) is no header of it. 0 in front of a hop by hop header: a jumbogram (RFC 2675). */
	end = off + bpf_ntohs(*(__be16 *)(h + 4));
	if (end == off && next == 0)
		end = ctx_len(ctx);
	for (int i = 0; i < IPV6_HEADERS_MAX; i++) {
		switch (next) {
		case 0: /* hop by hop */
		case 43: /* routing */
		case 60: /* destination */
			if (off + 8 > end || ctx_load(ctx, off, h, 8))
				return -REASON_IPV6_CHAIN;
			next = h[0];
			off += (h[1] + 1) * 8;
			continue;
		case 51: /* authentication */
			if (off + 8 > end || ctx_load(ctx, off, h, 8))
				return -REASON_IPV6_CHAIN;
			next = h[0];
			off += (h[1] + 2) * 4;
			continue;
		case 44: /* fragment */
			if (off + 8 > end || ctx_load(ctx, off, h, 8))
				return -REASON_IPV6_CHAIN;
			if (bpf_ntohs(*(__be16 *)(h + 2)) & 0xfff8) /* not the first; the first was judged */
				return 0;
			next = h[0];
			off += 8;
			continue;
		case IPV6_ICMP:
			if (off + 1 > end || ctx_load(ctx, off, h, 1))
				return -REASON_IPV6_CHAIN;
			if (h[0] == ICMPV6_ROUTER_ADVERTISEMENT)
				return -REASON_ROGUE_ROUTER;
			return h[0] == ICMPV6_REDIRECT ? -REASON_REDIRECT : 0;
		case IPPROTO_UDP:
			if (off + 4 > end || ctx_load(ctx, off, h, 4))
				return -REASON_IPV6_CHAIN;
			if (*(__be16 *)h == bpf_htons(DHCPV6_SERVER) || *(__be16 *)(h + 2) == bpf_htons(DHCPV6_CLIENT))
				return -REASON_ROGUE_DHCPV6;
			return 0;
		default:
			return 0;
		}
	}
	return -REASON_IPV6_CHAIN;
}

/* Parses what is above Ethernet (for pods too) and judges it (for webspaces). */
static __always_inline int guard(CTX *ctx, struct pkt *p, const struct port *port)
{
	bool ours = port->kind == PORT_POD;
	int v;

	if (ctx_tagged(ctx) || p->type == ETH_P_8021Q || p->type == ETH_P_8021AD)
		return -REASON_VLAN;
	if (!ours && !same_mac(&p->smac, (const struct mac_key *)port->mac))
		return same_mac(&p->smac, &gateway_mac) ? -REASON_SPOOFED_GATEWAY : -REASON_SPOOFED_MAC;
	switch (p->type) {
	case ETH_P_IP:
		v = parse_ip(ctx, p);
		return v || ours ? v : guard_ip(p, port);
	case ETH_P_ARP:
		return ours ? 0 : guard_arp(ctx, p, port);
	case ETH_P_IPV6:
		return ours ? 0 : guard_ipv6(ctx);
	}
	return -REASON_ETHERTYPE;
}
