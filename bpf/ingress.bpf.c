/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* On the NIC, and on the CPUs that it steers to. */
#include "receive.h"

SEC("xdp.frags")
int wg_ingress(struct xdp_md *ctx)
{
	return receive(ctx, true);
}

/* Where the controller feeds what reached its UDP socket (reassembled, or from another interface). */
SEC("xdp.frags")
int wg_feed(struct xdp_md *ctx)
{
	return receive(ctx, false);
}

SEC("xdp.frags/cpumap")
int wg_steered(struct xdp_md *ctx)
{
	add(WG_STEERED_ARRIVED, 1);
	return receive(ctx, false);
}

char _license[] SEC("license") = "Dual MIT/GPL";
