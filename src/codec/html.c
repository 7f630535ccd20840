/* SPDX-License-Identifier: Apache-2.0 */
/* HTML escaping; see html.h. */
#include "codec/html.h"

#include <string.h>

#include "codec/utf8.h"

static const char *reference(unsigned char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	case '\t':
	case '\n':
		return NULL;
	default:
		return c < 0x20 || c == 0x7f ? EG_UTF8_REPLACEMENT : NULL;
	}
}

void eg_html_text(struct eg_strbuf *out, const char *s)
{
	size_t n = strlen(s), skip;

	while (n > 0) {
		size_t len = eg_utf8_sequence(s, n, &skip);
		const char *ref = len == 0 ? EG_UTF8_REPLACEMENT : reference((unsigned char)*s);

		if (len == 0)
			len = skip;
		if (ref != NULL)
			eg_strbuf_puts(out, ref);
		else
			eg_strbuf_append(out, s, len);
		s += len;
		n -= len;
	}
}
