/* SPDX-License-Identifier: MIT */
/* From the TUN to the UDP socket: route, segment, seal, and send as few and as large as the kernel takes. */
#include "pump.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

void peer_sent(struct pump *p, struct peer *peer, size_t bytes, unsigned packets, bool data, uint64_t now)
{
	__atomic_fetch_add(&peer->tx_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&peer->tx_packets, packets, __ATOMIC_RELAXED);
	peer->last_sent = now;
	__atomic_store_n(&peer->unanswered_received, 0, __ATOMIC_RELAXED);
	if (data) {
		uint64_t never = 0;
		peer->last_data_sent = now;
		__atomic_compare_exchange_n(&peer->unanswered_sent, &never, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&peer->dirty, true, __ATOMIC_RELEASE);
	count(p, TX_PACKETS, packets);
	count(p, TX_BYTES, bytes);
	note_active(p);
}

static socklen_t to_sockaddr(const struct path *path, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (path->family == AF_INET) {
		struct sockaddr_in *in = (void *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(path->port);
		memcpy(&in->sin_addr, path->remote, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (void *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(path->port);
	in6->sin6_scope_id = path->scope;
	memcpy(&in6->sin6_addr, path->remote, 16);
	return sizeof(*in6);
}

static void add_control(struct msghdr *m, size_t space, int level, int type, const void *value, size_t size)
{
	struct cmsghdr *c = (void *)((uint8_t *)m->msg_control + m->msg_controllen);

	if (m->msg_controllen + CMSG_SPACE(size) > space)
		return;
	memset(c, 0, CMSG_SPACE(size));
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(c), value, size);
	m->msg_controllen += CMSG_SPACE(size);
}

/* 0, or an errno. */
static int transmit(struct pump *p, const struct outbox *o, uint8_t *data, size_t size, bool segmented, bool sticky)
{
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct sockaddr_storage to;
	struct iovec iov = { data, size };
	struct msghdr m = { .msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	bool v4 = o->path.family == AF_INET;
	int fd = v4 ? p->udp4 : p->udp6, ds = o->ds;

	if (fd < 0)
		return EAFNOSUPPORT;
	m.msg_namelen = to_sockaddr(&o->path, &to);
	if (segmented)
		add_control(&m, sizeof(control), SOL_UDP, UDP_SEGMENT, &(uint16_t){ (uint16_t)o->segment_size }, 2);
	if (ds)
		add_control(&m, sizeof(control), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &ds, sizeof(ds));
	if (sticky && v4) {
		struct in_pktinfo info = { .ipi_ifindex = (int)o->path.ifindex };
		memcpy(&info.ipi_spec_dst, o->path.local, 4);
		add_control(&m, sizeof(control), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (sticky) {
		struct in6_pktinfo info = { .ipi6_ifindex = o->path.ifindex };
		memcpy(&info.ipi6_addr, o->path.local, 16);
		add_control(&m, sizeof(control), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (!m.msg_controllen)
		m.msg_control = NULL;
	while (sendmsg(fd, &m, 0) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

/* One message or a run of equal ones; the address that the peer used may be gone, then routing chooses. */
static int transmit_anyhow(struct pump *p, const struct outbox *o, uint8_t *data, size_t size, bool segmented)
{
	bool sticky = o->path.local_family != 0;
	int error = transmit(p, o, data, size, segmented, sticky);

	if (sticky && (error == EINVAL || error == ENETUNREACH || error == ENODEV))
		error = transmit(p, o, data, size, segmented, false);
	return error;
}

void outbox_flush(struct pump *p, struct outbox *o)
{
	int error;

	if (!o->segments)
		return;
	error = transmit_anyhow(p, o, o->data, o->size, o->segments > 1);
	if (error && o->segments > 1) {
		/* EIO: the NIC cannot do checksums for segments, ever. EINVAL, EMSGSIZE: not to this destination. */
		if (error == EIO)
			__atomic_store_n(&p->gso, false, __ATOMIC_RELAXED);
		count(p, GSO_FALLBACKS, 1);
		for (size_t at = 0; at < o->size; at += o->segment_size) {
			size_t size = o->size - at < o->segment_size ? o->size - at : o->segment_size;
			if (transmit_anyhow(p, o, o->data + at, size, false))
				count(p, TX_SEND_FAILED, 1);
		}
	} else if (error) {
		count(p, TX_SEND_FAILED, o->segments);
	}
	o->segments = 0;
	o->size = 0;
	o->closed = false;
}

static struct path peer_path(struct pump *p, const struct peer *peer)
{
	pthread_mutex_lock(&p->paths);
	struct path path = peer->path;
	pthread_mutex_unlock(&p->paths);
	return path;
}

struct sending {
	struct peer *peer;
	struct session *session;
	uint64_t now;
};

static void seal_segment(struct pump *p, uint8_t *packet, size_t size, void *arg)
{
	struct sending *to = arg;
	struct outbox *o = &p->outbox;
	uint8_t ds = inner_ds(packet) & 3;
	bool gso = __atomic_load_n(&p->gso, __ATOMIC_RELAXED);

	/* 15: the most padding. */
	if (o->segments && (o->peer != to->peer || o->ds != ds || o->closed || !gso || o->segments == MAX_SEGMENTS ||
			    o->size + size + 15 + DATA_OVERHEAD > MAX_UDP_PAYLOAD))
		outbox_flush(p, o);
	pthread_mutex_lock(&to->session->sending);
	size_t sealed = session_seal(to->session, o->data + o->size, packet, size, p->mtu);
	pthread_mutex_unlock(&to->session->sending);
	if (!sealed) {
		count(p, TX_KEY_EXPIRED, 1);
		return;
	}
	if (o->segments && sealed > o->segment_size) {
		/* Longer than its predecessors: those go first, and it moves to the front. */
		uint8_t *at = o->data + o->size;
		outbox_flush(p, o);
		memmove(o->data, at, sealed);
	}
	if (!o->segments) {
		o->peer = to->peer;
		o->path = peer_path(p, to->peer);
		o->ds = ds;
		o->segment_size = sealed;
	}
	o->closed = sealed < o->segment_size;
	o->segments++;
	o->size += sealed;
	peer_sent(p, to->peer, sealed, 1, true, to->now);
}

static void give_to_python(struct pump *p, uint8_t *packet, size_t size, void *arg)
{
	struct sending *to = arg;

	if (to->peer)
		event_push(p, EV_NEEDS_SESSION, to->peer->number, NULL, packet, size, TX_QUEUE_FULL);
	else
		event_push(p, EV_NO_ROUTE, 0, NULL, packet, size, TX_QUEUE_FULL);
}

static void from_tun(struct pump *p, size_t size, uint64_t now)
{
	const uint8_t *vnet = p->vnet ? p->tun_buffer : NULL;
	uint8_t *packet = p->tun_buffer + (p->vnet ? VNET_HEADER : 0);
	struct sending to = { .now = now };
	segment_fn *each = give_to_python;
	bool is_ip;

	if (p->vnet && size < VNET_HEADER)
		return;
	size -= p->vnet ? VNET_HEADER : 0;
	to.peer = inner_destination(p, packet, size, &is_ip);
	if (!is_ip) {
		count(p, TX_BAD_INNER_PACKET, 1);
		return;
	}
	if (!to.peer) {
		count(p, TX_NO_ROUTE, 1);
	} else {
		to.session = __atomic_load_n(&to.peer->current, __ATOMIC_ACQUIRE);
		if (to.session && to.peer->path.family && session_may_send(to.session, now))
			each = seal_segment;
	}
	if (!segment_packet(p, vnet, packet, size, each, &to))
		count(p, TX_BAD_INNER_PACKET, 1);
}

/* For Python: one packet (size 0: keepalive), at once. The caller holds the lock for reading. */
bool send_one(struct pump *p, struct session *s, const uint8_t *packet, size_t size, uint64_t now)
{
	uint8_t data[MAX_PACKET + DATA_OVERHEAD + 16];
	struct outbox o = { .peer = s->peer, .path = peer_path(p, s->peer), .ds = size ? inner_ds(packet) & 3 : 0, .data = data };

	if (!o.path.family) {
		count(p, TX_NO_ENDPOINT, 1);
		return false;
	}
	pthread_mutex_lock(&s->sending);
	o.size = session_may_send(s, now) ? session_seal(s, data, packet, size, p->mtu) : 0;
	pthread_mutex_unlock(&s->sending);
	if (!o.size) {
		count(p, TX_KEY_EXPIRED, 1);
		return false;
	}
	o.segments = 1;
	o.segment_size = o.size;
	peer_sent(p, s->peer, o.size, 1, size != 0, now);
	outbox_flush(p, &o);
	return true;
}

void *tx_main(void *arg)
{
	struct pump *p = arg;
	struct pollfd wait[2] = { { .fd = p->tun, .events = POLLIN }, { .fd = p->stop_fd, .events = POLLIN } };

	for (;;) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait[1].revents)
			break;
		pthread_rwlock_rdlock(&p->lock);
		uint64_t now = boot_ns();
		for (int n = 0; n < BATCH; n++) {
			ssize_t size = read(p->tun, p->tun_buffer, MAX_PACKET + VNET_HEADER);
			if (size < 0 && errno == EBADFD) {
				event_push(p, EV_GONE, 0, NULL, NULL, 0, TX_QUEUE_FULL);
				pthread_rwlock_unlock(&p->lock);
				return NULL;
			}
			if (size < 0) {
				if (errno == EIO) /* the interface is down: poll says readable all the same */
					poll(&wait[1], 1, 50);
				break;
			}
			from_tun(p, (size_t)size, now);
		}
		outbox_flush(p, &p->outbox);
		pthread_rwlock_unlock(&p->lock);
	}
	return NULL;
}
