/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What holds for the life of a loaded program: set by user space before loading (.rodata, frozen), so that the verifier
 * sees constants and removes what can never be reached. What changes while programs run is in struct settings.
 */
#pragma once

#include "types.h"

enum { INFRA_MAX = 8 };

const volatile __u32 vni = 7331;
const volatile __u16 tunnel_port = 4789; /* UDP, host byte order */
const volatile struct addr vtep;	 /* this node's tunnel address */

const volatile struct prefix_key lan;		    /* prefixlen counts in 128 bits: 172.24.0.0/16 has 112 */
const volatile struct prefix_key infra[INFRA_MAX]; /* LAN ranges of infrastructure; prefixlen 0 = unused */

const volatile struct addr gateway_ip;
const volatile struct mac_key gateway_mac;
const volatile struct addr node_ip; /* this node's LAN address */
const volatile struct mac_key node_mac; /* of the bridge */

const volatile __u16 nat_first = 1024; /* source ports of NAT, inclusive, host byte order */
const volatile __u16 nat_last = 32767;

const volatile __u32 bridge_ifindex;
/*
 * The interface that route lookups name as the one of arrival. bpf_fib_lookup refuses when its "forwarding" sysctl is off,
 * so user space turns that on: for the VXLAN device, which as a bridge port never receives IP itself, so that nothing
 * is opened by it.
 */
const volatile __u32 route_ifindex;

const volatile __u32 parking_ifindex; /* the TAP through which user space gets parked packets, and sends them on */

const volatile __u16 lan_mtu = 1450;
const volatile __u16 uplink_mtu = 1500;

/* Token buckets: packets per second, and how many may come at once. */
const volatile __u32 flood_rate = 200;
const volatile __u32 flood_burst = 400;
const volatile __u32 unknown_rate = 20000;
const volatile __u32 unknown_burst = 20000;
const volatile __u32 error_rate = 50;
const volatile __u32 error_burst = 100;
const volatile __u32 sample_rate = 100;
const volatile __u32 sample_burst = 100;
/* Of waking: for each webspace, and for the whole node. */
const volatile __u32 park_rate = 1000, park_burst = 1000;
const volatile __u32 node_park_rate = 10000, node_park_burst = 10000;
const volatile __u32 reset_rate = 200, reset_burst = 400;
const volatile __u32 node_reset_rate = 2000, node_reset_burst = 4000;
const volatile __u32 proved_rate = 200, proved_burst = 400;
const volatile __u32 node_proved_rate = 2000, node_proved_burst = 4000;
const volatile __u32 copy_rate = 200, copy_burst = 200;
const volatile __u32 node_copy_rate = 2000, node_copy_burst = 2000;
/* Nearly as many as anybody awake would answer: a flood above these rates keeps true clients from their challenges. */
const volatile __u32 challenge_rate = 200000, challenge_burst = 100000;
const volatile __u32 node_challenge_rate = 400000, node_challenge_burst = 200000;
const volatile __u32 verify_rate = 50, verify_burst = 100;
const volatile __u32 node_verify_rate = 1000, node_verify_burst = 1000;
const volatile __u32 event_rate = 200, event_burst = 400;
