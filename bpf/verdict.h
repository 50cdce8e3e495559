/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * A function that the verifier walks through once, whatever the number of its callers and their states. In return it knows
 * nothing of the arguments: pointers are asked for NULL, which never happens.
 */
#define GLOBAL __attribute__((noinline))

/* What a helper decides about a frame: one of these, or a negative enum drop_reason. */
enum verdict {
	PASS = 0, /* to whatever comes next: the bridge, the kernel's stack */
	SENT = 7, /* redirected */
};
