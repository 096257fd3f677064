/* SPDX-License-Identifier: MIT */
/* Which implementation of the AEAD, and the one that is there on every machine: OpenSSL's. */
#include "aead.h"

#include <openssl/evp.h>
#include <string.h>

static const uint8_t zeros[64];

static EVP_CIPHER_CTX *context(struct aead_scratch *scratch) { return (EVP_CIPHER_CTX *)scratch; }

struct aead_scratch *aead_scratch_new(void)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	/* The algorithm is looked up here, once: that costs more than sealing a packet. */
	if (ctx && EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, zeros, zeros) != 1) {
		EVP_CIPHER_CTX_free(ctx);
		ctx = NULL;
	}
	return (struct aead_scratch *)ctx;
}

void aead_scratch_free(struct aead_scratch *scratch)
{
	EVP_CIPHER_CTX_free(context(scratch)); /* wipes the key */
}

static void nonce_of(uint64_t counter, uint8_t nonce[12])
{
	memset(nonce, 0, 4);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(counter >> 8 * i);
}

static bool everywhere(void) { return true; }

static bool seal(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out, const uint8_t *in,
		 size_t size, size_t padded)
{
	EVP_CIPHER_CTX *ctx = context(scratch);
	uint8_t nonce[12];
	int n = 0, ignored;

	nonce_of(counter, nonce);
	if (EVP_EncryptInit_ex(ctx, NULL, NULL, key, nonce) != 1 ||
	    (size && EVP_EncryptUpdate(ctx, out, &n, in, (int)size) != 1))
		return false;
	for (size_t at = size; at < padded; at += (size_t)n) {
		size_t left = padded - at < sizeof(zeros) ? padded - at : sizeof(zeros);
		if (EVP_EncryptUpdate(ctx, out + at, &n, zeros, (int)left) != 1)
			return false;
	}
	return EVP_EncryptFinal_ex(ctx, out + padded, &ignored) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, out + padded) == 1;
}

static bool open_sealed(struct aead_scratch *scratch, const uint8_t *key, uint64_t counter, uint8_t *out,
			const uint8_t *in, size_t size)
{
	EVP_CIPHER_CTX *ctx = context(scratch);
	uint8_t nonce[12], tag[TAG_SIZE];
	int n = 0;

	nonce_of(counter, nonce);
	memcpy(tag, in + size, TAG_SIZE); /* `out` may reach it */
	if (EVP_DecryptInit_ex(ctx, NULL, NULL, key, nonce) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1 ||
	    (size && EVP_DecryptUpdate(ctx, out, &n, in, (int)size) != 1))
		return false;
	if (EVP_DecryptFinal_ex(ctx, out + n, &n) == 1)
		return true;
	memset(out, 0, size);
	return false;
}

static uint64_t sum(const uint8_t *data, size_t size)
{
	uint64_t total = 0;

	for (size_t at = 0; at < (size & ~(size_t)63); at += 8) {
		uint64_t words;
		memcpy(&words, data + at, 8);
		total += (words & 0xffffffff) + (words >> 32);
	}
	return total;
}

const struct aead aead_openssl = { "OpenSSL", everywhere, seal, open_sealed, sum };

#if defined(__x86_64__)
bool cpu_has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512ifma") && cpu_has_avx2();
}

bool cpu_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }
#endif

const struct aead *const aead_all[] = {
#if defined(__x86_64__)
	&aead_avx512,
	&aead_avx2,
#endif
	&aead_openssl,
	NULL,
};

const struct aead *aead_best(void)
{
	int n = 0;

	while (!aead_all[n]->works())
		n++;
	return aead_all[n];
}
