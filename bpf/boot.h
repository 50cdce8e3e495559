/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a booting webspace shows of itself, seen at its port: its address is up, a port has answered. Its refusals are held back:
 * a client that met one would give up, a moment too early. Frames of awake webspaces come here never (PORT_BOOTING).
 */
#pragma once

#include "events.h"
#include "guard.h"
#include "services.h"

enum { ICMP_PORT_UNREACHABLE = 3 };

static __noinline bool has_answered(__be32 ip, __u16 port, __u8 proto)
{
	struct service_key k;

	service_of(&k, ip, port, proto);
	return bpf_map_lookup_elem(&answered, &k);
}

/* Notes an answer from a port (or with port 0: that the address is up), and tells of it the first time. */
static __noinline int note_answer(const struct pkt *p, const struct port *port, __u16 sport, __u8 proto)
{
	struct answer a = {.time = bpf_ktime_get_coarse_ns(), .slot = port->slot};
	struct service_key k;

	service_of(&k, get_v4(&port->ip), sport, proto);
	if (bpf_map_lookup_elem(&answered, &k))
		return 0;
	/* First the event: without a token for it nothing is noted, so that ports cannot be sprayed to evict others' notes. */
	if (tell(proto ? EVENT_ANSWERED : EVENT_FIRST_FRAME, &port->ip, port->slot, sport, proto, proto ? p->daddr : 0,
			proto ? p->dport : 0))
		bpf_map_update_elem(&answered, &k, &a, BPF_NOEXIST);
	return 0;
}

/* A frame of a booting webspace that the guard has let through. 0, or the reason to hold it back. */
GLOBAL int boot_frame(CTX *ctx, const struct pkt *p, const struct port *port)
{
	__be32 own, word = 0;
	__u8 code = 0;

	if (!p || !port)
		return -REASON_CHANGE_FAILED;
	own = get_v4(&port->ip);
	if (p->type == ETH_P_ARP && ctx_load(ctx, ETHER_SIZE + __builtin_offsetof(struct arp, sip), &word, 4))
		return 0;
	if (p->type == ETH_P_IP)
		word = p->saddr;
	if (word != own)
		return 0;
	note_answer(p, port, 0, 0);
	if (p->type != ETH_P_IP || follows(p))
		return 0;
	switch (p->proto) {
	case IPPROTO_TCP:
		if ((p->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
			return note_answer(p, port, p->sport, IPPROTO_TCP);
		/* RFC 9293 section 3.10.7.1: the reset of a SYN has the number 0. Others end connections that there have been. */
		if ((p->flags & (TCP_RST | TCP_ACK)) == (TCP_RST | TCP_ACK) && !ctx_load(ctx, p->l4 + 4, &word, 4) && !word &&
		    !has_answered(own, p->sport, IPPROTO_TCP))
			return -REASON_BOOTING_REFUSAL;
		return 0;
	case IPPROTO_UDP:
		return note_answer(p, port, p->sport, IPPROTO_UDP);
	case IPPROTO_ICMP:
		if (p->icmp == ICMP_UNREACHABLE && !ctx_load(ctx, p->l4 + 1, &code, 1) && code == ICMP_PORT_UNREACHABLE)
			return -REASON_BOOTING_REFUSAL;
	}
	return 0;
}
