//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The object with every tcx program; one file per hook. */
#include "ctx_skb.h"

#include "port.c"
#include "underlay.c"
#include "node.c"
#include "parking.c"

char dual_license[] SEC("license") = "Dual BSD/GPL";
