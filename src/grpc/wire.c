/* SPDX-License-Identifier: Apache-2.0 */
/* See wire.h. */
#include "grpc/wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define CONTENT_TYPE   "application/grpc"
#define TIMEOUT_DIGITS 8

int eg_grpc_parse_timeout(const char *s, size_t n, uint64_t *ret_ns)
{
	static const struct {
		char unit;
		uint64_t ns;
	} units[] = {
		{'H', 3600 * EG_NSEC_PER_SEC},
		{'M', 60 * EG_NSEC_PER_SEC},
		{'S', EG_NSEC_PER_SEC},
		{'m', EG_NSEC_PER_MSEC},
		{'u', 1000},
		{'n', 1},
	};
	uint64_t value = 0;

	if (n < 2 || n > TIMEOUT_DIGITS + 1)
		return -EINVAL;
	for (size_t i = 0; i + 1 < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(s[i] - '0');
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(units); i++)
		if (units[i].unit == s[n - 1]) {
			/* 99999999 hours are 3.6e20 ns: for ever. */
			if (__builtin_mul_overflow(value, units[i].ns, ret_ns))
				*ret_ns = UINT64_MAX;
			return 0;
		}
	return -EINVAL;
}

bool eg_grpc_is_content_type(const char *s, size_t n)
{
	size_t len = strlen(CONTENT_TYPE);

	if (n < len || strncasecmp(s, CONTENT_TYPE, len) != 0)
		return false;
	return n == len || s[len] == '+' || s[len] == ';';
}

size_t eg_grpc_encode_text(const char *text, char out[EG_GRPC_TEXT_MAX])
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0, good = 0; /* good: the end of the last whole UTF-8 character */

	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		bool plain = *s >= 0x20 && *s <= 0x7e && *s != '%';

		if ((*s & 0xc0) != 0x80)
			good = len;
		if (len + (plain ? 1 : 3) > EG_GRPC_TEXT_MAX)
			return good;
		if (plain) {
			out[len++] = (char)*s;
		} else {
			out[len++] = '%';
			out[len++] = digits[*s >> 4];
			out[len++] = digits[*s & 15];
		}
	}
	return len;
}

void eg_grpc_put_prefix(uint8_t out[EG_GRPC_PREFIX_BYTES], uint32_t len)
{
	out[0] = 0;
	for (int i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

uint32_t eg_grpc_get_length(const uint8_t prefix[EG_GRPC_PREFIX_BYTES])
{
	return (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 |
	       prefix[4];
}
