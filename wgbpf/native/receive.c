/* SPDX-License-Identifier: MIT */
/* From the UDP sockets to the TUN: split, open, check, and hand on in bundles. */
#include "pump.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static uint64_t little(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static void peer_received(struct pump *p, struct peer *peer, bool data, uint64_t now)
{
	peer->last_received = now;
	__atomic_store_n(&peer->unanswered_sent, 0, __ATOMIC_RELAXED);
	if (data) {
		uint64_t never = 0;
		peer->last_data_received = now;
		__atomic_compare_exchange_n(&peer->unanswered_received, &never, now, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
	}
	__atomic_store_n(&peer->dirty, true, __ATOMIC_RELEASE);
	note_active(p);
}

/* Why an authentic packet is not for the interface, or COUNTS: it is, and `length` is its own. */
static enum count check_inside(struct pump *p, struct peer *peer, uint8_t *packet, size_t size, uint8_t ds,
			       size_t *length)
{
	*length = inner_length(packet, size);
	if (!*length)
		return RX_BAD_INNER_PACKET;
	if (inner_source(p, packet) != peer)
		return RX_FORBIDDEN_SOURCE;
	if (!inner_decapsulate_ecn(packet, ds))
		return RX_BAD_ECN;
	return COUNTS;
}

/* Key, replay, endpoint, confirmation, stamps; only then what is inside (rule h of the protocol). */
static enum count open_message(struct pump *p, uint8_t *message, size_t size, const struct path *from, uint8_t ds,
			       uint64_t now)
{
	struct session *s = size >= DATA_OVERHEAD ? session_find(p, (uint32_t)little(message + 4, 4)) : NULL;
	size_t plain = size - DATA_OVERHEAD, length = 0;
	uint64_t counter;
	enum count why;

	if (size < DATA_OVERHEAD)
		return RX_BAD_LENGTH;
	if (!s)
		return RX_UNKNOWN_INDEX;
	counter = little(message + 8, 8);
	if ((now >= s->created && now - s->created >= REJECT_AFTER_NS) || counter >= REJECT_AFTER_MESSAGES)
		return RX_KEY_EXPIRED;
	if (p->arena_used + size > ARENA)
		deliver_flush(p);
	uint8_t *packet = p->arena + p->arena_used;
	if (!session_open(s, counter, message + DATA_HEADER, size - DATA_HEADER, packet))
		return RX_BAD_TAG;
	if (!window_accept(s, counter))
		return RX_REPLAY;
	struct peer *peer = s->peer;
	if (memcmp(&peer->path, from, sizeof(*from))) {
		pthread_mutex_lock(&p->paths);
		peer->path = *from;
		pthread_mutex_unlock(&p->paths);
		event_push(p, EV_ROAMED, peer->number, from, NULL, 0, RX_QUEUE_FULL);
	}
	if (peer->unconfirmed == s) {
		peer->unconfirmed = NULL;
		__atomic_store_n(&peer->current, s, __ATOMIC_RELEASE);
		event_push(p, EV_CONFIRMED, s->local_index, NULL, NULL, 0, RX_QUEUE_FULL);
	}
	peer_received(p, peer, plain != 0, now);
	if (plain) {
		why = check_inside(p, peer, packet, plain, ds, &length);
		if (why != COUNTS)
			return why;
		p->arena_used += (plain + 63) & ~(size_t)63;
	}
	peer->rx_bytes += size;
	peer->rx_packets++;
	count(p, RX_PACKETS, 1);
	count(p, RX_BYTES, size);
	if (plain)
		deliver(p, packet, length);
	return COUNTS;
}

void receive_datagram(struct pump *p, uint8_t *data, size_t size, const struct path *from, uint8_t ds, uint64_t now)
{
	static const uint8_t data_message[4] = { MESSAGE_DATA };
	enum count why;

	if (size < 4 || memcmp(data, data_message, 4)) {
		event_push(p, EV_HANDSHAKE, 0, from, data, size, RX_QUEUE_FULL);
		return;
	}
	why = open_message(p, data, size, from, ds, now);
	if (why != COUNTS)
		count(p, why, 1);
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

static bool receive(struct pump *p, int fd, uint64_t now)
{
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct sockaddr_storage source;
	struct iovec iov = { p->udp_buffer, MAX_PACKET };
	struct msghdr m = { .msg_name = &source, .msg_namelen = sizeof(source), .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = control, .msg_controllen = sizeof(control) };
	struct path from;
	uint8_t ds = 0;
	size_t segment = 0;
	ssize_t size = recvmsg(fd, &m, MSG_DONTWAIT);

	if (size < 0)
		return errno != EAGAIN && errno != EBADF; /* an ICMP error about an earlier send concerns no datagram */
	memset(&from, 0, sizeof(from));
	if (source.ss_family == AF_INET) {
		struct sockaddr_in *in = (void *)&source;
		from.family = AF_INET;
		from.port = ntohs(in->sin_port);
		memcpy(from.remote, &in->sin_addr, 4);
	} else {
		struct sockaddr_in6 *in6 = (void *)&source;
		from.family = AF_INET6;
		from.port = ntohs(in6->sin6_port);
		from.scope = in6->sin6_scope_id;
		memcpy(from.remote, &in6->sin6_addr, 16);
	}
	read_control(&m, &from, &ds, &segment);
	if (m.msg_flags & MSG_TRUNC) {
		count(p, RX_BAD_LENGTH, 1);
		return true;
	}
	if (!segment)
		segment = (size_t)size;
	size_t at = 0;
	do {
		size_t left = (size_t)size - at;
		receive_datagram(p, p->udp_buffer + at, left < segment ? left : segment, &from, ds, now);
		at += segment;
	} while (at < (size_t)size);
	return true;
}

void *rx_main(void *arg)
{
	struct pump *p = arg;
	struct pollfd wait[3] = { { .fd = p->udp4, .events = POLLIN },
				  { .fd = p->udp6, .events = POLLIN }, /* -1 is passed over */
				  { .fd = p->stop_fd, .events = POLLIN } };

	for (;;) {
		if (poll(wait, 3, -1) < 0 && errno != EINTR)
			break;
		if (wait[2].revents)
			break;
		for (int i = 0; i < 2; i++) {
			if (wait[i].fd < 0 || !wait[i].revents)
				continue;
			pthread_rwlock_rdlock(&p->lock);
			uint64_t now = boot_ns();
			for (int n = 0; n < BATCH && receive(p, wait[i].fd, now); n++)
				;
			deliver_flush(p);
			pthread_rwlock_unlock(&p->lock);
		}
	}
	return NULL;
}
