/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of config_keys.h as data, and the text of `ergon config init`. Needs libc alone. */
#include "agent/config_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

const struct eg_config_key eg_config_keys[EG_CONFIG_N_KEYS] = {
#define K(s, k, t, f, d, lo, hi, b, v, h) F(s, k, t, f, d, lo, hi, b, v, h, NULL)
#define F(s, k, t, f, d, lo, hi, b, v, h, fl) \
	[EG_CONFIG_KEY_##s##_##k] = {         \
		#s, #k, EG_CONFIG_##t, offsetof(struct eg_config, f), d, lo, hi, b, v, h, fl},
	EG_CONFIG_KEYS(K, F)
#undef F
#undef K
};

const struct eg_config_section eg_config_sections[] = {
#define S(name, help) {#name, help},
	EG_CONFIG_SECTIONS(S)
#undef S
		{0}};

#define KEY(k) EG_CONFIG_KEY_energy_##k
const struct eg_config_alias eg_config_aliases[] = {
	{"ALL_SMI_ENERGY_PRICE", KEY(price_per_kwh), true, false},
	{"ALL_SMI_ENERGY_NO_COST", KEY(show_cost), true, true},
	{"ALL_SMI_ENERGY_NO_WAL", KEY(wal_enabled), true, true},
	{"ALL_SMI_ENERGY_GAP_SECONDS", KEY(gap_interpolate_seconds), true, false},
	{"ALL_SMI_ENERGY_PRICE_PER_KWH", KEY(price_per_kwh), false, false},
	{"ALL_SMI_ENERGY_CURRENCY", KEY(currency), false, false},
	{"ALL_SMI_ENERGY_SHOW_COST", KEY(show_cost), false, false},
	{"ALL_SMI_ENERGY_WAL_PATH", KEY(wal_path), false, false},
	{"ALL_SMI_ENERGY_WAL_ENABLED", KEY(wal_enabled), false, false},
	{"ALL_SMI_ENERGY_GAP_INTERPOLATE_SECONDS", KEY(gap_interpolate_seconds), false, false},
	{0}};

int eg_config_find(const char *section, const char *name)
{
	for (int i = 0; i < EG_CONFIG_N_KEYS; i++)
		if (strcmp(eg_config_keys[i].section, section) == 0 &&
		    strcmp(eg_config_keys[i].name, name) == 0)
			return i;
	return -ENOENT;
}

/* Is one the beginning of the other, up to a word's end? price, price_per_kwh */
static bool is_short_for(const char *name, const char *full)
{
	size_t n = strlen(name);

	return n && strncmp(name, full, n) == 0 && full[n] == '_';
}

/*
 * A key in the wrong section is nearer than another key in the right one. A beginning of a name is as
 * near as one wrong letter.
 */
int eg_config_nearest(const char *section, const char *name)
{
	unsigned least = 2 * 255; /* what too long words are apart */
	int best = -ENOENT;

	for (int i = 0; i < EG_CONFIG_N_KEYS; i++) {
		const struct eg_config_key *k = &eg_config_keys[i];
		unsigned d = is_short_for(name, k->name) ? 1 : eg_edit_distance(name, k->name);

		d = 2 * d + (strcmp(section, k->section) != 0);

		if (d < least) {
			least = d;
			best = i;
		}
	}
	return best;
}

void eg_config_env_name(const char *section, const char *name, char ret[EG_CONFIG_NAME_MAX])
{
	snprintf(ret, EG_CONFIG_NAME_MAX, "ERGON_%s_%s", section, name);
	for (char *p = ret; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
}

bool eg_config_is_quoted(const struct eg_config_key *k)
{
	switch (k->type) {
	case EG_CONFIG_BOOL:
	case EG_CONFIG_SECONDS:
	case EG_CONFIG_NUMBER:
	case EG_CONFIG_PRICE:
		return false;
	default:
		return true;
	}
}

/* Words in lines of at most 90 columns, each a comment. */
static void put_comment(struct eg_strbuf *out, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column == 0 || column + 1 + n > 90) {
			eg_strbuf_puts(out, column ? "\n#" : "#");
			column = 1;
		}
		eg_strbuf_putc(out, ' ');
		eg_strbuf_append(out, text, n);
		column += 1 + n;
		text += n;
		text += strspn(text, " ");
	}
	eg_strbuf_putc(out, '\n');
}

static void put_key(struct eg_strbuf *out, const struct eg_config_key *k)
{
	const char *quote = eg_config_is_quoted(k) ? "\"" : "";

	eg_strbuf_putc(out, '\n');
	put_comment(out, k->help);
	if (k->type == EG_CONFIG_PRICE) /* no default; an example */
		eg_strbuf_printf(out, "#%s = 0.12\n", k->name);
	else
		eg_strbuf_printf(out, "#%s = %s%s%s\n", k->name, quote, k->fallback, quote);
}

void eg_config_write_default(struct eg_strbuf *out)
{
	eg_strbuf_puts(
		out,
		"# Configuration of the agent of Ergon, in TOML; written by `ergon config init`.\n"
		"# Every key is shown with its default, as a comment: to change one, remove its #.\n"
		"# `ergon config validate` checks this file, `ergon config print` shows what holds\n"
		"# and why. An option of `ergon agent` goes before the environment variable\n"
		"# ERGON_SECTION_KEY, and that before this file.\n");
	for (const struct eg_config_section *s = eg_config_sections; s->name; s++) {
		eg_strbuf_putc(out, '\n');
		put_comment(out, s->help);
		eg_strbuf_printf(out, "[%s]\n", s->name);
		for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++)
			if (strcmp(eg_config_keys[i].section, s->name) == 0)
				put_key(out, &eg_config_keys[i]);
	}
}
