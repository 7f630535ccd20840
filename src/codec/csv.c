/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV rows: a field is quoted only where it must be, so that plain tools can cut columns.
 */
#include "codec/csv.h"

#include <string.h>

#include "codec/number.h"

void eg_csv_init(struct eg_csv *c, struct eg_strbuf *out)
{
	*c = (struct eg_csv){.out = out};
}

static void separate(struct eg_csv *c)
{
	if (c->fields++ > 0)
		eg_strbuf_putc(c->out, ',');
}

void eg_csv_text(struct eg_csv *c, const char *s)
{
	separate(c);
	if (s == NULL)
		return;
	if (s[strcspn(s, ",\"\r\n")] == '\0') {
		eg_strbuf_puts(c->out, s);
		return;
	}
	eg_strbuf_putc(c->out, '"');
	for (; *s; s++) {
		if (*s == '"')
			eg_strbuf_putc(c->out, '"');
		eg_strbuf_putc(c->out, *s);
	}
	eg_strbuf_putc(c->out, '"');
}

static void put_scaled(struct eg_csv *c, uint64_t v, unsigned digits)
{
	char text[EG_NUMBER_MAX];

	separate(c);
	eg_strbuf_append(c->out, text, eg_number_scaled(text, v, digits));
}

void eg_csv_u64(struct eg_csv *c, uint64_t v)
{
	put_scaled(c, v, 0);
}

void eg_csv_micro(struct eg_csv *c, uint64_t v)
{
	put_scaled(c, v, 6);
}

void eg_csv_nano(struct eg_csv *c, uint64_t v)
{
	put_scaled(c, v, 9);
}

void eg_csv_double(struct eg_csv *c, double v)
{
	char text[EG_NUMBER_MAX];

	separate(c);
	eg_strbuf_append(c->out, text, eg_number_double(text, v));
}

void eg_csv_empty(struct eg_csv *c)
{
	separate(c);
}

void eg_csv_row(struct eg_csv *c)
{
	eg_strbuf_putc(c->out, '\n');
	c->fields = 0;
}
