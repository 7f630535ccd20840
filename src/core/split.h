/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Divides an integer amount among weights so that the shares sum to it exactly: largest remainder,
 * with each consumer's unpaid fraction carried to the next split, so that over time nobody is
 * favoured. Products are 128-bit; any number of consumers.
 */
#ifndef EG_CORE_SPLIT_H
#define EG_CORE_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/*
 * shares[i] gets its part of amount by weights[i]; sum(shares) == amount if the sum of weights is
 * not 0. All weights 0: shares are 0 and the whole amount is returned in *ret_rest (the caller's
 * `unattributed`); else *ret_rest is 0.
 * carry: NULL, or n fractions kept by the caller between calls, each in units of 2^-32 of a
 * microjoule, start at 0. A zero weight gets 0 always. scratch: n words of work space (no
 * allocation here); may be NULL when n <= 64.
 * Errors: -EINVAL (n > 64 without scratch).
 */
int eg_split(uint64_t amount, const uint64_t *weights, size_t n, int64_t *carry, uint64_t *scratch,
	     uint64_t *shares, uint64_t *ret_rest) EG_MUST_CHECK;

#endif
