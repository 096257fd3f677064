/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* On the far end of wg0's veth pair: what is routed into wg0 arrives here. */
#include "send.h"

SEC("xdp")
int wg_egress(struct xdp_md *ctx)
{
	return send(ctx);
}

char _license[] SEC("license") = "Dual MIT/GPL";
