/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Judges handshake messages before the stack pays for them: cheapest first, each refusal by its own count.
 *
 * A peer that speaks the protocol is never locked out: above the budget of its address, or under load, it is asked for
 * a cookie, and with one it has a budget that no forged source can use up.
 */
#ifndef GUARD_H
#define GUARD_H

#include "limits.h"
#include "reply.h"

/* Places in a handshake message, in words. */
#define REPLY_RECEIVER 1
#define RESPONSE_RECEIVER 2
#define MACS_OF(size) ((size) / 4 - 2 * MAC_WORDS)

static __always_inline __u32 macs_of(bool response)
{
	return response ? MACS_OF(WG_RESPONSE_SIZE) : MACS_OF(WG_INITIATION_SIZE);
}

/* No host has such an address: nothing may be sent there. */
static __always_inline bool is_no_source(const struct outer *o)
{
	const __u8 *first = (const __u8 *)o->remote;

	if (o->family == AF_INET)
		return *first == 0 || *first == 127 || *first >= 224;
	return *first == 0xff || !(o->remote[0] | o->remote[1] | o->remote[2] | (o->remote[3] & bpf_htonl(~1U)));
}

static __always_inline bool is_mac1_good(struct guard_room *room, const struct wg_guard *g, bool response)
{
	struct blake2s *h = &room->hash;

	blake2s_resume(h, g->mac1);
	if (response) {
		blake2s_finish(h, room->message, WG_RESPONSE_SIZE - 2 * MAC_SIZE);
		return is_mac(h, room->message + MACS_OF(WG_RESPONSE_SIZE));
	}
	blake2s_finish(h, room->message, WG_INITIATION_SIZE - 2 * MAC_SIZE);
	return is_mac(h, room->message + MACS_OF(WG_INITIATION_SIZE));
}

/* The cookie of the source under one of the secrets: MAC(secret, address || port). */
static __always_inline void make_cookie(struct guard_room *room, const struct outer *o, const __u32 *secret,
					__u32 *cookie)
{
	struct blake2s *h = &room->hash;
	bool v6 = o->family == AF_INET6;

	blake2s_resume(h, secret);
	__builtin_memset(h->m, 0, sizeof(h->m));
	h->m[0] = o->remote[0];
	if (v6) {
		h->m[1] = o->remote[1];
		h->m[2] = o->remote[2];
		h->m[3] = o->remote[3];
		h->m[4] = o->port;
	} else {
		h->m[1] = o->port;
	}
	blake2s_compress(h, BLAKE2S_BLOCK + (v6 ? 16 : 4) + sizeof(o->port), true);
	__builtin_memcpy(cookie, h->h, MAC_SIZE);
}

static __always_inline bool is_mac2_good(struct guard_room *room, const __u32 *cookie, bool response)
{
	struct blake2s *h = &room->hash;

	blake2s_key(h, cookie);
	if (response) {
		blake2s_finish(h, room->message, WG_RESPONSE_SIZE - MAC_SIZE);
		return is_mac(h, room->message + MACS_OF(WG_RESPONSE_SIZE) + MAC_WORDS);
	}
	blake2s_finish(h, room->message, WG_INITIATION_SIZE - MAC_SIZE);
	return is_mac(h, room->message + MACS_OF(WG_INITIATION_SIZE) + MAC_WORDS);
}

static __always_inline struct guard_room *this_room(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rooms, &zero);
}

/* Whether mac2 is good under one of the secrets. The cookie of the current one is in the room afterwards. */
__noinline int has_cookie(struct outer *o, struct wg_guard *g, __u32 response)
{
	struct guard_room *room = this_room();

	if (!o || !g || !room)
		return false;
	const __u32 *mac2 = room->message + macs_of(response) + MAC_WORDS;
	make_cookie(room, o, g->secret[0], room->cookie);
	if (!(mac2[0] | mac2[1] | mac2[2] | mac2[3]))
		return false;
	if (is_mac2_good(room, room->cookie, response))
		return true;
	if (g->secrets < 2)
		return false;
	make_cookie(room, o, g->secret[1], room->previous);
	return is_mac2_good(room, room->previous, response);
}

/* An initiation or a response that is in the room: 0 when it may pass, or why not. */
__noinline int judge(struct outer *o, struct wg_guard *g, __u32 response)
{
	struct guard_room *room = this_room();
	struct wg_control *c = controls();
	__u64 now = bpf_ktime_get_boot_ns();

	if (!o || !g || !room || !c)
		return WG_RX_FAILED;
	if (!is_mac1_good(room, g, response))
		return WG_RX_BAD_MAC1;
	const struct wg_macs *macs = (void *)(room->message + macs_of(response));
	if (is_duplicate(macs, now))
		return WG_RX_DUPLICATE;

	struct wg_source source = source_of(o);
	bool loaded = is_under_load(c, now), proved = loaded && has_cookie(o, g, response);
	if (!proved) {
		bool within = take_share(&unverified, &source, &g->unverified, now);
		if (within)
			note_unverified(g, now);
		if (loaded || !within) {
			proved = !loaded && has_cookie(o, g, response);
			if (!proved)
				return WG_RX_COOKIE_REQUIRED;
		}
	}
	if (proved && !take_share(&verified, &source, &g->verified, now))
		return WG_RX_RATE_LIMITED;
	bpf_map_update_elem(&duplicates, macs, &now, BPF_ANY);
	return 0;
}

/* A reply to a handshake of ours: only the core can tell whether it is authentic. */
static __always_inline int judge_reply(const struct outer *o, const struct wg_guard *g)
{
	struct wg_source source = source_of(o);

	source.kind |= WG_SOURCE_REPLIES;
	return take_share(&verified, &source, &g->verified, bpf_ktime_get_boot_ns()) ? 0 : WG_RX_RATE_LIMITED;
}

/* Types 1 to 3, whose length is right; 0 when it may pass, or why not. */
static __always_inline int judge_message(struct xdp_md *ctx, struct outer *o, struct wg_guard *g, __u32 type)
{
	struct guard_room *room = this_room();

	if (!room)
		return WG_RX_FAILED;
	if (is_no_source(o))
		return WG_RX_BAD_SOURCE;
	if (type == WG_INITIATION) {
		if (bpf_xdp_load_bytes(ctx, o->at, room->message, WG_INITIATION_SIZE))
			return WG_RX_BAD_LENGTH;
		return judge(o, g, false);
	}
	if (bpf_xdp_load_bytes(ctx, o->at, room->message, WG_COOKIE_REPLY_SIZE))
		return WG_RX_BAD_LENGTH;
	if (!is_live(room->message[type == WG_RESPONSE ? RESPONSE_RECEIVER : REPLY_RECEIVER]))
		return WG_RX_UNKNOWN_INDEX;
	if (type == WG_COOKIE_REPLY)
		return judge_reply(o, g);
	if (bpf_xdp_load_bytes(ctx, o->at, room->message, WG_RESPONSE_SIZE))
		return WG_RX_BAD_LENGTH;
	return judge(o, g, true);
}

static __always_inline __u32 size_of(__u32 type)
{
	return type == WG_INITIATION ? WG_INITIATION_SIZE : type == WG_RESPONSE ? WG_RESPONSE_SIZE : WG_COOKIE_REPLY_SIZE;
}

/* A message of type 1 to 3; the verdict. */
__noinline int guard(struct xdp_md *ctx, struct outer *o, __u32 type)
{
	struct wg_control *c = controls();

	if (!o || !c || !c->guard)
		return pass(WG_PASS_HANDSHAKE);
	if (o->length != size_of(type))
		return drop(WG_RX_BAD_LENGTH);
	__u32 copy = c->guard - 1;
	struct wg_guard *g = bpf_map_lookup_elem(&guards, &copy);
	if (!g)
		return pass(WG_PASS_HANDSHAKE);
	int why = judge_message(ctx, o, g, type);
	if (!why)
		return pass(WG_PASS_HANDSHAKE);
	if (why == WG_RX_COOKIE_REQUIRED) {
		if (!answer_with_cookie(ctx, o, g, macs_of(type == WG_RESPONSE), c->listen_port)) {
			add(WG_RX_COOKIE_REQUIRED, 1);
			add(WG_COOKIES_SENT, 1);
			__u32 nic = ctx->ingress_ifindex;
			return bpf_map_lookup_elem(&by_redirect, &nic) ? bpf_redirect(nic, 0) : XDP_TX;
		}
	}
	return drop(why);
}

/* The first words of a message; `index` is the receiver's where it is data. */
struct head {
	__le32 type;
	__le32 index;
};

enum heard { HEARD = -1 };

/* No path is so narrow that a handshake comes in pieces: it would go around the guard. Without its first piece nothing
 * is put together.
 */
static __always_inline int judge_fragment(struct xdp_md *ctx, const struct outer *o, struct head *h)
{
	if (o->length < sizeof(*h) || bpf_xdp_load_bytes(ctx, o->at, h, sizeof(*h)))
		return drop(WG_RX_FRAGMENT);
	if (h->type != WG_DATA)
		return drop(WG_RX_FRAGMENT);
	return is_live(h->index) ? pass(WG_PASS_FRAGMENT) : drop(WG_RX_UNKNOWN_INDEX);
}

/* HEARD, with `o` and `h` (all zeros before) filled; anything else is the verdict on the frame. */
static __always_inline int hear(struct xdp_md *ctx, const struct wg_control *c, struct outer *o, struct head *h)
{
	if (!c || !c->listen_port)
		return pass(WG_PASS_OTHER);
	switch (parse_outer(ctx, o, c->listen_port)) {
	case PARSED:
		break;
	case A_FRAGMENT:
		return pass(WG_PASS_FRAGMENT);
	case FIRST_FRAGMENT:
		return c->guard ? judge_fragment(ctx, o, h) : pass(WG_PASS_FRAGMENT);
	default:
		return pass(WG_PASS_OTHER);
	}
	if (o->at + o->length > bpf_xdp_get_buff_len(ctx))
		return pass(WG_PASS_OTHER);
	if (o->length < sizeof(h->type))
		return drop(WG_RX_BAD_LENGTH);
	const struct head *linear = bytes_at(ctx, o->at, sizeof(*h));
	if (o->length >= sizeof(*h) && linear)
		*h = *linear;
	else if (o->length < sizeof(*h) ? bpf_xdp_load_bytes(ctx, o->at, h, sizeof(h->type)) :
					  bpf_xdp_load_bytes(ctx, o->at, h, sizeof(*h)))
		return drop(WG_RX_BAD_LENGTH);
	if (h->type < WG_INITIATION || h->type > WG_DATA)
		return drop(WG_RX_BAD_TYPE);
	if (h->type == WG_DATA && o->length < WG_OVERHEAD)
		return drop(WG_RX_BAD_LENGTH);
	return HEARD;
}

#endif
