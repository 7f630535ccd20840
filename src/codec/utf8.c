/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Well-formed UTF-8 as table 3-7 of the Unicode standard lists it: no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */
#include "codec/utf8.h"

#include <string.h>

size_t eg_utf8_sequence(const char *s, size_t n, size_t *ret_skip)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf;
	size_t want, i;

	*ret_skip = 1;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (i = 1; i < want; i++) {
		if (i >= n || p[i] < low || p[i] > high) {
			*ret_skip = i;
			return 0;
		}
		low = 0x80;
		high = 0xbf;
	}
	return want;
}

bool eg_utf8_is_valid(const char *text)
{
	size_t n, skip;

	for (size_t left = strlen(text); left; text += n, left -= n) {
		n = eg_utf8_sequence(text, left, &skip);
		if (n == 0)
			return false;
	}
	return true;
}
