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

/* Not for packets: the controller runs it with the local index of a session that may no longer send. A write from
 * user space would set counters and window back.
 */
SEC("xdp.frags")
int wg_restrict(struct xdp_md *ctx)
{
	struct wg_session *s;
	__u32 index;
	int found = XDP_DROP;

	if (bpf_xdp_load_bytes(ctx, 0, &index, sizeof(index)))
		return XDP_ABORTED;
	s = session_at(index);
	if (!s)
		return XDP_ABORTED;
	bpf_spin_lock(&s->lock);
	if (is_session(s, index)) {
		s->state = WG_RECEIVE_ONLY;
		found = XDP_PASS;
	}
	bpf_spin_unlock(&s->lock);
	return found;
}

char _license[] SEC("license") = "Dual MIT/GPL";
