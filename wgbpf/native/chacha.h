/* SPDX-License-Identifier: MIT */
/* ChaCha20 (RFC 8439, 2.3), many blocks side by side: a vector holds one word of each of them. For a kind of vector V
 * these must be defined:
 *
 *   V_vec           the type
 *   V_set(w)        w in each place; V_count: 0, 1, 2 ...
 *   V_add, V_xor, V_rotate
 *   V_low32, V_high32, V_low64, V_high64   the unpacking instructions, which work on quarters of 128 bits
 *   V_store(out, a, b, c, d)   block n of `out` is quarter n of a, b, c and d, with a gap of three blocks behind it
 *
 * The functions that are made of these macros have `state` as in RFC 8439. Sixteen vectors named x0 to x15 need sixteen
 * registers and none besides, so that with 32 registers two kinds can go through the rounds side by side.
 */

#define QUARTER(V, a, b, c, d) \
	a = V##_add(a, b), d = V##_rotate(V##_xor(d, a), 16); \
	c = V##_add(c, d), b = V##_rotate(V##_xor(b, c), 12); \
	a = V##_add(a, b), d = V##_rotate(V##_xor(d, a), 8); \
	c = V##_add(c, d), b = V##_rotate(V##_xor(b, c), 7);

#define CHACHA_QUARTER_0(V, x) QUARTER(V, x##0, x##4, x##8, x##12)
#define CHACHA_QUARTER_1(V, x) QUARTER(V, x##1, x##5, x##9, x##13)
#define CHACHA_QUARTER_2(V, x) QUARTER(V, x##2, x##6, x##10, x##14)
#define CHACHA_QUARTER_3(V, x) QUARTER(V, x##3, x##7, x##11, x##15)
#define CHACHA_QUARTER_4(V, x) QUARTER(V, x##0, x##5, x##10, x##15)
#define CHACHA_QUARTER_5(V, x) QUARTER(V, x##1, x##6, x##11, x##12)
#define CHACHA_QUARTER_6(V, x) QUARTER(V, x##2, x##7, x##8, x##13)
#define CHACHA_QUARTER_7(V, x) QUARTER(V, x##3, x##4, x##9, x##14)

/* `first` is added to the block number of the state. */
#define CHACHA_BEGIN(V, x, first) \
	V##_vec x##number = V##_add(V##_set(state[12] + (first)), V##_count); \
	V##_vec x##0 = V##_set(state[0]), x##1 = V##_set(state[1]), x##2 = V##_set(state[2]), x##3 = V##_set(state[3]); \
	V##_vec x##4 = V##_set(state[4]), x##5 = V##_set(state[5]), x##6 = V##_set(state[6]), x##7 = V##_set(state[7]); \
	V##_vec x##8 = V##_set(state[8]), x##9 = V##_set(state[9]), x##10 = V##_set(state[10]); \
	V##_vec x##11 = V##_set(state[11]), x##12 = x##number, x##13 = V##_set(state[13]); \
	V##_vec x##14 = V##_set(state[14]), x##15 = V##_set(state[15]);

#define CHACHA_TRANSPOSE(V, a, b, c, d) \
	{ \
		V##_vec ab0 = V##_low32(a, b), ab2 = V##_high32(a, b), cd0 = V##_low32(c, d), cd2 = V##_high32(c, d); \
		a = V##_low64(ab0, cd0), b = V##_high64(ab0, cd0), c = V##_low64(ab2, cd2), d = V##_high64(ab2, cd2); \
	}

#define CHACHA_PLUS(V, x, n) x##n = V##_add(x##n, V##_set(state[n]));

#define CHACHA_END(V, x, out) \
	CHACHA_PLUS(V, x, 0) CHACHA_PLUS(V, x, 1) CHACHA_PLUS(V, x, 2) CHACHA_PLUS(V, x, 3) \
	CHACHA_TRANSPOSE(V, x##0, x##1, x##2, x##3) \
	CHACHA_PLUS(V, x, 4) CHACHA_PLUS(V, x, 5) CHACHA_PLUS(V, x, 6) CHACHA_PLUS(V, x, 7) \
	CHACHA_TRANSPOSE(V, x##4, x##5, x##6, x##7) \
	CHACHA_PLUS(V, x, 8) CHACHA_PLUS(V, x, 9) CHACHA_PLUS(V, x, 10) CHACHA_PLUS(V, x, 11) \
	CHACHA_TRANSPOSE(V, x##8, x##9, x##10, x##11) \
	x##12 = V##_add(x##12, x##number); \
	CHACHA_PLUS(V, x, 13) CHACHA_PLUS(V, x, 14) CHACHA_PLUS(V, x, 15) \
	CHACHA_TRANSPOSE(V, x##12, x##13, x##14, x##15) \
	V##_store(out, x##0, x##4, x##8, x##12); \
	V##_store((out) + 64, x##1, x##5, x##9, x##13); \
	V##_store((out) + 128, x##2, x##6, x##10, x##14); \
	V##_store((out) + 192, x##3, x##7, x##11, x##15);
