/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What a cookie reply costs, for runs that repeat: the frame that was answered is put back. */
#include "../../bpf/guard.h"

#define ROOM 256

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, ROOM);
} saved SEC(".maps");

/* The frame is ROOM bytes long, with what is behind the message left over. */
SEC("xdp.frags")
int cookie(struct xdp_md *ctx)
{
	struct wg_control *c = controls();
	struct outer o = {};
	struct head head = {};
	__u32 zero = 0;
	void *frame = bpf_map_lookup_elem(&saved, &zero);

	int verdict = hear(ctx, c, &o, &head);
	if (verdict != HEARD || !frame)
		return verdict;
	verdict = guard(ctx, &o, head.type);
	int lost = ROOM - (int)bpf_xdp_get_buff_len(ctx);
	if (lost > 0 && bpf_xdp_adjust_tail(ctx, lost))
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(ctx, 0, frame, ROOM))
		return XDP_ABORTED;
	return verdict;
}

/* What putting it back costs by itself. */
SEC("xdp.frags")
int restore(struct xdp_md *ctx)
{
	__u32 zero = 0;
	void *frame = bpf_map_lookup_elem(&saved, &zero);

	if (!frame || bpf_xdp_adjust_tail(ctx, -150) || bpf_xdp_adjust_tail(ctx, 150))
		return XDP_ABORTED;
	return bpf_xdp_store_bytes(ctx, 0, frame, ROOM) ? XDP_ABORTED : XDP_DROP;
}

SEC("xdp.frags")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
