/* SPDX-License-Identifier: MIT */
/* From the TUN to the outbox: route, cut, seal. */
#include "pump.h"

#include <errno.h>
#include <poll.h>
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

/* How many packets were read, or -1 when the interface is gone. */
static int read_batch(struct queue *q, bool *down)
{
	uint64_t now = boot_ns();
	int n;

	*down = false;
	for (n = 0; n < BATCH; n++) {
		ssize_t size = read(q->tun, q->tun_buffer, MAX_PACKET + VNET_HEADER);
		if (size < 0 && errno == EBADFD)
			return -1;
		if (size < 0) {
			*down = errno == EIO;
			break;
		}
		send_super(q, (size_t)size, now);
		/* Where packets come one at a time, the first does not wait for the look whether there is another. */
		if (n == 0 && q->sent_last <= 1)
			outbox_flush(q, &q->outbox);
	}
	outbox_flush(q, &q->outbox);
	q->sent_last = n;
	return n;
}

void *tx_main(void *arg)
{
	struct queue *q = arg;
	struct pump *p = q->pump;
	struct pollfd wait[2] = { { .fd = q->tun, .events = POLLIN }, { .fd = p->stop_fd, .events = POLLIN } };
	int packets = 0;
	bool down = false;

	while (!__atomic_load_n(&p->stopping, __ATOMIC_RELAXED)) {
		/* After work it looks again before it asks to be woken. */
		if (!packets && poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		pthread_rwlock_rdlock(&p->lock);
		packets = read_batch(q, &down);
		pthread_rwlock_unlock(&p->lock);
		if (down) /* poll says that it is readable all the same */
			poll(&wait[1], 1, 50);
		if (packets < 0)
			break;
	}
	if (packets < 0 && q == &p->queues[0])
		event_push(p, EV_GONE, 0, NULL, NULL, 0, TX_QUEUE_FULL);
	return NULL;
}
