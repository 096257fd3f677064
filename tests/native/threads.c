/* SPDX-License-Identifier: MIT */
/* The TUN's way from one thread of a queue to the other and back, under ThreadSanitizer: threads ROUNDS.
 *
 * Packets go out through a pump with little to do (one thread), then with much (two), and so on. Each must leave, in
 * order, whoever carries it; and each way must have been taken. The socket that
 * is connected meanwhile is used by both.
 */
#include "pump.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INNER 40

static uint64_t expected;

static void fail(const char *why)
{
	fprintf(stderr, "%s (message %llu)\n", why, (unsigned long long)expected);
	exit(1);
}

static int loopback(struct sockaddr_in *at)
{
	socklen_t size = sizeof(*at);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 8 << 20;

	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 5 }, sizeof(struct timeval));
	if (bind(fd, (struct sockaddr *)at, size) || getsockname(fd, (struct sockaddr *)at, &size))
		fail("no socket");
	return fd;
}

static void send_inner(int tun)
{
	uint8_t packet[INNER] = { 0x45 };

	put16(packet + 2, INNER);
	if (send(tun, packet, sizeof(packet), 0) != INNER)
		fail("the TUN took no packet");
}

/* Messages leave in the order of their counters, none is missing. */
static void expect_messages(int net, unsigned count)
{
	uint8_t message[2048];

	for (; count; count--, expected++) {
		uint64_t counter;
		if (recv(net, message, sizeof(message), 0) < DATA_OVERHEAD)
			fail("lost");
		memcpy(&counter, message + 8, 8);
		if (counter != expected)
			fail("out of order");
	}
}

/* A message comes, and its packet leaves by the TUN. */
static void answer(int net, const struct sockaddr_in *to, int tun, struct pump *p, struct session *far)
{
	struct aead_scratch *scratch = aead_scratch_new();
	uint8_t packet[INNER] = { 0x45 }, message[INNER + DATA_OVERHEAD + 16];

	put16(packet + 2, INNER);
	size_t size = session_seal(p, scratch, far, far->counter++, message, packet, sizeof(packet));
	sendto(net, message, size, 0, (const struct sockaddr *)to, sizeof(*to));
	if (recv(tun, packet, sizeof(packet), 0) != INNER)
		fail("nothing was delivered");
	aead_scratch_free(scratch);
}

static void expect_joined(const struct queue *q, bool joined, const char *otherwise)
{
	if (__atomic_load_n(&q->joined, __ATOMIC_ACQUIRE) != joined)
		fail(otherwise);
}

/* Whether a connected socket has our port, by the kernel's table. */
static bool is_connected(const struct sockaddr_in *at)
{
	FILE *table = fopen("/proc/self/net/udp", "r");
	char line[256];
	unsigned port, state;
	bool found = false;

	while (table && fgets(line, sizeof(line), table))
		if (sscanf(line, " %*d: %*x:%x %*x:%*x %x", &port, &state) == 2)
			found |= port == ntohs(at->sin_port) && state == 1;
	if (table)
		fclose(table);
	return found;
}

int main(int argc, char **argv)
{
	static struct pump p;
	static const uint8_t key[KEY_SIZE] = "a key", other[KEY_SIZE] = "another";
	struct queue *q = &p.queues[0];
	struct sockaddr_in near_at, far_at;
	int tun[2], net = loopback(&far_at);

	socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, tun);
	setsockopt(tun[1], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 5 }, sizeof(struct timeval));
	fcntl(tun[1], F_SETFL, 0); /* ours waits, the pump's must not */
	if (!pump_begin(&p, aead_best()) || !queue_begin(&p, tun[0]))
		return 2;
	p.peers = calloc(2, sizeof(*p.peers));
	p.peers_size = 2;
	struct peer *peer = p.peers[1] = calloc(1, sizeof(struct peer));
	peer->number = 1;
	peer->path = (struct path){ .family = AF_INET, .port = ntohs(far_at.sin_port), .remote = { 127, 0, 0, 1 } };
	routes_insert(&p.routes4, (uint8_t[4]){ 0 }, 0, 1);
	struct session *near = session_new(key, other), *far = session_new(other, key);
	near->peer = peer;
	near->local_index = far->remote_index = 5;
	near->created = far->created = boot_ns();
	p.sessions[5] = peer->current = near;
	q->udp4 = loopback(&near_at);
	setsockopt(q->udp4, IPPROTO_IP, IP_PKTINFO, &(int){ 1 }, sizeof(int));
	if (!threads_begin(&p))
		return 2;
	for (int round = argc > 1 ? atoi(argv[1]) : 5; round; round--) {
		usleep(100000);
		for (int n = 0; n < 20; n++) {
			send_inner(tun[1]);
			expect_messages(net, 1);
			answer(net, &near_at, tun[1], &p, far);
			usleep(5000);
		}
		expect_joined(q, true, "two threads for little");
		if (!is_connected(&near_at))
			fail("no socket was connected");
		for (int n = 0; n < 20; n++) {
			for (int burst = 0; burst < 100; burst++)
				send_inner(tun[1]);
			expect_messages(net, 100);
		}
		expect_joined(q, false, "one thread for much");
	}
	threads_end(&p);
	printf("%llu messages\n", (unsigned long long)expected);
	return 0;
}
