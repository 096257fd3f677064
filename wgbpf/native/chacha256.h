/* SPDX-License-Identifier: MIT */
/* ChaCha20 in vectors of 256 bits: eight blocks. */
#include "chacha.h"

#define v8_vec __m256i
#define v8_set(w) _mm256_set1_epi32((int)(w))
#define v8_count _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
#define v8_add _mm256_add_epi32
#define v8_xor _mm256_xor_si256
#define v8_low32 _mm256_unpacklo_epi32
#define v8_high32 _mm256_unpackhi_epi32
#define v8_low64 _mm256_unpacklo_epi64
#define v8_high64 _mm256_unpackhi_epi64

#if !defined(v8_rotate)
INLINE __m256i v8_rotate(__m256i x, const int n)
{
	const __m256i by16 = _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
	const __m256i by8 = _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14));

	if (n == 16)
		return _mm256_shuffle_epi8(x, by16);
	if (n == 8)
		return _mm256_shuffle_epi8(x, by8);
	return _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - n));
}
#endif

INLINE void v8_store(uint8_t *out, __m256i a, __m256i b, __m256i c, __m256i d)
{
	_mm256_store_si256((void *)out, _mm256_permute2x128_si256(a, b, 0x20));
	_mm256_store_si256((void *)(out + 32), _mm256_permute2x128_si256(c, d, 0x20));
	_mm256_store_si256((void *)(out + 256), _mm256_permute2x128_si256(a, b, 0x31));
	_mm256_store_si256((void *)(out + 288), _mm256_permute2x128_si256(c, d, 0x31));
}

static void eight_blocks(uint8_t *out, const uint32_t state[16], uint32_t first)
{
	CHACHA_BEGIN(v8, x, first)
	for (int n = 0; n < 10; n++) {
		CHACHA_QUARTER_0(v8, x) CHACHA_QUARTER_1(v8, x) CHACHA_QUARTER_2(v8, x) CHACHA_QUARTER_3(v8, x)
		CHACHA_QUARTER_4(v8, x) CHACHA_QUARTER_5(v8, x) CHACHA_QUARTER_6(v8, x) CHACHA_QUARTER_7(v8, x)
	}
	CHACHA_END(v8, x, out)
}
