/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the layers of the configuration on each other: default, file, environment, flags. Every layer
 * is checked whole, also where a stronger one wins, so that a mistake never lies in wait.
 */
#include "agent/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/config_internal.h"
#include "base/parse.h"
#include "codec/plain.h"

#define MESSAGE_MAX 1024

/* ---- Mistakes ---- */

static void put_where(struct eg_config_loader *l, const struct eg_config_origin *at,
		      struct eg_strbuf *out)
{
	if (at != NULL && at->layer == EG_LAYER_FILE && at->line > 0)
		eg_strbuf_printf(out, "%s:%u:%u: ", l->file, at->line, at->column);
	else if (at != NULL && at->layer == EG_LAYER_FILE)
		eg_strbuf_printf(out, "%s: ", l->file);
	else if (at != NULL && at->name[0])
		eg_strbuf_printf(out, "%s: ", at->name);
}

/* One line, whatever was in the names and values. */
static void put_line(struct eg_strbuf *out, struct eg_strbuf *line)
{
	for (size_t i = 0; i < line->len; i++)
		if (line->s[i] == '\n')
			line->s[i] = ' ';
	eg_plain_text(out, eg_strbuf_get(line), line->len, false);
	eg_strbuf_putc(out, '\n');
}

EG_PRINTF(4, 0)
static void vtell(struct eg_config_loader *l, struct eg_strbuf *out,
		  const struct eg_config_origin *at, const char *fmt, va_list ap)
{
	struct eg_strbuf line = EG_STRBUF_INIT(4 * MESSAGE_MAX);
	char text[MESSAGE_MAX];

	put_where(l, at, &line);
	vsnprintf(text, sizeof(text), fmt, ap);
	eg_strbuf_puts(&line, text);
	put_line(out, &line);
	eg_strbuf_free(&line);
}

void eg_config_mistake(struct eg_config_loader *l, const struct eg_config_origin *at,
		       const char *fmt, ...)
{
	va_list ap;

	if (l->mistakes++ >= EG_CONFIG_MISTAKES_MAX || l->why == NULL)
		return;
	va_start(ap, fmt);
	vtell(l, l->why, at, fmt, ap);
	va_end(ap);
}

void eg_config_warn(struct eg_config_loader *l, const struct eg_config_origin *at, const char *fmt,
		    ...)
{
	va_list ap;

	if (l->warned++ >= EG_CONFIG_MISTAKES_MAX || l->warnings == NULL)
		return;
	va_start(ap, fmt);
	vtell(l, l->warnings, at, fmt, ap);
	va_end(ap);
}

/* ---- Flags ---- */

/* --set DRIVER.OPTION=VALUE. */
static void read_setting(struct eg_config_loader *l, const struct eg_config_origin *at,
			 const char *value)
{
	eg_autofree char *text = strdup(value);
	char *equals = text ? strchr(text, '=') : NULL;
	char *dot = text ? strchr(text, '.') : NULL;

	if (text == NULL) {
		l->error = -ENOMEM;
		return;
	}
	if (equals == NULL || dot == NULL || dot > equals || dot == text || dot + 1 == equals) {
		/* The value may be a secret. */
		eg_config_mistake(
			l, at, "'%.*s' is no DRIVER.OPTION=VALUE; `ergon help drivers` lists them",
			(int)strcspn(value, "=") + 1, value);
		return;
	}
	*dot = *equals = '\0';
	eg_config_setting(l, at, text, dot + 1, equals + 1);
}

static int find_dotted(const char *key)
{
	for (int i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		size_t n = strlen(k->section);

		if (strncmp(key, k->section, n) == 0 && key[n] == '.' &&
		    strcmp(key + n + 1, k->name) == 0)
			return i;
	}
	return -ENOENT;
}

void eg_config_read_flags(struct eg_config_loader *l, const struct eg_config_flag *flags, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct eg_config_origin at = {.layer = EG_LAYER_FLAG};
		int key = find_dotted(flags[i].key);
		struct eg_strbuf why = EG_STRBUF_INIT(MESSAGE_MAX);
		int err;

		if (strcmp(flags[i].key, "drivers") == 0) {
			snprintf(at.name, sizeof(at.name), "--set");
			read_setting(l, &at, flags[i].value);
			continue;
		}
		if (key < 0) {
			eg_config_mistake(l, NULL, "no key '%s'", flags[i].key);
			continue;
		}
		if (eg_config_keys[key].flag != NULL)
			snprintf(at.name, sizeof(at.name), "--%s", eg_config_keys[key].flag);
		else
			snprintf(at.name, sizeof(at.name), "%s", flags[i].key);
		err = eg_config_set(l->c, (unsigned)key, EG_CONFIG_PLAIN, flags[i].value,
				    eg_config_home(l->env), &why);
		if (err == 0)
			l->c->origin[key] = at;
		else if (err == -EINVAL)
			eg_config_mistake(l, &at, "%s", eg_strbuf_get(&why));
		else
			l->error = err;
		eg_strbuf_free(&why);
	}
}

/* ---- The whole ---- */

static int set_defaults(struct eg_config_source *c)
{
	c->cfg.file = "";
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		struct eg_strbuf why = EG_STRBUF_INIT(MESSAGE_MAX);
		int err = 0;

		if (eg_config_keys[i].type != EG_CONFIG_PRICE)
			err = eg_config_set(c, i, EG_CONFIG_PLAIN, eg_config_keys[i].fallback, NULL,
					    &why);
		eg_strbuf_free(&why);
		if (err < 0)
			return err;
	}
	return 0;
}

/* What came in above the defaults, and whether it fits together. */
static int finish(struct eg_config_loader *l, int err, const struct eg_config_flag *flags,
		  size_t n_flags, struct eg_config_source **ret)
{
	if (err == 0) {
		eg_config_read_env(l);
		eg_config_read_flags(l, flags, n_flags);
		if (l->mistakes == 0 && l->error == 0)
			eg_config_check(l);
		err = l->error;
	}
	if (l->mistakes > EG_CONFIG_MISTAKES_MAX && l->why != NULL)
		eg_strbuf_printf(l->why, "and %u more mistakes\n",
				 l->mistakes - EG_CONFIG_MISTAKES_MAX);
	if (l->warned > EG_CONFIG_MISTAKES_MAX && l->warnings != NULL)
		eg_strbuf_printf(l->warnings, "and %u more warnings\n",
				 l->warned - EG_CONFIG_MISTAKES_MAX);
	if (err == 0 && l->mistakes > 0)
		err = -EINVAL;
	if (err < 0) {
		l->c = eg_config_free(l->c);
		return err;
	}
	*ret = l->c;
	return 0;
}

static int begin(struct eg_config_loader *l)
{
	int err;

	l->c = calloc(1, sizeof(*l->c));
	if (l->c == NULL)
		return -ENOMEM;
	err = set_defaults(l->c);
	if (err < 0)
		l->c = eg_config_free(l->c);
	return err;
}

int eg_config_load(const char *file, const char *const *env, const struct eg_config_flag *flags,
		   size_t n_flags, struct eg_config_source **ret, struct eg_strbuf *why,
		   struct eg_strbuf *warnings)
{
	struct eg_config_loader l = {.env = env, .why = why, .warnings = warnings};
	int err = begin(&l);

	if (err < 0)
		return err;
	return finish(&l, eg_config_read_file(&l, file), flags, n_flags, ret);
}

int eg_config_load_text(const char *text, size_t n, const char *const *env,
			const struct eg_config_flag *flags, size_t n_flags,
			struct eg_config_source **ret, struct eg_strbuf *why,
			struct eg_strbuf *warnings)
{
	struct eg_config_loader l = {.env = env, .file = "text", .why = why, .warnings = warnings};
	int err = begin(&l);

	if (err < 0)
		return err;
	l.c->file = strdup(l.file);
	if (l.c->file == NULL)
		return finish(&l, -ENOMEM, flags, n_flags, ret);
	l.c->cfg.file = l.c->file;
	return finish(&l, eg_config_read_text(&l, text, n), flags, n_flags, ret);
}

const struct eg_config *eg_config_get(const struct eg_config_source *c)
{
	return &c->cfg;
}

bool eg_config_is_default(const struct eg_config_source *c, unsigned key)
{
	return c->origin[key].layer == EG_LAYER_DEFAULT;
}

struct eg_config_source *eg_config_free(struct eg_config_source *c)
{
	if (c == NULL)
		return NULL;
	for (size_t i = 0; i < EG_CONFIG_N_KEYS; i++)
		free(c->text[i]);
	for (size_t i = 0; i < EG_CONFIG_SETTINGS_MAX; i++)
		free(c->setting_text[i]);
	free(c->file);
	free(c);
	return NULL;
}

/* ---- What a reload can do ---- */

static void add_name(struct eg_strbuf *out, const char *fmt, ...) EG_PRINTF(2, 3);
static void add_name(struct eg_strbuf *out, const char *fmt, ...)
{
	char name[EG_CONFIG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	eg_strbuf_printf(out, "%s%s", out->len > 0 ? ", " : "", name);
}

static bool same_value(const struct eg_config *a, const struct eg_config *b, unsigned key)
{
	struct eg_strbuf x = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);
	struct eg_strbuf y = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);
	bool same;

	eg_config_value(a, key, &x);
	eg_config_value(b, key, &y);
	same = strcmp(eg_strbuf_get(&x), eg_strbuf_get(&y)) == 0;
	eg_strbuf_free(&x);
	eg_strbuf_free(&y);
	return same;
}

static const char *setting_of(const struct eg_config *c, const struct eg_setting *s)
{
	for (size_t i = 0; i < c->n_settings; i++)
		if (strcmp(c->setting[i].driver, s->driver) == 0 &&
		    strcmp(c->setting[i].name, s->name) == 0)
			return c->setting[i].value;
	return NULL;
}

void eg_config_needs_restart(const struct eg_config *old, const struct eg_config *new_one,
			     struct eg_strbuf *out)
{
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++)
		if (eg_config_keys[i].bits & EG_CONFIG_RESTART && !same_value(old, new_one, i))
			add_name(out, "%s.%s", eg_config_keys[i].section, eg_config_keys[i].name);
	for (size_t i = 0; i < old->n_settings; i++) {
		const struct eg_setting *s = &old->setting[i];
		const char *now = setting_of(new_one, s);

		if (now == NULL || strcmp(now, s->value) != 0)
			add_name(out, "drivers.%s.%s", s->driver, s->name);
	}
	for (size_t i = 0; i < new_one->n_settings; i++)
		if (setting_of(old, &new_one->setting[i]) == NULL)
			add_name(out, "drivers.%s.%s", new_one->setting[i].driver,
				 new_one->setting[i].name);
}
