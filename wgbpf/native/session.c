/* SPDX-License-Identifier: MIT */
/* Keypairs: ChaCha20-Poly1305 by OpenSSL, the send counter, the replay window (RFC 6479, 64-bit words). */
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
	pthread_mutex_init(&s->sending, NULL);
	s->seal = EVP_CIPHER_CTX_new();
	s->open = EVP_CIPHER_CTX_new();
	if (!s->seal || !s->open ||
	    EVP_EncryptInit_ex(s->seal, EVP_chacha20_poly1305(), NULL, send_key, NULL) != 1 ||
	    EVP_DecryptInit_ex(s->open, EVP_chacha20_poly1305(), NULL, receive_key, NULL) != 1) {
		session_free(s);
		return NULL;
	}
	return s;
}

void session_free(struct session *s)
{
	EVP_CIPHER_CTX_free(s->seal); /* wipes the key */
	EVP_CIPHER_CTX_free(s->open);
	pthread_mutex_destroy(&s->sending);
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
	return !s->receive_only && !has_expired(s, now) && s->counter < REJECT_AFTER_MESSAGES;
}

static void nonce_of(uint64_t counter, uint8_t nonce[12])
{
	memset(nonce, 0, 4);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(counter >> 8 * i);
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

/* Writes the data message of a packet (size 0: keepalive); returns its size, 0 when the key is used up.
 * The caller holds s->sending.
 */
size_t session_seal(struct session *s, uint8_t *out, const uint8_t *packet, size_t size, uint32_t mtu)
{
	static const uint8_t zeros[16];
	size_t pad = padding(size, mtu);
	uint64_t counter = s->counter;
	uint8_t nonce[12];
	int n = 0, m = 0;

	if (counter >= REJECT_AFTER_MESSAGES)
		return 0;
	s->counter = counter + 1;
	memset(out, 0, 4);
	out[0] = MESSAGE_DATA;
	for (int i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(s->remote_index >> 8 * i);
	for (int i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(counter >> 8 * i);
	nonce_of(counter, nonce);
	uint8_t *at = out + DATA_HEADER;
	if (EVP_EncryptInit_ex(s->seal, NULL, NULL, NULL, nonce) != 1 ||
	    (size && EVP_EncryptUpdate(s->seal, at, &n, packet, (int)size) != 1) ||
	    (pad && EVP_EncryptUpdate(s->seal, at + n, &m, zeros, (int)pad) != 1) ||
	    EVP_EncryptFinal_ex(s->seal, at + n + m, &(int){ 0 }) != 1 ||
	    EVP_CIPHER_CTX_ctrl(s->seal, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + size + pad) != 1)
		return 0;
	return DATA_HEADER + size + pad + TAG_SIZE;
}

/* `size` includes the tag; `out` gets size - TAG_SIZE bytes, which mean nothing unless this returns true. */
bool session_open(struct session *s, uint64_t counter, const uint8_t *sealed, size_t size, uint8_t *out)
{
	uint8_t nonce[12];
	int n = 0;

	nonce_of(counter, nonce);
	return EVP_DecryptInit_ex(s->open, NULL, NULL, NULL, nonce) == 1 &&
	       EVP_CIPHER_CTX_ctrl(s->open, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, (void *)(sealed + size - TAG_SIZE)) == 1 &&
	       (size == TAG_SIZE || EVP_DecryptUpdate(s->open, out, &n, sealed, (int)(size - TAG_SIZE)) == 1) &&
	       EVP_DecryptFinal_ex(s->open, out + n, &n) == 1;
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
