/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The inner packet: what the tunnel looks at, and whose it is. */
#ifndef PARSE_H
#define PARSE_H

#include "maps.h"
#include "outer.h"

#define MAX_FRAME 4096

/* What the tunnel looks at in an inner packet. */
struct inner {
	__u8 version;
	__u8 ecn;
	__u16 length; /* by its header */
};

/* The inner packet's header at `at`; false when it is no IP packet that fits into `room` bytes. */
static __always_inline bool parse_inner(struct xdp_md *ctx, struct inner *i, __u32 at, __u32 room)
{
	const __u8 *head = bytes_at(ctx, at, sizeof(struct iphdr));

	if (room < sizeof(struct iphdr) || !head)
		return false;
	i->version = head[0] >> 4;
	if (i->version == 4) {
		i->length = head[2] << 8 | head[3];
		i->ecn = head[1] & 3;
		return i->length >= sizeof(struct iphdr) && i->length <= room;
	}
	if (i->version != 6 || room < sizeof(struct ipv6hdr))
		return false;
	__u32 length = (head[4] << 8 | head[5]) + sizeof(struct ipv6hdr);
	i->length = length;
	i->ecn = head[1] >> 4 & 3;
	return length <= room;
}

#define NO_PEER (~0U)

/* The peer that owns the inner address at offset `at`, or NO_PEER. */
static __always_inline __u32 owner_of(struct xdp_md *ctx, __u8 version, __u32 at)
{
	__u32 *peer;

	if (version == 4) {
		const __be32 *address = bytes_at(ctx, at, 4);
		if (!address)
			return NO_PEER;
		__be32 key[2] = { 32, *address };
		peer = bpf_map_lookup_elem(&allowed4, key);
	} else {
		const __be32 *address = bytes_at(ctx, at, 16);
		if (!address)
			return NO_PEER;
		struct wg_prefix key = { .bits = 128 };
		__builtin_memcpy(key.address, address, sizeof(key.address));
		peer = bpf_map_lookup_elem(&allowed6, &key);
	}
	return peer ? *peer : NO_PEER;
}

#endif
