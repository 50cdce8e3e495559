//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
SEC("tcx/ingress")
int underlay(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);

	if (!s || !vni || !tunnel_port)
		return TCX_DROP;
	return TCX_NEXT;
}
