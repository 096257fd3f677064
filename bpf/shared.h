/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What every program has: settings that change while it runs, our addresses, and a counter for each way out. */
#ifndef SHARED_H
#define SHARED_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "wgbpf.h"

enum message_type { WG_INITIATION = 1, WG_RESPONSE, WG_COOKIE_REPLY, WG_DATA };

/* One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wg_control);
} control SEC(".maps");

/* By enum wg_count. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WG_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Our own outer addresses: only what is addressed to them is ours. IPv4 in the first word. */
struct wg_address {
	__be32 word[4];
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wg_address);
	__type(value, __u32);
} locals SEC(".maps");

static __always_inline void add(enum wg_count which, __u64 n)
{
	__u32 key = which;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += n;
}

/* Every exit of a program is one of these two. */
static __always_inline int drop(enum wg_count why)
{
	add(why, 1);
	return XDP_DROP;
}

static __always_inline int pass(enum wg_count why)
{
	add(why, 1);
	return XDP_PASS;
}

static __always_inline struct wg_control *controls(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

#endif
