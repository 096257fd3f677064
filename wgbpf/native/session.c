/* SPDX-License-Identifier: MIT */
/* Keypairs: keys, the send counter, the replay window (RFC 6479, 64-bit words). */
#include "pump.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

struct session *session_new(const uint8_t *send_key, const uint8_t *receive_key)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->receiving, NULL);
	memcpy(s->send_key, send_key, KEY_SIZE);
	memcpy(s->receive_key, receive_key, KEY_SIZE);
	return s;
}

void session_free(struct session *s)
{
	explicit_bzero(s->send_key, KEY_SIZE);
	explicit_bzero(s->receive_key, KEY_SIZE);
	pthread_mutex_destroy(&s->receiving);
	free(s);
}

struct session *session_find(struct pump *p, uint32_t local_index)
{
	struct session *s = p->sessions[local_index % (sizeof(p->sessions) / sizeof(*p->sessions))];

	while (s && s->local_index != local_index)
		s = s->next;
	return s;
}

static bool has_expired(const struct session *s, uint64_t now)
{
	return now >= s->created && now - s->created >= REJECT_AFTER_NS;
}

bool session_may_send(const struct session *s, uint64_t now)
{
	return !s->receive_only && !has_expired(s, now) &&
	       __atomic_load_n(&s->counter, __ATOMIC_RELAXED) < REJECT_AFTER_MESSAGES;
}

/* Counters for so many messages, which nobody else gets; false when the key has not that many left. */
bool session_reserve(struct session *s, unsigned messages, uint64_t *counter)
{
	uint64_t first = __atomic_load_n(&s->counter, __ATOMIC_RELAXED);

	do
		if (first + messages > REJECT_AFTER_MESSAGES)
			return false;
	while (!__atomic_compare_exchange_n(&s->counter, &first, first + messages, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	*counter = first;
	return true;
}

static size_t padding(size_t size, uint32_t mtu)
{
	size_t last = size, padded;

	if (!mtu)
		return -size % 16;
	if (last > mtu)
		last %= mtu;
	padded = (last + 15) & ~(size_t)15;
	return (padded < mtu ? padded : mtu) - last;
}

static void put_little(uint8_t *out, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		out[i] = (uint8_t)(value >> 8 * i);
}

/* Writes the data message of a packet (size 0: keepalive) under a counter that was reserved; returns its size, or 0. */
size_t session_seal(struct pump *p, struct aead_scratch *scratch, const struct session *s, uint64_t counter, uint8_t *out,
		    const uint8_t *packet, size_t size)
{
	size_t padded = size + padding(size, p->mtu);

	put_little(out, MESSAGE_DATA, 4);
	put_little(out + 4, s->remote_index, 4);
	put_little(out + 8, counter, 8);
	if (!p->aead->seal(scratch, s->send_key, counter, out + DATA_HEADER, packet, size, padded))
		return 0;
	return DATA_HEADER + padded + TAG_SIZE;
}

/* True and marked, or false: seen already, or more than WINDOW behind. After the tag was checked. */
bool window_accept(struct session *s, uint64_t counter)
{
	uint64_t word = counter / 64, bit = 1ull << counter % 64;

	if (counter >= s->received) {
		uint64_t last = s->received ? (s->received - 1) / 64 : 0;
		for (uint64_t n = 0; n < word - last && n < WINDOW_WORDS; n++)
			s->window[(word - n) % WINDOW_WORDS] = 0;
		s->received = counter + 1;
	} else if (s->received - 1 - counter > WINDOW) {
		return false;
	}
	if (s->window[word % WINDOW_WORDS] & bit)
		return false;
	s->window[word % WINDOW_WORDS] |= bit;
	return true;
}
