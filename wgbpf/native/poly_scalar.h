/* SPDX-License-Identifier: MIT */
/* Poly1305 (RFC 8439, 2.5) of a few blocks, and its end for any number of them: limbs of 64, 64 and 2 bits. */

typedef unsigned __int128 u128;

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* The first half of the one-time key, clamped. */
static inline void poly_r(const uint8_t *key, uint64_t r[2])
{
	r[0] = load64(key) & 0x0ffffffc0fffffff;
	r[1] = load64(key + 8) & 0x0ffffffc0ffffffc;
}

/* h = (h + block) r; of what lies above 2^130 a fifth part more is added below: 2^130 = 5. */
static inline void poly_block(uint64_t h[3], const uint64_t r[2], uint64_t low, uint64_t high)
{
	uint64_t s1 = r[1] + (r[1] >> 2); /* 2^128 r[1]; its two low bits are clear */
	uint64_t h0 = h[0] + low, carry = h0 < low;
	uint64_t h1 = h[1] + high, h2 = h[2] + 1 + (h1 < high);

	h1 += carry;
	h2 += h1 < carry;
	u128 d0 = (u128)h0 * r[0] + (u128)h1 * s1, d1 = (u128)h0 * r[1] + (u128)h1 * r[0];
	uint64_t low1 = (uint64_t)d1 + h2 * s1, d2 = h2 * r[0] + (uint64_t)(d1 >> 64) + (low1 < (uint64_t)d1);
	h1 = low1 + (uint64_t)(d0 >> 64);
	d2 += h1 < low1;
	h0 = (uint64_t)d0 + (d2 >> 2) + (d2 & ~3ull);
	h[0] = h0;
	carry = h0 < (uint64_t)d0;
	h[1] = h1 + carry;
	h[2] = (d2 & 3) + (h[1] < carry);
}

/* What is left of a message from `at` on: blocks, zeros to a whole one, and one of the lengths. */
static inline void poly_rest(uint64_t h[3], const uint64_t r[2], const uint8_t *data, size_t at, size_t size)
{
	uint8_t last[16] = { 0 };

	for (; at + 16 <= size; at += 16)
		poly_block(h, r, load64(data + at), load64(data + at + 8));
	if (at < size) {
		memcpy(last, data + at, size - at);
		poly_block(h, r, load64(last), load64(last + 8));
	}
	poly_block(h, r, 0, size);
}

/* Below 2^130 - 5, then plus the other half of the key. */
static inline void poly_end(const uint64_t h[3], const uint8_t *key, uint8_t *tag)
{
	u128 t = (u128)h[0] + 5;
	uint64_t g0 = (uint64_t)t;
	t = (u128)h[1] + (t >> 64);
	uint64_t g1 = (uint64_t)t, g2 = h[2] + (uint64_t)(t >> 64);
	uint64_t reduced = -(g2 >> 2 & 1); /* all ones: h is not below the prime */

	t = (u128)((h[0] & ~reduced) | (g0 & reduced)) + load64(key + 16);
	uint64_t low = (uint64_t)t;
	uint64_t high = ((h[1] & ~reduced) | (g1 & reduced)) + load64(key + 24) + (uint64_t)(t >> 64);
	memcpy(tag, &low, 8);
	memcpy(tag + 8, &high, 8);
}
