/* SPDX-License-Identifier: MIT */
/* Opened packets to the TUN, runs of one TCP or UDP flow as one super-packet.
 *
 * What comes out of the stack's own segmentation is bit for bit what came in: only packets whose headers follow
 * from the first one's are joined, and only after their checksum was found right.
 */
#include "pump.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NEEDS_CSUM = 1 };
enum { GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5 };
enum { PSH = 0x08, ACK = 0x10 };

/* The header of the message, in front of the packet, is not needed any more. */
static void write_single(struct queue *q, uint8_t *packet, size_t size)
{
	size_t before = q->pump->vnet ? VNET_HEADER : 0;

	memset(packet - before, 0, before);
	if (write(q->tun, packet - before, before + size) < 0)
		count(q->pump, RX_INTERFACE_FULL, 1);
}

static void flush_bundle(struct queue *q, struct bundle *b)
{
	uint8_t vnet[VNET_HEADER] = { NEEDS_CSUM };
	struct iovec iov[MAX_SEGMENTS + 1];
	uint16_t fields[4];

	b->used = false;
	if (b->count == 1) {
		write_single(q, b->first, b->header + b->payload);
		return;
	}
	size_t size = b->header + b->payload;
	uint8_t *ip = b->first, *transport = ip + b->ip_header;
	if (b->version == 4) {
		put16(ip + 2, (uint32_t)size);
		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~checksum_finish(checksum_short(0, ip, 20)));
	} else {
		put16(ip + 4, (uint32_t)size - 40);
	}
	uint8_t proto = b->tcp ? IPPROTO_TCP : IPPROTO_UDP;
	if (!b->tcp)
		put16(transport + 4, (uint32_t)(size - b->ip_header));
	/* The stack, or whoever gets the packet in the end, completes this sum of the pseudo header. */
	put16(transport + (b->tcp ? 16 : 6), checksum_finish(checksum_pseudo(ip, proto, size - b->ip_header)));
	vnet[1] = b->tcp ? (b->version == 4 ? GSO_TCPV4 : GSO_TCPV6) : GSO_UDP_L4;
	fields[0] = b->header;
	fields[1] = b->gso_size;
	fields[2] = b->ip_header;
	fields[3] = b->tcp ? 16 : 6;
	memcpy(vnet + 2, fields, sizeof(fields));
	iov[0] = (struct iovec){ vnet, sizeof(vnet) };
	for (unsigned n = 0; n < b->count; n++)
		iov[n + 1] = (struct iovec){ b->piece[n].data, b->piece[n].size };
	if (writev(q->tun, iov, (int)b->count + 1) < 0)
		count(q->pump, RX_INTERFACE_FULL, b->count);
}

void deliver_flush(struct queue *q)
{
	for (int n = 0; n < BUNDLES; n++)
		if (q->bundles[n].used)
			flush_bundle(q, &q->bundles[n]);
	q->arena_used = 0;
}

/* The transport header of a packet that might be joined with others; false where its kind never is. */
static bool parse(const struct pump *p, const uint8_t *packet, size_t size, struct bundle *b)
{
	uint8_t proto;

	b->version = packet[0] >> 4;
	b->ip_header = b->version == 4 ? 20 : 40;
	if (b->version == 4 && (packet[0] != 0x45 || get16(packet + 6) & 0x3fff))
		return false;
	proto = b->version == 4 ? packet[9] : packet[6];
	const uint8_t *t = packet + b->ip_header;
	if (proto == IPPROTO_TCP && size >= b->ip_header + 20u) {
		b->tcp = true;
		b->header = (uint8_t)(b->ip_header + (t[12] >> 4) * 4);
		return b->header >= b->ip_header + 20 && b->header <= size;
	}
	b->tcp = false;
	b->header = (uint8_t)(b->ip_header + 8);
	return proto == IPPROTO_UDP && p->uso && size >= b->header && get16(t + 4) == size - b->ip_header;
}

static bool may_join(const struct pump *p, const uint8_t *packet, size_t size, const struct bundle *b)
{
	const uint8_t *t = packet + b->ip_header;

	if (size == b->header)
		return false;
	if (b->tcp ? (t[13] & ~PSH) != ACK || t[12] & 0x0f || get16(t + 18) : !get16(t + 6))
		return false;
	uint64_t sum = checksum_pseudo(packet, b->tcp ? IPPROTO_TCP : IPPROTO_UDP, size - b->ip_header);
	return checksum_finish(checksum_add(p, sum, t, size - b->ip_header)) == 0xffff;
}

static bool same_hosts(const struct bundle *a, const uint8_t *packet)
{
	size_t at = a->version == 4 ? 12 : 8, size = a->version == 4 ? 8 : 32;

	return a->version == packet[0] >> 4 && !memcmp(a->first + at, packet + at, size);
}

static bool same_flow(const struct bundle *a, const struct bundle *b, const uint8_t *packet)
{
	return a->tcp == b->tcp && same_hosts(a, packet) && !memcmp(a->first + a->ip_header, packet + b->ip_header, 4);
}

/* Everything in the headers is what segmenting the bundle would make of it. */
static bool follows(const struct bundle *a, const struct bundle *b, const uint8_t *packet, size_t payload)
{
	const uint8_t *first = a->first, *t = packet + b->ip_header, *f = first + a->ip_header;

	if (a->closed || a->header != b->header || payload > a->gso_size || a->count == MAX_SEGMENTS ||
	    a->header + a->payload + payload > MAX_PACKET)
		return false;
	if (b->version == 4) {
		if (memcmp(first, packet, 2) || memcmp(first + 6, packet + 6, 4) || get16(packet + 4) != a->next_id)
			return false;
	} else if (memcmp(first, packet, 4) || memcmp(first + 6, packet + 6, 2)) {
		return false;
	}
	if (!b->tcp)
		return true;
	return get32(t + 4) == a->next_seq && !memcmp(f + 8, t + 8, 5) && !memcmp(f + 14, t + 14, 2) &&
	       !memcmp(f + 20, t + 20, a->header - a->ip_header - 20u);
}

static void join(struct bundle *a, uint8_t *packet, size_t payload)
{
	uint8_t flags = packet[a->ip_header + 13];

	a->piece[a->count].data = packet + a->header;
	a->piece[a->count].size = payload;
	a->count++;
	a->payload += payload;
	a->next_seq += (uint32_t)payload;
	a->next_id++;
	a->closed = payload < a->gso_size || (a->tcp && flags & PSH);
	if (a->tcp)
		a->first[a->ip_header + 13] |= flags & PSH;
}

/* Takes a packet that lies in the arena, behind the header of its message, and stays there until deliver_flush. */
void deliver(struct queue *q, uint8_t *packet, size_t size)
{
	const struct pump *p = q->pump;
	struct bundle b = { 0 }, *slot = NULL;

	if (!p->vnet || !parse(p, packet, size, &b)) {
		/* Options or extension headers may hide a flow that has a bundle: that goes first. */
		for (int n = 0; n < BUNDLES; n++)
			if (q->bundles[n].used && same_hosts(&q->bundles[n], packet))
				flush_bundle(q, &q->bundles[n]);
		write_single(q, packet, size);
		return;
	}
	for (int n = 0; n < BUNDLES; n++) {
		struct bundle *a = &q->bundles[n];
		if (!a->used)
			slot = slot ? slot : a;
		else if (same_flow(a, &b, packet)) {
			if (may_join(p, packet, size, &b) && follows(a, &b, packet, size - b.header)) {
				join(a, packet, size - b.header);
				return;
			}
			/* In order: what came before goes first. */
			flush_bundle(q, a);
			slot = a;
			break;
		}
	}
	if (!may_join(p, packet, size, &b)) {
		write_single(q, packet, size);
		return;
	}
	if (!slot) {
		slot = &q->bundles[get16(packet + b.ip_header) % BUNDLES];
		flush_bundle(q, slot);
	}
	slot->used = true;
	slot->tcp = b.tcp;
	slot->version = b.version;
	slot->header = b.header;
	slot->ip_header = b.ip_header;
	slot->count = 1;
	slot->first = packet;
	slot->payload = size - b.header;
	slot->gso_size = (uint16_t)slot->payload;
	slot->next_seq = b.tcp ? get32(packet + b.ip_header + 4) + (uint32_t)slot->payload : 0;
	slot->next_id = (uint16_t)(get16(packet + 4) + 1);
	slot->piece[0].data = packet;
	slot->piece[0].size = size;
	slot->closed = b.tcp && packet[b.ip_header + 13] & PSH;
}
