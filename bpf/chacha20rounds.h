/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Made by chacha20rounds.py, which says why: change that. */
#ifndef CHACHA20ROUNDS_H
#define CHACHA20ROUNDS_H

/* Registers of ten; words of the state by number. */
#define W_ADD(a, b) "w" #a " += w" #b "\n"
#define W_XOR(a, b) "w" #a " ^= w" #b "\n"
#define W_ROT(a, n, m) "w9 = w" #a "\nw9 >>= " #m "\nw" #a " <<= " #n "\nw" #a " |= w9\n"
#define W_MOVE(a, b) "w" #a " = w" #b "\n"
#define W_LOAD(a, word) "w" #a " = *(u32 *)%[x" #word "]\n"
#define W_STORE(word, a) "*(u32 *)%[x" #word "] = w" #a "\n"

#define CHACHA20_ENTER \
	W_LOAD(1, 5) W_LOAD(4, 7) W_LOAD(2, 6) W_LOAD(8, 15) W_LOAD(3, 11) W_LOAD(0, 2) W_LOAD(5, 14) \
	W_LOAD(7, 3) W_LOAD(6, 10)

/* The diagonals, then the columns. */
#define CHACHA20_DOUBLE \
	W_STORE(11, 3) W_LOAD(3, 0) W_ADD(3, 1) W_XOR(8, 3) W_ADD(0, 4) W_STORE(0, 3) W_LOAD(3, 4) \
	W_ADD(7, 3) W_XOR(5, 7) W_ROT(5, 16, 16) W_ROT(8, 16, 16) W_ADD(6, 8) W_XOR(1, 6) W_STORE(10, 6) \
	W_LOAD(6, 13) W_XOR(6, 0) W_STORE(2, 0) W_LOAD(0, 9) W_ADD(0, 5) W_ROT(6, 16, 16) W_STORE(14, 5) \
	W_LOAD(5, 1) W_ADD(5, 2) W_XOR(3, 0) W_ROT(1, 12, 20) W_STORE(9, 0) W_LOAD(0, 8) W_ADD(0, 6) \
	W_XOR(4, 0) W_STORE(8, 0) W_LOAD(0, 12) W_XOR(0, 5) W_ROT(0, 16, 16) W_ROT(3, 12, 20) W_STORE(1, 5) \
	W_LOAD(5, 0) W_ADD(5, 1) W_ADD(7, 3) W_XOR(8, 5) W_ROT(4, 12, 20) W_STORE(0, 5) W_LOAD(5, 11) \
	W_ADD(5, 0) W_STORE(12, 0) W_LOAD(0, 14) W_XOR(0, 7) W_XOR(2, 5) W_ROT(8, 8, 24) W_ROT(0, 8, 24) \
	W_STORE(3, 7) W_LOAD(7, 2) W_ADD(7, 4) W_ROT(2, 12, 20) W_STORE(11, 5) W_LOAD(5, 9) W_ADD(5, 0) \
	W_STORE(14, 0) W_LOAD(0, 10) W_ADD(0, 8) W_XOR(6, 7) W_STORE(15, 8) W_LOAD(8, 1) W_ADD(8, 2) \
	W_XOR(1, 0) W_ROT(1, 7, 25) W_XOR(3, 5) W_STORE(10, 0) W_LOAD(0, 12) W_XOR(0, 8) W_ROT(3, 7, 25) \
	W_ROT(6, 8, 24) W_STORE(2, 7) W_LOAD(7, 0) W_ADD(7, 3) W_STORE(9, 5) W_LOAD(5, 8) W_ADD(5, 6) \
	W_ROT(0, 8, 24) W_ADD(8, 1) W_XOR(6, 8) W_ROT(6, 16, 16) W_XOR(4, 5) W_ROT(4, 7, 25) W_STORE(1, 8) \
	W_LOAD(8, 11) W_ADD(8, 0) W_XOR(0, 7) W_ROT(0, 16, 16) W_ADD(5, 0) W_XOR(2, 8) W_XOR(3, 5) \
	W_STORE(11, 8) W_LOAD(8, 9) W_ADD(8, 6) W_ROT(2, 7, 25) W_STORE(8, 5) W_LOAD(5, 2) W_ADD(5, 2) \
	W_STORE(13, 6) W_LOAD(6, 14) W_XOR(6, 5) W_ROT(3, 12, 20) W_XOR(1, 8) W_ROT(6, 16, 16) W_STORE(2, 5) \
	W_LOAD(5, 3) W_ADD(5, 4) W_ROT(1, 12, 20) W_ADD(7, 3) W_XOR(0, 7) W_ROT(0, 8, 24) W_STORE(0, 7) \
	W_LOAD(7, 10) W_ADD(7, 6) W_STORE(14, 6) W_LOAD(6, 15) W_XOR(6, 5) W_STORE(3, 5) W_LOAD(5, 1) \
	W_ADD(5, 1) W_XOR(2, 7) W_ROT(6, 16, 16) W_STORE(10, 7) W_LOAD(7, 13) W_XOR(7, 5) W_ROT(2, 12, 20) \
	W_STORE(1, 5) W_LOAD(5, 8) W_ADD(5, 0) W_STORE(12, 0) W_LOAD(0, 11) W_ADD(0, 6) W_XOR(4, 0) \
	W_ROT(7, 8, 24) W_ADD(8, 7) W_XOR(3, 5) W_STORE(8, 5) W_LOAD(5, 2) W_ADD(5, 2) W_ROT(3, 7, 25) \
	W_STORE(13, 7) W_LOAD(7, 14) W_XOR(7, 5) W_ROT(7, 8, 24) W_ROT(4, 12, 20) W_XOR(1, 8) W_STORE(9, 8) \
	W_LOAD(8, 3) W_ADD(8, 4) W_XOR(6, 8) W_ROT(1, 7, 25) W_STORE(4, 3) W_LOAD(3, 10) W_ADD(3, 7) \
	W_XOR(2, 3) W_ROT(2, 7, 25) W_ROT(6, 8, 24) W_ADD(0, 6) W_XOR(4, 0) W_ROT(4, 7, 25) W_MOVE(9, 8) \
	W_MOVE(8, 6) W_MOVE(6, 3) W_MOVE(3, 0) W_MOVE(0, 5) W_MOVE(5, 7) W_MOVE(7, 9)

#define CHACHA20_LAST \
	W_STORE(11, 3) W_LOAD(3, 0) W_ADD(3, 1) W_XOR(8, 3) W_ADD(0, 4) W_STORE(0, 3) W_LOAD(3, 4) \
	W_ADD(7, 3) W_ROT(8, 16, 16) W_STORE(7, 4) W_LOAD(4, 13) W_XOR(4, 0) W_XOR(5, 7) W_ADD(6, 8) \
	W_ROT(5, 16, 16) W_XOR(1, 6) W_STORE(10, 6) W_LOAD(6, 9) W_ADD(6, 5) W_ROT(4, 16, 16) W_STORE(2, 0) \
	W_LOAD(0, 1) W_ADD(0, 2) W_XOR(3, 6) W_ROT(1, 12, 20) W_STORE(9, 6) W_LOAD(6, 8) W_ADD(6, 4) \
	W_STORE(13, 4) W_LOAD(4, 12) W_XOR(4, 0) W_STORE(1, 0) W_LOAD(0, 7) W_XOR(0, 6) W_ROT(4, 16, 16) \
	W_ROT(3, 12, 20) W_STORE(8, 6) W_LOAD(6, 0) W_ADD(6, 1) W_ADD(7, 3) W_XOR(8, 6) W_ROT(0, 12, 20) \
	W_STORE(0, 6) W_LOAD(6, 11) W_ADD(6, 4) W_XOR(5, 7) W_XOR(2, 6) W_ROT(8, 8, 24) W_ROT(5, 8, 24) \
	W_STORE(3, 7) W_LOAD(7, 2) W_ADD(7, 0) W_ROT(2, 12, 20) W_STORE(11, 6) W_LOAD(6, 9) W_ADD(6, 5) \
	W_STORE(14, 5) W_LOAD(5, 10) W_ADD(5, 8) W_STORE(15, 8) W_LOAD(8, 13) W_XOR(8, 7) W_STORE(2, 7) \
	W_LOAD(7, 1) W_ADD(7, 2) W_XOR(1, 5) W_ROT(1, 7, 25) W_XOR(3, 6) W_XOR(4, 7) W_ROT(3, 7, 25) \
	W_ROT(8, 8, 24) W_STORE(10, 5) W_LOAD(5, 8) W_ADD(5, 8) W_ROT(4, 8, 24) W_XOR(0, 5) W_ROT(0, 7, 25) \
	W_STORE(13, 8) W_LOAD(8, 11) W_ADD(8, 4) W_XOR(2, 8) W_ROT(2, 7, 25) W_STORE(5, 1) W_STORE(6, 2) \
	W_STORE(4, 3) W_STORE(12, 4) W_STORE(7, 0) W_STORE(9, 6) W_STORE(1, 7) W_STORE(8, 5) W_STORE(11, 8)

/* What follows the first round's columns (RFC 8439, 2.3), on an array of 16 words. */
#define CHACHA20_ROUNDS(x) \
	asm volatile(CHACHA20_ENTER \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_LAST \
	: [x0] "+m"((x)[0]), [x1] "+m"((x)[1]), [x2] "+m"((x)[2]), [x3] "+m"((x)[3]), [x4] "+m"((x)[4]), \
	[x5] "+m"((x)[5]), [x6] "+m"((x)[6]), [x7] "+m"((x)[7]), [x8] "+m"((x)[8]), [x9] "+m"((x)[9]), \
	[x10] "+m"((x)[10]), [x11] "+m"((x)[11]), [x12] "+m"((x)[12]), [x13] "+m"((x)[13]), \
	[x14] "+m"((x)[14]), [x15] "+m"((x)[15]) \
	: \
	: "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9")

#endif
