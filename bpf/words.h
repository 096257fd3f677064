/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What ciphers and hashes do with words of 32 bits. */
#ifndef WORDS_H
#define WORDS_H

#define ROTL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
#define ROTR(x, n) ROTL(x, 32 - (n))

/* Written out: the compiler copies a register for most of these. */
#define ADD(a, b) asm("%0 += %1" : "+w"(a) : "w"(b))
#define XOR(a, b) asm("%0 ^= %1" : "+w"(a) : "w"(b))

#endif
