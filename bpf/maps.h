/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Maps and settings of the data path's programs; objects that are loaded together share the maps by name. */
#ifndef MAPS_H
#define MAPS_H

#include "shared.h"

const volatile struct wg_settings settings SEC(".rodata.settings");

/* Sizes are placeholders where the loader sets them. */

/* Keypairs by the low bits of the local index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct wg_session);
} sessions SEC(".maps");

/* Where peers are, by peer number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct wg_endpoint);
} endpoints SEC(".maps");

/* What peers send with, by peer number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wg_sending);
} sending SEC(".maps");

/* What peers did, by peer number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wg_traffic);
} traffic SEC(".maps");

/* Whose entries those are, by peer number: public keys, for the controller that comes after this one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__uint(value_size, 32);
} peer_keys SEC(".maps");

/* Cryptokey routing: inner prefix to peer number. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1 << 20);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 8);
	__type(value, __u32);
} allowed4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1 << 20);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wg_prefix);
	__type(value, __u32);
} allowed6 SEC(".maps");

/* NICs that sealed packets may leave by. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} nics SEC(".maps");

/* CPUs that open what another one received. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, WG_MAX_CPUS);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

/* How much each CPU opens; written by that CPU, read where one is chosen. */
struct wg_load {
	__u64 since;
	__u32 now, last; /* packets in this window, and in the one before */
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WG_MAX_CPUS);
	__type(key, __u32);
	__type(value, struct wg_load);
} loads SEC(".maps");

/* Facts for the controller; small, so that no flood of packets hides them. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* Packets for the controller. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} packets SEC(".maps");

#endif
