/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The primitives alone: the packet is a job (below) and its input; the program leaves the output in place, and the sum of
 * what was sealed in front.
 */
#include "../../bpf/chacha20poly1305.h"

struct job {
	struct chacha_key key;
	__u32 length;
	__u32 padded;
	__u32 shift;
};

static __always_inline int job_of(struct xdp_md *ctx, struct job *job)
{
	if (bpf_xdp_load_bytes(ctx, 0, job, sizeof(*job)))
		return -1;
	return job->length > AEAD_MAX || job->padded > AEAD_MAX || job->shift > 64 ? -1 : 0;
}

SEC("xdp")
int seal(struct xdp_md *ctx)
{
	struct job job;

	if (job_of(ctx, &job))
		return XDP_ABORTED;
	__u32 from = sizeof(job) + job.shift;
	int sum = aead_seal(ctx, &job.key, from, sizeof(job), job.length, job.padded);
	if (sum < 0)
		return XDP_DROP;
	return bpf_xdp_store_bytes(ctx, 0, &sum, sizeof(sum)) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int open(struct xdp_md *ctx)
{
	struct job job;

	if (job_of(ctx, &job))
		return XDP_ABORTED;
	return aead_open(ctx, &job.key, sizeof(job), job.length) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int block(struct xdp_md *ctx)
{
	struct chacha_block out = {};
	struct job job;

	if (job_of(ctx, &job))
		return XDP_ABORTED;
	chacha20_one_block(&job.key, &out, job.length);
	return bpf_xdp_store_bytes(ctx, sizeof(job), &out, sizeof(out)) ? XDP_DROP : XDP_PASS;
}

/* The job's key is that of Poly1305. */
SEC("xdp")
int tag(struct xdp_md *ctx)
{
	struct poly_job poly;
	struct job job;

	if (job_of(ctx, &job))
		return XDP_ABORTED;
	__builtin_memcpy(poly.key, job.key.key, sizeof(poly.key));
	if (poly1305(ctx, &poly, sizeof(job), job.length) < 0)
		return XDP_ABORTED;
	return bpf_xdp_store_bytes(ctx, sizeof(job) + job.length, poly.tag, sizeof(poly.tag)) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
