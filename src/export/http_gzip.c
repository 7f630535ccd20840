/* SPDX-License-Identifier: Apache-2.0 */
/* See http_gzip.h. The output buffer is kept up to a ceiling, and never larger than its input. */
#include "export/http_gzip.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define WINDOW_BITS (14 + 16) /* 16 KiB; + 16 writes a gzip header */
#define MEM_LEVEL   7
#define KEEP_MAX    (1u << 20) /* bytes of output buffer kept between answers */

struct eg_gzip {
	z_stream z;
	char *out;
	size_t cap;
};

int eg_gzip_new(struct eg_gzip **ret)
{
	struct eg_gzip *gz = calloc(1, sizeof(*gz));

	if (!gz)
		return -ENOMEM;
	if (deflateInit2(&gz->z, 1, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
	    Z_OK) {
		free(gz);
		return -ENOMEM;
	}
	*ret = gz;
	return 0;
}

struct eg_gzip *eg_gzip_free(struct eg_gzip *gz)
{
	if (!gz)
		return NULL;
	deflateEnd(&gz->z);
	free(gz->out);
	free(gz);
	return NULL;
}

int eg_gzip_pack(struct eg_gzip *gz, const char *data, size_t len, const char **ret,
		 size_t *ret_len)
{
	int r;

	if (len > UINT32_MAX)
		return -EOVERFLOW;
	if (gz->cap < len || (gz->cap > KEEP_MAX && len <= KEEP_MAX)) {
		char *out = realloc(gz->out, len);

		if (!out)
			return -ENOMEM;
		gz->out = out;
		gz->cap = len;
	}
	if (deflateReset(&gz->z) != Z_OK)
		return -ENOMEM;
	gz->z.next_in = (Bytef *)(uintptr_t)data;
	gz->z.avail_in = (uInt)len;
	gz->z.next_out = (Bytef *)gz->out;
	gz->z.avail_out = (uInt)len;
	r = deflate(&gz->z, Z_FINISH);
	if (r != Z_STREAM_END)
		return -EOVERFLOW;
	*ret = gz->out;
	*ret_len = len - gz->z.avail_out;
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The parameters behind a coding: is there a q, and is it zero ("0", "0.", "0.000")? */
static bool weight_is_zero(const char *s, const char *end)
{
	while (s < end) {
		const char *stop = memchr(s, ';', (size_t)(end - s));

		stop = stop ? stop : end;
		while (s < stop && is_blank(*s))
			s++;
		if (stop - s >= 2 && (*s == 'q' || *s == 'Q') && s[1] == '=') {
			for (s += 2; s < stop && (*s == '0' || *s == '.'); s++)
				;
			while (s < stop && is_blank(*s))
				s++;
			return s == stop;
		}
		s = stop < end ? stop + 1 : end;
	}
	return false;
}

bool eg_gzip_accepted(const char *accept_encoding)
{
	const char *s = accept_encoding;
	bool any = false, named = false, gzip = false;

	while (s && *s) {
		const char *end = s + strcspn(s, ","), *stop;
		size_t n;

		while (s < end && is_blank(*s))
			s++;
		for (stop = s; stop < end && *stop != ';' && !is_blank(*stop); stop++)
			;
		n = (size_t)(stop - s);
		if ((n == 4 && strncasecmp(s, "gzip", n) == 0) ||
		    (n == 6 && strncasecmp(s, "x-gzip", n) == 0)) {
			gzip = gzip || !weight_is_zero(stop, end);
			named = true;
		} else if (n == 1 && *s == '*') {
			any = !weight_is_zero(stop, end);
		}
		s = *end ? end + 1 : end;
	}
	return named ? gzip : any;
}
