/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Challenges (RFC 9293 section 3.10.7.3). A SYN is answered with a SYN-ACK that acknowledges a number which the client has not
 * sent. A client that exists resets that, with the acknowledged number as sequence number, and stays in SYN-SENT: Linux
 * repeats its SYN within milliseconds (tcp_rcv_synsent_state_process). Nothing is remembered here; the number's low half
 * is a keyed hash of the connection and the time.
 *
 * The number is the greatest below the SYN's own whose low half is the hash: at most 65,535 less, which connection tracking on
 * the way (Linux: 66,000) still takes for an old acknowledgement. One of any 32 bits would be dropped at every home router.
 * 16 bits can be guessed, so BUCKET_VERIFY bounds how many answers are looked at.
 */
#pragma once

#include "pkt.h"

enum { COOKIE_PERIOD = 36 }; /* 2^36 ns = 69 s; the one before is taken too */

static __always_inline __u64 rotl(__u64 x, int n)
{
	return x << n | x >> (64 - n);
}

static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (as the kernel's siphash for short inputs; RFC-less, Aumasson and Bernstein 2012) of three words. */
static __always_inline __u64 sip_hash(const __u64 key[2], __u64 a, __u64 b, __u64 c)
{
	__u64 v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull, key[0] ^ 0x6c7967656e657261ull,
		      key[1] ^ 0x7465646279746573ull};
	__u64 m[4] = {a, b, c, 24ull << 56};

	for (int i = 0; i < 4; i++) {
		v[3] ^= m[i];
		sip_round(v);
		v[0] ^= m[i];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The hash of a connection from p's sender to ip:port, `ago` periods ago. */
static __noinline __u32 cookie(const struct settings *s, const struct pkt *p, __be32 ip, __u32 port, __u32 ago)
{
	__u64 period = (bpf_ktime_get_coarse_ns() >> COOKIE_PERIOD) - ago;

	return sip_hash(s->cookie_key, (__u64)p->saddr << 32 | ip, (__u64)p->sport << 16 | (port & 0xffff), period) & 0xffff;
}

/* The number to acknowledge to a SYN whose number is seq. */
static __always_inline __u32 challenge_of(__u32 seq, __u32 cookie)
{
	__u32 n = (seq & 0xffff0000) | cookie;

	return cookie > (seq & 0xffff) ? n - 0x10000 : n;
}
