/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The cookie reply, in place of the message that it answers. */
#ifndef REPLY_H
#define REPLY_H

#include "guardmaps.h"
#include "outer.h"

struct cookie_reply {
	__le32 type;
	__le32 receiver;
	__u32 nonce[6];
	__u32 cookie[4];
	__u32 tag[4];
};

_Static_assert(sizeof(struct cookie_reply) == WG_COOKIE_REPLY_SIZE, "as on the wire");

/* Fills `reply`: room->cookie, sealed for the message in room->message with this mac1. */
static __always_inline bool make_reply(struct guard_room *room, const struct wg_guard *g, const __u32 *mac1,
				       struct cookie_reply *reply)
{
	struct xaead_job *j = &room->seal;

	__builtin_memcpy(j->key, g->cookie_key, sizeof(j->key));
	/* Unique is enough. */
	for (int n = 0; n < 6; n++)
		j->nonce[n] = bpf_get_prandom_u32();
	__builtin_memcpy(j->ad, mac1, sizeof(j->ad));
	__builtin_memcpy(j->text, room->cookie, sizeof(j->text));
	if (xaead_seal(j))
		return false;
	reply->type = 3;
	reply->receiver = room->message[1];
	__builtin_memcpy(reply->nonce, j->nonce, sizeof(reply->nonce));
	__builtin_memcpy(reply->cookie, j->text, sizeof(reply->cookie));
	__builtin_memcpy(reply->tag, j->tag, sizeof(reply->tag));
	return true;
}

/* The header before `reply`, back to where the message came from. */
static __always_inline void address_udp(const struct outer *o, __u16 our_port, struct udphdr *udp,
					struct cookie_reply *reply)
{
	const __u16 length = bpf_htons(sizeof(*udp) + sizeof(*reply));
	__u64 sum = bpf_csum_diff(0, 0, (__be32 *)reply, sizeof(*reply), 0);

	udp->source = bpf_htons(our_port);
	udp->dest = o->port;
	udp->len = length;
	for (int n = 0; n < 4; n++)
		sum += (__u64)o->remote[n] + o->local[n];
	sum += bpf_htons(IPPROTO_UDP) + length;
	sum += udp->source + udp->dest + length;
	udp->check = ~fold(sum);
	if (!udp->check)
		udp->check = 0xffff;
}

static __always_inline void address_ipv4(const struct outer *o, struct iphdr *ip, __u16 id)
{
	struct iphdr made = {
		.version = 4, .ihl = 5, .ttl = OUTER_TTL, .protocol = IPPROTO_UDP, .id = id,
		.tot_len = bpf_htons(sizeof(*ip) + sizeof(struct udphdr) + WG_COOKIE_REPLY_SIZE),
		.saddr = o->local[0], .daddr = o->remote[0],
	};
	__u16 *words = (__u16 *)&made;
	__u64 sum = 0;

	for (__u32 n = 0; n < sizeof(made) / 2; n++)
		sum += words[n];
	made.check = ~fold(sum);
	__builtin_memcpy(ip, &made, sizeof(made));
}

static __always_inline void address_ipv6(const struct outer *o, struct ipv6hdr *ip)
{
	struct ipv6hdr made = {
		.version = 6, .nexthdr = IPPROTO_UDP, .hop_limit = OUTER_TTL,
		.payload_len = bpf_htons(sizeof(struct udphdr) + WG_COOKIE_REPLY_SIZE),
	};

	__builtin_memcpy(&made.saddr, o->local, sizeof(made.saddr));
	__builtin_memcpy(&made.daddr, o->remote, sizeof(made.daddr));
	__builtin_memcpy(ip, &made, sizeof(made));
}

/* Back by the link that it came by: the frame's addresses change places, a VLAN tag stays. `header` is the size of
 * the IP header, a constant: options and extension headers are not sent back.
 */
static __always_inline int turn_frame(struct xdp_md *ctx, const struct outer *o, struct guard_room *room,
				      const __u32 header)
{
	const __u32 size = header + sizeof(struct udphdr) + WG_COOKIE_REPLY_SIZE;
	__u32 at = o->ip;
	int surplus = (int)bpf_xdp_get_buff_len(ctx) - (int)(at + size);
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u8 mac[ETH_ALEN];

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end || eth->h_dest[0] & 1)
		return -1;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	if (surplus < 0 || bpf_xdp_store_bytes(ctx, at, room->answer, size))
		return -1;
	return surplus ? bpf_xdp_adjust_tail(ctx, -surplus) : 0;
}

/* Turns the frame around with a cookie reply in it; 0, or -1 and the frame must be dropped. */
__noinline int answer_with_cookie(struct xdp_md *ctx, struct outer *o, struct wg_guard *g, __u32 mac1_at,
				  __u16 our_port)
{
	__u32 zero = 0;
	struct guard_room *room = bpf_map_lookup_elem(&rooms, &zero);

	if (!o || !g || !room || mac1_at > WG_INITIATION_SIZE / 4 - MAC_WORDS)
		return -1;
	const __u32 *mac1 = room->message + mac1_at;
	if (o->family == AF_INET) {
		struct iphdr *ip = (void *)room->answer;
		struct udphdr *udp = (void *)(ip + 1);
		struct cookie_reply *reply = (void *)(udp + 1);
		if (!make_reply(room, g, mac1, reply))
			return -1;
		address_ipv4(o, ip, reply->nonce[0]);
		address_udp(o, our_port, udp, reply);
		return turn_frame(ctx, o, room, sizeof(*ip));
	}
	struct ipv6hdr *ip = (void *)room->answer;
	struct udphdr *udp = (void *)(ip + 1);
	struct cookie_reply *reply = (void *)(udp + 1);
	if (!make_reply(room, g, mac1, reply))
		return -1;
	address_ipv6(o, ip);
	address_udp(o, our_port, udp, reply);
	return turn_frame(ctx, o, room, sizeof(*ip));
}

#endif
