/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Made by chacha20rounds.py, which says why: change that. */
#ifndef CHACHA20ROUNDS_H
#define CHACHA20ROUNDS_H

/* Registers of ten; words of the state by number. */
#define W_ADD(a, b) "w" #a " += w" #b "\n"
#define W_XOR(a, b) "w" #a " ^= w" #b "\n"
#define W_ROT(a, n, m) "w9 = w" #a "\nw9 >>= " #m "\nw" #a " <<= " #n "\nw" #a " |= w9\n"
#define W_LOAD(a, word) "w" #a " = *(u32 *)%[x" #word "]\n"
#define W_STORE(word, a) "*(u32 *)%[x" #word "] = w" #a "\n"

#define CHACHA20_ENTER \
	W_LOAD(1, 5) W_LOAD(4, 7) W_LOAD(8, 13) W_LOAD(7, 6) W_LOAD(3, 15) W_LOAD(2, 10) W_LOAD(5, 11) \
	W_LOAD(6, 14) W_LOAD(0, 3)

/* The diagonals, then the columns. */
#define CHACHA20_DOUBLE(a, b, c, d, e, f, g, h, i) \
	W_STORE(11, f) W_LOAD(f, 0) W_ADD(f, b) W_XOR(d, f) W_STORE(0, f) W_LOAD(f, 2) W_ADD(f, e) \
	W_STORE(7, e) W_LOAD(e, 4) W_ADD(a, e) W_XOR(g, a) W_ROT(g, 16, 16) W_ROT(d, 16, 16) W_ADD(c, d) \
	W_XOR(b, c) W_XOR(i, f) W_STORE(10, c) W_LOAD(c, 9) W_ADD(c, g) W_ROT(i, 16, 16) W_STORE(2, f) \
	W_LOAD(f, 1) W_ADD(f, h) W_ROT(b, 12, 20) W_XOR(e, c) W_STORE(9, c) W_LOAD(c, 0) W_ADD(c, b) \
	W_XOR(d, c) W_STORE(0, c) W_LOAD(c, 8) W_ADD(c, i) W_STORE(13, i) W_LOAD(i, 7) W_XOR(i, c) \
	W_STORE(8, c) W_LOAD(c, 12) W_XOR(c, f) W_ROT(c, 16, 16) W_ROT(e, 12, 20) W_ADD(a, e) \
	W_ROT(i, 12, 20) W_STORE(4, e) W_LOAD(e, 11) W_ADD(e, c) W_XOR(g, a) W_ROT(g, 8, 24) W_XOR(h, e) \
	W_ROT(d, 8, 24) W_STORE(3, a) W_LOAD(a, 2) W_ADD(a, i) W_ROT(h, 12, 20) W_ADD(f, h) W_STORE(6, h) \
	W_LOAD(h, 10) W_ADD(h, d) W_XOR(b, h) W_STORE(10, h) W_LOAD(h, 13) W_XOR(h, a) W_XOR(c, f) \
	W_STORE(15, d) W_LOAD(d, 9) W_ADD(d, g) W_STORE(14, g) W_LOAD(g, 4) W_XOR(g, d) W_ROT(h, 8, 24) \
	W_ROT(g, 7, 25) W_ROT(b, 7, 25) W_STORE(2, a) W_LOAD(a, 0) W_ADD(a, g) W_STORE(4, g) W_LOAD(g, 8) \
	W_ADD(g, h) W_ROT(c, 8, 24) W_ADD(f, b) W_XOR(h, f) W_ROT(h, 16, 16) W_ADD(e, c) W_XOR(c, a) \
	W_XOR(i, g) W_ROT(c, 16, 16) W_ROT(i, 7, 25) W_STORE(1, f) W_LOAD(f, 6) W_XOR(f, e) W_ADD(d, h) \
	W_ADD(g, c) W_ROT(f, 7, 25) W_XOR(b, d) W_STORE(9, d) W_LOAD(d, 2) W_ADD(d, f) W_STORE(11, e) \
	W_LOAD(e, 4) W_XOR(e, g) W_STORE(8, g) W_LOAD(g, 14) W_XOR(g, d) W_ROT(e, 12, 20) W_STORE(2, d) \
	W_LOAD(d, 3) W_ADD(d, i) W_ROT(b, 12, 20) W_ADD(a, e) W_ROT(g, 16, 16) W_XOR(c, a) W_STORE(0, a) \
	W_LOAD(a, 15) W_XOR(a, d) W_STORE(3, d) W_LOAD(d, 10) W_ADD(d, g) W_STORE(14, g) W_LOAD(g, 1) \
	W_ADD(g, b) W_ROT(c, 8, 24) W_XOR(h, g) W_ROT(a, 16, 16) W_XOR(f, d) W_STORE(1, g) W_LOAD(g, 8) \
	W_ADD(g, c) W_STORE(12, c) W_LOAD(c, 11) W_ADD(c, a) W_ROT(h, 8, 24) W_XOR(i, c) W_ROT(f, 12, 20) \
	W_XOR(e, g) W_STORE(8, g) W_LOAD(g, 2) W_ADD(g, f) W_ROT(e, 7, 25) W_STORE(4, e) W_LOAD(e, 14) \
	W_XOR(e, g) W_STORE(2, g) W_LOAD(g, 9) W_ADD(g, h) W_ROT(e, 8, 24) W_XOR(b, g) W_ROT(i, 12, 20) \
	W_STORE(9, g) W_LOAD(g, 3) W_ADD(g, i) W_ROT(b, 7, 25) W_ADD(d, e) W_XOR(a, g) W_XOR(f, d) \
	W_ROT(a, 8, 24) W_ADD(c, a) W_XOR(i, c) W_ROT(f, 7, 25) W_ROT(i, 7, 25)

#define CHACHA20_LAST(a, b, c, d, e, f, g, h, i) \
	W_STORE(11, f) W_LOAD(f, 0) W_ADD(f, b) W_XOR(d, f) W_STORE(0, f) W_LOAD(f, 2) W_ADD(f, e) \
	W_STORE(7, e) W_LOAD(e, 4) W_ADD(a, e) W_XOR(g, a) W_ROT(g, 16, 16) W_ROT(d, 16, 16) W_ADD(c, d) \
	W_XOR(b, c) W_XOR(i, f) W_STORE(10, c) W_LOAD(c, 9) W_ADD(c, g) W_ROT(i, 16, 16) W_STORE(2, f) \
	W_LOAD(f, 1) W_ADD(f, h) W_ROT(b, 12, 20) W_XOR(e, c) W_STORE(9, c) W_LOAD(c, 0) W_ADD(c, b) \
	W_XOR(d, c) W_STORE(0, c) W_LOAD(c, 8) W_ADD(c, i) W_STORE(13, i) W_LOAD(i, 7) W_XOR(i, c) \
	W_STORE(8, c) W_LOAD(c, 12) W_XOR(c, f) W_ROT(c, 16, 16) W_ROT(e, 12, 20) W_ADD(a, e) \
	W_ROT(i, 12, 20) W_STORE(4, e) W_LOAD(e, 11) W_ADD(e, c) W_XOR(g, a) W_ROT(g, 8, 24) W_XOR(h, e) \
	W_ROT(d, 8, 24) W_STORE(3, a) W_LOAD(a, 2) W_ADD(a, i) W_ROT(h, 12, 20) W_ADD(f, h) W_STORE(6, h) \
	W_LOAD(h, 10) W_ADD(h, d) W_XOR(b, h) W_STORE(15, d) W_LOAD(d, 13) W_XOR(d, a) W_XOR(c, f) \
	W_STORE(10, h) W_LOAD(h, 9) W_ADD(h, g) W_STORE(14, g) W_LOAD(g, 4) W_XOR(g, h) W_ROT(d, 8, 24) \
	W_ROT(g, 7, 25) W_ROT(b, 7, 25) W_STORE(9, h) W_LOAD(h, 8) W_ADD(h, d) W_ROT(c, 8, 24) W_ADD(e, c) \
	W_XOR(i, h) W_ROT(i, 7, 25) W_STORE(13, d) W_LOAD(d, 6) W_XOR(d, e) W_ROT(d, 7, 25) W_STORE(5, b) \
	W_STORE(1, f) W_STORE(7, i) W_STORE(12, c) W_STORE(11, e) W_STORE(2, a) W_STORE(4, g) W_STORE(8, h) \
	W_STORE(6, d)

/* What follows the first round's columns (RFC 8439, 2.3), on an array of 16 words. */
#define CHACHA20_ROUNDS(x) \
	asm volatile(CHACHA20_ENTER \
	CHACHA20_DOUBLE(0, 1, 2, 3, 4, 5, 6, 7, 8) CHACHA20_DOUBLE(6, 1, 3, 0, 8, 2, 4, 5, 7) \
	CHACHA20_DOUBLE(4, 1, 0, 6, 7, 3, 8, 2, 5) CHACHA20_DOUBLE(8, 1, 6, 4, 5, 0, 7, 3, 2) \
	CHACHA20_DOUBLE(7, 1, 4, 8, 2, 6, 5, 0, 3) CHACHA20_DOUBLE(5, 1, 8, 7, 3, 4, 2, 6, 0) \
	CHACHA20_DOUBLE(2, 1, 7, 5, 0, 8, 3, 4, 6) CHACHA20_DOUBLE(3, 1, 5, 2, 6, 7, 0, 8, 4) \
	CHACHA20_DOUBLE(0, 1, 2, 3, 4, 5, 6, 7, 8) \
	CHACHA20_LAST(6, 1, 3, 0, 8, 2, 4, 5, 7) \
	: [x0] "+m"((x)[0]), [x1] "+m"((x)[1]), [x2] "+m"((x)[2]), [x3] "+m"((x)[3]), [x4] "+m"((x)[4]), \
	[x5] "+m"((x)[5]), [x6] "+m"((x)[6]), [x7] "+m"((x)[7]), [x8] "+m"((x)[8]), [x9] "+m"((x)[9]), \
	[x10] "+m"((x)[10]), [x11] "+m"((x)[11]), [x12] "+m"((x)[12]), [x13] "+m"((x)[13]), \
	[x14] "+m"((x)[14]), [x15] "+m"((x)[15]) \
	: \
	: "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9")

#endif
