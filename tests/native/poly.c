/* SPDX-License-Identifier: MIT */
/* Poly1305 where its carries and its modulus bite: RFC 8439, A.3, vectors 4 to 11, and blocks of ones and zeros under
 * extreme keys, against OpenSSL. Compiled once for each IMPLEMENTATION, whose functions it can see; exit 77: not this CPU.
 */
#include IMPLEMENTATION

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned failures;

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; *hex; hex += 2)
		out[n++] = (uint8_t)strtoul((char[]){ hex[0], hex[1], 0 }, NULL, 16);
	return n;
}

#define ONES "ffffffffffffffffffffffffffffffff"
#define ZEROS "00000000000000000000000000000000"

static const struct {
	const char *key, *data, *tag;
} vectors[] = {
	{ "0200000000000000" "0000000000000000" ZEROS, ONES, "03" "000000000000000000000000000000" },
	{ "0200000000000000" "0000000000000000" ONES, "0200000000000000" "0000000000000000", "03" "000000000000000000000000000000" },
	{ "0100000000000000" "0000000000000000" ZEROS, ONES "f0ffffffffffffffffffffffffffffff" "11000000000000000000000000000000",
	  "05" "000000000000000000000000000000" },
	{ "0100000000000000" "0000000000000000" ZEROS, ONES "fbfefefefefefefefefefefefefefefe" "01010101010101010101010101010101",
	  ZEROS },
	{ "0200000000000000" "0000000000000000" ZEROS, "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff" },
	{ "0100000000000000" "0400000000000000" ZEROS,
	  "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000000000000000000",
	  "14000000000000005500000000000000" },
	{ "0100000000000000" "0400000000000000" ZEROS,
	  "e33594d7505e43b900000000000000003394d7505e4379cd010000000000000000000000000000000000000000000000",
	  "13000000000000000000000000000000" },
};

static void rfc_8439(void)
{
	for (size_t n = 0; n < sizeof(vectors) / sizeof(*vectors); n++) {
		uint8_t key[32], data[64], expected[16], tag[16];
		uint64_t r[2], h[3] = { 0 };
		unhex(vectors[n].key, key);
		unhex(vectors[n].tag, expected);
		size_t size = unhex(vectors[n].data, data);
		poly_r(key, r);
		for (size_t at = 0; at < size; at += 16)
			poly_block(h, r, load64(data + at), load64(data + at + 8));
		poly_end(h, key, tag);
		if (memcmp(tag, expected, 16)) {
			printf("vector %zu of A.3\n", n + 5);
			failures++;
		}
	}
}

/* The AEAD's input for no associated data. */
static void reference(EVP_MAC_CTX *mac, const uint8_t *key, const uint8_t *data, size_t size, uint8_t *tag)
{
	static const uint8_t zeros[16];
	uint8_t lengths[16] = { 0 };
	size_t length;

	memcpy(lengths + 8, &size, 8);
	if (EVP_MAC_init(mac, key, 32, NULL) != 1 || EVP_MAC_update(mac, data, size) != 1 ||
	    EVP_MAC_update(mac, zeros, -size % 16) != 1 || EVP_MAC_update(mac, lengths, 16) != 1 ||
	    EVP_MAC_final(mac, tag, &length, 16) != 1)
		abort();
}

static void extremes(void)
{
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	EVP_MAC_CTX *mac = EVP_MAC_CTX_new(algorithm);

	srandom(1);
	for (int n = 0; n < 40000; n++) {
		uint8_t key[32], expected[16], tag[16];
		size_t size = (size_t)random() % (random() % 4 ? 700 : 3000);
		uint8_t *data = malloc(size + 1);
		int kind = random() % 4, block = 0xff;
		for (size_t i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)(kind == 0 ? 0xff : kind == 1 ? 0 : random());
		key[0] = (uint8_t)(kind == 1 ? random() % 6 : key[0]);
		for (size_t i = 0; i < size; i++) {
			if (i % 16 == 0)
				block = random() % 5 ? 0xff : random() % 3 ? 0 : 0xfe;
			data[i] = (uint8_t)(random() % 50 ? block : random());
		}
		reference(mac, key, data, size, expected);
		poly1305(key, data, size, tag);
		failures += memcmp(tag, expected, 16) != 0;
		free(data);
	}
	EVP_MAC_CTX_free(mac);
	EVP_MAC_free(algorithm);
}

int main(void)
{
	if (!WORKS())
		return 77;
	rfc_8439();
	extremes();
	printf("%u failures\n", failures);
	return failures ? 1 : 0;
}
