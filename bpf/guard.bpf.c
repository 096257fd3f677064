/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The guard alone, on a NIC whose packets somebody else opens: user space or the kernel's WireGuard. */
#include "guard.h"

SEC("xdp.frags")
int wg_guard(struct xdp_md *ctx)
{
	struct wg_control *c = controls();
	struct outer o = {};
	struct head head = {};

	int verdict = hear(ctx, c, &o, &head);
	if (verdict != HEARD)
		return verdict;
	if (head.type != WG_DATA)
		return guard(ctx, &o, head.type);
	if (!c || !c->guard || is_live(head.index))
		return pass(WG_PASS_DATA);
	return drop(WG_RX_UNKNOWN_INDEX);
}

char _license[] SEC("license") = "Dual MIT/GPL";
