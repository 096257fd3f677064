/* SPDX-License-Identifier: MIT */
/* ChaCha20-Poly1305 with AVX2 (Haswell, Zen and later). */
#include "aead.h"

#if defined(__x86_64__)
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2"))), apply_to = function)
#else
/* Without these two GCC finds room for the state in registers: 5 to 8 % of sealing a packet. */
#pragma GCC optimize("no-tree-ter", "no-tree-coalesce-vars")
#pragma GCC target("avx2,bmi2")
#endif
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

#include "chacha256.h"

static void key_stream(uint8_t *out, const uint32_t state[16], uint32_t first, size_t blocks)
{
	for (size_t n = 0; n < blocks; n += 8)
		eight_blocks(out + n * 64, state, first + (uint32_t)n);
}

#include "poly_scalar.h"

static inline void xor_stream(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t size, size_t padded)
{
	_Alignas(32) uint8_t last[32];
	size_t at = 0;

	for (; at + 32 <= size; at += 32) {
		__m256i text = _mm256_loadu_si256((const void *)(in + at));
		_mm256_storeu_si256((void *)(out + at), _mm256_xor_si256(text, _mm256_load_si256((const void *)(stream + at))));
	}
	for (; at < padded; at += 32) {
		memset(last, 0, sizeof(last));
		if (at < size)
			memcpy(last, in + at, size - at);
		__m256i text = _mm256_load_si256((const void *)last);
		_mm256_store_si256((void *)last, _mm256_xor_si256(text, _mm256_load_si256((const void *)(stream + at))));
		memcpy(out + at, last, padded - at < sizeof(last) ? padded - at : sizeof(last));
	}
}

/* --- Poly1305: four blocks, limbs of 26 bits --- */

#define CHUNK 64
#define MASK26 0x3ffffff

struct limbs {
	__m256i h0, h1, h2, h3, h4;
};
struct wide {
	__m256i d0, d1, d2, d3, d4;
};
struct power {
	__m256i r0, r1, r2, r3, r4, s1, s2, s3, s4; /* s: 5 r */
};
struct powers {
	struct power each, chunk, chunks;
};

#define WORDS(n) _mm256_set1_epi64x((long long)(n))

/* The lanes hold blocks 0, 2, 1, 3. A message has at least a chunk, so `offset` is never negative. */
INLINE struct limbs load_chunk(const uint8_t *data, long offset)
{
	__m256i a = _mm256_loadu_si256((const void *)(data + offset)), mask = WORDS(MASK26);
	__m256i b = _mm256_loadu_si256((const void *)(data + offset + 32)), one = WORDS(1 << 24);

	__m256i low = _mm256_unpacklo_epi64(a, b), high = _mm256_unpackhi_epi64(a, b);
	__m256i middle = _mm256_or_si256(_mm256_srli_epi64(low, 52), _mm256_slli_epi64(high, 12));
	return (struct limbs){
		_mm256_and_si256(low, mask),
		_mm256_and_si256(_mm256_srli_epi64(low, 26), mask),
		_mm256_and_si256(middle, mask),
		_mm256_and_si256(_mm256_srli_epi64(high, 14), mask),
		_mm256_or_si256(_mm256_srli_epi64(high, 40), one),
	};
}

#define MADD(x, y0, y1, y2, y3, y4) \
	w->d0 = _mm256_add_epi64(w->d0, _mm256_mul_epu32(h.x, p->y0)); \
	w->d1 = _mm256_add_epi64(w->d1, _mm256_mul_epu32(h.x, p->y1)); \
	w->d2 = _mm256_add_epi64(w->d2, _mm256_mul_epu32(h.x, p->y2)); \
	w->d3 = _mm256_add_epi64(w->d3, _mm256_mul_epu32(h.x, p->y3)); \
	w->d4 = _mm256_add_epi64(w->d4, _mm256_mul_epu32(h.x, p->y4));

INLINE void madd(struct wide *w, struct limbs h, const struct power *p)
{
	MADD(h0, r0, r1, r2, r3, r4)
	MADD(h1, s4, r0, r1, r2, r3)
	MADD(h2, s3, s4, r0, r1, r2)
	MADD(h3, s2, s3, s4, r0, r1)
	MADD(h4, s1, s2, s3, s4, r0)
}

INLINE void plus(struct wide *w, struct limbs h)
{
	w->d0 = _mm256_add_epi64(w->d0, h.h0);
	w->d1 = _mm256_add_epi64(w->d1, h.h1);
	w->d2 = _mm256_add_epi64(w->d2, h.h2);
	w->d3 = _mm256_add_epi64(w->d3, h.h3);
	w->d4 = _mm256_add_epi64(w->d4, h.h4);
}

INLINE __m256i times5(__m256i x) { return _mm256_add_epi64(x, _mm256_slli_epi64(x, 2)); }

#define CARRY(from, to) \
	to = _mm256_add_epi64(to, _mm256_srli_epi64(from, 26)); \
	from = _mm256_and_si256(from, WORDS(MASK26));

/* Two chains side by side; what is left has 26 bits, and here and there a few thousand more. */
INLINE struct limbs carry(const struct wide *w)
{
	__m256i h0 = w->d0, h1 = w->d1, h2 = w->d2, h3 = w->d3, h4 = w->d4;

	CARRY(h0, h1)
	CARRY(h3, h4)
	CARRY(h1, h2)
	h0 = _mm256_add_epi64(h0, times5(_mm256_srli_epi64(h4, 26)));
	h4 = _mm256_and_si256(h4, WORDS(MASK26));
	CARRY(h2, h3)
	CARRY(h0, h1)
	CARRY(h3, h4)
	return (struct limbs){ h0, h1, h2, h3, h4 };
}

INLINE struct power power_of(struct limbs h)
{
	return (struct power){ h.h0, h.h1, h.h2, h.h3, h.h4, times5(h.h1), times5(h.h2), times5(h.h3), times5(h.h4) };
}

INLINE struct limbs product(struct limbs h, struct power p)
{
	struct wide w = { 0 };

	madd(&w, h, &p);
	return carry(&w);
}

#define EACH_LIMB(name, f) \
	INLINE struct limbs name(struct limbs x, struct limbs y) \
	{ \
		(void)y; \
		return (struct limbs){ f(x.h0, y.h0), f(x.h1, y.h1), f(x.h2, y.h2), f(x.h3, y.h3), f(x.h4, y.h4) }; \
	}
#define FIRST(x, y) _mm256_permute4x64_epi64(x, 0)
#define HALVES(x, y) _mm256_blend_epi32(x, y, 0x0f)
#define EVEN(x, y) _mm256_blend_epi32(x, y, 0x33)
EACH_LIMB(first_lane, FIRST)
EACH_LIMB(halves, HALVES)
EACH_LIMB(even, EVEN)

INLINE void make_powers(struct powers *p, const uint64_t r[2])
{
	struct limbs r1 = { WORDS(r[0] & MASK26), WORDS(r[0] >> 26 & MASK26), WORDS((r[0] >> 52 | r[1] << 12) & MASK26),
			    WORDS(r[1] >> 14 & MASK26), WORDS(r[1] >> 40) };
	struct limbs r2 = product(r1, power_of(r1));
	struct limbs r2211 = halves(r1, r2); /* the number is the power in each lane, twice */
	struct limbs r4433 = product(r2211, power_of(r2));
	struct limbs r4 = first_lane(r4433, r1);

	p->each = power_of(even(r2211, r4433)); /* 4, 2, 3, 1 */
	p->chunk = power_of(r4);
	p->chunks = power_of(product(r4, p->chunk));
}

INLINE uint64_t sum_of(__m256i x)
{
	__m128i two = _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	return (uint64_t)_mm_cvtsi128_si64(two) + (uint64_t)_mm_extract_epi64(two, 1);
}

INLINE void gather(const struct wide *w, uint64_t h[3])
{
	u128 low = sum_of(w->d0) + ((u128)sum_of(w->d1) << 26);
	/* In units of 2^52, so that 78 bits make 2^130. */
	u128 high = (low >> 52) + sum_of(w->d2) + ((u128)sum_of(w->d3) << 26) + ((u128)sum_of(w->d4) << 52);
	u128 sum = ((uint64_t)low & 0xfffffffffffff) + (high >> 78) * 5 + ((u128)((uint64_t)high & 0xfff) << 52);

	h[0] = (uint64_t)sum;
	sum = (sum >> 64) + ((high & (((u128)1 << 78) - 1)) >> 12);
	h[1] = (uint64_t)sum;
	h[2] = (uint64_t)(sum >> 64);
}

#include "poly_vector.h"
#include "aead_vector.h"

static uint64_t sum(const uint8_t *data, size_t size)
{
	__m256i total = _mm256_setzero_si256(), low = WORDS(0xffffffff);

	for (size_t at = 0; at < (size & ~(size_t)63); at += 32) {
		__m256i words = _mm256_loadu_si256((const void *)(data + at));
		total = _mm256_add_epi64(total, _mm256_add_epi64(_mm256_and_si256(words, low), _mm256_srli_epi64(words, 32)));
	}
	return sum_of(total);
}

const struct aead aead_avx2 = { "AVX2", cpu_has_avx2, seal, open_sealed, sum };

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
