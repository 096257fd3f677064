/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Packets for the controller. */
#ifndef GIVE_H
#define GIVE_H

#include "parse.h"
#include "session.h"

#define SMALL_PACKET 512
#define LARGE_PACKET (MAX_FRAME - sizeof(struct wg_event))

/* A reservation in the ring has a constant size. */
#define GIVE(ctx, event, at, size)                                                            \
	({                                                                                    \
		struct {                                                                      \
			struct wg_event head;                                                 \
			__u8 bytes[size];                                                     \
		} *r = bpf_ringbuf_reserve(&packets, sizeof(*r), 0);                          \
		bool given = false;                                                           \
		if (r) {                                                                      \
			__u64 n = (event)->length;                                            \
			BOUND(n, MAX_FRAME - 1);                                              \
			__builtin_memcpy(&r->head, event, sizeof(r->head));                   \
			if (n > 0 && n <= (size) && !bpf_xdp_load_bytes(ctx, at, r->bytes, n)) { \
				bpf_ringbuf_submit(r, 0);                                     \
				given = true;                                                 \
			} else {                                                              \
				bpf_ringbuf_discard(r, 0);                                    \
			}                                                                     \
		}                                                                             \
		given;                                                                        \
	})

/* Gives the `event->length` bytes at `at` to the controller; false when its queue is full or they do not fit. */
static __noinline int give_packet(struct xdp_md *ctx, const struct wg_event *event, __u32 at)
{
	if (event->length <= SMALL_PACKET)
		return GIVE(ctx, event, at, SMALL_PACKET);
	return GIVE(ctx, event, at, LARGE_PACKET);
}

#endif
