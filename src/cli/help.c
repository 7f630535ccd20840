/* SPDX-License-Identifier: Apache-2.0 */
/* --help of the program, of each verb, and of the drivers' options. */
#include "cli/help.h"

#include <string.h>

#include "base/version.h"
#include "cli/out.h"

#define WIDTH	 80
#define TEXT_MAX (256u << 10)

/* Words of text, wrapped, each line indented; the first line starts at column `at`. */
static void wrap(struct eg_strbuf *out, const char *text, size_t indent, size_t at)
{
	size_t column = at;
	bool first = true;

	while (*text) {
		size_t n = strcspn(text, " \n");

		if (!first && column + 1 + n > WIDTH) {
			eg_strbuf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		if (!first) {
			eg_strbuf_putc(out, ' ');
			column++;
		}
		eg_strbuf_append(out, text, n);
		column += n;
		first = false;
		text += n;
		if (strncmp(text, "\n\n", 2) == 0) {
			eg_strbuf_printf(out, "\n\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		text += strspn(text, " \n");
	}
	eg_strbuf_putc(out, '\n');
}

static void put_option(struct eg_strbuf *out, const struct eg_cli_option *o)
{
	size_t start = out->len, at;

	if (o->letter)
		eg_strbuf_printf(out, "  -%c, --%s", o->letter, o->name);
	else
		eg_strbuf_printf(out, "      --%s", o->name);
	if (o->value)
		eg_strbuf_printf(out, " %s", o->value);
	at = out->len - start;
	if (at > 25) {
		eg_strbuf_printf(out, "\n%*s", 27, "");
	} else {
		eg_strbuf_printf(out, "%*s", (int)(27 - at), "");
	}
	wrap(out, o->help, 27, 27);
}

static void put_exits(struct eg_strbuf *out, const struct eg_cli_verb *verb)
{
	eg_strbuf_puts(out, "\nExit status:\n");
#define X(number, text) eg_strbuf_printf(out, "  %-6s %s\n", number, text);
	if (verb != NULL && verb->program) {
		EG_EXITS_COMMON(X)
	} else {
		EG_EXITS(X)
	}
#undef X
}

void eg_help_verb(struct eg_strbuf *out, const struct eg_cli_verb *verb)
{
	const struct eg_cli_option *o = NULL;

	eg_strbuf_printf(out, "Usage: %s%s%s%s\n\n", verb->program ? "" : "ergon ", verb->name,
			 verb->usage[0] ? " " : "", verb->usage);
	wrap(out, verb->about, 0, 0);
	eg_strbuf_puts(out, "\nOptions:\n");
	while ((o = eg_cli_next(verb, o)) != NULL)
		if (!o->hidden)
			put_option(out, o);
	if (verb->examples != NULL)
		eg_strbuf_puts(out, "\nExamples:\n");
	for (const char *p = verb->examples; p && *p;) {
		size_t n = strcspn(p, "\t"), m = strcspn(p + n + 1, "\n");

		eg_strbuf_printf(out, "  %.*s\n      %.*s\n", (int)n, p, (int)m, p + n + 1);
		p += n + m + 2;
	}
	put_exits(out, verb);
}

void eg_help_overview(struct eg_strbuf *out)
{
	eg_strbuf_puts(out, "Usage: ergon VERB [OPTION]...\n\n"
			    "How many joules, measured how, and where the figure comes from.\n\n"
			    "Verbs:\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (!v->hidden)
			eg_strbuf_printf(out, "  %-10s %s\n", v->name, v->summary);
	eg_strbuf_puts(out,
		       "\n`ergon VERB --help` shows the options of a verb, `ergon sensors` what "
		       "can be\nmeasured here.\n");
	put_exits(out, NULL);
}

void eg_help_drivers(struct eg_strbuf *out)
{
	for (size_t i = 0; eg_drivers[i]; i++) {
		const struct eg_driver *d = eg_drivers[i];

		eg_strbuf_printf(out, "%s%s: %s\n", i > 0 ? "\n" : "", d->name, d->summary);
		for (const struct eg_option *o = d->options; o && o->name; o++) {
			eg_strbuf_printf(out, "  --set %s.%s=%s\n        ", d->name, o->name,
					 o->type == EG_OPTION_BOOL ? "true|false" :
					 o->type == EG_OPTION_TEXT ? "TEXT" :
								     "NUMBER");
			wrap(out, o->help, 8, 8);
			if (o->fallback != NULL)
				eg_strbuf_printf(out, "        Default: %s\n", o->fallback);
		}
	}
}

int eg_verb_help(struct eg_args *args)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	const struct eg_cli_verb *verb;
	int code = 0;

	if (args->n_rest == 0) {
		eg_help_overview(&out);
	} else if (strcmp(args->rest[0], "drivers") == 0) {
		eg_help_drivers(&out);
	} else if ((verb = eg_cli_find(args->rest[0])) != NULL) {
		eg_help_verb(&out, verb);
	} else {
		eg_say("unknown verb '%s'; did you mean '%s'?", args->rest[0],
		       eg_cli_nearest(args->rest[0])->name);
		code = EG_EXIT_USAGE;
	}
	if (code == 0)
		code = eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	return code;
}

int eg_verb_version(struct eg_args *args)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	int code;

	eg_strbuf_puts(&out, "ergon " EG_VERSION "\n");
	code = eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	return code;
}
