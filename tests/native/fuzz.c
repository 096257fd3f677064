/* SPDX-License-Identifier: MIT */
/* Fuzzes the pump's C without Python, under sanitizers: fuzz SECONDS SEED.
 *
 * What comes from the TUN is mutated super-packets with any virtio-net header; what comes from the network is junk,
 * and properly sealed packets with anything inside. A finding is a sanitizer's report, or a packet that leaves longer
 * than it may.
 */
#include "pump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static uint32_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static uint32_t below(uint32_t n) { return rnd() % n; }

/* A TCP or UDP packet that is nearly right. */
static size_t make_packet(uint8_t *out, size_t most)
{
	bool v4 = below(2), tcp = below(3);
	size_t ip = v4 ? 20 : 40, header = ip + (tcp ? 20 + 4 * below(4) : 8);
	size_t size = header + below((uint32_t)(most - header));

	for (size_t n = 0; n < size; n++)
		out[n] = below(4) ? 0x42 : (uint8_t)rnd();
	memset(out, 0, header);
	out[0] = v4 ? 0x45 : 0x60;
	if (v4) {
		put16(out + 2, (uint32_t)size);
		out[9] = tcp ? 6 : 17;
	} else {
		put16(out + 4, (uint32_t)(size - 40));
		out[6] = tcp ? 6 : 17;
	}
	put32(out + ip + 4, below(3) ? 1 : rnd());
	if (tcp) {
		out[ip + 12] = (uint8_t)((header - ip) / 4 << 4);
		out[ip + 13] = below(8) ? 0x10 : (uint8_t)rnd();
	} else {
		put16(out + ip + 4, (uint32_t)(size - ip));
	}
	uint8_t *field = out + ip + (tcp ? 16 : 6);
	uint64_t sum = checksum_pseudo(out, tcp ? 6 : 17, size - ip);
	put16(field, (uint16_t)~checksum_finish(checksum_add(sum, out + ip, size - ip)));
	for (uint32_t n = below(2) ? 0 : below(6); n; n--)
		out[below((uint32_t)(below(2) ? header : size))] = (uint8_t)rnd();
	return below(6) ? size : below((uint32_t)size + 1);
}

static void check_segment(struct pump *p, uint8_t *packet, size_t size, void *arg)
{
	volatile uint8_t sum = 0;

	(void)p;
	(void)arg;
	if (size > MAX_PACKET)
		abort();
	for (size_t n = 0; n < size; n++)
		sum = (uint8_t)(sum + packet[n]);
}

static void from_tun(struct pump *p)
{
	uint8_t vnet[VNET_HEADER] = { 0 };
	size_t size = make_packet(p->tun_buffer, below(8) ? 3000 : 65000);
	uint8_t *copy = malloc(size ? size : 1); /* exactly as large as what was read: an overrun shows */
	uint16_t fields[4] = { (uint16_t)rnd(), (uint16_t)(1 + below(2000)), p->tun_buffer[0] >> 4 == 4 ? 20 : 40, below(2) ? 16 : 6 };

	memcpy(copy, p->tun_buffer, size);
	vnet[0] = (uint8_t)below(2);
	vnet[1] = (uint8_t[]){ 0, 1, 4, 5, 0x81, 3 }[below(6)];
	if (!below(4))
		fields[below(4)] = (uint16_t)rnd();
	memcpy(vnet + 2, fields, sizeof(fields));
	bool is_ip;
	if (size)
		inner_destination(p, copy, size, &is_ip);
	if (size >= 20)
		segment_packet(p, vnet, copy, size, check_segment, NULL);
	free(copy);
}

static void from_network(struct pump *p, struct session *far, uint64_t now)
{
	static uint8_t plain[MAX_PACKET], message[MAX_PACKET + 64];
	struct path from = { .family = AF_INET, .port = (uint16_t)(below(50) ? 7 : rnd()) };
	size_t size = make_packet(plain, below(20) ? 1500 : 60000);

	size = session_seal(far, message, plain, size, below(2) ? 1420 : 0);
	if (!below(8))
		message[below((uint32_t)size)] ^= (uint8_t)rnd();
	if (!below(8))
		size = below((uint32_t)size + 1);
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, message, size);
	receive_datagram(p, copy, size, &from, (uint8_t)below(4), now);
	free(copy);
}

int main(int argc, char **argv)
{
	static struct pump p;
	static const uint8_t key[KEY_SIZE] = "a key", other[KEY_SIZE] = "another";
	struct peer *peers[4] = { 0 };
	int pair[2];
	uint64_t runs = 0;
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);

	state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 88172645463325252ull;
	socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
	p.tun = pair[0];
	p.udp4 = p.udp6 = -1;
	p.vnet = p.uso = true;
	p.mtu = 1420;
	p.event_fd = eventfd(0, EFD_NONBLOCK);
	p.events_tail = &p.events_head;
	pthread_mutex_init(&p.events_lock, NULL);
	pthread_mutex_init(&p.paths, NULL);
	pthread_rwlock_init(&p.lock, NULL);
	p.tun_buffer = malloc(MAX_PACKET + 64);
	p.segment = malloc(MAX_PACKET + 64);
	p.arena = malloc(ARENA + 64);
	p.peers = peers;
	p.peers_size = 4;
	peers[1] = calloc(1, sizeof(struct peer));
	peers[1]->number = 1;
	routes_insert(&p.routes4, (uint8_t[4]){ 0 }, 0, 1);
	routes_insert(&p.routes6, (uint8_t[16]){ 0 }, 0, 1);
	uint64_t now = boot_ns();
	struct session *near = session_new(key, other), *far = session_new(other, key);
	near->peer = peers[1];
	near->local_index = far->remote_index = 5;
	near->created = far->created = now;
	p.sessions[5] = near;
	while (time(NULL) < end) {
		for (int n = 0; n < 1000; n++, runs++) {
			uint8_t prefix[16] = { (uint8_t)below(3), (uint8_t)rnd() };
			unsigned length = below(129);
			switch (below(10)) {
			case 0:
				routes_insert(&p.routes6, prefix, length, below(4));
				break;
			case 1:
				if (length) /* the default route stays */
					routes_remove(&p.routes6, prefix, length);
				break;
			case 2:
			case 3:
				from_tun(&p);
				break;
			default:
				from_network(&p, far, now);
			}
			if (!below(40)) {
				static uint8_t written[70000];
				deliver_flush(&p);
				while (read(pair[1], written, sizeof(written)) > 0)
					;
			}
			for (struct event *e; (e = event_take(&p));)
				free(e);
		}
	}
	deliver_flush(&p);
	session_free(near);
	session_free(far);
	routes_free(&p.routes4);
	routes_free(&p.routes6);
	free(peers[1]);
	free(p.tun_buffer);
	free(p.segment);
	free(p.arena);
	printf("%llu executions, %llu delivered\n", (unsigned long long)runs, (unsigned long long)p.counts[RX_PACKETS]);
	return p.counts[RX_PACKETS] > runs / 100 ? 0 : 1;
}
