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
#include "chacha20rounds.h"
#include "words.h"

/* The first words of the state: "expand 32-byte k". */
#define CHACHA_0 0x61707865
#define CHACHA_1 0x3320646e
#define CHACHA_2 0x79622d32
#define CHACHA_3 0x6b206574
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

/* A quarter round (RFC 8439, 2.1). */
#define QUARTER(a, b, c, d)                          \
	do {                                         \
		ADD(a, b); XOR(d, a); d = ROTL(d, 16); \
		ADD(c, d); XOR(b, c); b = ROTL(b, 12); \
		ADD(a, b); XOR(d, a); d = ROTL(d, 8);  \
		ADD(c, d); XOR(b, c); b = ROTL(b, 7);  \
	} while (0)

/* The columns without the block's number after their first quarter round: the same for all blocks of a message. */
struct chacha_columns {
	__u32 x1, x5, x9, x13, x2, x6, x10, x14, x3, x7, x11, x15;
};

static __always_inline void chacha_columns_of(const struct chacha_key *k, struct chacha_columns *c)
{
	__u32 x1 = CHACHA_1, x2 = CHACHA_2, x3 = CHACHA_3;
	__u32 x5 = k->key[1], x6 = k->key[2], x7 = k->key[3], x9 = k->key[5], x10 = k->key[6], x11 = k->key[7];
	__u32 x13 = 0, x14 = k->nonce[0], x15 = k->nonce[1];

	QUARTER(x1, x5, x9, x13);
	QUARTER(x2, x6, x10, x14);
	QUARTER(x3, x7, x11, x15);
	*c = (struct chacha_columns){ x1, x5, x9, x13, x2, x6, x10, x14, x3, x7, x11, x15 };
}

struct chacha_block {
	union {
		__u32 word[16];
		__u64 pair[8];
	};
};

/* The state of block number `counter` (RFC 8439, 2.3) after its rounds. Inlined: a call for each block took 20 cycles more,
 * where the kernel mitigates Speculative Return Stack Overflow.
 */
static __always_inline void chacha20_state(const struct chacha_key *k, const struct chacha_columns *c, __u32 x[16],
					   __u32 counter)
{
	__u32 x0 = CHACHA_0, x4 = k->key[0], x8 = k->key[4], x12 = counter;

	QUARTER(x0, x4, x8, x12);
	x[0] = x0; x[1] = c->x1; x[2] = c->x2; x[3] = c->x3;
	x[4] = x4; x[5] = c->x5; x[6] = c->x6; x[7] = c->x7;
	x[8] = x8; x[9] = c->x9; x[10] = c->x10; x[11] = c->x11;
	x[12] = x12; x[13] = c->x13; x[14] = c->x14; x[15] = c->x15;
	CHACHA20_ROUNDS(x);
}

/* Words 2n and 2n + 1 of the key stream from that state. */
static __always_inline __u64 chacha20_pair(const struct chacha_key *k, const __u32 x[16], __u32 counter, int n)
{
	static const __u32 start[4] = { CHACHA_0, CHACHA_1, CHACHA_2, CHACHA_3 };
	__u32 lo = x[2 * n], hi = x[2 * n + 1];

	if (n < 2) {
		lo += start[2 * n];
		hi += start[2 * n + 1];
	} else if (n < 6) {
		lo += k->key[2 * n - 4];
		hi += k->key[2 * n - 3];
	} else if (n == 6) {
		lo += counter;
	} else {
		lo += k->nonce[0];
		hi += k->nonce[1];
	}
	return lo | (__u64)hi << 32;
}

/* Not inlined: its caller's stack has no room for the columns. */
__noinline int chacha20_one_block(struct chacha_key *k, struct chacha_block *out, __u32 counter)
{
	struct chacha_columns columns;
	__u32 x[16];

	if (!k || !out)
		return -1;
	chacha_columns_of(k, &columns);
	chacha20_state(k, &columns, x, counter);
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		out->pair[i] = chacha20_pair(k, x, counter, i);
	return 0;
}

/* En- or decrypts what is at offset `from` into offset `to` <= `from`: here the whole blocks, of which the first has the
 * number 1; front to back, a write never overtakes the next read.
 *
 * The low 16 bits of `lengths` are the input's length, the high 16 bits the output's: the input is padded with
 * zeros up to it (less than POLY_BLOCK).
 */
__noinline int chacha20_xor(struct xdp_md *ctx, struct chacha_key *k, __u32 from, __u32 to, __u32 lengths)
{
	struct chacha_columns columns;
	__u32 x[16];
	__u32 length = lengths & 0xffff, done = 0;

	if (!k || from > AEAD_MAX || to > from || length > AEAD_MAX)
		return -1;
	if (length < CHACHA_BLOCK)
		return 0;
	chacha_columns_of(k, &columns);
	for (__u32 n = 1; n <= AEAD_MAX / CHACHA_BLOCK; n++) {
		if (done + CHACHA_BLOCK > length)
			break;
		chacha20_state(k, &columns, x, n);
		__u64 in = from + done, at = to + done;
		BOUND(in, 0x1fff);
		BOUND(at, 0x1fff);
		void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
		__u64 *src = data + in, *dst = data + at;
		if ((void *)(src + 8) > end || (void *)(dst + 8) > end)
			return -1;
#pragma clang loop unroll(full)
		for (int i = 0; i < 8; i++)
			dst[i] = src[i] ^ chacha20_pair(k, x, n, i);
		done += CHACHA_BLOCK;
	}
	return 0;
}

/* What is left behind the whole blocks. */
__noinline int chacha20_xor_rest(struct xdp_md *ctx, struct chacha_key *k, __u32 from, __u32 to, __u32 lengths)
{
	struct chacha_block stream;
	__u32 length = lengths & 0xffff, padded = lengths >> 16, done = length & ~(CHACHA_BLOCK - 1);

	if (!k || from > AEAD_MAX || to > from || length > AEAD_MAX || padded < length ||
	    padded - length >= POLY_BLOCK)
		return -1;
	__u64 rest = length - done, out = padded - done;
	if (out == 0)
		return 0;
	BOUND(rest, CHACHA_BLOCK - 1);
	chacha20_one_block(k, &stream, done / CHACHA_BLOCK + 1);
	if (rest != 0) {
		struct chacha_block data = {};
		if (bpf_xdp_load_bytes(ctx, from + done, &data, rest))
			return -1;
#pragma clang loop unroll(full)
		for (int i = 0; i < 8; i++)
			stream.pair[i] ^= data.pair[i];
	}
	if (out > CHACHA_BLOCK) {
		/* The padding runs into one more block: only where the packet was longer than the MTU. */
		if (bpf_xdp_store_bytes(ctx, to + done, &stream, CHACHA_BLOCK))
			return -1;
		done += CHACHA_BLOCK;
		out -= CHACHA_BLOCK;
		chacha20_one_block(k, &stream, done / CHACHA_BLOCK + 1);
	}
	BOUND(out, 2 * CHACHA_BLOCK - 1);
	if (out == 0 || out > CHACHA_BLOCK)
		return -1;
	return bpf_xdp_store_bytes(ctx, to + done, &stream, out);
}

/* h modulo 2^130 - 5 in words of 32 bits, of which h0 and h3 have two more: BPF has no 64 x 64 -> 128 multiply. The key r
 * has 28 bits a word, so the carries of a block can wait for the sums of its products.
 */
struct poly_state {
	__u64 h0, h3;
	__u32 h1, h2;
	__u32 r0, r1, r2, r3, s1, s2, s3;
};

/* The first half of the key, with the bits cleared that RFC 8439 wants cleared. */
static __always_inline void poly_begin(struct poly_state *p, const struct poly_job *job)
{
	p->r0 = job->key[0] & 0x0fffffff;
	p->r1 = job->key[1] & 0x0ffffffc;
	p->r2 = job->key[2] & 0x0ffffffc;
	p->r3 = job->key[3] & 0x0ffffffc;
	/* What is multiplied past 2^130 comes back times 5 / 4 at 2^128: the low bits of these are zero. */
	p->s1 = p->r1 + (p->r1 >> 2);
	p->s2 = p->r2 + (p->r2 >> 2);
	p->s3 = p->r3 + (p->r3 >> 2);
}

/* h = (h + block) * r. Before and after, h0 < 2.25 * 2^32, h3 < 2^34, and the others are below 2^32. With r < 2^28 and
 * s < 1.25 * 2^28 the largest sum is, in units of 2^62, d0 < 1.5 * 1.25 + 0.5 * 1.25 + 0.5 * 1.25 + 0.8125 < 4.
 */
static __always_inline void poly_block(struct poly_state *p, __u32 m0, __u32 m1, __u32 m2, __u32 m3)
{
	__u64 r0 = p->r0, r1 = p->r1, r2 = p->r2, r3 = p->r3, s1 = p->s1, s2 = p->s2, s3 = p->s3;
	__u64 h0 = p->h0 + m0, h1 = (__u64)p->h1 + m1, h2 = (__u64)p->h2 + m2, h3 = p->h3 + m3 + (1ULL << 32);

	__u64 d0 = h3 * s1 + h2 * s2 + h1 * s3 + h0 * r0;
	__u64 d1 = h3 * s2 + h2 * s3 + h1 * r0 + h0 * r1 + (d0 >> 32);
	__u64 d2 = h3 * s3 + h2 * r0 + h1 * r1 + h0 * r2 + (d1 >> 32);
	__u64 d3 = h3 * r0 + h2 * r1 + h1 * r2 + h0 * r3 + (d2 >> 32);

	p->h0 = (__u32)d0 + (d3 >> 34) * 5;
	p->h1 = d1;
	p->h2 = d2;
	p->h3 = d3 & 0x3ffffffffULL;
}

/* Reduces h fully, without a branch, and adds the second half of the key (RFC 8439, 2.5). */
static __always_inline void poly_finish(struct poly_state *p, struct poly_job *job)
{
	__u64 h0 = p->h0, h1 = p->h1, h2 = p->h2, h3 = p->h3, h4;

	h1 += h0 >> 32; h0 = (__u32)h0;
	h2 += h1 >> 32; h1 = (__u32)h1;
	h3 += h2 >> 32; h2 = (__u32)h2;
	h4 = h3 >> 32; h3 = (__u32)h3;
	/* h + 5 reaches 2^130 where h is not reduced; only bits below 2^128 count then. */
	__u64 g = h0 + 5;
	g = h1 + (g >> 32);
	g = h2 + (g >> 32);
	g = h3 + (g >> 32);
	g = (h4 + (g >> 32)) >> 2;

	__u64 f = h0 + g * 5 + job->key[4];
	job->tag[0] = f;
	f = h1 + job->key[5] + (f >> 32);
	job->tag[1] = f;
	f = h2 + job->key[6] + (f >> 32);
	job->tag[2] = f;
	f = h3 + job->key[7] + (f >> 32);
	job->tag[3] = f;
}

/* Tag of `length` bytes at offset `at`, as the AEAD lays them out: the bytes, zeros up to a multiple of 16, then
 * the two lengths (RFC 8439, 2.8). Returns the sum of those bytes as the Internet checksum (RFC 1071) wants it, in 16
 * bits: they are read here anyway.
 */
__noinline int poly1305(struct xdp_md *ctx, struct poly_job *job, __u32 at, __u32 length)
{
	struct poly_state p = {};
	__u32 part[4] = {};
	__u64 size = length, start = at, sum = 0;

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
		__u32 *data = (void *)(long)ctx->data + off;
		if ((void *)(data + 4) > (void *)(long)ctx->data_end)
			return -1;
		poly_block(&p, data[0], data[1], data[2], data[3]);
		sum += (__u64)data[0] + data[1] + data[2] + data[3];
	}
	BOUND(rest, POLY_BLOCK - 1);
	if (rest != 0) {
		if (bpf_xdp_load_bytes(ctx, start + whole, part, rest))
			return -1;
		poly_block(&p, part[0], part[1], part[2], part[3]);
		sum += (__u64)part[0] + part[1] + part[2] + part[3];
	}
	poly_block(&p, 0, 0, length, 0);
	poly_finish(&p, job);
	return fold(sum);
}

struct aead_tag {
	__u32 word[4];
};

/* Tag of the `length` bytes of ciphertext at `at`; returns their sum like poly1305. */
__noinline int aead_tag(struct xdp_md *ctx, struct chacha_key *k, struct aead_tag *tag, __u32 at, __u32 length)
{
	struct chacha_block first;
	struct poly_job job;

	if (!k || !tag)
		return -1;
	chacha20_one_block(k, &first, 0);
	__builtin_memcpy(job.key, first.word, sizeof(job.key));
	int sum = poly1305(ctx, &job, at, length);
	__builtin_memcpy(tag->word, job.tag, sizeof(tag->word));
	return sum;
}

/* Seals `length` bytes at `from` to `to`, zero-padded to `padded`, and writes the tag behind them. Returns the sum of
 * both in 16 bits, or less than 0.
 */
static __always_inline int aead_seal(struct xdp_md *ctx, struct chacha_key *k, __u32 from, __u32 to,
				     __u32 length, __u32 padded)
{
	struct aead_tag tag;

	__u32 lengths = padded << 16 | length;
	if (chacha20_xor(ctx, k, from, to, lengths) || chacha20_xor_rest(ctx, k, from, to, lengths))
		return -1;
	int sum = aead_tag(ctx, k, &tag, to, padded);
	if (sum < 0)
		return -1;
	struct aead_tag *out = bytes_at(ctx, to + padded, sizeof(tag));
	if (!out)
		return -1;
	*out = tag;
	__u16 end = fold((__u64)tag.word[0] + tag.word[1] + tag.word[2] + tag.word[3]);
	return fold((__u32)sum + (padded & 1 ? __builtin_bswap16(end) : end));
}

/* Opens `length` bytes of ciphertext at `at` in place; the tag follows them. 0: authentic. Nothing is decrypted
 * before the tag has been compared, in full.
 */
static __always_inline int aead_open(struct xdp_md *ctx, struct chacha_key *k, __u32 at, __u32 length)
{
	struct aead_tag ours;

	if (aead_tag(ctx, k, &ours, at, length) < 0)
		return -1;
	const struct aead_tag *theirs = bytes_at(ctx, at + length, sizeof(*theirs));
	if (!theirs || (theirs->word[0] ^ ours.word[0]) | (theirs->word[1] ^ ours.word[1]) |
			       (theirs->word[2] ^ ours.word[2]) | (theirs->word[3] ^ ours.word[3]))
		return -1;
	__u32 lengths = length << 16 | length;
	return chacha20_xor(ctx, k, at, at, lengths) || chacha20_xor_rest(ctx, k, at, at, lengths) ? -1 : 0;
}

#endif
