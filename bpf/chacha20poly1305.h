/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* ChaCha20-Poly1305 (RFC 8439) with empty associated data, over the bytes of an XDP packet.
 *
 * Global functions: the verifier checks each once, whatever calls it. Offsets and lengths are scalars that are
 * added to the packet pointer once, after they have been bounded.
 */
#ifndef CHACHA20POLY1305_H
#define CHACHA20POLY1305_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "bound.h"

#define CHACHA_BLOCK 64
#define POLY_BLOCK 16
#define AEAD_MAX 4095 /* longest input, and largest offset in a packet */

struct chacha_key {
	__u32 key[8];
	__u32 nonce[2]; /* LE64(counter); the first nonce word is zero in WireGuard */
};

/* `key` in: the first 32 bytes of key stream. `tag` out. */
struct poly_job {
	__u32 key[8];
	__u32 tag[4];
};

#define ROTL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
#define QUARTER(a, b, c, d)                                             \
	do {                                                            \
		a += b; d ^= a; d = ROTL(d, 16);                        \
		c += d; b ^= c; b = ROTL(b, 12);                        \
		a += b; d ^= a; d = ROTL(d, 8);                         \
		c += d; b ^= c; b = ROTL(b, 7);                         \
	} while (0)

struct chacha_block {
	__u32 word[16];
};

/* XORs block number `counter` of the key stream into `out` (RFC 8439, 2.3). */
__noinline int chacha20_xor_block(struct chacha_key *k, struct chacha_block *out, __u32 counter)
{
	if (!k || !out)
		return -1;
	__u32 x0 = 0x61707865, x1 = 0x3320646e, x2 = 0x79622d32, x3 = 0x6b206574;
	__u32 x4 = k->key[0], x5 = k->key[1], x6 = k->key[2], x7 = k->key[3];
	__u32 x8 = k->key[4], x9 = k->key[5], x10 = k->key[6], x11 = k->key[7];
	__u32 x12 = counter, x13 = 0, x14 = k->nonce[0], x15 = k->nonce[1];

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		QUARTER(x0, x4, x8, x12);
		QUARTER(x1, x5, x9, x13);
		QUARTER(x2, x6, x10, x14);
		QUARTER(x3, x7, x11, x15);
		QUARTER(x0, x5, x10, x15);
		QUARTER(x1, x6, x11, x12);
		QUARTER(x2, x7, x8, x13);
		QUARTER(x3, x4, x9, x14);
	}
	out->word[0] ^= x0 + 0x61707865;
	out->word[1] ^= x1 + 0x3320646e;
	out->word[2] ^= x2 + 0x79622d32;
	out->word[3] ^= x3 + 0x6b206574;
	out->word[4] ^= x4 + k->key[0];
	out->word[5] ^= x5 + k->key[1];
	out->word[6] ^= x6 + k->key[2];
	out->word[7] ^= x7 + k->key[3];
	out->word[8] ^= x8 + k->key[4];
	out->word[9] ^= x9 + k->key[5];
	out->word[10] ^= x10 + k->key[6];
	out->word[11] ^= x11 + k->key[7];
	out->word[12] ^= x12 + counter;
	out->word[13] ^= x13;
	out->word[14] ^= x14 + k->nonce[0];
	out->word[15] ^= x15 + k->nonce[1];
	return 0;
}

/* En- or decrypts `length` bytes at offset `from` into offset `to` <= `from`, with blocks from 1 on.
 *
 * The low 16 bits of `lengths` are the input's length, the high 16 bits the output's: the input is padded with
 * zeros up to it (less than POLY_BLOCK). Front to back: a write never overtakes the next read.
 */
__noinline int chacha20_xor(struct xdp_md *ctx, struct chacha_key *k, __u32 from, __u32 to, __u32 lengths)
{
	struct chacha_block block;
	__u32 length = lengths & 0xffff, padded = lengths >> 16;
	__u32 done = 0;

	if (!k || from > AEAD_MAX || to > from || length > AEAD_MAX || padded < length ||
	    padded - length >= POLY_BLOCK)
		return -1;
	for (__u32 n = 1; n <= AEAD_MAX / CHACHA_BLOCK; n++) {
		if (done + CHACHA_BLOCK > length)
			break;
		__u64 in = from + done, at = to + done;
		BOUND(in, 0x1fff);
		BOUND(at, 0x1fff);
		__u64 *end = (void *)(long)ctx->data_end;
		__u64 *src = (void *)(long)ctx->data + in;
		if ((void *)src + CHACHA_BLOCK > (void *)end)
			return -1;
		__u64 *mid = (__u64 *)block.word;
#pragma clang loop unroll(full)
		for (int i = 0; i < 8; i++)
			mid[i] = src[i];
		chacha20_xor_block(k, &block, n);
		__u64 *dst = (void *)(long)ctx->data + at;
		end = (void *)(long)ctx->data_end;
		if ((void *)dst + CHACHA_BLOCK > (void *)end)
			return -1;
#pragma clang loop unroll(full)
		for (int i = 0; i < 8; i++)
			dst[i] = mid[i];
		done += CHACHA_BLOCK;
	}
	__u64 rest = length - done, out = padded - done;
	if (out == 0)
		return 0;
	BOUND(rest, CHACHA_BLOCK - 1);
	__builtin_memset(&block, 0, sizeof(block));
	if (rest != 0 && bpf_xdp_load_bytes(ctx, from + done, &block, rest))
		return -1;
	chacha20_xor_block(k, &block, done / CHACHA_BLOCK + 1);
	if (out > CHACHA_BLOCK) {
		/* The padding runs into one more block: only where the packet was longer than the MTU. */
		if (bpf_xdp_store_bytes(ctx, to + done, &block, CHACHA_BLOCK))
			return -1;
		done += CHACHA_BLOCK;
		out -= CHACHA_BLOCK;
		__builtin_memset(&block, 0, sizeof(block));
		chacha20_xor_block(k, &block, done / CHACHA_BLOCK + 1);
	}
	BOUND(out, 2 * CHACHA_BLOCK - 1);
	if (out == 0 || out > CHACHA_BLOCK)
		return -1;
	return bpf_xdp_store_bytes(ctx, to + done, &block, out);
}

#define LIMB 0x3ffffff

struct poly_state {
	__u64 h0, h1, h2, h3, h4;
	__u32 r0, r1, r2, r3, r4;
};

/* The first half of the key, with the bits cleared that RFC 8439 wants cleared. */
static __always_inline void poly_begin(struct poly_state *p, const struct poly_job *job)
{
	p->r0 = job->key[0] & 0x3ffffff;
	p->r1 = ((job->key[0] >> 26) | (job->key[1] << 6)) & 0x3ffff03;
	p->r2 = ((job->key[1] >> 20) | (job->key[2] << 12)) & 0x3ffc0ff;
	p->r3 = ((job->key[2] >> 14) | (job->key[3] << 18)) & 0x3f03fff;
	p->r4 = (job->key[3] >> 8) & 0x00fffff;
}

/* h = (h + block) * r modulo 2^130 - 5. Five limbs of 26 bits: BPF has no 64 x 64 -> 128 multiply. */
static __always_inline void poly_block(struct poly_state *p, __u64 lo, __u64 hi)
{
	__u64 r0 = p->r0, r1 = p->r1, r2 = p->r2, r3 = p->r3, r4 = p->r4;
	__u64 s1 = r1 * 5, s2 = r2 * 5, s3 = r3 * 5, s4 = r4 * 5;
	__u64 h0 = p->h0 + (lo & LIMB);
	__u64 h1 = p->h1 + ((lo >> 26) & LIMB);
	__u64 h2 = p->h2 + (((lo >> 52) | (hi << 12)) & LIMB);
	__u64 h3 = p->h3 + ((hi >> 14) & LIMB);
	__u64 h4 = p->h4 + ((hi >> 40) | (1 << 24));

	__u64 d0 = h0 * r0 + h1 * s4 + h2 * s3 + h3 * s2 + h4 * s1;
	__u64 d1 = h0 * r1 + h1 * r0 + h2 * s4 + h3 * s3 + h4 * s2 + (d0 >> 26);
	__u64 d2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s4 + h4 * s3 + (d1 >> 26);
	__u64 d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s4 + (d2 >> 26);
	__u64 d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0 + (d3 >> 26);

	h0 = (d0 & LIMB) + (d4 >> 26) * 5;
	p->h0 = h0 & LIMB;
	p->h1 = (d1 & LIMB) + (h0 >> 26);
	p->h2 = d2 & LIMB;
	p->h3 = d3 & LIMB;
	p->h4 = d4 & LIMB;
}

/* Reduces h fully, without a branch, and adds the second half of the key (RFC 8439, 2.5). */
static __always_inline void poly_finish(struct poly_state *p, struct poly_job *job)
{
	__u64 h0 = p->h0, h1 = p->h1, h2 = p->h2, h3 = p->h3, h4 = p->h4;

	h2 += h1 >> 26; h1 &= LIMB;
	h3 += h2 >> 26; h2 &= LIMB;
	h4 += h3 >> 26; h3 &= LIMB;
	h0 += (h4 >> 26) * 5; h4 &= LIMB;
	h1 += h0 >> 26; h0 &= LIMB;
	__u64 g0 = h0 + 5;
	__u64 g1 = h1 + (g0 >> 26);
	__u64 g2 = h2 + (g1 >> 26);
	__u64 g3 = h3 + (g2 >> 26);
	__u64 g4 = h4 + (g3 >> 26) - (1 << 26);
	__u64 keep = -(g4 >> 63); /* all ones: h < p */
	h0 = (h0 & keep) | (g0 & LIMB & ~keep);
	h1 = (h1 & keep) | (g1 & LIMB & ~keep);
	h2 = (h2 & keep) | (g2 & LIMB & ~keep);
	h3 = (h3 & keep) | (g3 & LIMB & ~keep);
	h4 = (h4 & keep) | (g4 & LIMB & ~keep);

	__u64 f = ((h0 | (h1 << 26)) & 0xffffffff) + job->key[4];
	job->tag[0] = f;
	f = (((h1 >> 6) | (h2 << 20)) & 0xffffffff) + job->key[5] + (f >> 32);
	job->tag[1] = f;
	f = (((h2 >> 12) | (h3 << 14)) & 0xffffffff) + job->key[6] + (f >> 32);
	job->tag[2] = f;
	f = (((h3 >> 18) | (h4 << 8)) & 0xffffffff) + job->key[7] + (f >> 32);
	job->tag[3] = f;
}

/* Tag of `length` bytes at offset `at`, as the AEAD lays them out: the bytes, zeros up to a multiple of 16, then
 * the two lengths (RFC 8439, 2.8).
 */
__noinline int poly1305(struct xdp_md *ctx, struct poly_job *job, __u32 at, __u32 length)
{
	struct poly_state p = {};
	__u64 part[2] = {};
	__u64 size = length, start = at;

	if (!job || at > AEAD_MAX || length > AEAD_MAX)
		return -1;
	BOUND(size, AEAD_MAX);
	BOUND(start, AEAD_MAX);
	poly_begin(&p, job);

	__u64 whole = size & ~(POLY_BLOCK - 1ULL), rest = size;
	for (__u32 n = 0; n < (AEAD_MAX + 1) / POLY_BLOCK; n++) {
		__u64 off = n * POLY_BLOCK;
		if (off >= whole)
			break;
		off += start;
		BOUND(off, 0x1fff);
		__u64 *data = (void *)(long)ctx->data + off;
		if ((void *)(data + 2) > (void *)(long)ctx->data_end)
			return -1;
		poly_block(&p, data[0], data[1]);
	}
	BOUND(rest, POLY_BLOCK - 1);
	if (rest != 0) {
		if (bpf_xdp_load_bytes(ctx, start + whole, part, rest))
			return -1;
		poly_block(&p, part[0], part[1]);
	}
	poly_block(&p, 0, length);
	poly_finish(&p, job);
	return 0;
}

struct aead_tag {
	__u32 word[4];
};

/* Tag of the `length` bytes of ciphertext at `at`. */
__noinline int aead_tag(struct xdp_md *ctx, struct chacha_key *k, struct aead_tag *tag, __u32 at, __u32 length)
{
	struct chacha_block first = {};
	struct poly_job job;

	if (!k || !tag || chacha20_xor_block(k, &first, 0))
		return -1;
	__builtin_memcpy(job.key, first.word, sizeof(job.key));
	if (poly1305(ctx, &job, at, length))
		return -1;
	__builtin_memcpy(tag->word, job.tag, sizeof(tag->word));
	return 0;
}

/* Seals `length` bytes at `from` to `to`, zero-padded to `padded`, and writes the tag behind them. */
static __always_inline int aead_seal(struct xdp_md *ctx, struct chacha_key *k, __u32 from, __u32 to,
				     __u32 length, __u32 padded)
{
	struct aead_tag tag;

	if (chacha20_xor(ctx, k, from, to, padded << 16 | length))
		return -1;
	if (aead_tag(ctx, k, &tag, to, padded))
		return -1;
	return bpf_xdp_store_bytes(ctx, to + padded, &tag, sizeof(tag));
}

/* Opens `length` bytes of ciphertext at `at` in place; the tag follows them. 0: authentic. Nothing is decrypted
 * before the tag has been compared, in full.
 */
static __always_inline int aead_open(struct xdp_md *ctx, struct chacha_key *k, __u32 at, __u32 length)
{
	struct aead_tag ours, theirs;

	if (aead_tag(ctx, k, &ours, at, length))
		return -1;
	if (bpf_xdp_load_bytes(ctx, at + length, &theirs, sizeof(theirs)))
		return -1;
	if ((theirs.word[0] ^ ours.word[0]) | (theirs.word[1] ^ ours.word[1]) |
	    (theirs.word[2] ^ ours.word[2]) | (theirs.word[3] ^ ours.word[3]))
		return -1;
	return chacha20_xor(ctx, k, at, at, length << 16 | length);
}

#endif
