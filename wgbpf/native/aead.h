/* SPDX-License-Identifier: MIT */
/* ChaCha20-Poly1305 (RFC 8439) as WireGuard uses it: no associated data, a nonce of four zeros and a 64-bit counter.
 *
 * `out` may be `in`, lie before it, or apart from it; nothing needs to be aligned.
 */
#ifndef WGBPF_AEAD_H
#define WGBPF_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE 32
#define TAG_SIZE 16

/* What an implementation needs between packets, one for each thread; only OpenSSL's does. */
struct aead_scratch;

struct aead {
	const char *name; /* as `status` tells it */
	bool (*works)(void); /* on this CPU */
	/* `size` bytes and zeros up to `padded`, and behind them the tag. */
	bool (*seal)(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out, const uint8_t *in,
		     size_t size, size_t padded);
	/* `size` is that of the plain text; the tag lies behind it in `in`. When it is wrong, `out` holds no plain text. */
	bool (*open)(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out, const uint8_t *in,
		     size_t size);
	/* The sum of the whole 64 bytes of data as words of 32 bits (for RFC 1071, whose sum does not mind the width). */
	uint64_t (*sum)(const uint8_t *data, size_t size);
};

/* Best first, the last is NULL. The one that works everywhere is the reference for the others. */
extern const struct aead *const aead_all[];
const struct aead *aead_best(void);

struct aead_scratch *aead_scratch_new(void);
void aead_scratch_free(struct aead_scratch *scratch);

#if defined(__x86_64__)
/* Asked outside the files whose every function may use what the CPU might not have. */
bool cpu_has_avx512(void);
bool cpu_has_avx2(void);
extern const struct aead aead_avx512, aead_avx2;
#endif
extern const struct aead aead_openssl;

#endif
