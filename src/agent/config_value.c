/* SPDX-License-Identifier: Apache-2.0 */
/* One value: from its text into struct eg_config, within its range, and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "agent/config_internal.h"
#include "base/parse.h"
#include "codec/number.h"
#include "codec/utf8.h"

#define SHOWN_MAX 64 /* bytes of a wrong value that a message repeats */

static const struct {
	const char *suffix;
	uint64_t bytes;
} sizes[] = {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"GB", 1000000000},
	     {"MB", 1000000},	{"kB", 1000},	   {"B", 1}};

static const struct {
	const char *suffix;
	uint64_t ns;
} units[] = {{"h", 3600 * EG_NSEC_PER_SEC},
	     {"m", 60 * EG_NSEC_PER_SEC},
	     {"s", EG_NSEC_PER_SEC},
	     {"ms", EG_NSEC_PER_MSEC},
	     {"us", 1000},
	     {"ns", 1}};

const char *eg_config_bad_text(const char *s, size_t max)
{
	size_t n = strlen(s), skip;

	if (n > max)
		return "is too long";
	while (n > 0) {
		size_t len = eg_utf8_sequence(s, n, &skip);

		if (len == 0)
			return "is not UTF-8";
		if ((unsigned char)*s < 0x20 || *s == 0x7f ||
		    (len == 2 && (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0))
			return "holds a control character";
		s += len;
		n -= len;
	}
	return NULL;
}

/* ---- Reading ---- */

static int parse_size(const char *s, uint64_t *ret)
{
	size_t n = strlen(s), digits = strspn(s, "0123456789");
	uint64_t v, unit = 0;
	int err = eg_parse_u64(s, digits, &v);

	if (err < 0)
		return err;
	s += digits + strspn(s + digits, " ");
	if (digits == n)
		unit = 1;
	for (size_t i = 0; i < EG_ARRAY_SIZE(sizes); i++)
		if (strcmp(s, sizes[i].suffix) == 0)
			unit = sizes[i].bytes;
	if (unit == 0)
		return -EINVAL;
	return __builtin_mul_overflow(v, unit, ret) ? -ERANGE : 0;
}

/* "0660", "660", or TOML's own 0o660; never the decimal number 660. */
static int parse_octal(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (strncmp(s, "0o", 2) == 0)
		s += 2;
	if (*s == '\0' || strlen(s) > 6)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		v = v * 8 + (uint64_t)(*s - '0');
	}
	*ret = v;
	return 0;
}

static int parse_bool(const char *s, uint64_t *ret)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		if (strcmp(s, words[i]) == 0) {
			*ret = i % 2;
			return 0;
		}
	return -EINVAL;
}

static int parse_word(const char *words, const char *s, uint64_t *ret)
{
	size_t n;

	for (uint64_t i = 0; *words; i++, words += n + (words[n] == '|')) {
		n = strcspn(words, "|");
		if (n == strlen(s) && strncmp(words, s, n) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Every type whose field is an integer, without its range. */
static int parse_integer(const struct eg_config_key *k, const char *s, uint64_t *ret)
{
	switch (k->type) {
	case EG_CONFIG_BOOL:
		return parse_bool(s, ret);
	case EG_CONFIG_DURATION:
		if (strcmp(s, "0") == 0)
			break; /* needs no unit */
		return eg_parse_duration(s, k->bits & EG_CONFIG_BARE ? EG_NSEC_PER_SEC : 0, ret);
	case EG_CONFIG_SECONDS:
		return eg_parse_duration(s, EG_NSEC_PER_SEC, ret);
	case EG_CONFIG_BYTES:
		return parse_size(s, ret);
	case EG_CONFIG_NUMBER:
		return eg_parse_u64(s, strlen(s), ret);
	case EG_CONFIG_ENUM:
		return parse_word(k->value, s, ret);
	case EG_CONFIG_OCTAL:
		return parse_octal(s, ret);
	default:
		return -EINVAL;
	}
	*ret = 0;
	return 0;
}

static bool in_range(const struct eg_config_key *k, uint64_t v)
{
	uint64_t min, max;

	return k->max[0] == '\0' || (parse_integer(k, k->min, &min) == 0 &&
				     parse_integer(k, k->max, &max) == 0 && v >= min && v <= max);
}

/* Numbers alone: a name would let a name server decide where the agent listens. */
static bool is_address(const char *s)
{
	unsigned char raw[16];
	const char *colon = strrchr(s, ':');
	bool v6 = s[0] == '[';
	char host[64];
	uint64_t port;
	size_t n;

	if (s[0] == '\0' || strcmp(s, "off") == 0)
		return true;
	if (colon == NULL || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    eg_parse_u64(colon + 1, strlen(colon + 1), &port) < 0 || port > 65535)
		return false;
	n = (size_t)(colon - s);
	if (n >= sizeof(host) || (v6 && (n < 2 || s[n - 1] != ']')))
		return false;
	memcpy(host, s + v6, n - 2 * v6);
	host[n - 2 * v6] = '\0';
	return inet_pton(v6 ? AF_INET6 : AF_INET, host, raw) == 1;
}

/* ---- Messages ---- */

static void put_expected(const struct eg_config_key *k, struct eg_strbuf *why)
{
	const char *lo = k->min, *hi = k->max;

	eg_strbuf_puts(why, "; give ");
	switch (k->type) {
	case EG_CONFIG_BOOL:
		eg_strbuf_puts(why, "true or false");
		break;
	case EG_CONFIG_TEXT:
		eg_strbuf_printf(why, "a text of at most %s bytes", hi);
		break;
	case EG_CONFIG_FILE:
	case EG_CONFIG_DIR:
		eg_strbuf_puts(why, "a path");
		break;
	case EG_CONFIG_ADDRESS:
		eg_strbuf_puts(why, "a numeric address and a port, such as 127.0.0.1:9102, "
				    "0.0.0.0:9102 or [::1]:9102, or off");
		break;
	case EG_CONFIG_DURATION:
		eg_strbuf_printf(why, "a time with its unit, %s to %s", lo, hi);
		break;
	case EG_CONFIG_SECONDS:
		eg_strbuf_printf(why, "%s to %s seconds", lo, hi);
		break;
	case EG_CONFIG_BYTES:
		eg_strbuf_printf(why, "a size, %s to %s", lo, hi);
		break;
	case EG_CONFIG_NUMBER:
		eg_strbuf_printf(why, "a whole number, %s to %s", lo, hi);
		break;
	case EG_CONFIG_PRICE:
		eg_strbuf_puts(why, "a number, 0 or more");
		break;
	case EG_CONFIG_ENUM:
		eg_strbuf_printf(why, "one of %s", k->value);
		break;
	case EG_CONFIG_OCTAL:
		eg_strbuf_printf(why, "an octal mode in quotes, \"%s\" to \"%s\"", lo, hi);
		break;
	}
}

static int refuse(const struct eg_config_key *k, const char *value, const char *what,
		  struct eg_strbuf *why)
{
	size_t n = strlen(value);

	eg_strbuf_printf(why, "'%.*s%s' %s", (int)EG_MIN(n, (size_t)SHOWN_MAX), value,
			 n > SHOWN_MAX ? "..." : "", what);
	put_expected(k, why);
	return -EINVAL;
}

static const char *shape_word(enum eg_toml_type shape)
{
	static const char *const words[] = {"a text",		"a whole number", "a number",
					    "true or false",	"a date or time", "a list",
					    "a section of keys"};

	return words[shape];
}

/* May a value of this key be written so in TOML? */
static bool fits(const struct eg_config_key *k, enum eg_toml_type shape, const char *value)
{
	bool number = shape == EG_TOML_INTEGER || shape == EG_TOML_REAL;

	switch (k->type) {
	case EG_CONFIG_BOOL:
		return shape == EG_TOML_BOOL;
	case EG_CONFIG_DURATION:
		return shape == EG_TOML_TEXT ||
		       (number && (k->bits & EG_CONFIG_BARE || strcmp(value, "0") == 0));
	case EG_CONFIG_SECONDS:
		return shape == EG_TOML_TEXT || number;
	case EG_CONFIG_BYTES:
		return shape == EG_TOML_TEXT || shape == EG_TOML_INTEGER;
	case EG_CONFIG_NUMBER:
		return shape == EG_TOML_INTEGER;
	case EG_CONFIG_PRICE:
		return number;
	case EG_CONFIG_OCTAL:
		return shape == EG_TOML_TEXT ||
		       (shape == EG_TOML_INTEGER && strncmp(value, "0o", 2) == 0);
	default:
		return shape == EG_TOML_TEXT;
	}
}

/* ---- Keeping ---- */

static int set_text(struct eg_config_source *c, unsigned key, const char *value, const char *home,
		    struct eg_strbuf *why)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	bool path = k->type == EG_CONFIG_FILE || k->type == EG_CONFIG_DIR;
	size_t max = EG_CONFIG_TEXT_MAX;
	struct eg_strbuf full = EG_STRBUF_INIT(2 * EG_CONFIG_TEXT_MAX);
	const char *bad;
	uint64_t limit;

	if (k->max[0] && eg_parse_u64(k->max, strlen(k->max), &limit) == 0)
		max = (size_t)limit;
	bad = eg_config_bad_text(value, max);
	if (bad == NULL && k->type == EG_CONFIG_ADDRESS && !is_address(value))
		bad = "is no address";
	if (bad == NULL && path && value[0] == '~' && value[1] != '/' && value[1] != '\0')
		bad = "names another user's home";
	if (bad == NULL && path && value[0] == '~' && home == NULL)
		bad = "needs $HOME, which is not set";
	if (bad != NULL)
		return refuse(k, value, bad, why);
	if (path && value[0] == '~') {
		eg_strbuf_puts(&full, home);
		eg_strbuf_puts(&full, value + 1);
		bad = eg_config_bad_text(eg_strbuf_get(&full), max);
		if (bad != NULL) {
			eg_strbuf_free(&full);
			return refuse(k, value, bad, why);
		}
	} else {
		eg_strbuf_puts(&full, value);
	}
	if (full.s == NULL) /* "" */
		full.s = calloc(1, 1);
	if (full.s == NULL || eg_strbuf_error(&full) < 0) {
		eg_strbuf_free(&full);
		return -ENOMEM;
	}
	free(c->text[key]);
	c->text[key] = full.s;
	*(const char **)(void *)((char *)&c->cfg + k->offset) = full.s;
	return 0;
}

static int set_price(struct eg_config_source *c, const char *value, struct eg_strbuf *why)
{
	const struct eg_config_key *k = &eg_config_keys[EG_CONFIG_KEY_energy_price_per_kwh];
	double v;
	int err = eg_parse_double(value, strlen(value), &v);

	/* The parser takes finite numbers only: NaN and infinities are none. */
	if (err < 0)
		return refuse(k, value, err == -ERANGE ? "is out of range" : "is no number", why);
	if (v < 0)
		return refuse(k, value, "is negative", why);
	c->cfg.energy.has_price = true;
	c->cfg.energy.price_per_kwh = v == 0 ? 0 : v; /* not -0 */
	return 0;
}

int eg_config_set(struct eg_config_source *c, unsigned key, enum eg_toml_type shape,
		  const char *value, const char *home, struct eg_strbuf *why)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	void *field = (char *)&c->cfg + k->offset;
	uint64_t v;
	int err;

	if (shape != EG_CONFIG_PLAIN && !fits(k, shape, value)) {
		eg_strbuf_printf(why, "is %s", shape_word(shape));
		put_expected(k, why);
		return -EINVAL;
	}
	switch (k->type) {
	case EG_CONFIG_TEXT:
	case EG_CONFIG_FILE:
	case EG_CONFIG_DIR:
	case EG_CONFIG_ADDRESS:
		return set_text(c, key, value, home, why);
	case EG_CONFIG_PRICE:
		return set_price(c, value, why);
	default:
		break;
	}
	err = parse_integer(k, value, &v);
	if (err < 0 && err != -ERANGE)
		return refuse(k, value, "is not understood", why);
	if (err < 0 || !in_range(k, v))
		return refuse(k, value, "is out of range", why);
	switch (k->type) {
	case EG_CONFIG_BOOL:
		*(bool *)field = v != 0;
		break;
	case EG_CONFIG_ENUM:
	case EG_CONFIG_OCTAL:
		*(unsigned *)field = (unsigned)v;
		break;
	default:
		*(uint64_t *)field = v;
		break;
	}
	return 0;
}

/* ---- Writing ---- */

void eg_config_quote(struct eg_strbuf *out, const char *text)
{
	eg_strbuf_putc(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			eg_strbuf_putc(out, '\\');
		eg_strbuf_putc(out, *text);
	}
	eg_strbuf_putc(out, '"');
}

static void put_duration(struct eg_strbuf *out, uint64_t ns)
{
	size_t i = 0;

	if (ns == 0) {
		eg_strbuf_puts(out, "\"0s\"");
		return;
	}
	/* One minute reads better as 60s. */
	while (ns % units[i].ns != 0 || (i == 1 && ns == units[i].ns))
		i++;
	eg_strbuf_printf(out, "\"%llu%s\"", (unsigned long long)(ns / units[i].ns),
			 units[i].suffix);
}

static void put_size(struct eg_strbuf *out, uint64_t bytes)
{
	size_t i = 0;

	/* Powers of two first; what is a multiple of none is a plain number. */
	while (i < 3 && (bytes == 0 || bytes % sizes[i].bytes != 0))
		i++;
	if (i < 3)
		eg_strbuf_printf(out, "\"%llu%s\"", (unsigned long long)(bytes / sizes[i].bytes),
				 sizes[i].suffix);
	else
		eg_strbuf_printf(out, "%llu", (unsigned long long)bytes);
}

static void put_word(struct eg_strbuf *out, const char *words, unsigned v)
{
	while (v-- > 0)
		words += strcspn(words, "|") + 1;
	eg_strbuf_putc(out, '"');
	eg_strbuf_append(out, words, strcspn(words, "|"));
	eg_strbuf_putc(out, '"');
}

void eg_config_value(const struct eg_config *cfg, unsigned key, struct eg_strbuf *out)
{
	const struct eg_config_key *k = &eg_config_keys[key];
	const void *field = (const char *)cfg + k->offset;
	char number[EG_NUMBER_MAX];

	switch (k->type) {
	case EG_CONFIG_BOOL:
		eg_strbuf_puts(out, *(const bool *)field ? "true" : "false");
		break;
	case EG_CONFIG_TEXT:
	case EG_CONFIG_FILE:
	case EG_CONFIG_DIR:
	case EG_CONFIG_ADDRESS:
		eg_config_quote(out, *(const char *const *)field);
		break;
	case EG_CONFIG_DURATION:
		put_duration(out, *(const uint64_t *)field);
		break;
	case EG_CONFIG_SECONDS:
		eg_number_scaled(number, *(const uint64_t *)field, 9);
		eg_strbuf_puts(out, number);
		break;
	case EG_CONFIG_BYTES:
		put_size(out, *(const uint64_t *)field);
		break;
	case EG_CONFIG_NUMBER:
		eg_strbuf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case EG_CONFIG_PRICE:
		if (!cfg->energy.has_price)
			break;
		eg_number_double(number, cfg->energy.price_per_kwh);
		eg_strbuf_puts(out, number);
		break;
	case EG_CONFIG_ENUM:
		put_word(out, k->value, *(const unsigned *)field);
		break;
	case EG_CONFIG_OCTAL:
		eg_strbuf_printf(out, "\"%04o\"", *(const unsigned *)field);
		break;
	}
}
