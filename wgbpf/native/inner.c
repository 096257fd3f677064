/* SPDX-License-Identifier: MIT */
/* Inner packets: addresses, lengths, checksums (RFC 1071), ECN (RFC 6040). */
#include "pump.h"

#include <string.h>

/* Big-endian words summed in machine order: the ones' complement sum does not mind, checksum_finish swaps. */
uint64_t checksum_short(uint64_t sum, const uint8_t *data, size_t size)
{
	for (; size >= 4; data += 4, size -= 4) {
		uint32_t word;
		memcpy(&word, data, 4);
		sum += word;
	}
	if (size >= 2) {
		uint16_t word;
		memcpy(&word, data, 2);
		sum += word;
		data += 2;
		size -= 2;
	}
	return size ? sum + *data : sum;
}

uint64_t checksum_add(const struct pump *p, uint64_t sum, const uint8_t *data, size_t size)
{
	return checksum_short(sum + p->aead->sum(data, size), data + (size & ~(size_t)63), size & 63);
}

/* The 16 bits to be stored big-endian with put16. */
uint16_t checksum_finish(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum << 8 | sum >> 8);
}

uint64_t checksum_pseudo(const uint8_t *packet, uint8_t proto, size_t length)
{
	uint8_t tail[8] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,
			    0, 0, 0, proto };
	uint64_t sum = packet[0] >> 4 == 4 ? checksum_short(0, packet + 12, 8) : checksum_short(0, packet + 8, 32);

	return checksum_short(sum, tail, sizeof(tail));
}

/* Length that the header tells, 0 when the header does not fit what arrived. */
size_t inner_length(const uint8_t *packet, size_t size)
{
	size_t length, least;

	if (size >= 20 && packet[0] >> 4 == 4) {
		length = get16(packet + 2);
		least = 20;
	} else if (size >= 40 && packet[0] >> 4 == 6) {
		length = (size_t)get16(packet + 4) + 40;
		least = 40;
	} else {
		return 0;
	}
	return length >= least && length <= size ? length : 0;
}

/* Bulk traffic asks for one address again and again. */
static struct peer *owner(struct pump *p, struct known_route *known, uint8_t version, const uint8_t *address)
{
	size_t size = version == 4 ? 4 : 16;

	if (known->generation == p->generation && known->version == version && !memcmp(known->address, address, size))
		return known->peer;
	int64_t number = routes_lookup(version == 4 ? &p->routes4 : &p->routes6, address, 8 * (unsigned)size);
	known->generation = p->generation;
	known->version = version;
	memcpy(known->address, address, size);
	known->peer = number < 0 || number >= p->peers_size ? NULL : p->peers[number];
	return known->peer;
}

struct peer *inner_destination(struct pump *p, struct known_route *known, const uint8_t *packet, size_t size, bool *is_ip)
{
	*is_ip = true;
	if (size >= 20 && packet[0] >> 4 == 4)
		return owner(p, known, 4, packet + 16);
	if (size >= 40 && packet[0] >> 4 == 6)
		return owner(p, known, 6, packet + 24);
	*is_ip = false;
	return NULL;
}

struct peer *inner_source(struct pump *p, struct known_route *known, const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? owner(p, known, 4, packet + 12) : owner(p, known, 6, packet + 8);
}

uint8_t inner_ds(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? packet[1] : (uint8_t)(packet[0] << 4 | packet[1] >> 4);
}

static void set_ecn(uint8_t *packet, uint8_t ecn)
{
	if (packet[0] >> 4 == 6) {
		packet[1] = (uint8_t)((packet[1] & 0xcf) | ecn << 4);
		return;
	}
	/* RFC 1624: HC' = ~(~HC + ~m + m') */
	uint32_t before = get16(packet);
	packet[1] = (uint8_t)((packet[1] & 0xfc) | ecn);
	uint32_t sum = (~get16(packet + 10) & 0xffff) + (~before & 0xffff) + get16(packet);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(packet + 10, ~sum & 0xffff);
}

/* RFC 6040, figure 4; false where that says drop. */
bool inner_decapsulate_ecn(uint8_t *packet, uint8_t outer_ds)
{
	enum { NOT_ECT, ECT1, ECT0, CE };
	uint8_t outer = outer_ds & 3, inside = inner_ds(packet) & 3;

	if (outer == CE) {
		if (inside == NOT_ECT)
			return false;
		if (inside != CE)
			set_ecn(packet, CE);
	} else if (outer == ECT1 && inside == ECT0) {
		set_ecn(packet, ECT1);
	}
	return true;
}
