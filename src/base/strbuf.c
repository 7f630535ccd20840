/* SPDX-License-Identifier: Apache-2.0 */
/* See strbuf.h. Growth doubles up to the ceiling. */
#include "base/strbuf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int reserve(struct eg_strbuf *b, size_t extra)
{
	size_t need, cap;
	char *s;

	if (b->error)
		return b->error;
	if (extra > b->max || b->len > b->max - extra)
		return b->error = -EOVERFLOW;
	need = b->len + extra + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap ? b->cap * 2 : 256;
	cap = EG_MIN(EG_MAX(cap, need), b->max + 1);
	s = realloc(b->s, cap);
	if (!s)
		return b->error = -ENOMEM;
	b->s = s;
	b->cap = cap;
	return 0;
}

void eg_strbuf_append(struct eg_strbuf *b, const char *data, size_t n)
{
	if (reserve(b, n))
		return;
	memcpy(b->s + b->len, data, n);
	b->len += n;
	b->s[b->len] = '\0';
}

void eg_strbuf_puts(struct eg_strbuf *b, const char *s)
{
	eg_strbuf_append(b, s, strlen(s));
}

void eg_strbuf_putc(struct eg_strbuf *b, char c)
{
	eg_strbuf_append(b, &c, 1);
}

void eg_strbuf_printf(struct eg_strbuf *b, const char *fmt, ...)
{
	size_t room = b->cap - b->len; /* mostly enough: then once is all */
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(b->s ? b->s + b->len : NULL, room, fmt, ap);
	if (n < 0 || reserve(b, (size_t)n) < 0) {
		if (b->s)
			b->s[b->len] = '\0'; /* nothing of what did not fit */
	} else {
		if ((size_t)n >= room)
			vsnprintf(b->s + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

char *eg_strbuf_room(struct eg_strbuf *b, size_t n)
{
	return reserve(b, n) ? NULL : b->s + b->len;
}

int eg_strbuf_error(const struct eg_strbuf *b)
{
	return b->error;
}

void eg_strbuf_reset(struct eg_strbuf *b)
{
	b->len = 0;
	b->error = 0;
	if (b->s)
		b->s[0] = '\0';
}

void eg_strbuf_free(struct eg_strbuf *b)
{
	free(b->s);
	*b = (struct eg_strbuf){.max = b->max};
}

const char *eg_strbuf_get(const struct eg_strbuf *b)
{
	return b->s ? b->s : "";
}
