/* SPDX-License-Identifier: Apache-2.0 */
/* What holds, and why: `ergon config print`, as TOML that can be read back, or as JSON. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/config_internal.h"
#include "codec/json.h"

#define COMMENT_COLUMN 44
#define MASK	       "***"

static void put_source(const struct eg_config_source *c, const struct eg_config_origin *at,
		       struct eg_strbuf *out)
{
	switch (at->layer) {
	case EG_LAYER_DEFAULT:
		eg_strbuf_puts(out, "default");
		break;
	case EG_LAYER_FILE: /* in a comment: one line, whatever the file is called */
		for (const char *p = c->file; *p; p++)
			eg_strbuf_putc(out, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
		eg_strbuf_printf(out, ":%u", at->line);
		break;
	case EG_LAYER_ENV:
	case EG_LAYER_FLAG:
		eg_strbuf_puts(out, at->name);
		break;
	}
}

static void put_line(const struct eg_config_source *c, const struct eg_config_origin *at,
		     const char *name, const char *value, struct eg_strbuf *out)
{
	size_t start = out->len, column;

	eg_strbuf_printf(out, "%s = %s", name, value);
	column = out->len - start;
	eg_strbuf_printf(out, "%*s# ", column < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - column) : 1,
			 "");
	put_source(c, at, out);
	eg_strbuf_putc(out, '\n');
}

static const char *shown(const struct eg_setting *s)
{
	return eg_config_is_secret(s->name) ? MASK : s->value;
}

static void print_toml(const struct eg_config_source *c, struct eg_strbuf *out)
{
	const char *section = "";

	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		struct eg_strbuf value = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);

		if (strcmp(section, k->section) != 0)
			eg_strbuf_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", k->section);
		section = k->section;
		eg_config_value(&c->cfg, i, &value);
		if (value.len == 0)
			eg_strbuf_printf(out, "#%s is not set\n", k->name);
		else
			put_line(c, &c->origin[i], k->name, eg_strbuf_get(&value), out);
		eg_strbuf_free(&value);
	}
	for (size_t i = 0; i < c->cfg.n_settings; i++) {
		const struct eg_setting *s = &c->cfg.setting[i];
		struct eg_strbuf value = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);
		char name[EG_CONFIG_NAME_MAX];

		snprintf(name, sizeof(name), "%s.%s", s->driver, s->name);
		eg_config_quote(&value, shown(s));
		if (i == 0)
			eg_strbuf_puts(out, "\n[drivers]\n");
		put_line(c, &c->setting_origin[i], name, eg_strbuf_get(&value), out);
		eg_strbuf_free(&value);
	}
}

/* ---- JSON ---- */

static void json_source(const struct eg_config_source *c, const struct eg_config_origin *at,
			struct eg_json *j)
{
	static const char *const words[] = {"default", "file", "environment", "flag"};

	eg_json_text(j, "source", words[at->layer]);
	if (at->layer == EG_LAYER_FILE) {
		eg_json_text(j, "file", c->file);
		eg_json_u64(j, "line", at->line);
	} else if (at->layer != EG_LAYER_DEFAULT) {
		eg_json_text(j, "name", at->name);
	}
	eg_json_end(j);
}

static void json_value(const struct eg_config *cfg, unsigned key, struct eg_json *j)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	const void *field = (const char *)cfg + k->offset;
	struct eg_strbuf text = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);

	switch (k->type) {
	case EG_CONFIG_BOOL:
		eg_json_bool(j, "value", *(const bool *)field);
		break;
	case EG_CONFIG_NUMBER:
	case EG_CONFIG_BYTES:
		eg_json_u64(j, "value", *(const uint64_t *)field);
		break;
	case EG_CONFIG_DURATION: /* in seconds, as everywhere in our JSON */
	case EG_CONFIG_SECONDS:
		eg_json_nano(j, "value", *(const uint64_t *)field);
		break;
	case EG_CONFIG_PRICE:
		if (cfg->energy.has_price)
			eg_json_double(j, "value", cfg->energy.price_per_kwh);
		else
			eg_json_null(j, "value");
		break;
	case EG_CONFIG_ENUM:
	case EG_CONFIG_OCTAL: /* a word in quotes; take it out of them */
		eg_config_value(cfg, key, &text);
		if (eg_strbuf_error(&text) == 0) {
			text.s[text.len - 1] = '\0';
			eg_json_text(j, "value", text.s + 1);
		}
		break;
	default:
		eg_json_text(j, "value", *(const char *const *)field);
		break;
	}
	eg_strbuf_free(&text);
}

static void print_json(const struct eg_config_source *c, struct eg_strbuf *out)
{
	struct eg_json j;
	char name[2 * EG_CONFIG_NAME_MAX];

	eg_json_init(&j, out, true);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.config/1");
	eg_json_text(&j, "file", c->file);
	eg_json_array(&j, "values");
	for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
		snprintf(name, sizeof(name), "%s.%s", eg_config_keys[i].section,
			 eg_config_keys[i].name);
		eg_json_object(&j, NULL);
		eg_json_text(&j, "key", name);
		json_value(&c->cfg, i, &j);
		json_source(c, &c->origin[i], &j);
	}
	for (size_t i = 0; i < c->cfg.n_settings; i++) {
		const struct eg_setting *s = &c->cfg.setting[i];

		snprintf(name, sizeof(name), "drivers.%s.%s", s->driver, s->name);
		eg_json_object(&j, NULL);
		eg_json_text(&j, "key", name);
		eg_json_text(&j, "value", shown(s));
		json_source(c, &c->setting_origin[i], &j);
	}
	eg_json_end(&j);
	eg_json_end(&j);
	if (eg_json_finish(&j) < 0 && out->error == 0)
		out->error = -EINVAL;
}

void eg_config_print(const struct eg_config_source *c, bool json, struct eg_strbuf *out)
{
	if (json)
		print_json(c, out);
	else
		print_toml(c, out);
}
