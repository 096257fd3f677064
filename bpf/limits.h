/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What sources may do, repetitions, and whether handshakes must carry a cookie. Races blur counts, nothing else. */
#ifndef LIMITS_H
#define LIMITS_H

#include "guardmaps.h"
#include "outer.h"

static __always_inline struct wg_source source_of(const struct outer *o)
{
	struct wg_source s = { .kind = o->family, .prefix = { o->remote[0], 0 } };

	if (o->family == AF_INET6)
		s.prefix[1] = o->remote[1];
	return s;
}

/* Takes one message's share of a source's budget; false when it is used up. */
static __always_inline bool take_share(void *map, const struct wg_source *source, const struct wg_budget *b, __u64 now)
{
	__u64 *entry = bpf_map_lookup_elem(map, source);
	__u64 since = entry ? *entry : 0;

	if (since + b->burst_ns < now)
		since = now - b->burst_ns;
	since += b->cost_ns;
	if (since > now)
		return false;
	if (entry)
		*entry = since;
	else
		bpf_map_update_elem(map, source, &since, BPF_ANY);
	return true;
}

static __always_inline bool is_under_load(const struct wg_control *c, __u64 now)
{
	__u32 zero = 0;
	struct wg_guard_load *l = bpf_map_lookup_elem(&guard_load, &zero);

	return now < c->loaded_until || (l && now < l->until);
}

/* A message without a cookie that its source's budget allowed: what reaches the controller in peace. */
static __always_inline void note_unverified(const struct wg_guard *g, __u64 now)
{
	__u32 zero = 0;
	struct wg_guard_load *l = bpf_map_lookup_elem(&guard_load, &zero);

	if (!l)
		return;
	if (now - l->since >= WG_LOAD_WINDOW_NS) {
		l->since = now;
		l->count = 0;
	}
	if (__sync_fetch_and_add(&l->count, 1) >= g->load_above)
		l->until = now + WG_LOAD_STICKY_NS;
}

/* A sender never repeats a mac1, but the same message may come back with a mac2. */
static __always_inline bool is_duplicate(const struct wg_macs *macs, __u64 now)
{
	__u64 *passed = bpf_map_lookup_elem(&duplicates, macs);

	return passed && now - *passed < WG_DUPLICATE_NS;
}

static __always_inline bool is_live(__u32 index)
{
	__u64 *until = bpf_map_lookup_elem(&live, &index);

	return until && bpf_ktime_get_boot_ns() < *until;
}

#endif
