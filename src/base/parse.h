/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict number parsing for bytes from outside. A token is the whole input less surrounding blanks
 * (space, tab, CR, LF); anything else in it is an error, never a partial value.
 * Errors: -EINVAL empty or not a number, -ERANGE does not fit. Outputs are untouched on failure.
 */
#ifndef EG_BASE_PARSE_H
#define EG_BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

int eg_parse_u64(const char *s, size_t n, uint64_t *ret) EG_MUST_CHECK;
int eg_parse_i64(const char *s, size_t n, int64_t *ret) EG_MUST_CHECK;
/* Hexadecimal digits without prefix. */
int eg_parse_hex(const char *s, size_t n, uint64_t *ret) EG_MUST_CHECK;
/* Decimal point whatever the locale; finite values only (no "nan", "inf", hex). */
int eg_parse_double(const char *s, size_t n, double *ret) EG_MUST_CHECK;
/*
 * A duration: "1s", "100ms", "2m", "1h", "50us", "1d", "1.5s"; a bare number takes `bare_unit_ns`
 * (0: a bare number is -EINVAL). Result in nanoseconds, rounded to nearest.
 */
int eg_parse_duration(const char *s, uint64_t bare_unit_ns, uint64_t *ret_ns) EG_MUST_CHECK;

/* Edit distance of two words with transpositions, for "did you mean"; caps at 255. */
unsigned eg_edit_distance(const char *a, const char *b);

#endif
