/* SPDX-License-Identifier: MIT */
/* Sealing and opening, included by each implementation after chacha.h and the two of Poly1305. It also defined
 *
 *   xor_stream  `padded` bytes of the key stream, with `size` bytes of input and zeros behind them
 */

/* The key of Poly1305 and 1472 bytes of a packet come out of one go. */
#define BLOCKS 24

struct stream {
	_Alignas(64) uint8_t blocks[BLOCKS * 64]; /* the first of a message has the key of Poly1305 */
	uint32_t state[16];
	uint8_t poly_key[32];
};

/* Makes the blocks for the first bytes of a message of `size`, and returns how many bytes that are. */
static size_t begin(struct stream *s, const uint8_t *key, uint64_t counter, size_t size)
{
	static const uint32_t constants[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	size_t most = (BLOCKS - 1) * 64, now = size < most ? size : most;

	memcpy(s->state, constants, sizeof(constants));
	memcpy(s->state + 4, key, KEY_SIZE);
	s->state[12] = s->state[13] = 0;
	memcpy(s->state + 14, &counter, sizeof(counter));
	key_stream(s->blocks, s->state, 0, 1 + (now + 63) / 64);
	memcpy(s->poly_key, s->blocks, sizeof(s->poly_key));
	return now;
}

/* The whole message, of which `begin` did `now` bytes. */
static void xor_message(struct stream *s, uint8_t *out, const uint8_t *in, size_t size, size_t padded, size_t now)
{
	const uint8_t *blocks = s->blocks + 64;
	size_t at = 0;

	for (uint32_t number = BLOCKS;; number += BLOCKS) {
		size_t here = at < size ? size - at : 0;
		xor_stream(out + at, in + at, blocks, here < now ? here : now, now);
		at += now;
		if (at == padded)
			return;
		now = padded - at < sizeof(s->blocks) ? padded - at : sizeof(s->blocks);
		key_stream(s->blocks, s->state, number, (now + 63) / 64);
		blocks = s->blocks;
	}
}

static bool seal(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out, const uint8_t *in,
		 size_t size, size_t padded)
{
	struct stream s;

	(void)scratch;
	size_t now = begin(&s, key, counter, padded);
	xor_message(&s, out, in, size, padded, now);
	poly1305(s.poly_key, out, padded, out + padded);
	return true;
}

static bool open_sealed(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out,
			const uint8_t *in, size_t size)
{
	struct stream s;
	uint8_t tag[TAG_SIZE];

	(void)scratch;
	size_t now = begin(&s, key, counter, size);
	poly1305(s.poly_key, in, size, tag);
	if ((load64(tag) ^ load64(in + size)) | (load64(tag + 8) ^ load64(in + size + 8)))
		return false;
	xor_message(&s, out, in, size, size, now);
	return true;
}
