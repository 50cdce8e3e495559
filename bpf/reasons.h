/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a frame was dropped. The comment of each is its documentation: the Go names, the metric's label and
 * docs/reference/drop-reasons.md are generated from this file. Numbers are in maps that outlive a program: append only.
 */
#pragma once

enum drop_reason {
	/* Not dropped. */
	REASON_NONE = 0,
	/* The frame came through an interface that has no entry in the ports map. */
	REASON_NO_PORT = 1,
	/* A header is cut off. */
	REASON_TRUNCATED = 2,
	/* A header contradicts itself: version, header length or total length. */
	REASON_MALFORMED = 3,
	/* A webspace sent from a MAC address that is not its own. */
	REASON_SPOOFED_MAC = 4,
	/* A webspace sent from an IPv4 address that is not its own. */
	REASON_SPOOFED_IP = 5,
	/* A webspace claimed another's address in ARP. */
	REASON_SPOOFED_ARP = 6,
	/* A webspace claimed the gateway's MAC or address. */
	REASON_SPOOFED_GATEWAY = 7,
	/* A webspace sent a VLAN tag. */
	REASON_VLAN = 8,
	/* Neither IPv4, ARP nor IPv6. */
	REASON_ETHERTYPE = 9,
	/* A webspace spoke as a DHCP server. */
	REASON_ROGUE_DHCP = 10,
	/* A webspace spoke as a DHCPv6 server. */
	REASON_ROGUE_DHCPV6 = 11,
	/* A webspace sent an IPv6 router advertisement. */
	REASON_ROGUE_ROUTER = 12,
	/* A webspace sent an ICMP redirect. */
	REASON_REDIRECT = 13,
	/* An IPv6 header chain that is too long, or cut off, to see what it carries (RFC 7113). */
	REASON_IPV6_CHAIN = 14,
	/* A webspace tried to open something towards infrastructure, which it may only answer. */
	REASON_INFRASTRUCTURE = 15,
	/* A webspace floods faster than its token bucket allows. */
	REASON_FLOOD_RATE = 16,
	/* A unicast packet in a broadcast or multicast frame (RFC 1122 section 3.3.6). */
	REASON_UNICAST_IN_BROADCAST = 17,
	/* A packet for outside the LAN that was not sent to the gateway. */
	REASON_OFF_LAN = 18,
	/* To the gateway: neither IPv4 nor a service that it offers. */
	REASON_GATEWAY_SERVICE = 19,
	/* Webspaces may not reach this destination (the deny list, or the tunnel port). */
	REASON_DESTINATION_DENIED = 20,
	/* The time to live ran out. */
	REASON_TTL_EXCEEDED = 21,
	/* Larger than the next link, and not to be fragmented. */
	REASON_TOO_BIG = 22,
	/* The node has no route to the destination. */
	REASON_NO_ROUTE = 23,
	/* The flow table is full; live flows keep running. */
	REASON_FLOW_TABLE_FULL = 24,
	/* The webspace holds as many flows as it may. */
	REASON_FLOW_SHARE_EXCEEDED = 25,
	/* No free source port was found towards this destination. */
	REASON_NAT_PORTS_EXHAUSTED = 26,
	/* The packet belongs to no flow and cannot open one (a TCP reset, an unrequested echo reply). */
	REASON_NO_FLOW = 27,
	/* A fragment that came before its first. */
	REASON_FRAGMENT_EARLY = 28,
	/* A fragment that would overwrite a transport header (RFC 1858). */
	REASON_FRAGMENT_TINY = 29,
	/* A tunnel frame from an address that is no peer. */
	REASON_UNKNOWN_PEER = 30,
	/* A tunnel frame whose inner source is not behind the peer that sent it. */
	REASON_SPOOFED_INNER = 31,
	/* The next hop to the peer is not known yet. */
	REASON_PEER_NOT_READY = 32,
	/* The webspace has no port at the moment (it is stopped). */
	REASON_ENDPOINT_ABSENT = 33,
	/* An ICMP error about a packet that is part of nothing known. */
	REASON_ICMP_UNMATCHED = 34,
	/* The gateway routes TCP, UDP and ICMP echo only. */
	REASON_PROTOCOL = 35,
	/* The kernel refused to change the frame (out of memory). */
	REASON_CHANGE_FAILED = 36,
	/* A packet from outside has a source that cannot be there (the LAN's, loopback, multicast). */
	REASON_MARTIAN = 37,
	/* The webspace is asleep or booting, and this packet does not wake it. */
	REASON_ASLEEP = 38,
	/* The wake policy of the webspace or of the forward does not let this packet wake it. */
	REASON_WAKE_DENIED = 39,
	/* More packets for sleeping webspaces than are parked or challenged: a flood. */
	REASON_WAKE_RATE = 40,
	/* A booting webspace refused what it may soon accept; the refusal is held back. */
	REASON_BOOTING_REFUSAL = 41,
	/* The reset that answers a challenge. Its sender exists, and its next SYN wakes the webspace. */
	REASON_CHALLENGE_ANSWERED = 42,
	/* A reset for a sleeping webspace that answers no challenge. */
	REASON_CHALLENGE_FAILED = 43,
	/* A SYN that was answered with a challenge instead of being delivered. */
	REASON_CHALLENGED = 44,
};
