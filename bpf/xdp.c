//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The object with the XDP twin of the underlay program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "maps.h"

SEC("xdp")
int underlay_xdp(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char dual_license[] SEC("license") = "Dual BSD/GPL";
