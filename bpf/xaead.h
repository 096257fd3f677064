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
	__u32 x[16] = {
		CHACHA_0, CHACHA_1, CHACHA_2, CHACHA_3,
		j->key[0], j->key[1], j->key[2], j->key[3], j->key[4], j->key[5], j->key[6], j->key[7],
		j->nonce[0], j->nonce[1], j->nonce[2], j->nonce[3],
	};

	for (int n = 0; n < 4; n++)
		QUARTER(x[n], x[n + 4], x[n + 8], x[n + 12]);
	CHACHA20_ROUNDS(x);
	__builtin_memcpy(k->key, x, 4 * sizeof(*x));
	__builtin_memcpy(k->key + 4, x + 12, 4 * sizeof(*x));
	k->nonce[0] = j->nonce[4];
	k->nonce[1] = j->nonce[5];
	return 0;
}

static __always_inline void poly_words(struct poly_state *p, const __u32 *w)
{
	poly_block(p, w[0], w[1], w[2], w[3]);
}

/* Not inlined: the stack of this and that of chacha20_one_block are not needed at the same time. */
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
