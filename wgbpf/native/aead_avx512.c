/* SPDX-License-Identifier: MIT */
/* ChaCha20-Poly1305 with AVX-512 and its 52-bit multiplication (Ice Lake, Zen 4 and later). */
#include "aead.h"

#if defined(__x86_64__)
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512ifma,avx2,bmi,bmi2"))), apply_to = function)
#else
/* Without these two GCC finds room for the state in registers: 5 to 8 % of sealing a packet. */
#pragma GCC optimize("no-tree-ter", "no-tree-coalesce-vars")
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512ifma,avx2,bmi,bmi2")
#endif
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* --- ChaCha20: sixteen blocks, and eight for what is left --- */

#define v8_rotate _mm256_rol_epi32
#include "chacha256.h"

#define v16_vec __m512i
#define v16_set(w) _mm512_set1_epi32((int)(w))
#define v16_count _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define v16_add _mm512_add_epi32
#define v16_xor _mm512_xor_si512
#define v16_rotate _mm512_rol_epi32
#define v16_low32 _mm512_unpacklo_epi32
#define v16_high32 _mm512_unpackhi_epi32
#define v16_low64 _mm512_unpacklo_epi64
#define v16_high64 _mm512_unpackhi_epi64

INLINE void v16_store(uint8_t *out, __m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab0 = _mm512_shuffle_i32x4(a, b, 0x44), ab2 = _mm512_shuffle_i32x4(a, b, 0xee);
	__m512i cd0 = _mm512_shuffle_i32x4(c, d, 0x44), cd2 = _mm512_shuffle_i32x4(c, d, 0xee);

	_mm512_store_si512(out, _mm512_shuffle_i32x4(ab0, cd0, 0x88));
	_mm512_store_si512(out + 256, _mm512_shuffle_i32x4(ab0, cd0, 0xdd));
	_mm512_store_si512(out + 512, _mm512_shuffle_i32x4(ab2, cd2, 0x88));
	_mm512_store_si512(out + 768, _mm512_shuffle_i32x4(ab2, cd2, 0xdd));
}

static void sixteen_blocks(uint8_t *out, const uint32_t state[16], uint32_t first)
{
	CHACHA_BEGIN(v16, x, first)
	for (int n = 0; n < 10; n++) {
		CHACHA_QUARTER_0(v16, x) CHACHA_QUARTER_1(v16, x) CHACHA_QUARTER_2(v16, x) CHACHA_QUARTER_3(v16, x)
		CHACHA_QUARTER_4(v16, x) CHACHA_QUARTER_5(v16, x) CHACHA_QUARTER_6(v16, x) CHACHA_QUARTER_7(v16, x)
	}
	CHACHA_END(v16, x, out)
}

#define BOTH(n) CHACHA_QUARTER_##n(v16, x) CHACHA_QUARTER_##n(v8, y)

static void twenty_four_blocks(uint8_t *out, const uint32_t state[16], uint32_t first)
{
	CHACHA_BEGIN(v16, x, first)
	CHACHA_BEGIN(v8, y, first + 16)
	for (int n = 0; n < 10; n++) {
		BOTH(0) BOTH(1) BOTH(2) BOTH(3)
		BOTH(4) BOTH(5) BOTH(6) BOTH(7)
	}
	CHACHA_END(v16, x, out)
	CHACHA_END(v8, y, out + 16 * 64)
}

/* At most BLOCKS blocks, but eight more than asked for may be written within their room. */
static void key_stream(uint8_t *out, const uint32_t state[16], uint32_t first, size_t blocks)
{
	if (blocks > 16)
		twenty_four_blocks(out, state, first);
	else if (blocks > 8)
		sixteen_blocks(out, state, first);
	else
		eight_blocks(out, state, first);
}

#include "poly_scalar.h"

INLINE __mmask64 first_bytes(size_t n) { return n < 64 ? (1ull << n) - 1 : ~0ull; }

static inline void xor_stream(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t size, size_t padded)
{
	size_t at = 0;

	for (; at + 64 <= size; at += 64)
		_mm512_storeu_si512(out + at, _mm512_xor_si512(_mm512_loadu_si512(in + at), _mm512_load_si512(stream + at)));
	for (; at < padded; at += 64) {
		__m512i text = _mm512_maskz_loadu_epi8(first_bytes(at < size ? size - at : 0), in + at);
		_mm512_mask_storeu_epi8(out + at, first_bytes(padded - at), _mm512_xor_si512(text, _mm512_load_si512(stream + at)));
	}
}

/* --- Poly1305: eight blocks, limbs of 44, 44 and 42 bits --- */

#define CHUNK 128
#define MASK44 0xfffffffffffull
#define MASK42 0x3ffffffffffull

struct limbs {
	__m512i h0, h1, h2;
};
struct wide {
	__m512i low0, low1, low2, high0, high1, high2; /* high: times 2^52 */
};
struct power {
	__m512i r0, r1, r2, s1, s2; /* s: 20 r, what overflows 2^130 comes back times 5 */
};
struct powers {
	struct power each, chunk, chunks;
};

#define WORDS(n) _mm512_set1_epi64((long long)(n))

/* The lanes hold blocks 0, 4, 1, 5, 2, 6, 3, 7. */
INLINE struct limbs load_chunk(const uint8_t *data, long offset)
{
	__m512i a = _mm512_setzero_si512(), b = _mm512_loadu_si512(data + offset + 64), one = WORDS(1ull << 40);

	if (offset < 0)
		one = _mm512_maskz_mov_epi64(0xaa, one);
	else
		a = _mm512_loadu_si512(data + offset);
	__m512i low = _mm512_unpacklo_epi64(a, b), high = _mm512_unpackhi_epi64(a, b), mask = WORDS(MASK44);
	return (struct limbs){
		_mm512_and_si512(low, mask),
		_mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64(low, 44), _mm512_slli_epi64(high, 20)), mask),
		_mm512_or_si512(_mm512_srli_epi64(high, 24), one),
	};
}

#define MADD(sum, x, y) \
	w->low##sum = _mm512_madd52lo_epu64(w->low##sum, h.x, p->y); \
	w->high##sum = _mm512_madd52hi_epu64(w->high##sum, h.x, p->y);

INLINE void madd(struct wide *w, struct limbs h, const struct power *p)
{
	MADD(0, h0, r0) MADD(1, h0, r1) MADD(2, h0, r2)
	MADD(0, h1, s2) MADD(1, h1, r0) MADD(2, h1, r1)
	MADD(0, h2, s1) MADD(1, h2, s2) MADD(2, h2, r0)
}

INLINE void plus(struct wide *w, struct limbs h)
{
	w->low0 = _mm512_add_epi64(w->low0, h.h0);
	w->low1 = _mm512_add_epi64(w->low1, h.h1);
	w->low2 = _mm512_add_epi64(w->low2, h.h2);
}

INLINE __m512i times5(__m512i x) { return _mm512_add_epi64(x, _mm512_slli_epi64(x, 2)); }

INLINE struct limbs carry_once(__m512i h0, __m512i h1, __m512i h2, __m512i c0, __m512i c1, __m512i c2)
{
	return (struct limbs){
		_mm512_add_epi64(_mm512_and_si512(h0, WORDS(MASK44)), times5(c2)),
		_mm512_add_epi64(_mm512_and_si512(h1, WORDS(MASK44)), c0),
		_mm512_add_epi64(_mm512_and_si512(h2, WORDS(MASK42)), c1),
	};
}

/* Twice, all limbs at once: the first leaves up to 55 bits, the second 44 and a few thousand more. */
INLINE struct limbs carry(const struct wide *w)
{
	struct limbs h = carry_once(w->low0, w->low1, w->low2,
				    _mm512_add_epi64(_mm512_srli_epi64(w->low0, 44), _mm512_slli_epi64(w->high0, 8)),
				    _mm512_add_epi64(_mm512_srli_epi64(w->low1, 44), _mm512_slli_epi64(w->high1, 8)),
				    _mm512_add_epi64(_mm512_srli_epi64(w->low2, 42), _mm512_slli_epi64(w->high2, 10)));

	return carry_once(h.h0, h.h1, h.h2, _mm512_srli_epi64(h.h0, 44), _mm512_srli_epi64(h.h1, 44),
			  _mm512_srli_epi64(h.h2, 42));
}

INLINE struct power power_of(struct limbs h)
{
	__m512i four1 = _mm512_slli_epi64(h.h1, 2), four2 = _mm512_slli_epi64(h.h2, 2);

	return (struct power){ h.h0, h.h1, h.h2, times5(four1), times5(four2) };
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
		return (struct limbs){ f(x.h0, y.h0), f(x.h1, y.h1), f(x.h2, y.h2) }; \
	}
#define FIRST(x, y) _mm512_permutexvar_epi64(_mm512_setzero_si512(), x)
#define PAIRS(x, y) _mm512_mask_blend_epi64(0x33, x, y)
#define HALVES(x, y) _mm512_mask_blend_epi64(0x0f, x, y)
#define EVEN(x, y) _mm512_mask_blend_epi64(0x55, x, y)
EACH_LIMB(first_lane, FIRST)
EACH_LIMB(pairs, PAIRS)
EACH_LIMB(halves, HALVES)
EACH_LIMB(even, EVEN)

INLINE void make_powers(struct powers *p, const uint64_t r[2])
{
	struct limbs r1 = { WORDS(r[0] & MASK44), WORDS((r[0] >> 44 | r[1] << 20) & MASK44), WORDS(r[1] >> 24) };
	struct limbs r2 = product(r1, power_of(r1));
	struct limbs r2211 = pairs(r1, r2); /* the number is the power in each lane, twice */
	struct limbs r44332211 = halves(r2211, product(r2211, power_of(r2)));
	struct limbs r88776655 = product(r44332211, power_of(first_lane(r44332211, r1)));
	struct limbs r8 = first_lane(r88776655, r1);

	p->each = power_of(even(r44332211, r88776655)); /* 8, 4, 7, 3, 6, 2, 5, 1 */
	p->chunk = power_of(r8);
	p->chunks = power_of(product(r8, p->chunk));
}

INLINE u128 sum_of(__m512i low, __m512i high)
{
	return (u128)(uint64_t)_mm512_reduce_add_epi64(low) + ((u128)(uint64_t)_mm512_reduce_add_epi64(high) << 52);
}

INLINE void gather(const struct wide *w, uint64_t h[3])
{
	u128 d0 = sum_of(w->low0, w->high0), d1 = sum_of(w->low1, w->high1) + (d0 >> 44);
	u128 d2 = sum_of(w->low2, w->high2) + (d1 >> 44);
	u128 all = ((uint64_t)d0 & MASK44) + (d2 >> 42) * 5 + ((u128)((uint64_t)d1 & MASK44) << 44);

	h[0] = (uint64_t)all;
	all = (all >> 64) + ((u128)((uint64_t)d2 & MASK42) << 24);
	h[1] = (uint64_t)all;
	h[2] = (uint64_t)(all >> 64);
}

#include "poly_vector.h"
#include "aead_vector.h"

static uint64_t sum(const uint8_t *data, size_t size)
{
	__m512i total = _mm512_setzero_si512(), low = WORDS(0xffffffff);

	for (size_t at = 0; at + 64 <= size; at += 64) {
		__m512i words = _mm512_loadu_si512(data + at);
		total = _mm512_add_epi64(total, _mm512_add_epi64(_mm512_and_si512(words, low), _mm512_srli_epi64(words, 32)));
	}
	return (uint64_t)_mm512_reduce_add_epi64(total);
}

const struct aead aead_avx512 = { "AVX-512", cpu_has_avx512, seal, open_sealed, sum };

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
