/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration: a TOML text, then pieces that begin with a byte 0xfe (no UTF-8 has it),
 * each "ENAME=VALUE" of the environment or "FSECTION.KEY=VALUE" of the command line. It is refused with
 * messages that are plain text, or taken; then every value is one that its key may have, and what is
 * printed says the same when it is read back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_internal.h"
#include "codec/utf8.h"

#define PIECES	  16
#define SEPARATOR 0xfe
#define TEXT_MAX  (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	char *text;
	size_t n;
	char *piece[PIECES];
	const char *env[PIECES + 2];
	struct eg_config_flag flag[PIECES];
	size_t n_flags;
};

static void split(const uint8_t *data, size_t size, struct input *in)
{
	const uint8_t *end = memchr(data, SEPARATOR, size);
	size_t n_env = 0;

	in->text = (char *)data;
	in->n = end ? (size_t)(end - data) : size;
	in->env[n_env++] = "HOME=/home/user";
	for (size_t i = 0; end && i < PIECES; i++) {
		const uint8_t *at = end + 1;
		size_t left = size - (size_t)(at - data);
		char *equals;

		end = left ? memchr(at, SEPARATOR, left) : NULL;
		in->piece[i] = strndup((const char *)at, end ? (size_t)(end - at) : left);
		if (in->piece[i] == NULL)
			abort();
		equals = strchr(in->piece[i], '=');
		if (equals == NULL)
			continue;
		if (in->piece[i][0] == 'E') {
			in->env[n_env++] = in->piece[i] + 1;
		} else if (in->piece[i][0] == 'F') {
			*equals = '\0';
			in->flag[in->n_flags++] =
				(struct eg_config_flag){in->piece[i] + 1, equals + 1};
		}
	}
}

/* Lines of plain UTF-8. */
static void check_plain(const struct eg_strbuf *text)
{
	const char *s = eg_strbuf_get(text);
	size_t n = text->len, skip, len;

	if (text->error != 0)
		abort();
	if (n > 0 && s[n - 1] != '\n')
		abort();
	for (; n > 0; s += len, n -= len) {
		len = eg_utf8_sequence(s, n, &skip);
		if (len == 0 ||
		    (((unsigned char)*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f))
			abort();
	}
}

static void check_same(const struct eg_config *a, const struct eg_config *b)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		struct eg_strbuf x = EG_STRBUF_INIT(TEXT_MAX), y = EG_STRBUF_INIT(TEXT_MAX);

		eg_config_value(a, i, &x);
		eg_config_value(b, i, &y);
		if (x.error || y.error || strcmp(eg_strbuf_get(&x), eg_strbuf_get(&y)) != 0)
			abort();
		eg_strbuf_free(&x);
		eg_strbuf_free(&y);
	}
	if (a->n_settings != b->n_settings)
		abort();
	for (size_t i = 0; i < a->n_settings; i++)
		if (strcmp(a->setting[i].value, b->setting[i].value) != 0)
			abort();
}

static void check_taken(const struct eg_config_source *c, const char *const *env)
{
	static const char *const no_env[] = {NULL};
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX), why = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_config_source *again;
	struct eg_places places;

	eg_config_print(c, false, &text);
	if (text.error != 0 || eg_config_load_text(eg_strbuf_get(&text), text.len, no_env, NULL, 0,
						   &again, &why, NULL) < 0)
		abort();
	check_same(eg_config_get(c), eg_config_get(again));
	eg_config_free(again);
	eg_strbuf_reset(&text);
	eg_config_print(c, true, &text);
	if (text.error != 0)
		abort();
	eg_strbuf_reset(&text);
	eg_config_needs_restart(eg_config_get(c), eg_config_get(c), &text);
	if (text.len != 0)
		abort();
	eg_strbuf_reset(&why);
	if (eg_config_places(eg_config_get(c), env, false, &places, &why) < 0 && why.len == 0)
		abort();
	eg_strbuf_free(&text);
	eg_strbuf_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_strbuf why = EG_STRBUF_INIT(TEXT_MAX), warnings = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_config_source *c = NULL;
	struct input in = {0};
	int err;

	split(data, size, &in);
	err = eg_config_load_text(in.text, in.n, in.env, in.flag, in.n_flags, &c, &why, &warnings);
	check_plain(&why);
	check_plain(&warnings);
	if (err < 0 && (err != -EINVAL || why.len == 0 || c != NULL))
		abort();
	if (err == 0 && why.len != 0)
		abort();
	if (err == 0)
		check_taken(c, in.env);
	eg_config_free(c);
	for (size_t i = 0; i < PIECES; i++)
		free(in.piece[i]);
	eg_strbuf_free(&why);
	eg_strbuf_free(&warnings);
	return 0;
}
