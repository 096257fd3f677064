/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The replay window alone: the packet is a list of counters; each is replaced by 1 (accepted) or 0. */
#include "../../bpf/session.h"

#define COUNTERS 32

__noinline int judge(__u64 counter, __u32 fresh)
{
	struct wg_session *s = session_at(0);

	if (!s)
		return 0;
	if (fresh) {
		s->received = 0;
		__builtin_memset(s->window, 0, sizeof(s->window));
	}
	if (counter >= WG_REJECT_AFTER_MESSAGES || !window_accepts(s, counter))
		return 0;
	window_commit(s, counter);
	return 1;
}

SEC("xdp")
int window(struct xdp_md *ctx)
{
	for (int n = 0; n < COUNTERS; n++) {
		__u64 counter;

		if (bpf_xdp_load_bytes(ctx, n * 8, &counter, 8))
			return XDP_ABORTED;
		counter = judge(counter, n == 0);
		if (bpf_xdp_store_bytes(ctx, n * 8, &counter, 8))
			return XDP_ABORTED;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
