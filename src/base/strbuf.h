/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string born with a ceiling. Errors stick: after the first failed append the rest do
 * nothing, and eg_strbuf_error() says why, so a writer checks once at the end.
 */
#ifndef EG_BASE_STRBUF_H
#define EG_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/util.h"

struct eg_strbuf {
	char *s;    /* NUL terminated once anything was appended; NULL before */
	size_t len; /* bytes, without the NUL */
	size_t cap;
	size_t max; /* ceiling in bytes */
	int error;  /* 0, -ENOMEM, -EOVERFLOW (ceiling) */
};

#define EG_STRBUF_INIT(max_bytes) ((struct eg_strbuf){.max = (max_bytes)})

void eg_strbuf_append(struct eg_strbuf *b, const char *data, size_t n);
void eg_strbuf_puts(struct eg_strbuf *b, const char *s);
void eg_strbuf_putc(struct eg_strbuf *b, char c);
void eg_strbuf_printf(struct eg_strbuf *b, const char *fmt, ...) EG_PRINTF(2, 3);
/*
 * Room for n more bytes after the text, for writers that would rather make one call than five: what is
 * written there counts once len is raised by it, at most by n, and a NUL set. NULL: the error.
 */
char *eg_strbuf_room(struct eg_strbuf *b, size_t n);
int eg_strbuf_error(const struct eg_strbuf *b) EG_MUST_CHECK;
/* Empties the text and the error; keeps the memory. */
void eg_strbuf_reset(struct eg_strbuf *b);
void eg_strbuf_free(struct eg_strbuf *b);
/* The text, "" when empty; borrowed. */
const char *eg_strbuf_get(const struct eg_strbuf *b);

#endif
