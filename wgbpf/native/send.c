/* SPDX-License-Identifier: MIT */
/* From the TUN to the outbox: route, cut, seal. */
#include "pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void peer_sent(struct pump *p, struct peer *peer, size_t bytes, unsigned packets, bool data, uint64_t now)
{
	__atomic_fetch_add(&peer->tx_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&peer->tx_packets, packets, __ATOMIC_RELAXED);
	__atomic_store_n(&peer->last_sent, now, __ATOMIC_RELAXED);
	__atomic_store_n(&peer->unanswered_received, 0, __ATOMIC_RELAXED);
	if (data) {
		uint64_t never = 0;
		__atomic_store_n(&peer->last_data_sent, now, __ATOMIC_RELAXED);
		__atomic_compare_exchange_n(&peer->unanswered_sent, &never, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&peer->dirty, true, __ATOMIC_RELEASE);
	count(p, TX_PACKETS, packets);
	count(p, TX_BYTES, bytes);
	note_active(p);
}

/* Into the outbox, which is flushed where it cannot take this one too. Returns the size of the message, or 0. */
static size_t seal_packet(struct queue *q, struct peer *peer, const struct session *s, uint64_t counter,
			  const uint8_t *packet, size_t size)
{
	struct outbox *o = &q->outbox;
	uint8_t ds = inner_ds(packet) & 3;

	/* 15: the most padding. */
	if (o->segments && (o->peer != peer || o->ds != ds || o->closed || o->segments == MAX_SEGMENTS ||
			    o->size + size + 15 + DATA_OVERHEAD > MAX_UDP_PAYLOAD ||
			    !__atomic_load_n(&q->pump->gso, __ATOMIC_RELAXED)))
		outbox_flush(q, o);
	size_t sealed = session_seal(q->pump, q->sealing, s, counter, o->data + o->size, packet, size);
	if (!sealed)
		return 0;
	if (o->segments && sealed > o->segment_size) {
		/* Longer than its predecessors: those go first, and it moves to the front. */
		uint8_t *at = o->data + o->size;
		outbox_flush(q, o);
		memmove(o->data, at, sealed);
	}
	if (!o->segments) {
		o->peer = peer;
		o->path = peer_path(q->pump, peer);
		o->ds = ds;
		o->segment_size = sealed;
	}
	o->closed = sealed < o->segment_size;
	o->segments++;
	o->size += sealed;
	return sealed;
}

static void seal_all(struct queue *q, struct segments *cut, struct peer *peer, struct session *s, uint64_t now)
{
	struct pump *p = q->pump;
	size_t size, total = 0, sealed;
	unsigned packets = 0;
	uint8_t *packet;
	uint64_t counter;

	if (!session_reserve(s, cut->count, &counter)) {
		count(p, TX_KEY_EXPIRED, cut->count);
		return;
	}
	while ((packet = segments_next(p, cut, &size))) {
		sealed = seal_packet(q, peer, s, counter++, packet, size);
		total += sealed;
		packets += sealed != 0;
	}
	peer_sent(p, peer, total, packets, true, now);
	if (packets < cut->count)
		count(p, TX_SEND_FAILED, cut->count - packets);
}

/* What the TUN handed over, `size` bytes in the queue's buffer. */
void send_super(struct queue *q, size_t size, uint64_t now)
{
	struct pump *p = q->pump;
	const uint8_t *vnet = p->vnet ? q->tun_buffer : NULL;
	uint8_t *packet = q->tun_buffer + (p->vnet ? VNET_HEADER : 0);
	struct segments cut;
	bool is_ip;

	if (p->vnet && size < VNET_HEADER)
		return;
	size -= p->vnet ? VNET_HEADER : 0;
	struct peer *peer = inner_destination(p, &q->destination, packet, size, &is_ip);
	if (!is_ip || !segments_plan(p, &cut, vnet, packet, size, q->header)) {
		count(p, TX_BAD_INNER_PACKET, 1);
		return;
	}
	if (!peer)
		count(p, TX_NO_ROUTE, 1);
	struct session *s = peer ? __atomic_load_n(&peer->current, __ATOMIC_ACQUIRE) : NULL;
	if (s && peer->path.family && session_may_send(s, now)) {
		seal_all(q, &cut, peer, s, now);
		return;
	}
	while ((packet = segments_next(p, &cut, &size)))
		event_push(p, peer ? EV_NEEDS_SESSION : EV_NO_ROUTE, peer ? peer->number : 0, NULL, packet, size, TX_QUEUE_FULL);
}

/* For Python: one packet (size 0: keepalive), at once. The caller holds the lock for reading. */
bool send_one(struct pump *p, struct session *s, const uint8_t *packet, size_t size, uint64_t now)
{
	uint8_t data[MAX_PACKET + DATA_OVERHEAD + 16];
	struct outbox o = { .peer = s->peer, .path = peer_path(p, s->peer), .ds = size ? inner_ds(packet) & 3 : 0, .data = data };
	uint64_t counter;

	if (!o.path.family) {
		count(p, TX_NO_ENDPOINT, 1);
		return false;
	}
	if (session_may_send(s, now) && session_reserve(s, 1, &counter)) {
		struct aead_scratch *scratch = aead_scratch_new();
		o.size = scratch ? session_seal(p, scratch, s, counter, data, packet, size) : 0;
		aead_scratch_free(scratch);
	}
	if (!o.size) {
		count(p, TX_KEY_EXPIRED, 1);
		return false;
	}
	o.segments = 1;
	o.segment_size = o.size;
	peer_sent(p, s->peer, o.size, 1, size != 0, now);
	outbox_flush(&p->queues[0], &o);
	return true;
}

/* From the TUN until it has no more; `again`: the batch before this one had packets. */
enum look send_batch(struct queue *q, bool again)
{
	uint64_t now = boot_ns();
	bool rested = !again && now - q->looked_out > REST;
	int n, most = rested ? 1 : BATCH;
	enum look next = LOOK_WAIT;

	q->looked_out = now;
	for (n = 0; n < most; n++) {
		ssize_t size = read(q->tun, q->tun_buffer, MAX_PACKET + VNET_HEADER);
		if (size < 0) {
			next = errno == EBADFD ? LOOK_GONE : errno == EIO ? LOOK_LATER : LOOK_WAIT;
			break;
		}
		__atomic_store_n(&q->sent, q->sent + load_units((size_t)size), __ATOMIC_RELAXED);
		send_super(q, (size_t)size, now);
		/* Where packets come one at a time, the first does not wait for the look whether there is another. */
		if (n == 0 && q->sent_last <= 1)
			outbox_flush(q, &q->outbox);
	}
	outbox_flush(q, &q->outbox);
	q->sent_last = n;
	return next == LOOK_WAIT && n && !rested ? LOOK_AGAIN : next;
}
