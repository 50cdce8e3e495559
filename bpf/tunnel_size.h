/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

enum {
	TUNNEL_SIZE = 20 + 8 + 8 + 14, /* what a frame grows by: outer IPv4, UDP, VXLAN (RFC 7348), inner Ethernet */
	ETHER_SIZE = 14,
};
