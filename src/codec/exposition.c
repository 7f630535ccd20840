/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of exposition.h. A sample's line is laid into the buffer in one go: thousands of lines a
 * page are mostly copied text, and this is what a scrape costs.
 */
#include "codec/exposition.h"

#include <math.h>
#include <string.h>

#include "codec/number.h"
#include "codec/utf8.h"

void eg_expo_init(struct eg_expo *e, struct eg_strbuf *out, bool openmetrics)
{
	*e = (struct eg_expo){.out = out, .openmetrics = openmetrics};
}

static const char *suffix_of(const struct eg_expo_family *f)
{
	return f->type == EG_EXPO_COUNTER ? "_total" : f->type == EG_EXPO_INFO ? "_info" : "";
}

void eg_expo_family(struct eg_expo *e, const struct eg_expo_family *f)
{
	size_t n = EG_MIN(strlen(f->name), sizeof(e->sample) - 16);
	const char *suffix = suffix_of(f);

	e->family = f;
	e->begun = false;
	memcpy(e->sample, f->name, n);
	(void)eg_copy(e->sample + n, sizeof(e->sample) - n, suffix);
	e->n_sample = n + strlen(suffix);
}

/* HELP: backslash and newline are escaped, in OpenMetrics quotes too. */
static void put_help(struct eg_expo *e, const char *s)
{
	for (size_t n; *s; s += n) {
		n = strcspn(s, e->openmetrics ? "\\\n\"" : "\\\n");
		eg_strbuf_append(e->out, s, n);
		if (!s[n])
			return;
		eg_strbuf_putc(e->out, '\\');
		eg_strbuf_putc(e->out, s[n] == '\n' ? 'n' : s[n]);
		n++;
	}
}

static void put_head(struct eg_expo *e)
{
	static const char *const types[] = {
		[EG_EXPO_GAUGE] = "gauge",
		[EG_EXPO_COUNTER] = "counter",
		[EG_EXPO_INFO] = "info",
		[EG_EXPO_FOREIGN_COUNTER] = "unknown",
	};
	static const char *const text_types[] = {
		[EG_EXPO_GAUGE] = "gauge",
		[EG_EXPO_COUNTER] = "counter",
		[EG_EXPO_INFO] = "gauge",
		[EG_EXPO_FOREIGN_COUNTER] = "counter",
	};
	const struct eg_expo_family *f = e->family;
	const char *name = e->openmetrics ? f->name : e->sample;

	e->begun = true;
	eg_strbuf_puts(e->out, "# HELP ");
	eg_strbuf_puts(e->out, name);
	eg_strbuf_putc(e->out, ' ');
	put_help(e, f->help);
	eg_strbuf_puts(e->out, "\n# TYPE ");
	eg_strbuf_puts(e->out, name);
	eg_strbuf_putc(e->out, ' ');
	eg_strbuf_puts(e->out, e->openmetrics ? types[f->type] : text_types[f->type]);
	if (e->openmetrics && f->unit) {
		eg_strbuf_puts(e->out, "\n# UNIT ");
		eg_strbuf_puts(e->out, name);
		eg_strbuf_putc(e->out, ' ');
		eg_strbuf_puts(e->out, f->unit);
	}
	eg_strbuf_putc(e->out, '\n');
}

static void put_line(struct eg_expo *e, const char *labels, size_t n, const char *value,
		     size_t n_value)
{
	size_t need = e->n_sample + n + 1 + n_value + 1;
	char *p;

	if (!e->begun)
		put_head(e);
	p = eg_strbuf_room(e->out, need);
	if (!p)
		return;
	memcpy(p, e->sample, e->n_sample);
	p += e->n_sample;
	memcpy(p, labels, n);
	p += n;
	*p++ = ' ';
	memcpy(p, value, n_value);
	p += n_value;
	*p++ = '\n';
	*p = '\0';
	e->out->len += need;
}

void eg_expo_scaled(struct eg_expo *e, const char *labels, size_t n, uint64_t v, unsigned digits)
{
	char value[EG_NUMBER_MAX];

	put_line(e, labels, n, value, eg_number_scaled(value, v, digits));
}

void eg_expo_double(struct eg_expo *e, const char *labels, size_t n, double v)
{
	char value[EG_NUMBER_MAX];

	if (!isfinite(v))
		return;
	/* Most values are whole, or decimals of a few places: their text is exact and quick. */
	if (v >= 0 && v < 1e9) {
		uint64_t micro = (uint64_t)(v * 1e6 + 0.5);

		if ((double)micro / 1e6 == v) {
			eg_expo_scaled(e, labels, n, micro, 6);
			return;
		}
	} else if (v >= 1e9 && v < 0x1p53 && (double)(uint64_t)v == v) {
		eg_expo_scaled(e, labels, n, (uint64_t)v, 0);
		return;
	}
	put_line(e, labels, n, value, eg_number_double(value, v));
}

void eg_expo_created(struct eg_expo *e, const char *labels, size_t n, uint64_t unix_ns)
{
	static const char created[] = "_created";
	size_t base = e->n_sample - strlen(suffix_of(e->family)), was = e->n_sample;

	if (!e->openmetrics || e->family->type != EG_EXPO_COUNTER || unix_ns == 0)
		return;
	memcpy(e->sample + base, created, sizeof(created));
	e->n_sample = base + sizeof(created) - 1;
	eg_expo_scaled(e, labels, n, unix_ns, 9);
	(void)eg_copy(e->sample + base, sizeof(e->sample) - base, suffix_of(e->family));
	e->n_sample = was;
}

int eg_expo_end(struct eg_expo *e)
{
	if (e->openmetrics)
		eg_strbuf_puts(e->out, "# EOF\n");
	return eg_strbuf_error(e->out);
}

size_t eg_expo_labels_begin(struct eg_strbuf *b)
{
	size_t begin = b->len;

	eg_strbuf_putc(b, '{');
	return begin;
}

void eg_expo_labels_add(struct eg_strbuf *b, const char *name, const char *value)
{
	size_t n = strlen(value), skip;

	if (b->len > 0 && b->s[b->len - 1] != '{')
		eg_strbuf_putc(b, ',');
	eg_strbuf_puts(b, name);
	eg_strbuf_puts(b, "=\"");
	while (n > 0) {
		size_t len = eg_utf8_sequence(value, n, &skip);

		if (len == 0) {
			eg_strbuf_puts(b, EG_UTF8_REPLACEMENT);
			len = skip;
		} else if (*value == '\\' || *value == '"') {
			eg_strbuf_putc(b, '\\');
			eg_strbuf_putc(b, *value);
		} else if (*value == '\n') {
			eg_strbuf_puts(b, "\\n");
		} else {
			eg_strbuf_append(b, value, len);
		}
		value += len;
		n -= len;
	}
	eg_strbuf_putc(b, '"');
}

size_t eg_expo_labels_end(struct eg_strbuf *b, size_t begin)
{
	eg_strbuf_putc(b, '}');
	return b->len - begin;
}
