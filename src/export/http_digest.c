/* SPDX-License-Identifier: Apache-2.0 */
/* See http_digest.h. The names v0..v3 and the constants are the paper's. */
#include "export/http_digest.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

int eg_digest_key_draw(struct eg_digest_key *ret)
{
	struct eg_digest_key key;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return errno ? -errno : -EIO;
	*ret = key;
	return 0;
}

struct eg_digest eg_digest_of(const struct eg_digest_key *key, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t v[4] = {key->k[0] ^ 0x736f6d6570736575ULL,
			 key->k[1] ^ 0x646f72616e646f6dULL ^ 0xee,
			 key->k[0] ^ 0x6c7967656e657261ULL, key->k[1] ^ 0x7465646279746573ULL};
	struct eg_digest d;

	/* Whole words, then the rest with the length in the top byte. */
	for (size_t at = 0; at <= len; at += 8) {
		size_t n = EG_MIN(len - at, (size_t)8);
		uint64_t word = 0;

		for (size_t i = 0; i < n; i++)
			word |= (uint64_t)p[at + i] << (8 * i);
		if (n < 8)
			word |= (uint64_t)len << 56;
		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
	}
	v[2] ^= 0xee;
	rounds(v, 4);
	d.w[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	rounds(v, 4);
	d.w[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
	return d;
}
