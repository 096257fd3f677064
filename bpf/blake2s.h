/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* BLAKE2s (RFC 7693), keyed, with 16 bytes of output: mac1, mac2 and cookies. */
#ifndef BLAKE2S_H
#define BLAKE2S_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "words.h"

#define BLAKE2S_BLOCK 64
#define BLAKE2S_WORDS (BLAKE2S_BLOCK / 4)
#define MAC_SIZE 16
#define MAC_WORDS (MAC_SIZE / 4)

/* The state, and the block that is hashed next. */
struct blake2s {
	__u32 h[8];
	__u32 m[BLAKE2S_WORDS];
};

#define BLAKE2S_IV0 0x6a09e667
#define BLAKE2S_IV1 0xbb67ae85
#define BLAKE2S_IV2 0x3c6ef372
#define BLAKE2S_IV3 0xa54ff53a
#define BLAKE2S_IV4 0x510e527f
#define BLAKE2S_IV5 0x9b05688c
#define BLAKE2S_IV6 0x1f83d9ab
#define BLAKE2S_IV7 0x5be0cd19

#define MIX(a, b, c, d, x, y)                                           \
	do {                                                            \
		ADD(a, m[x]); ADD(a, b); XOR(d, a); d = ROTR(d, 16);    \
		ADD(c, d); XOR(b, c); b = ROTR(b, 12);                  \
		ADD(a, m[y]); ADD(a, b); XOR(d, a); d = ROTR(d, 8);     \
		ADD(c, d); XOR(b, c); b = ROTR(b, 7);                   \
	} while (0)
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
	do {                                                                        \
		MIX(v0, v4, v8, v12, s0, s1);                                       \
		MIX(v1, v5, v9, v13, s2, s3);                                       \
		MIX(v2, v6, v10, v14, s4, s5);                                      \
		MIX(v3, v7, v11, v15, s6, s7);                                      \
		MIX(v0, v5, v10, v15, s8, s9);                                      \
		MIX(v1, v6, v11, v12, s10, s11);                                    \
		MIX(v2, v7, v8, v13, s12, s13);                                     \
		MIX(v3, v4, v9, v14, s14, s15);                                     \
		/* Or the compiler keeps a copy of the block on the stack. */       \
		asm volatile("" ::: "memory");                                      \
	} while (0)

/* Takes in the block, the last one when `last`; `length` are the bytes up to its end. A global function: verified
 * once. The rounds are written out, so that the words of the block are read at constant places.
 */
__noinline int blake2s_compress(struct blake2s *s, __u32 length, __u32 last)
{
	if (!s)
		return -1;
	const __u32 *m = s->m;
	__u32 v0 = s->h[0], v1 = s->h[1], v2 = s->h[2], v3 = s->h[3];
	__u32 v4 = s->h[4], v5 = s->h[5], v6 = s->h[6], v7 = s->h[7];
	__u32 v8 = BLAKE2S_IV0, v9 = BLAKE2S_IV1, v10 = BLAKE2S_IV2, v11 = BLAKE2S_IV3;
	__u32 v12 = BLAKE2S_IV4 ^ length, v13 = BLAKE2S_IV5;
	__u32 v14 = last ? ~BLAKE2S_IV6 : BLAKE2S_IV6, v15 = BLAKE2S_IV7;

	ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
	ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
	ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
	ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
	ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
	ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
	ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
	ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
	ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
	s->h[0] ^= v0 ^ v8;
	s->h[1] ^= v1 ^ v9;
	s->h[2] ^= v2 ^ v10;
	s->h[3] ^= v3 ^ v11;
	s->h[4] ^= v4 ^ v12;
	s->h[5] ^= v5 ^ v13;
	s->h[6] ^= v6 ^ v14;
	s->h[7] ^= v7 ^ v15;
	return 0;
}

/* The state after the key block of a key that is hashed often. */
static __always_inline void blake2s_resume(struct blake2s *s, const __u32 *state)
{
	__builtin_memcpy(s->h, state, sizeof(s->h));
}

/* A key of 16 bytes, which is not. */
static __always_inline void blake2s_key(struct blake2s *s, const __u32 *key)
{
	s->h[0] = BLAKE2S_IV0 ^ 0x01010000 ^ MAC_SIZE << 8 ^ MAC_SIZE;
	s->h[1] = BLAKE2S_IV1;
	s->h[2] = BLAKE2S_IV2;
	s->h[3] = BLAKE2S_IV3;
	s->h[4] = BLAKE2S_IV4;
	s->h[5] = BLAKE2S_IV5;
	s->h[6] = BLAKE2S_IV6;
	s->h[7] = BLAKE2S_IV7;
	__builtin_memset(s->m, 0, sizeof(s->m));
	__builtin_memcpy(s->m, key, MAC_SIZE);
	blake2s_compress(s, BLAKE2S_BLOCK, false);
}

/* Takes in `length` bytes behind the key block: a constant, a multiple of 4. The MAC is in the first words of `h`. */
static __always_inline void blake2s_finish(struct blake2s *s, const __u32 *data, const __u32 length)
{
#pragma clang loop unroll(full)
	for (__u32 at = 0; at < length; at += BLAKE2S_BLOCK) {
		__u32 here = length - at < BLAKE2S_BLOCK ? length - at : BLAKE2S_BLOCK;
		if (here < BLAKE2S_BLOCK)
			__builtin_memset(s->m, 0, sizeof(s->m));
		__builtin_memcpy(s->m, data + at / 4, here);
		blake2s_compress(s, BLAKE2S_BLOCK + at + here, at + here == length);
	}
}

/* Compares in full, whatever differs. */
static __always_inline bool is_mac(const struct blake2s *s, const __u32 *mac)
{
	return !((s->h[0] ^ mac[0]) | (s->h[1] ^ mac[1]) | (s->h[2] ^ mac[2]) | (s->h[3] ^ mac[3]));
}

#endif
