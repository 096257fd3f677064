/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) of what a cookie reply holds: 16 bytes, with 16 bytes of associated
 * data.
 */
#ifndef XAEAD_H
#define XAEAD_H

#include "chacha20poly1305.h"

#define XAEAD_WORDS 4

/* `text` in: the plaintext; out: the ciphertext. `tag` out. The rest is room to work in: the stack has none. */
struct xaead_job {
	__u32 key[8];
	__u32 nonce[6];
	__u32 ad[XAEAD_WORDS];
	__u32 text[XAEAD_WORDS];
	__u32 tag[4];
	struct chacha_key derived;
	struct chacha_block block;
	struct poly_job poly;
};

/* The key for the last 8 bytes of the nonce, from the first 16 (HChaCha20, 2.2 of the draft). */
__noinline int hchacha20(struct xaead_job *j, struct chacha_key *k)
{
	if (!j || !k)
		return -1;
	__u32 x0 = 0x61707865, x1 = 0x3320646e, x2 = 0x79622d32, x3 = 0x6b206574;
	__u32 x4 = j->key[0], x5 = j->key[1], x6 = j->key[2], x7 = j->key[3];
	__u32 x8 = j->key[4], x9 = j->key[5], x10 = j->key[6], x11 = j->key[7];
	__u32 x12 = j->nonce[0], x13 = j->nonce[1], x14 = j->nonce[2], x15 = j->nonce[3];

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		CHACHA_COLUMNS;
		CHACHA_DIAGONALS;
	}
	k->key[0] = x0;
	k->key[1] = x1;
	k->key[2] = x2;
	k->key[3] = x3;
	k->key[4] = x12;
	k->key[5] = x13;
	k->key[6] = x14;
	k->key[7] = x15;
	k->nonce[0] = j->nonce[4];
	k->nonce[1] = j->nonce[5];
	return 0;
}

static __always_inline void poly_words(struct poly_state *p, const __u32 *w)
{
	poly_block(p, w[0], w[1], w[2], w[3]);
}

/* Not inlined: the stack of this and that of chacha20_block are not needed at the same time. */
__noinline int xaead_tag(struct xaead_job *j)
{
	struct poly_state p = {};

	if (!j)
		return -1;
	poly_begin(&p, &j->poly);
	poly_words(&p, j->ad);
	poly_words(&p, j->text);
	poly_block(&p, sizeof(j->ad), 0, sizeof(j->text), 0);
	poly_finish(&p, &j->poly);
	__builtin_memcpy(j->tag, j->poly.tag, sizeof(j->tag));
	return 0;
}

static __always_inline int xaead_seal(struct xaead_job *j)
{
	if (hchacha20(j, &j->derived))
		return -1;
	chacha20_one_block(&j->derived, &j->block, 0);
	__builtin_memcpy(j->poly.key, j->block.word, sizeof(j->poly.key));
	chacha20_one_block(&j->derived, &j->block, 1);
	for (int n = 0; n < XAEAD_WORDS; n++)
		j->text[n] ^= j->block.word[n];
	return xaead_tag(j);
}

#endif
