/* SPDX-License-Identifier: MIT */
/* From the UDP sockets to the TUN: split, open, check, and hand on in bundles. */
#include "pump.h"

#include <errno.h>
#include <string.h>

static uint64_t little(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* What came from one peer in one datagram: its messages change counters and stamps once. */
struct tally {
	struct session *session; /* whose `receiving` is held */
	uint64_t packets, bytes;
	bool authentic, data;
};

static void finish(struct pump *p, struct tally *t, uint64_t now)
{
	struct peer *peer = t->session ? t->session->peer : NULL;

	if (!peer)
		return;
	pthread_mutex_unlock(&t->session->receiving);
	if (t->authentic) {
		uint64_t never = 0;
		__atomic_fetch_add(&peer->rx_bytes, t->bytes, __ATOMIC_RELAXED);
		__atomic_fetch_add(&peer->rx_packets, t->packets, __ATOMIC_RELAXED);
		__atomic_store_n(&peer->last_received, now, __ATOMIC_RELAXED);
		__atomic_store_n(&peer->unanswered_sent, 0, __ATOMIC_RELAXED);
		if (t->data) {
			__atomic_store_n(&peer->last_data_received, now, __ATOMIC_RELAXED);
			__atomic_compare_exchange_n(&peer->unanswered_received, &never, now, false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED);
		}
		__atomic_store_n(&peer->dirty, true, __ATOMIC_RELEASE);
		count(p, RX_PACKETS, t->packets);
		count(p, RX_BYTES, t->bytes);
		note_active(p);
	}
	*t = (struct tally){ 0 };
}

/* Why an authentic packet is not for the interface, or COUNTS: it is, and `length` is its own. */
static enum count check_inside(struct queue *q, struct peer *peer, uint8_t *packet, size_t size, uint8_t ds, size_t *length)
{
	*length = inner_length(packet, size);
	if (!*length)
		return RX_BAD_INNER_PACKET;
	if (inner_source(q->pump, &q->source, packet) != peer)
		return RX_FORBIDDEN_SOURCE;
	if (!inner_decapsulate_ecn(packet, ds))
		return RX_BAD_ECN;
	return COUNTS;
}

/* An authentic message came from here, under this session. */
static void learn(struct pump *p, struct session *s, const struct path *from)
{
	struct peer *peer = s->peer;

	/* Only written under `paths`: what is read here without it is at worst the one before, and then written again. */
	if (memcmp(&peer->path, from, sizeof(*from))) {
		pthread_mutex_lock(&p->paths);
		peer->path = *from;
		pthread_mutex_unlock(&p->paths);
		event_push(p, EV_ROAMED, peer->number, from, NULL, 0, RX_QUEUE_FULL);
	}
	if (__atomic_load_n(&peer->unconfirmed, __ATOMIC_RELAXED) == s) {
		__atomic_store_n(&peer->unconfirmed, NULL, __ATOMIC_RELAXED);
		__atomic_store_n(&peer->current, s, __ATOMIC_RELEASE);
		event_push(p, EV_CONFIRMED, s->local_index, NULL, NULL, 0, RX_QUEUE_FULL);
	}
}

/* Key, replay, endpoint, confirmation, stamps; only then what is inside (rule h of the protocol). The packet is opened
 * where it lies.
 */
static enum count open_message(struct queue *q, struct tally *t, uint8_t *message, size_t size, const struct arrival *a)
{
	struct pump *p = q->pump;
	uint8_t *packet = message + DATA_HEADER;
	size_t plain = size - DATA_OVERHEAD, length;
	uint32_t index;

	if (size < DATA_OVERHEAD)
		return RX_BAD_LENGTH;
	index = (uint32_t)little(message + 4, 4);
	if (!t->session || t->session->local_index != index) {
		finish(p, t, a->now);
		t->session = session_find(p, index);
		if (!t->session)
			return RX_UNKNOWN_INDEX;
		pthread_mutex_lock(&t->session->receiving);
	}
	struct session *s = t->session;
	uint64_t counter = little(message + 8, 8);
	if ((a->now >= s->created && a->now - s->created >= REJECT_AFTER_NS) || counter >= REJECT_AFTER_MESSAGES)
		return RX_KEY_EXPIRED;
	if (!p->aead->open(q->opening, s->receive_key, counter, packet, packet, plain))
		return RX_BAD_TAG;
	if (!window_accept(s, counter))
		return RX_REPLAY;
	learn(p, s, &a->from);
	t->authentic = true;
	if (plain) {
		t->data = true;
		enum count why = check_inside(q, s->peer, packet, plain, a->ds, &length);
		if (why != COUNTS)
			return why;
	}
	t->packets++;
	t->bytes += size;
	if (plain)
		deliver(q, packet, length);
	return COUNTS;
}

/* One datagram, or those that GRO joined. It lies in the arena, or stays as it is until deliver_flush. */
void receive_datagram(struct queue *q, uint8_t *data, size_t size, const struct arrival *a)
{
	static const uint8_t data_message[4] = { MESSAGE_DATA };
	struct tally t = { 0 };
	size_t at = 0;

	do {
		size_t left = size - at, one = left < a->segment ? left : a->segment;
		if (one < 4 || memcmp(data + at, data_message, 4)) {
			event_push(q->pump, EV_HANDSHAKE, 0, &a->from, data + at, one, RX_QUEUE_FULL);
		} else {
			enum count why = open_message(q, &t, data + at, one, a);
			if (why != COUNTS)
				count(q->pump, why, 1);
		}
		at += one;
	} while (at < size);
	if (t.authentic) {
		q->heard = a->from;
		q->heard_at = a->now;
	}
	finish(q->pump, &t, a->now);
}

/* Where it came from, where it arrived, the DS byte, and the size of the segments that GRO joined (0: one). */
static void read_control(struct msghdr *m, struct path *from, uint8_t *ds, size_t *segment)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *info = (void *)CMSG_DATA(c);
			from->local_family = AF_INET;
			from->ifindex = (uint32_t)info->ipi_ifindex;
			memcpy(from->local, &info->ipi_spec_dst, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo *info = (void *)CMSG_DATA(c);
			from->local_family = AF_INET6;
			from->ifindex = info->ipi6_ifindex;
			memcpy(from->local, &info->ipi6_addr, 16);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			*ds = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int value;
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			*ds = (uint8_t)value;
		} else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			int value;
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			*segment = value > 0 ? (size_t)value : 0;
		}
	}
}

static void read_source(const struct sockaddr_storage *source, struct path *from)
{
	memset(from, 0, sizeof(*from));
	if (source->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)source;
		from->family = AF_INET;
		from->port = ntohs(in->sin_port);
		memcpy(from->remote, &in->sin_addr, 4);
	} else {
		const struct sockaddr_in6 *in6 = (const void *)source;
		from->family = AF_INET6;
		from->port = ntohs(in6->sin6_port);
		from->scope = in6->sin6_scope_id;
		memcpy(from->remote, &in6->sin6_addr, 16);
	}
}

/* False when there is nothing to receive. */
bool receive(struct queue *q, int fd, uint64_t now)
{
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct sockaddr_storage source;
	struct arrival a = { .now = now };

	if (q->arena_used + MAX_PACKET > ARENA)
		deliver_flush(q);
	uint8_t *data = q->arena + q->arena_used;
	struct iovec iov = { data, MAX_PACKET };
	struct msghdr m = { .msg_name = &source, .msg_namelen = sizeof(source), .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t size = recvmsg(fd, &m, MSG_DONTWAIT);
	if (size < 0)
		return errno != EAGAIN && errno != EBADF; /* an ICMP error about an earlier send concerns no datagram */
	read_source(&source, &a.from);
	read_control(&m, &a.from, &a.ds, &a.segment);
	if (m.msg_flags & MSG_TRUNC) {
		count(q->pump, RX_BAD_LENGTH, 1);
		return true;
	}
	if (!a.segment || a.segment > (size_t)size)
		a.segment = (size_t)size;
	__atomic_store_n(&q->received, q->received + load_units((size_t)size), __ATOMIC_RELAXED);
	q->arena_used += ((size_t)size + 63) & ~(size_t)63;
	receive_datagram(q, data, (size_t)size, &a);
	return true;
}

/* From the sockets that are ready until they have no more. True: worth another look before waiting. */
bool receive_batch(struct queue *q, unsigned ready, bool again, int *datagrams)
{
	const int sockets[3] = { q->udp4, q->udp6, q->connected };
	uint64_t now = boot_ns();
	bool rested = !again && now - q->looked_in > REST;
	int total = 0, most = rested ? 1 : BATCH;

	for (int i = 0; i < 3; i++) {
		if (!(ready & READY_UDP4 << i))
			continue;
		q->looked_in = now;
		for (int n = 0; n < most && receive(q, sockets[i], now); n++) {
			/* Where they come one at a time, the first does not wait for the look whether there is another. */
			if (total == 0 && q->received_last <= 1)
				deliver_flush(q);
			total++;
		}
		deliver_flush(q);
	}
	q->received_last = total;
	*datagrams = total;
	return total && !rested;
}
