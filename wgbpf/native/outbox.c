/* SPDX-License-Identifier: MIT */
/* Sealed messages to the UDP socket, as many with one system call as the kernel takes. */
#include "pump.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

socklen_t to_sockaddr(uint8_t family, const uint8_t *address, uint16_t port, uint32_t scope, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, address, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (void *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	in6->sin6_scope_id = scope;
	memcpy(&in6->sin6_addr, address, 16);
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

enum way { BY_ROUTE, STICKY, CONNECTED };

/* 0, or an errno. */
static int transmit(int fd, const struct outbox *o, uint8_t *data, size_t size, bool segmented, enum way way)
{
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct sockaddr_storage to;
	struct iovec iov = { data, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	bool v4 = o->path.family == AF_INET;
	int ds = o->ds;

	if (fd < 0)
		return EAFNOSUPPORT;
	if (way != CONNECTED) {
		m.msg_name = &to;
		m.msg_namelen = to_sockaddr(o->path.family, o->path.remote, o->path.port, o->path.scope, &to);
	}
	if (segmented)
		add_control(&m, sizeof(control), SOL_UDP, UDP_SEGMENT, &(uint16_t){ (uint16_t)o->segment_size }, 2);
	if (ds)
		add_control(&m, sizeof(control), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &ds, sizeof(ds));
	/* IPv6 sends by a connected socket whose address is gone, unless it is told the address again. */
	if (way == STICKY && v4) {
		struct in_pktinfo info = { .ipi_ifindex = (int)o->path.ifindex };
		memcpy(&info.ipi_spec_dst, o->path.local, 4);
		add_control(&m, sizeof(control), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (way != BY_ROUTE && !v4) {
		struct in6_pktinfo info = { .ipi6_ifindex = o->path.ifindex };
		memcpy(&info.ipi6_addr, o->path.local, 16);
		add_control(&m, sizeof(control), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (!m.msg_controllen)
		m.msg_control = NULL;
	while ((m.msg_name || m.msg_control ? sendmsg(fd, &m, 0) : send(fd, data, size, 0)) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

/* One message or a run of equal ones; the address that the peer used may be gone, then routing chooses. */
static int transmit_anyhow(struct queue *q, const struct outbox *o, uint8_t *data, size_t size, bool segmented)
{
	/* Python's thread sends from an outbox of its own. */
	int connected = o == &q->outbox ? connected_socket(q, &o->path) : -1;
	int fd = o->path.family == AF_INET ? q->udp4 : q->udp6;
	enum way way = o->path.local_family ? STICKY : BY_ROUTE;

	if (connected >= 0) {
		if (!transmit(connected, o, data, size, segmented, CONNECTED))
			return 0;
		/* The error may be that of an earlier message, or that it cannot be reached this way. */
		q->connected_to.family = 0;
	}
	int error = transmit(fd, o, data, size, segmented, way);
	if (way == STICKY && (error == EINVAL || error == ENETUNREACH || error == ENODEV))
		error = transmit(fd, o, data, size, segmented, BY_ROUTE);
	return error;
}

void outbox_flush(struct queue *q, struct outbox *o)
{
	struct pump *p = q->pump;
	int error;

	if (!o->segments)
		return;
	error = transmit_anyhow(q, o, o->data, o->size, o->segments > 1);
	if (error && o->segments > 1) {
		/* EIO: the NIC cannot do checksums for segments, ever. EINVAL, EMSGSIZE: not to this destination. */
		if (error == EIO)
			__atomic_store_n(&p->gso, false, __ATOMIC_RELAXED);
		count(p, GSO_FALLBACKS, 1);
		for (size_t at = 0; at < o->size; at += o->segment_size) {
			size_t size = o->size - at < o->segment_size ? o->size - at : o->segment_size;
			if (transmit_anyhow(q, o, o->data + at, size, false))
				count(p, TX_SEND_FAILED, 1);
		}
	} else if (error) {
		count(p, TX_SEND_FAILED, o->segments);
	}
	o->segments = 0;
	o->size = 0;
	o->closed = false;
}

struct path peer_path(struct pump *p, const struct peer *peer)
{
	pthread_mutex_lock(&p->paths);
	struct path path = peer->path;
	pthread_mutex_unlock(&p->paths);
	return path;
}
