/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses words by a verb's tables: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, -xyz, "--". An
 * abbreviation is never taken (it would break when an option is added); an unknown option is
 * answered with the nearest one.
 */
#include "cli/args.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

const struct eg_cli_verb *eg_cli_find(const char *name)
{
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

const struct eg_cli_verb *eg_cli_nearest(const char *name)
{
	const struct eg_cli_verb *best = NULL;
	unsigned least = 256;

	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		unsigned d = eg_edit_distance(name, v->name);

		if (!v->hidden && d < least) {
			least = d;
			best = v;
		}
	}
	return best;
}

const struct eg_cli_option *eg_cli_next(const struct eg_cli_verb *verb,
					const struct eg_cli_option *o)
{
	bool found = o == NULL;

	for (const struct eg_cli_option *const *g = verb->groups; g && *g; g++) {
		for (const struct eg_cli_option *p = *g; p->name; p++) {
			if (found)
				return p;
			found = p == o;
		}
	}
	return NULL;
}

static const struct eg_cli_option *find(const struct eg_cli_verb *verb, const char *name, size_t n)
{
	const struct eg_cli_option *o = NULL;

	while ((o = eg_cli_next(verb, o)) != NULL)
		if (strlen(o->name) == n && strncmp(o->name, name, n) == 0)
			return o;
	return NULL;
}

static const struct eg_cli_option *find_letter(const struct eg_cli_verb *verb, char letter)
{
	const struct eg_cli_option *o = NULL;

	while ((o = eg_cli_next(verb, o)) != NULL)
		if (o->letter == letter)
			return o;
	return NULL;
}

static int unknown_long(const struct eg_cli_verb *verb, const char *name, size_t n,
			struct eg_strbuf *why)
{
	const struct eg_cli_option *o = NULL, *best = NULL;
	eg_autofree char *word = strndup(name, n);
	unsigned least = 256;

	while (word != NULL && (o = eg_cli_next(verb, o)) != NULL) {
		unsigned d = eg_edit_distance(word, o->name);

		if (!o->hidden && d < least) {
			least = d;
			best = o;
		}
	}
	eg_strbuf_printf(why, "unknown option --%.*s", (int)n, name);
	if (best != NULL)
		eg_strbuf_printf(why, "; did you mean --%s?", best->name);
	return EG_EXIT_USAGE;
}

/* Nearest to a letter: the other case, else an option whose long name begins with it. */
static int unknown_letter(const struct eg_cli_verb *verb, char letter, struct eg_strbuf *why)
{
	const struct eg_cli_option *o = NULL, *best = NULL;

	eg_strbuf_printf(why, "unknown option -%c", letter);
	while ((o = eg_cli_next(verb, o)) != NULL)
		if (!o->hidden && o->letter && (o->letter ^ letter) == 0x20)
			best = o;
	while (best == NULL && (o = eg_cli_next(verb, o)) != NULL)
		if (!o->hidden && (o->name[0] | 0x20) == (letter | 0x20))
			best = o;
	if (best != NULL && best->letter)
		eg_strbuf_printf(why, "; did you mean -%c (--%s)?", best->letter, best->name);
	else if (best != NULL)
		eg_strbuf_printf(why, "; did you mean --%s?", best->name);
	else
		eg_strbuf_puts(why, "; did you mean -h (--help)?");
	return EG_EXIT_USAGE;
}

static int parse_number(const struct eg_cli_option *o, const char *value, uint64_t *field,
			struct eg_strbuf *why)
{
	uint64_t v;
	int err = eg_parse_u64(value, strlen(value), &v);

	if (err == 0 && v >= o->min && v <= o->max) {
		*field = v;
		return 0;
	}
	eg_strbuf_printf(why, "option --%s: '%s' is %s; give %llu to %llu", o->name, value,
			 err == -EINVAL ? "no whole number" : "out of range",
			 (unsigned long long)o->min, (unsigned long long)o->max);
	return EG_EXIT_USAGE;
}

static int parse_duration(const struct eg_cli_option *o, const char *value, uint64_t *field,
			  struct eg_strbuf *why)
{
	uint64_t v;
	bool seconds = o->type == EG_ARG_SECONDS;
	uint64_t unit_ns = seconds ? EG_NSEC_PER_SEC : EG_NSEC_PER_MSEC;
	int err = eg_parse_duration(value, unit_ns, &v);

	if (err == 0 && v >= o->min && v <= o->max) {
		*field = v;
		return 0;
	}
	eg_strbuf_printf(
		why, "option --%s: '%s' is %s; give %llu to %llu %s, or a time such as 500ms or 2s",
		o->name, value, err == -EINVAL ? "no time" : "out of range",
		(unsigned long long)(o->min / unit_ns), (unsigned long long)(o->max / unit_ns),
		seconds ? "seconds" : "milliseconds");
	return EG_EXIT_USAGE;
}

static int parse_setting(const char *value, struct eg_args *args, struct eg_strbuf *why)
{
	char *text, *dot, *equals;

	if (args->n_settings == EG_SETTINGS_MAX) {
		eg_strbuf_printf(why, "option --set: more than %d settings", EG_SETTINGS_MAX);
		return EG_EXIT_USAGE;
	}
	text = strdup(value);
	equals = text ? strchr(text, '=') : NULL;
	dot = text ? strchr(text, '.') : NULL;
	if (equals == NULL || dot == NULL || dot > equals || dot == text || dot + 1 == equals) {
		free(text);
		eg_strbuf_printf(
			why,
			"option --set: '%s' is no DRIVER.OPTION=VALUE; `ergon help drivers` "
			"lists them",
			value);
		return EG_EXIT_USAGE;
	}
	*dot = *equals = '\0';
	args->setting_text[args->n_settings] = text;
	args->setting[args->n_settings++] =
		(struct eg_setting){.driver = text, .name = dot + 1, .value = equals + 1};
	return 0;
}

/* What the value must look like is the configuration's to say, as for its other sources. */
static int store_config(const struct eg_cli_option *o, const char *value, struct eg_args *args,
			struct eg_strbuf *why)
{
	if (args->n_config_flags == EG_CONFIG_FLAGS_MAX) {
		eg_strbuf_printf(why, "option --%s: more than %d options", o->name,
				 EG_CONFIG_FLAGS_MAX);
		return EG_EXIT_USAGE;
	}
	if (value != NULL && value[0] == '\0') {
		eg_strbuf_printf(why, "option --%s: the value is empty", o->name);
		return EG_EXIT_USAGE;
	}
	args->config_flag[args->n_config_flags++] =
		(struct eg_config_flag){o->config, value != NULL ? value : "true"};
	return 0;
}

static int store(const struct eg_cli_option *o, const char *value, struct eg_args *args,
		 struct eg_strbuf *why)
{
	char *field = (char *)args + o->offset;

	if (o->config != NULL)
		return store_config(o, value, args, why);
	switch (o->type) {
	case EG_ARG_FLAG:
		*(bool *)(void *)field = true;
		return 0;
	case EG_ARG_NUMBER:
		return parse_number(o, value, (uint64_t *)(void *)field, why);
	case EG_ARG_DURATION:
	case EG_ARG_SECONDS:
		return parse_duration(o, value, (uint64_t *)(void *)field, why);
	case EG_ARG_SETTING:
		return parse_setting(value, args, why);
	case EG_ARG_TEXT:
	case EG_ARG_FILE:
	case EG_ARG_DIR:
		break;
	}
	if (value[0] == '\0') {
		eg_strbuf_printf(why, "option --%s: the value is empty", o->name);
		return EG_EXIT_USAGE;
	}
	*(const char **)(void *)field = value;
	return 0;
}

/* One "--name[=VALUE]"; *i moves over a value taken from the next word. */
static int parse_long(const struct eg_cli_verb *verb, int argc, char **argv, int *i,
		      struct eg_args *args, struct eg_strbuf *why)
{
	const char *name = argv[*i] + 2;
	size_t n = strcspn(name, "=");
	const struct eg_cli_option *o = find(verb, name, n);
	const char *value = name[n] == '=' ? name + n + 1 : NULL;

	if (o == NULL)
		return unknown_long(verb, name, n, why);
	if (o->type == EG_ARG_FLAG && value != NULL) {
		eg_strbuf_printf(why, "option --%s takes no value", o->name);
		return EG_EXIT_USAGE;
	}
	if (o->type != EG_ARG_FLAG && value == NULL) {
		if (*i + 1 >= argc) {
			eg_strbuf_printf(why, "option --%s needs a value: %s", o->name, o->value);
			return EG_EXIT_USAGE;
		}
		value = argv[++*i];
	}
	return store(o, value, args, why);
}

/* One "-xyz": flags, and at most one option with a value, which comes last. */
static int parse_short(const struct eg_cli_verb *verb, int argc, char **argv, int *i,
		       struct eg_args *args, struct eg_strbuf *why)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct eg_cli_option *o = find_letter(verb, *p);
		int err;

		if (o == NULL)
			return unknown_letter(verb, *p, why);
		if (o->type == EG_ARG_FLAG) {
			err = store(o, NULL, args, why);
			if (err != 0)
				return err;
			continue;
		}
		if (p[1] != '\0')
			return store(o, p + 1, args, why);
		if (*i + 1 >= argc) {
			eg_strbuf_printf(why, "option -%c needs a value: %s", o->letter, o->value);
			return EG_EXIT_USAGE;
		}
		return store(o, argv[++*i], args, why);
	}
	return 0;
}

int eg_args_parse(const struct eg_cli_verb *verb, int argc, char **argv, struct eg_args *ret,
		  struct eg_strbuf *ret_why)
{
	struct eg_args args = {0};
	int i, kept = 0, err = 0;
	bool only_words = false;

	if (verb->in_agent) {
		args.words = calloc((size_t)argc + 1, sizeof(*args.words));
		if (args.words == NULL) {
			eg_strbuf_puts(ret_why, "out of memory");
			return EG_EXIT_FAILURE;
		}
		memcpy(args.words, argv, (size_t)argc * sizeof(*argv));
	}

	for (i = 0; i < argc && err == 0; i++) {
		const char *word = argv[i];

		if (!only_words && strcmp(word, "--") == 0) {
			only_words = true;
			if (verb->takes_command) {
				i++;
				break;
			}
		} else if (!only_words && strncmp(word, "--", 2) == 0) {
			err = parse_long(verb, argc, argv, &i, &args, ret_why);
		} else if (!only_words && word[0] == '-' && word[1] != '\0') {
			err = parse_short(verb, argc, argv, &i, &args, ret_why);
		} else if (verb->takes_command) {
			break;
		} else {
			argv[kept++] = argv[i];
		}
	}
	args.rest = verb->takes_command ? argv + i : argv;
	args.n_rest = verb->takes_command ? argc - i : kept;
	if (err == 0 && !args.help && !args.version && !verb->takes_command &&
	    kept > verb->max_rest) {
		eg_strbuf_printf(ret_why, "unexpected word '%s'", argv[verb->max_rest]);
		err = EG_EXIT_USAGE;
	}
	if (err != 0) {
		eg_args_free(&args);
		return err;
	}
	*ret = args;
	return 0;
}

void eg_args_free(struct eg_args *args)
{
	for (size_t i = 0; i < args->n_settings; i++)
		free(args->setting_text[i]);
	args->n_settings = 0;
	free(args->words);
	args->words = NULL;
}
