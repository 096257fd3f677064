/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Sessions: finding them, what a key may still do, the replay window, and what the controller is told. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include "chacha20poly1305.h"
#include "maps.h"

/* In front of the ciphertext of a data message. */
struct data_header {
	__le32 type;
	__le32 index; /* of the receiver */
	__le64 counter;
};

static __always_inline struct wg_session *session_at(__u32 index)
{
	__u32 slot = index & settings.slot_mask;

	return bpf_map_lookup_elem(&sessions, &slot);
}

/* The slot may be given to another session at any time: judge under the lock. */
static __always_inline bool is_session(const struct wg_session *s, __u32 index)
{
	return s->state != WG_EMPTY && s->local_index == index;
}

static __always_inline bool has_expired(const struct wg_session *s, __u64 now)
{
	/* A key from the future (the clocks of two CPUs differ) is new. */
	return now >= s->created && now - s->created >= WG_REJECT_AFTER_NS;
}

/* The window of RFC 6479 with 64-bit words: a counter may lag by WG_WINDOW. */
static __always_inline bool window_accepts(const struct wg_session *s, __u64 counter)
{
	if (counter >= s->received)
		return true;
	if (s->received - 1 - counter > WG_WINDOW)
		return false;
	return !(s->window[counter / 64 % WG_WINDOW_WORDS] & 1ULL << counter % 64);
}

/* After window_accepts, under the same lock. */
static __always_inline void window_commit(struct wg_session *s, __u64 counter)
{
	__u64 word = counter / 64;

	if (counter >= s->received) {
		__u64 last = s->received ? (s->received - 1) / 64 : 0;
		__u64 passed = word - last;
		for (__u32 n = 0; n < WG_WINDOW_WORDS; n++) {
			if (n >= passed)
				break;
			s->window[(word - n) % WG_WINDOW_WORDS] = 0;
		}
		s->received = counter + 1;
	}
	s->window[word % WG_WINDOW_WORDS] |= 1ULL << counter % 64;
}

/* --- telling the controller --- */

static __always_inline void tell(struct wg_event *event)
{
	if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))
		add(WG_EVENTS_LOST, 1);
}

static __noinline int wake_controller(__u32 kind)
{
	struct wg_event event = { .kind = kind };

	tell(&event);
	return 0;
}

/* The first traffic since the controller last collected wakes it, and no other. */
static __always_inline void note_activity(void)
{
	struct wg_control *c = controls();

	if (c && !c->active && !__sync_lock_test_and_set(&c->active, 1))
		wake_controller(WG_EVENT_ACTIVE);
}

static __always_inline void note_received(__u32 peer, __u32 size, bool empty, __u64 now)
{
	struct wg_traffic *t = bpf_map_lookup_elem(&traffic, &peer);

	if (!t)
		return;
	t->last_received = now;
	if (t->unanswered_sent)
		t->unanswered_sent = 0;
	if (!empty) {
		t->last_data_received = now;
		if (!t->unanswered_received)
			t->unanswered_received = now;
	}
	if (size) {
		__sync_fetch_and_add(&t->rx_packets, 1);
		__sync_fetch_and_add(&t->rx_bytes, size);
	}
	note_activity();
}

static __always_inline void note_sent(__u32 peer, __u32 size, bool empty, __u64 counter, __u64 now)
{
	struct wg_traffic *t = bpf_map_lookup_elem(&traffic, &peer);

	if (!t)
		return;
	t->last_sent = now;
	if (t->unanswered_received)
		t->unanswered_received = 0;
	if (!empty) {
		t->last_data_sent = now;
		if (!t->unanswered_sent)
			t->unanswered_sent = now;
	}
	t->send_counter = counter + 1;
	__sync_fetch_and_add(&t->tx_packets, 1);
	__sync_fetch_and_add(&t->tx_bytes, size);
	note_activity();
}

#endif
