/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyed digest of short secrets, for comparing them in constant time and for remembering them
 * without keeping them: SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF", 2012), under a key that is drawn when the process starts. Not a password hash:
 * the digests never leave memory.
 */
#ifndef EG_EXPORT_HTTP_DIGEST_H
#define EG_EXPORT_HTTP_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct eg_digest {
	uint64_t w[2];
};
struct eg_digest_key {
	uint64_t k[2];
};

int eg_digest_key_draw(struct eg_digest_key *ret) EG_MUST_CHECK;
struct eg_digest eg_digest_of(const struct eg_digest_key *key, const void *data, size_t len);
static inline bool eg_digest_equal(struct eg_digest a, struct eg_digest b)
{
	return ((a.w[0] ^ b.w[0]) | (a.w[1] ^ b.w[1])) == 0;
}

#endif
