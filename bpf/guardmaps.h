/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the guard knows. What an attacker can fill is LRU, and of the size that is stated here. */
#ifndef GUARDMAPS_H
#define GUARDMAPS_H

#include "blake2s.h"
#include "shared.h"
#include "xaead.h"

/* The settings: the entry in use, and those that replaced ones were and next ones will be. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WG_GUARD_COPIES);
	__type(key, __u32);
	__type(value, struct wg_guard);
} guards SEC(".maps");

/* Receiver indices that are ours, until when (CLOCK_BOOTTIME, ns). Only our own handshakes fill it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} live SEC(".maps");

/* Up to when sources used their budget. Apart from each other, so that forged sources push out no true one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WG_MAX_SOURCES);
	__type(key, struct wg_source);
	__type(value, __u64);
} unverified SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WG_MAX_SOURCES);
	__type(key, struct wg_source);
	__type(value, __u64);
} verified SEC(".maps");

/* mac1 and mac2 of messages that passed, and when. */
struct wg_macs {
	__u32 word[2 * MAC_WORDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WG_MAX_DUPLICATES);
	__type(key, struct wg_macs);
	__type(value, __u64);
} duplicates SEC(".maps");

/* One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wg_guard_load);
} guard_load SEC(".maps");

/* NICs that send back by redirect only, by index: a veth does not notice XDP_TX while its peer has no program. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} by_redirect SEC(".maps");

/* Where a message is judged and its answer built. */
struct guard_room {
	__u32 message[WG_INITIATION_SIZE / 4];
	__u32 cookie[MAC_WORDS];
	__u32 previous[MAC_WORDS];
	struct blake2s hash;
	struct xaead_job seal;
	__u8 answer[40 + 8 + WG_COOKIE_REPLY_SIZE]; /* from the IP header on */
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_room);
} rooms SEC(".maps");

#endif
