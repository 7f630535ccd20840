/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target: path and query, split and decoded. Strict, because what is let through here is
 * compared with paths and used as names: a bad escape, a NUL, or a control character in the path is an
 * error, never a guess. RFC 3986, RFC 9112 section 3.2.
 */
#include "export/http_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Appends n decoded bytes and a NUL. */
static int decode(struct eg_strbuf *out, const char *s, size_t n, bool query)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		/* Blanks and the like come escaped or not at all. */
		if ((unsigned char)c <= ' ' || c == 0x7f)
			return -EINVAL;
		if (c == '%') {
			int high = n - i > 2 ? hex_digit(s[i + 1]) : -1;
			int low = n - i > 2 ? hex_digit(s[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (query && c == '+') {
			c = ' ';
		}
		if (c == '\0' || (!query && ((unsigned char)c < 0x20 || c == 0x7f)))
			return -EINVAL;
		eg_strbuf_putc(out, c);
	}
	eg_strbuf_putc(out, '\0');
	return eg_strbuf_error(out);
}

/* "http://host/path" is as good as "/path": what a client says to a proxy. */
static const char *skip_authority(const char *target)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (strncasecmp(target, schemes[i], n) == 0)
			return target + n + strcspn(target + n, "/?#");
	}
	return target;
}

int eg_uri_parse(const char *target, struct eg_strbuf *text, unsigned *ret_n_query)
{
	const char *s = skip_authority(target);
	size_t n = strcspn(s, "?");
	unsigned count = 0;
	int r;

	eg_strbuf_reset(text);
	if (strchr(s, '#') || (*s != '/' && s == target))
		return -EINVAL;
	r = n ? decode(text, s, n, false) : decode(text, "/", 1, false);
	if (r == 0 && *eg_strbuf_get(text) != '/')
		r = -EINVAL;
	s += n;
	while (r == 0 && *s) {
		size_t name;

		s++; /* '?' or '&' */
		n = strcspn(s, "&");
		if (n == 0)
			continue;
		if (++count > EG_HTTP_QUERY_MAX)
			return -E2BIG;
		name = EG_MIN(strcspn(s, "="), n);
		r = decode(text, s, name, true);
		if (r == 0)
			r = decode(text, s + EG_MIN(name + 1, n), n - EG_MIN(name + 1, n), true);
		s += n;
	}
	if (r == 0)
		*ret_n_query = count;
	return r;
}

const char *eg_uri_query(const struct eg_strbuf *text, unsigned n_query, const char *name)
{
	const char *s = eg_strbuf_get(text);

	s += strlen(s) + 1;
	for (unsigned i = 0; i < n_query; i++) {
		const char *value = s + strlen(s) + 1;

		if (strcmp(s, name) == 0)
			return value;
		s = value + strlen(value) + 1;
	}
	return NULL;
}
