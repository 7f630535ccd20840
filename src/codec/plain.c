/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controls as the Unicode standard lists them: general category Cc, and the directional formatting
 * characters of UAX #9, with which a name can show other letters than it has.
 */
#include "codec/plain.h"

#include <string.h>

#include "codec/utf8.h"

static bool is_control(const unsigned char *p, size_t len)
{
	if (len == 1)
		return (p[0] < 0x20 && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7f;
	if (len == 2)
		return p[0] == 0xc2 && p[1] < 0xa0; /* U+0080..9F */
	if (len != 3 || p[0] != 0xe2)
		return false;
	return (p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || /* U+202A..2E */
	       (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);	 /* U+2066..69 */
}

void eg_plain_text(struct eg_strbuf *out, const char *s, size_t n, bool ascii)
{
	while (n > 0) {
		size_t skip, len = 0;

		/* Nearly all of it, at one go. */
		while (len < n && s[len] >= ' ' && s[len] < 0x7f)
			len++;
		if (len > 0) {
			eg_strbuf_append(out, s, len);
			s += len;
			n -= len;
			continue;
		}
		len = eg_utf8_sequence(s, n, &skip);
		if (len == 0 || is_control((const unsigned char *)s, len)) {
			eg_strbuf_puts(out, ascii ? "?" : EG_UTF8_REPLACEMENT);
			len = EG_MAX(len, skip);
		} else if (ascii && len > 1) {
			eg_strbuf_puts(out,
				       len == 2 && memcmp(s, "\xc2\xb1", 2) == 0 ? "+/-" : "?");
		} else {
			eg_strbuf_append(out, s, len);
		}
		s += len;
		n -= len;
	}
}
