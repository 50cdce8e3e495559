//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The object with every tcx program; one file per hook. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "maps.h"
enum { TCX_NEXT = -1, TCX_PASS = 0, TCX_DROP = 2, TCX_REDIRECT = 7 };

#include "port.c"
#include "underlay.c"
#include "node.c"

char dual_license[] SEC("license") = "Dual BSD/GPL";
