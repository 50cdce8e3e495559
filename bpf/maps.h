/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps. Sizes are defaults: user space may set other max_entries before loading (dataplane.Sizes), except where a
 * comment says otherwise. All are created by name, pinned and adopted by package dataplane.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "reasons.h"
#include "types.h"

enum {
	SLOTS = 4096, /* webspaces of one node, with slot 0 for the node itself */
	ENDPOINTS = 16384,
	FORWARDS = 16384,
	FLOWS = 65536,
};

#define MAP(NAME, TYPE, KEY, VALUE, MAX, FLAGS)                                                                        \
	struct {                                                                                                       \
		__uint(type, TYPE);                                                                                    \
		__uint(max_entries, MAX);                                                                              \
		__uint(map_flags, FLAGS);                                                                              \
		__type(key, KEY);                                                                                      \
		__type(value, VALUE);                                                                                  \
	} NAME SEC(".maps")

MAP(ports, BPF_MAP_TYPE_HASH, __u32, struct port, SLOTS, 0);
MAP(endpoints, BPF_MAP_TYPE_HASH, struct addr, struct endpoint, ENDPOINTS, 0);
MAP(macs, BPF_MAP_TYPE_HASH, struct mac_key, struct endpoint, ENDPOINTS, 0);
MAP(peers, BPF_MAP_TYPE_HASH, struct addr, struct peer, 1024, 0);
MAP(forwards, BPF_MAP_TYPE_HASH, struct service_key, struct forward, FORWARDS, 0);
MAP(inverses, BPF_MAP_TYPE_HASH, struct service_key, struct inverse, FORWARDS, 0);
MAP(tracks, BPF_MAP_TYPE_LRU_HASH, struct tuple, struct track, 65536, 0);
MAP(openings, BPF_MAP_TYPE_LRU_HASH, struct tuple, struct track, 16384, 0);
MAP(flows, BPF_MAP_TYPE_HASH, struct tuple, struct flow, FLOWS * 2, 0); /* two entries each */
MAP(shares, BPF_MAP_TYPE_ARRAY, __u32, struct share, SLOTS, BPF_F_MMAPABLE);
MAP(nexthops, BPF_MAP_TYPE_LRU_HASH, struct addr, struct nexthop, 16384, 0);
MAP(frags, BPF_MAP_TYPE_LRU_HASH, struct frag_key, struct frag, 8192, 0);
MAP(prefixes, BPF_MAP_TYPE_LPM_TRIE, struct prefix_key, __u32, 4096, BPF_F_NO_PREALLOC); /* enum prefix_class */
MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct counters, SLOTS, 0);
MAP(drops, BPF_MAP_TYPE_PERCPU_HASH, struct drop_key, struct drop_count, 16384, BPF_F_NO_PREALLOC);
MAP(buckets, BPF_MAP_TYPE_ARRAY, __u32, struct bucket, SLOTS *BUCKETS, 0);
MAP(settings, BPF_MAP_TYPE_ARRAY, __u32, struct settings, 1, 0);
MAP(answered, BPF_MAP_TYPE_LRU_HASH, struct service_key, struct answer, 4096, 0);
MAP(proofs, BPF_MAP_TYPE_LRU_HASH, struct tuple, struct proof, 4096, 0);
MAP(netns, BPF_MAP_TYPE_HASH, __u32, struct watch, SLOTS, 0);
MAP(sockets, BPF_MAP_TYPE_HASH, __u64, struct socket, 16384, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024); /* bytes */
} drop_samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024); /* bytes */
} events SEC(".maps");

/* What no map names, but user space reads: referenced, so that BTF (and bpf2go) has it. */
#define EXPORT(KIND, NAME) KIND NAME *const export_##NAME __attribute__((used)) = 0
EXPORT(struct, drop_sample);
EXPORT(struct, event);
EXPORT(enum, drop_reason);
EXPORT(enum, port_kind);
EXPORT(enum, port_flags);
EXPORT(enum, endpoint_state);
EXPORT(enum, endpoint_flags);
EXPORT(enum, wake_policy);
EXPORT(enum, event_kind);
EXPORT(enum, peer_flags);
EXPORT(enum, forward_flags);
EXPORT(enum, flow_kind);
EXPORT(enum, flow_state);
EXPORT(enum, nexthop_flags);
EXPORT(enum, prefix_class);
EXPORT(enum, bucket_kind);
EXPORT(enum, hook);
