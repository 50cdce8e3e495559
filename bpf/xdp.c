//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The object with the XDP twin of the underlay program. */
#include "ctx_xdp.h"

#include "underlay_xdp.c"

char dual_license[] SEC("license") = "Dual BSD/GPL";
