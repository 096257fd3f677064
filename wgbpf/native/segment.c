/* SPDX-License-Identifier: MIT */
/* From what the TUN hands over (one packet, or a super-packet with a virtio-net header) to packets as they go on
 * the wire: lengths, IPv4 identification, sequence numbers, flags and checksums of each segment
 * (virtio 1.2, section 5.1.6.2; RFC 9293).
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

static void ip_lengths(uint8_t *packet, size_t size, uint16_t id_step)
{
	if (packet[0] >> 4 == 6) {
		put16(packet + 4, (uint32_t)size - 40);
		return;
	}
	put16(packet + 2, (uint32_t)size);
	put16(packet + 4, (get16(packet + 4) + id_step) & 0xffff);
	put16(packet + 10, 0);
	put16(packet + 10, (uint16_t)~checksum_finish(checksum_add(0, packet, (packet[0] & 15) * 4u)));
}

static void transport_checksum(uint8_t *packet, size_t size, size_t start, uint8_t proto, size_t field)
{
	put16(packet + start + field, 0);
	uint64_t sum = checksum_pseudo(packet, proto, size - start);
	uint16_t value = (uint16_t)~checksum_finish(checksum_add(sum, packet + start, size - start));
	put16(packet + start + field, value || proto != IPPROTO_UDP ? value : 0xffff);
}

static bool complete_checksum(uint8_t *packet, size_t size, size_t start, size_t offset)
{
	if (start + offset + 2 > size)
		return false;
	/* The field holds the sum of the pseudo header already. */
	uint16_t value = (uint16_t)~checksum_finish(checksum_add(0, packet + start, size - start));
	put16(packet + start + offset, value || offset != 6 ? value : 0xffff);
	return true;
}

static bool cut(struct pump *p, uint8_t *packet, size_t size, size_t start, uint8_t proto, size_t mss,
		segment_fn *each, void *arg)
{
	size_t header, ip_header = packet[0] >> 4 == 4 ? (packet[0] & 15) * 4u : 40;

	if (start < ip_header || start < 20 || start + 20 > size + (proto == IPPROTO_UDP ? 12 : 0) || !mss)
		return false;
	header = proto == IPPROTO_TCP ? start + (packet[start + 12] >> 4) * 4u : start + 8;
	if (header < start + (proto == IPPROTO_TCP ? 20u : 8u) || header > size)
		return false;
	uint32_t seq = proto == IPPROTO_TCP ? get32(packet + start + 4) : 0;
	uint8_t flags = proto == IPPROTO_TCP ? packet[start + 13] : 0;
	size_t at = header;
	for (uint16_t n = 0; at < size || n == 0; n++) {
		size_t payload = size - at < mss ? size - at : mss;
		bool last = at + payload == size;
		uint8_t *out = p->segment;
		memcpy(out, packet, header);
		memcpy(out + header, packet + at, payload);
		ip_lengths(out, header + payload, n);
		if (proto == IPPROTO_TCP) {
			put32(out + start + 4, seq + (uint32_t)(at - header));
			out[start + 13] = (uint8_t)(flags & ~((last ? 0 : FIN | PSH) | (n ? CWR : 0)));
			transport_checksum(out, header + payload, start, proto, 16);
		} else {
			put16(out + start + 4, (uint32_t)(8 + payload));
			transport_checksum(out, header + payload, start, proto, 6);
		}
		each(p, out, header + payload, arg);
		at += payload;
		if (last)
			break;
	}
	return true;
}

/* Calls `each` for every packet to send; false when the virtio-net header does not fit the packet.
 * `vnet` is NULL where the TUN has no such header.
 */
bool segment_packet(struct pump *p, const uint8_t *vnet, uint8_t *packet, size_t size, segment_fn *each, void *arg)
{
	if (vnet) {
		size_t mss = host16(vnet + 4), start = host16(vnet + 6), offset = host16(vnet + 8);
		switch (vnet[1] & ~GSO_ECN) {
		case GSO_NONE:
			if (vnet[0] & NEEDS_CSUM && !complete_checksum(packet, size, start, offset))
				return false;
			break;
		case GSO_TCPV4:
		case GSO_TCPV6:
			return cut(p, packet, size, start, IPPROTO_TCP, mss, each, arg);
		case GSO_UDP_L4:
			return cut(p, packet, size, start, IPPROTO_UDP, mss, each, arg);
		default:
			return false;
		}
	}
	each(p, packet, size, arg);
	return true;
}
