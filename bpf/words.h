/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What ciphers, hashes and checksums do with words. */
#ifndef WORDS_H
#define WORDS_H

#define ROTL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
#define ROTR(x, n) ROTL(x, 32 - (n))

/* Written out: the compiler copies a register for most of these. */
#define ADD(a, b) asm("%0 += %1" : "+w"(a) : "w"(b))
#define XOR(a, b) asm("%0 ^= %1" : "+w"(a) : "w"(b))

/* RFC 1071: to 16 bits. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

#endif
