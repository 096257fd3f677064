/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The guard's primitives alone: the packet is a list of jobs, and the output is left in their place. */
#include "../../bpf/blake2s.h"
#include "../../bpf/xaead.h"

#define JOBS 16

/* Hash state after the key block (or, for mac2, the key in its first words), then the data. */
struct mac_job {
	__u32 state[8];
	__u32 data[33];
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	struct {
		struct mac_job job;
		struct blake2s hash;
		struct xaead_job xaead;
	} *value;
} room SEC(".maps");

#define MAC_PROGRAM(name, begin, length)                                                     \
	__noinline int name##_job(struct xdp_md *ctx, __u32 at)                              \
	{                                                                                    \
		__u32 zero = 0;                                                              \
		typeof(*room.value) *r = bpf_map_lookup_elem(&room, &zero);                  \
                                                                                             \
		if (!r || bpf_xdp_load_bytes(ctx, at, &r->job, sizeof(r->job)))              \
			return -1;                                                           \
		begin(&r->hash, r->job.state);                                               \
		blake2s_finish(&r->hash, r->job.data, length);                               \
		return bpf_xdp_store_bytes(ctx, at, r->hash.h, MAC_SIZE);                    \
	}                                                                                    \
	SEC("xdp")                                                                           \
	int name(struct xdp_md *ctx)                                                         \
	{                                                                                    \
		for (__u32 n = 0; n < JOBS; n++)                                             \
			if (name##_job(ctx, n * sizeof(struct mac_job)))                     \
				return XDP_ABORTED;                                          \
		return XDP_PASS;                                                             \
	}

MAC_PROGRAM(mac_116, blake2s_resume, 116)
MAC_PROGRAM(mac_60, blake2s_resume, 60)
MAC_PROGRAM(mac_132, blake2s_key, 132)
MAC_PROGRAM(mac_76, blake2s_key, 76)

__noinline int xaead_of(struct xdp_md *ctx, __u32 at)
{
	__u32 zero = 0;
	typeof(*room.value) *r = bpf_map_lookup_elem(&room, &zero);

	if (!r || bpf_xdp_load_bytes(ctx, at, &r->xaead, sizeof(r->xaead)) || xaead_seal(&r->xaead))
		return -1;
	return bpf_xdp_store_bytes(ctx, at, &r->xaead, sizeof(r->xaead));
}

SEC("xdp")
int xaead(struct xdp_md *ctx)
{
	for (__u32 n = 0; n < JOBS; n++)
		if (xaead_of(ctx, n * sizeof(struct xaead_job)))
			return XDP_ABORTED;
	return XDP_PASS;
}

SEC("xdp")
int derive(struct xdp_md *ctx)
{
	struct xaead_job job;
	struct chacha_key key;

	if (bpf_xdp_load_bytes(ctx, 0, &job, sizeof(job)) || hchacha20(&job, &key))
		return XDP_ABORTED;
	return bpf_xdp_store_bytes(ctx, 0, &key, sizeof(key)) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp")
int compress(struct xdp_md *ctx)
{
	struct blake2s hash;

	if (bpf_xdp_load_bytes(ctx, 0, &hash, sizeof(hash)) || blake2s_compress(&hash, 128, true))
		return XDP_ABORTED;
	return bpf_xdp_store_bytes(ctx, 0, &hash, sizeof(hash)) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
