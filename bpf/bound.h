/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
#ifndef BOUND_H
#define BOUND_H

#include <linux/bpf.h>
#include <linux/stddef.h>
#include <bpf/bpf_helpers.h>

/* The verifier forgets, or the compiler removes, what bounds an offset; this stays where it is. */
#define BOUND(x, mask) asm volatile("%0 &= %1" : "+r"(x) : "i"(mask))

/* `size` bytes of the packet's linear part at `at` (below 8192), or NULL: cheaper than a call of a helper. */
static __always_inline void *bytes_at(struct xdp_md *ctx, __u64 at, __u32 size)
{
	BOUND(at, 0x1fff);
	void *p = (void *)(long)ctx->data + at;

	return p + size > (void *)(long)ctx->data_end ? NULL : p;
}

#endif
