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
	put16(field, (uint16_t)~checksum_finish(checksum_short(sum, out + ip, size - ip)));
	for (uint32_t n = below(2) ? 0 : below(6); n; n--)
		out[below((uint32_t)(below(2) ? header : size))] = (uint8_t)rnd();
	return below(6) ? size : below((uint32_t)size + 1);
}

static void from_tun(struct pump *p)
{
	static uint8_t read_from_tun[MAX_PACKET], save[MAX_PACKET];
	uint8_t vnet[VNET_HEADER] = { 0 }, *packet;
	volatile uint8_t sum = 0;
	size_t size = make_packet(read_from_tun, below(8) ? 3000 : 65000);
	uint8_t *copy = malloc(size ? size : 1); /* exactly as large as what was read: an overrun shows */
	uint16_t fields[4] = { (uint16_t)rnd(), (uint16_t)(1 + below(2000)), read_from_tun[0] >> 4 == 4 ? 20 : 40, below(2) ? 16 : 6 };
	struct segments cut;

	memcpy(copy, read_from_tun, size);
	vnet[0] = (uint8_t)below(2);
	vnet[1] = (uint8_t[]){ 0, 1, 4, 5, 0x81, 3 }[below(6)];
	if (!below(4))
		fields[below(4)] = (uint16_t)rnd();
	memcpy(vnet + 2, fields, sizeof(fields));
	bool is_ip = false;
	if (size)
		inner_destination(p, &p->queues[0].destination, copy, size, &is_ip);
	if (is_ip && segments_plan(p, &cut, vnet, copy, size, save)) {
		unsigned packets = 0;
		while ((packet = segments_next(p, &cut, &size))) {
			if (packet < copy || size > MAX_PACKET)
				abort();
			for (size_t n = 0; n < size; n++)
				sum = (uint8_t)(sum + packet[n]);
			packets++;
		}
		if (packets != cut.count)
			abort();
	}
	free(copy);
}

/* Datagrams that were received and not flushed: packets in them wait in bundles. */
static uint8_t *kept[64];
static unsigned kept_count;

static void flush(struct queue *q, int written_to)
{
	static uint8_t written[70000];

	deliver_flush(q);
	while (read(written_to, written, sizeof(written)) > 0)
		;
	while (kept_count)
		free(kept[--kept_count]);
}

/* One message, or some of one size and a last one, as GRO hands them over. */
static void from_network(struct queue *q, struct session *far, uint64_t now)
{
	static uint8_t plain[MAX_PACKET], datagram[2 * MAX_PACKET];
	struct arrival a = { .from = { .family = AF_INET, .port = (uint16_t)(below(50) ? 7 : rnd()) }, .ds = (uint8_t)below(4), .now = now };
	size_t size = 0, segment = 0;

	for (unsigned n = below(3) ? 1 : 1 + below(12); n; n--) {
		size_t one = make_packet(plain, below(20) ? 1500 : 60000);
		if (segment && one + DATA_OVERHEAD > segment)
			one = segment - DATA_OVERHEAD;
		q->pump->mtu = below(2) ? 1420 : 0;
		one = session_seal(q->pump, q->sealing, far, far->counter - (below(30) ? 0 : below(70)), datagram + size, plain, one);
		far->counter++;
		if (!below(8))
			datagram[size + below((uint32_t)one)] ^= (uint8_t)rnd();
		size += one;
		segment = segment ? segment : one;
		if (one != segment || size > 30000)
			break;
	}
	if (!below(8))
		size = below((uint32_t)size + 1);
	a.segment = below(10) && segment < size ? segment : size;
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, datagram, size);
	receive_datagram(q, copy, size, &a);
	kept[kept_count++] = copy;
}

/* All implementations give the same, and only for what was sealed. */
static void compare_crypto(struct queue *q)
{
	static uint8_t text[MAX_PACKET + 64], expected[MAX_PACKET + 64];
	size_t size = below(4) ? below(300) : below(MAX_PACKET - 64), padded = size + below(16);
	uint8_t key[KEY_SIZE];
	uint64_t counter = (uint64_t)rnd() << 32 | rnd();

	for (size_t n = 0; n < sizeof(key); n++)
		key[n] = below(4) ? (uint8_t)rnd() : 0xff;
	for (size_t n = 0; n < size; n++)
		text[n] = below(64) ? 0xff : (uint8_t)rnd();
	aead_openssl.seal(q->sealing, key, counter, expected, text, size, padded);
	for (int n = 0; aead_all[n]; n++) {
		const struct aead *aead = aead_all[n];
		if (!aead->works())
			continue;
		/* In a buffer of just that size, apart, in place, or moved to the front. */
		size_t room = padded + TAG_SIZE, shift = below(3) ? 0 : below(100);
		uint8_t *buffer = malloc(room + shift);
		memcpy(buffer + shift, text, size);
		aead->seal(q->sealing, key, counter, buffer, buffer + shift, size, padded);
		if (memcmp(buffer, expected, room))
			abort();
		memmove(buffer + shift, buffer, room);
		if (below(2)) {
			buffer[shift + below((uint32_t)room)] ^= (uint8_t)(1 << below(8));
			if (aead->open(q->opening, key, counter, buffer, buffer + shift, padded))
				abort();
		} else if (!aead->open(q->opening, key, counter, buffer, buffer + shift, padded) || memcmp(buffer, text, size)) {
			abort();
		}
		free(buffer);
	}
}

int main(int argc, char **argv)
{
	static struct pump p;
	static const uint8_t key[KEY_SIZE] = "a key", other[KEY_SIZE] = "another";
	int pair[2];
	uint64_t runs = 0;
	unsigned turn = 0;
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	struct queue *q = &p.queues[0];

	state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 88172645463325252ull;
	socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
	if (!pump_begin(&p, aead_best()) || !queue_begin(&p, pair[0]))
		return 2;
	p.vnet = p.uso = true;
	p.peers = calloc(4, sizeof(*p.peers));
	p.peers_size = 4;
	p.peers[1] = calloc(1, sizeof(struct peer));
	p.peers[1]->number = 1;
	routes_insert(&p.routes4, (uint8_t[4]){ 0 }, 0, 1);
	routes_insert(&p.routes6, (uint8_t[16]){ 0 }, 0, 1);
	uint64_t now = boot_ns();
	struct session *near = session_new(key, other), *far = session_new(other, key);
	near->peer = p.peers[1];
	near->local_index = far->remote_index = 5;
	near->created = far->created = now;
	far->counter = 1000;
	p.sessions[5] = near;
	while (time(NULL) < end) {
		for (int n = 0; n < 1000; n++, runs++) {
			uint8_t prefix[16] = { (uint8_t)below(3), (uint8_t)rnd() };
			unsigned length = below(129);
			switch (below(20)) {
			case 0:
			case 1:
				routes_insert(&p.routes6, prefix, length, below(4));
				p.generation++;
				break;
			case 2:
			case 3:
				if (length) /* the default route stays */
					routes_remove(&p.routes6, prefix, length);
				p.generation++;
				break;
			case 4:
			case 5:
			case 6:
				from_tun(&p);
				break;
			case 7:
				compare_crypto(q);
				break;
			default:
				from_network(q, far, now);
			}
			if (!below(40) || kept_count == sizeof(kept) / sizeof(*kept))
				flush(q, pair[1]);
			for (struct event *e; (e = event_take(&p));)
				free(e);
		}
		/* The next implementation of the AEAD that this CPU has. */
		do
			turn = aead_all[turn + 1] ? turn + 1 : 0;
		while (!aead_all[turn]->works());
		p.aead = aead_all[turn];
	}
	flush(q, pair[1]);
	session_free(far);
	printf("%llu executions, %llu delivered\n", (unsigned long long)runs, (unsigned long long)p.counts[RX_PACKETS]);
	bool enough = p.counts[RX_PACKETS] > runs / 100;
	pump_end(&p);
	close(pair[0]);
	close(pair[1]);
	return enough ? 0 : 1;
}
