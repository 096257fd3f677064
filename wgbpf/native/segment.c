/* SPDX-License-Identifier: MIT */
/* From what the TUN hands over (one packet, or a super-packet with a virtio-net header) to packets as they go on
 * the wire: lengths, IPv4 identification, sequence numbers, flags and checksums of each segment
 * (virtio 1.2, section 5.1.6.2; RFC 9293).
 *
 * Nothing is copied but headers: those of a segment are written in front of its payload, over the end of the segment
 * before it, which has been sealed by then.
 */
#include "pump.h"

#include <string.h>

enum { NEEDS_CSUM = 1 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };
enum { FIN = 0x01, PSH = 0x08, CWR = 0x80 };

static uint16_t host16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static void ip_lengths(uint8_t *packet, size_t size, unsigned id_step)
{
	if (packet[0] >> 4 == 6) {
		put16(packet + 4, (uint32_t)size - 40);
		return;
	}
	put16(packet + 2, (uint32_t)size);
	put16(packet + 4, (get16(packet + 4) + id_step) & 0xffff);
	put16(packet + 10, 0);
	put16(packet + 10, (uint16_t)~checksum_finish(checksum_short(0, packet, (packet[0] & 15) * 4u)));
}

static void transport_checksum(struct pump *p, uint8_t *packet, size_t size, const struct segments *s)
{
	uint8_t *field = packet + s->start + (s->proto == IPPROTO_TCP ? 16 : 6);

	put16(field, 0);
	uint64_t sum = checksum_pseudo(packet, s->proto, size - s->start);
	uint16_t value = (uint16_t)~checksum_finish(checksum_add(p, sum, packet + s->start, size - s->start));
	put16(field, value || s->proto != IPPROTO_UDP ? value : 0xffff);
}

static bool complete_checksum(struct pump *p, uint8_t *packet, size_t size, size_t start, size_t offset)
{
	if (start + offset + 2 > size)
		return false;
	/* The field holds the sum of the pseudo header already. */
	uint16_t value = (uint16_t)~checksum_finish(checksum_add(p, 0, packet + start, size - start));
	put16(packet + start + offset, value || offset != 6 ? value : 0xffff);
	return true;
}

static bool plan_cuts(struct segments *s)
{
	s->ip_header = s->packet[0] >> 4 == 4 ? (s->packet[0] & 15) * 4u : 40;
	if (s->start < s->ip_header || s->start < 20 || !s->mss ||
	    s->start + (s->proto == IPPROTO_UDP ? 8u : 20u) > s->size)
		return false;
	s->header = s->proto == IPPROTO_TCP ? s->start + (s->packet[s->start + 12] >> 4) * 4u : s->start + 8;
	if (s->header < s->start + (s->proto == IPPROTO_TCP ? 20u : 8u) || s->header > s->size)
		return false;
	size_t payload = s->size - s->header;
	s->count = payload ? (unsigned)((payload + s->mss - 1) / s->mss) : 1;
	s->at = s->header;
	return true;
}

/* False when the virtio-net header does not fit the packet. `vnet` is NULL where the TUN has no such header; `save` has
 * room for a packet.
 */
bool segments_plan(struct pump *p, struct segments *s, const uint8_t *vnet, uint8_t *packet, size_t size, uint8_t *save)
{
	*s = (struct segments){ .packet = packet, .saved = save, .size = size, .count = 1 };
	if (!vnet)
		return true;
	s->mss = host16(vnet + 4);
	s->start = host16(vnet + 6);
	switch (vnet[1] & ~GSO_ECN) {
	case GSO_NONE:
		return !(vnet[0] & NEEDS_CSUM) || complete_checksum(p, packet, size, s->start, host16(vnet + 8));
	case GSO_TCPV4:
	case GSO_TCPV6:
		s->proto = IPPROTO_TCP;
		break;
	case GSO_UDP_L4:
		s->proto = IPPROTO_UDP;
		break;
	default:
		return false;
	}
	if (!plan_cuts(s))
		return false;
	memcpy(save, packet, s->header);
	return true;
}

/* The next packet, whole and until the next call, or NULL when there is no more. */
uint8_t *segments_next(struct pump *p, struct segments *s, size_t *size)
{
	unsigned n = s->number;

	if (n == s->count)
		return NULL;
	s->number++;
	*size = s->size;
	if (!s->proto)
		return s->packet;
	size_t left = s->size - s->at, payload = left < s->mss ? left : s->mss;
	bool last = s->number == s->count;
	uint8_t *out = s->packet + s->at - s->header, *transport = out + s->start;

	*size = s->header + payload;
	if (n)
		memcpy(out, s->saved, s->header);
	ip_lengths(out, *size, n);
	if (s->proto == IPPROTO_TCP) {
		put32(transport + 4, get32(transport + 4) + (uint32_t)(s->at - s->header));
		transport[13] &= (uint8_t)~((last ? 0 : FIN | PSH) | (n ? CWR : 0));
	} else {
		put16(transport + 4, (uint32_t)(8 + payload));
	}
	transport_checksum(p, out, *size, s);
	s->at += payload;
	return out;
}
