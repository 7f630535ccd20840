/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON writer: keeps one bit a level for "object or array" and one for "needs a comma".
 */
#include "codec/json.h"

#include <errno.h>
#include <string.h>

#include "codec/number.h"
#include "codec/utf8.h"

void eg_json_init(struct eg_json *j, struct eg_strbuf *out, bool pretty)
{
	*j = (struct eg_json){.out = out, .pretty = pretty};
}

/* U+0080..9F: valid in JSON, but a terminal may obey them. */
static bool is_c1(const char *s, size_t len)
{
	return len == 2 && (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0;
}

static void put_string(struct eg_strbuf *out, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = strlen(s), skip;

	eg_strbuf_putc(out, '"');
	while (n > 0) {
		size_t len = eg_utf8_sequence(s, n, &skip);
		unsigned char c = (unsigned char)*s;

		if (len == 0) {
			eg_strbuf_puts(out, EG_UTF8_REPLACEMENT);
			len = skip;
		} else if (c == '"' || c == '\\') {
			eg_strbuf_putc(out, '\\');
			eg_strbuf_putc(out, (char)c);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			eg_strbuf_putc(out, '\\');
			eg_strbuf_putc(out, c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		} else if (c < 0x20 || c == 0x7f || is_c1(s, len)) {
			c = (unsigned char)s[len - 1]; /* of C1 the second byte is the number */
			eg_strbuf_puts(out, "\\u00");
			eg_strbuf_putc(out, hex[c >> 4]);
			eg_strbuf_putc(out, hex[c & 15]);
		} else {
			eg_strbuf_append(out, s, len);
		}
		s += len;
		n -= len;
	}
	eg_strbuf_putc(out, '"');
}

static void new_line(struct eg_json *j)
{
	if (!j->pretty)
		return;
	eg_strbuf_putc(j->out, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		eg_strbuf_puts(j->out, "  ");
}

/* Comma, line and key before a value. False where a value may not stand. */
static bool before(struct eg_json *j, const char *key)
{
	uint32_t bit = j->depth > 0 ? 1u << (j->depth - 1) : 0;
	bool in_object = j->is_object & bit;

	if (j->error != 0)
		return false;
	if (in_object != (key != NULL) || (j->depth == 0 && j->out->len > 0)) {
		j->error = -EINVAL;
		return false;
	}
	if (j->depth == 0)
		return true;
	if (j->has_member & bit)
		eg_strbuf_putc(j->out, ',');
	j->has_member |= bit;
	new_line(j);
	if (key != NULL) {
		put_string(j->out, key);
		eg_strbuf_puts(j->out, j->pretty ? ": " : ":");
	}
	return true;
}

static void open_level(struct eg_json *j, const char *key, bool object)
{
	uint32_t bit;

	if (!before(j, key))
		return;
	if (j->depth == EG_JSON_DEPTH_MAX) {
		j->error = -EINVAL;
		return;
	}
	bit = 1u << j->depth++;
	j->is_object = object ? j->is_object | bit : j->is_object & ~bit;
	j->has_member &= ~bit;
	eg_strbuf_putc(j->out, object ? '{' : '[');
}

void eg_json_object(struct eg_json *j, const char *key)
{
	open_level(j, key, true);
}

void eg_json_array(struct eg_json *j, const char *key)
{
	open_level(j, key, false);
}

void eg_json_end(struct eg_json *j)
{
	uint32_t bit;

	if (j->error != 0)
		return;
	if (j->depth == 0) {
		j->error = -EINVAL;
		return;
	}
	bit = 1u << --j->depth;
	if (j->has_member & bit)
		new_line(j);
	eg_strbuf_putc(j->out, j->is_object & bit ? '}' : ']');
}

static void put_literal(struct eg_json *j, const char *key, const char *text)
{
	if (before(j, key))
		eg_strbuf_puts(j->out, text);
}

void eg_json_text(struct eg_json *j, const char *key, const char *s)
{
	if (s == NULL)
		put_literal(j, key, "null");
	else if (before(j, key))
		put_string(j->out, s);
}

void eg_json_bool(struct eg_json *j, const char *key, bool v)
{
	put_literal(j, key, v ? "true" : "false");
}

void eg_json_null(struct eg_json *j, const char *key)
{
	put_literal(j, key, "null");
}

void eg_json_u64(struct eg_json *j, const char *key, uint64_t v)
{
	char text[EG_NUMBER_MAX];

	eg_number_scaled(text, v, 0);
	put_literal(j, key, text);
}

void eg_json_i64(struct eg_json *j, const char *key, int64_t v)
{
	char text[EG_NUMBER_MAX + 1] = "-";

	eg_number_scaled(text + 1, v < 0 ? -(uint64_t)v : (uint64_t)v, 0);
	put_literal(j, key, v < 0 ? text : text + 1);
}

void eg_json_double(struct eg_json *j, const char *key, double v)
{
	char text[EG_NUMBER_MAX];

	put_literal(j, key, eg_number_double(text, v) > 0 ? text : "null");
}

void eg_json_micro(struct eg_json *j, const char *key, uint64_t v)
{
	char text[EG_NUMBER_MAX];

	eg_number_scaled(text, v, 6);
	put_literal(j, key, text);
}

void eg_json_nano(struct eg_json *j, const char *key, uint64_t v)
{
	char text[EG_NUMBER_MAX];

	eg_number_scaled(text, v, 9);
	put_literal(j, key, text);
}

int eg_json_finish(struct eg_json *j)
{
	if (j->error == 0 && (j->depth > 0 || j->out->len == 0))
		j->error = -EINVAL;
	if (j->error != 0)
		return j->error;
	eg_strbuf_putc(j->out, '\n');
	return eg_strbuf_error(j->out);
}
