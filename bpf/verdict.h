/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What a helper decides about a frame: one of these, or a negative enum drop_reason. */
enum verdict {
	PASS = 0, /* to whatever comes next: the bridge, the kernel's stack */
	SENT = 7, /* redirected */
};
