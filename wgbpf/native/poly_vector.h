/* SPDX-License-Identifier: MIT */
/* Poly1305 on vectors, included by each implementation after poly_scalar.h and after it defined
 *
 *   CHUNK        bytes in a vector of blocks, a multiple of 64
 *   limbs        one block in each lane; wide: sums of their products; power: a power of r in each lane
 *   load_chunk   CHUNK bytes at an offset of the message; at a negative one zeros come before it
 *   madd         adds the products of limbs and a power; plus: adds limbs; carry: wide to limbs
 *   make_powers  from r, struct powers: `each`, with which the lanes make one sum; those of one and of two chunks
 *   gather       the sum of all lanes, below 2^130 and a bit: limbs of 64, 64 and 3 bits
 *
 * Two chunks are multiplied with powers that differ by one chunk, added, and carried once. The incomplete step is the
 * first: zeros before the message leave the sum at zero. What is behind the last 64 bytes is left to poly_rest.
 */

#define FEW 256 /* bytes, up to which the powers of r cost more than they save */

static void poly_vector(uint64_t h[3], const uint64_t r[2], const uint8_t *data, size_t size)
{
	long at = (long)((size - 1) % (2 * CHUNK) + 1) - 2 * CHUNK;
	struct wide sum = { 0 };
	struct limbs sofar;
	struct powers p;

	make_powers(&p, r);
	if (at > -CHUNK)
		madd(&sum, load_chunk(data, at), &p.chunk);
	plus(&sum, load_chunk(data, at + CHUNK));
	sofar = carry(&sum);
	for (at += 2 * CHUNK; at < (long)size; at += 2 * CHUNK) {
		sum = (struct wide){ 0 };
		madd(&sum, load_chunk(data, at), &p.chunk);
		madd(&sum, sofar, &p.chunks);
		plus(&sum, load_chunk(data, at + CHUNK));
		sofar = carry(&sum);
	}
	sum = (struct wide){ 0 };
	madd(&sum, sofar, &p.each);
	gather(&sum, h);
}

static void poly1305(const uint8_t *key, const uint8_t *data, size_t size, uint8_t *tag)
{
	size_t whole = size > FEW ? size & ~(size_t)63 : 0;
	uint64_t r[2], h[3] = { 0 };

	poly_r(key, r);
	if (whole)
		poly_vector(h, r, data, whole);
	poly_rest(h, r, data, whole, size);
	poly_end(h, key, tag);
}
