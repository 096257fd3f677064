/* SPDX-License-Identifier: MIT */
/* A socket connected to the peer that a queue has sent to for a while: the kernel looks for no route to it or from it, and
 * finds the socket by the datagram's addresses.
 *
 * It is bound to the address and interface that the peer uses, on the port of the queue's other sockets. What else comes
 * there they receive as before, and where it fails they send: nothing depends on it.
 */
#include "pump.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

/* So many messages in a row to one peer are worth the calls that connecting takes. */
#define STEADY 16
/* By then its last datagram may be on another queue. */
#define HEARD_NS 1000000000ull

static bool same(const struct path *a, const struct path *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* The one to send to `path` with, or -1. By the thread that has the TUN. */
int connected_socket(struct queue *q, const struct path *path)
{
	if (same(&q->connected_to, path)) {
		q->steadily = 0;
		return q->connected;
	}
	if (!same(&q->steady, path)) {
		q->steady = *path;
		q->steadily = 0;
	}
	if (q->steadily < STEADY)
		q->steadily++;
	return -1;
}

static bool set(int fd, int level, int name, int value)
{
	return !setsockopt(fd, level, name, &value, sizeof(value));
}

/* Those that the queue's own socket was given (datapath/udp.py). */
static bool copy_options(int from, int to, uint8_t family)
{
	static const struct { int family, level, name; } options[] = {
		{ 0, SOL_SOCKET, SO_RCVBUF }, { 0, SOL_SOCKET, SO_SNDBUF }, { 0, SOL_SOCKET, SO_MARK },
		{ 0, IPPROTO_UDP, UDP_GRO },
		{ AF_INET, IPPROTO_IP, IP_PKTINFO }, { AF_INET, IPPROTO_IP, IP_RECVTOS },
		{ AF_INET, IPPROTO_IP, IP_MTU_DISCOVER },
		{ AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY }, { AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO },
		{ AF_INET6, IPPROTO_IPV6, IPV6_RECVTCLASS }, { AF_INET6, IPPROTO_IPV6, IPV6_MTU_DISCOVER },
	};

	for (size_t n = 0; n < sizeof(options) / sizeof(*options); n++) {
		int value = 0, name = options[n].name;
		socklen_t size = sizeof(value);
		if (options[n].family && options[n].family != family)
			continue;
		/* One that cannot be read does not exist on this kernel. */
		if (getsockopt(from, options[n].level, name, &value, &size))
			continue;
		if (options[n].level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_SNDBUF))
			value /= 2; /* the kernel doubles what it is told */
		if (!set(to, options[n].level, name, value))
			return false;
	}
	return true;
}

static bool bind_beside(const struct queue *q, int own, int fd, const struct path *path)
{
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);
	bool bound;

	if (getsockname(own, (void *)&at, &size))
		return false;
	/* The port is in the same place for both families. */
	size = to_sockaddr(path->family, path->local, ntohs(((struct sockaddr_in *)&at)->sin_port), path->ifindex, &at);
	/* Nobody else shall have the port: it is shared for as long as this takes, where queues do not share it anyway. */
	bound = set(own, SOL_SOCKET, SO_REUSEPORT, 1) && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) && !bind(fd, (void *)&at, size);
	set(fd, SOL_SOCKET, SO_REUSEPORT, 0);
	if (q->pump->queue_count == 1)
		set(own, SOL_SOCKET, SO_REUSEPORT, 0);
	return bound && set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)path->ifindex);
}

/* Nothing is lost: what comes from now on comes to the other sockets, what has come is received. */
static void retire(struct queue *q, int fd)
{
	struct sockaddr_storage self;
	socklen_t size = sizeof(self);
	uint64_t now = boot_ns();

	/* The name first: without its interface a link-local address is none to connect to. */
	if (!getsockname(fd, (void *)&self, &size) && set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0))
		(void)!connect(fd, (void *)&self, size);
	for (int n = 0; n < 4 * BATCH && receive(q, fd, now); n++)
		;
	deliver_flush(q);
	epoll_ctl(q->epoll, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

/* A socket, or -1. */
static int connect_to(struct queue *q, const struct path *path)
{
	int own = path->family == AF_INET ? q->udp4 : q->udp6, fd = socket(path->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = READY_CONNECTED };
	struct sockaddr_storage to;

	if (fd < 0)
		return -1;
	socklen_t size = to_sockaddr(path->family, path->remote, path->port, path->scope, &to);
	if (copy_options(own, fd, path->family) && bind_beside(q, own, fd, path) && !connect(fd, (void *)&to, size) &&
	    !epoll_ctl(q->epoll, EPOLL_CTL_ADD, fd, &e))
		return fd;
	retire(q, fd);
	return -1;
}

/* By the receiving thread, while it has the TUN. With several queues a peer's datagrams come to one of them: that one. */
void connect_when_steady(struct queue *q)
{
	if (q->steadily != STEADY || !q->steady.local_family || !same(&q->steady, &q->heard) ||
	    q->looked_out - q->heard_at > HEARD_NS)
		return;
	q->steadily++; /* not again, if this fails */
	if (q->connected >= 0)
		retire(q, q->connected);
	q->connected_to = (struct path){ 0 };
	q->connected = connect_to(q, &q->steady);
	if (q->connected >= 0)
		q->connected_to = q->steady;
}
