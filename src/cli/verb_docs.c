/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon docs`: writes the man pages, the completions and docs/cli.md from the tables of options.c,
 * docs/metrics.md from that of the metrics, and what is told of the configuration from its keys
 * (docs_config.c). The results are kept in the source tree; a test compares them with what this
 * writes.
 */
#include <stdio.h>
#include <string.h>

#include "cli/docs.h"
#include "cli/help.h"
#include "cli/out.h"
#include "codec/metrics.h"

#define TEXT_MAX (1u << 20)

static const char about_program[] =
	"Ergon measures energy: how many joules a machine used, measured how, and where the figure "
	"comes from. It reads the energy counters and power sensors that the machine has (RAPL, GPUs, "
	"hardware monitors, batteries) and adds them without counting anything twice. What cannot be "
	"measured is absent, with the reason and what helps; an estimate is made only where it is "
	"allowed, and is labelled so.";

/* ---- man(7) ---- */

#define ROFF_COLUMNS 72

/* Text with roff's own characters made plain, in lines of source that editors and lint like. */
static void roff_n(struct eg_strbuf *out, const char *s, size_t n)
{
	bool line_start = true;
	size_t start = out->len;

	for (size_t i = 0; i < n; i++) {
		size_t word = s[i] == ' ' ? strcspn(s + i + 1, " \n") : 0;

		if (s[i] == ' ' && out->len - start + word > ROFF_COLUMNS) {
			eg_strbuf_putc(out, '\n');
			start = out->len;
			line_start = true;
			continue;
		}
		if (line_start && (s[i] == '.' || s[i] == '\''))
			eg_strbuf_puts(out, "\\&");
		if (s[i] == '\\')
			eg_strbuf_puts(out, "\\e");
		else if (s[i] == '-')
			eg_strbuf_puts(out, "\\-");
		else if (s[i] == '\'')
			eg_strbuf_puts(out, "\\(aq");
		else if (s[i] == '`')
			eg_strbuf_puts(out, "\\(ga");
		else
			eg_strbuf_putc(out, s[i]);
		line_start = s[i] == '\n';
	}
}

void eg_docs_roff(struct eg_strbuf *out, const char *s)
{
	roff_n(out, s, strlen(s));
}

/* Paragraphs separated by empty lines. */
static void roff_paragraphs(struct eg_strbuf *out, const char *s)
{
	for (;;) {
		const char *end = strstr(s, "\n\n");

		roff_n(out, s, end ? (size_t)(end - s) : strlen(s));
		eg_strbuf_putc(out, '\n');
		if (end == NULL)
			return;
		eg_strbuf_puts(out, ".PP\n");
		s = end + 2;
	}
}

static void man_head(struct eg_strbuf *out, const char *title, const char *name,
		     const char *summary)
{
	eg_strbuf_puts(out, ".\\\" Written by `ergon docs man` from src/cli/options.c.\n.TH ");
	for (const char *p = title; *p; p++)
		eg_strbuf_putc(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p);
	eg_strbuf_puts(out, " 1 " EG_DOCS_DATE " Ergon\n.SH NAME\n");
	eg_docs_roff(out, name);
	eg_strbuf_puts(out, " \\- ");
	eg_docs_roff(out, summary);
	eg_strbuf_putc(out, '\n');
}

static void man_option(struct eg_strbuf *out, const struct eg_cli_option *o)
{
	eg_strbuf_puts(out, ".TP\n");
	if (o->letter)
		eg_strbuf_printf(out, "\\fB\\-%c\\fR, ", o->letter);
	eg_strbuf_puts(out, "\\fB\\-\\-");
	eg_docs_roff(out, o->name);
	eg_strbuf_puts(out, "\\fR");
	if (o->value != NULL) {
		eg_strbuf_puts(out, " \\fI");
		eg_docs_roff(out, o->value);
		eg_strbuf_puts(out, "\\fR");
	}
	eg_strbuf_putc(out, '\n');
	eg_docs_roff(out, o->help);
	eg_strbuf_putc(out, '\n');
}

static void man_exits(struct eg_strbuf *out, const struct eg_cli_verb *self)
{
	eg_strbuf_puts(out, ".SH EXIT STATUS\n");
#define X(number, text)                                   \
	eg_strbuf_puts(out, ".TP\n\\fB" number "\\fR\n"); \
	eg_docs_roff(out, text);                          \
	eg_strbuf_putc(out, '\n');
	if (self != NULL && self->program) {
		EG_EXITS_COMMON(X)
	} else {
		EG_EXITS(X)
	}
#undef X
}

static void man_see_also(struct eg_strbuf *out, const struct eg_cli_verb *self)
{
	eg_strbuf_puts(out, ".SH SEE ALSO\n");
	if (self != NULL)
		eg_strbuf_puts(out, "\\fBergon\\fR(1)");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (v != self && !v->hidden &&
		    (self == NULL || v->run_raw != NULL || v->groups[1] != NULL))
			eg_strbuf_printf(out, "%s\\fBergon\\-%s\\fR(1)",
					 self != NULL || v != eg_cli_verbs ? ",\n" : "", v->name);
	eg_strbuf_putc(out, '\n');
}

static void man_verb(struct eg_strbuf *out, const struct eg_cli_verb *v)
{
	const struct eg_cli_option *o = NULL;
	char title[64];

	snprintf(title, sizeof(title), "%s%s", v->program ? "" : "ergon-", v->name);
	man_head(out, title, title, v->summary);
	eg_strbuf_puts(out, ".SH SYNOPSIS\n\\fB");
	eg_docs_roff(out, v->program ? "" : "ergon ");
	eg_docs_roff(out, v->name);
	eg_strbuf_printf(out, "\\fR%s", v->usage[0] ? " " : "");
	eg_docs_roff(out, v->usage);
	eg_strbuf_puts(out, "\n.SH DESCRIPTION\n");
	roff_paragraphs(out, v->about);
	eg_strbuf_puts(out, ".SH OPTIONS\n");
	while ((o = eg_cli_next(v, o)) != NULL)
		if (!o->hidden)
			man_option(out, o);
	man_exits(out, v);
	if (v->examples != NULL)
		eg_strbuf_puts(out, ".SH EXAMPLES\n");
	for (const char *p = v->examples; p && *p;) {
		size_t n = strcspn(p, "\t"), m = strcspn(p + n + 1, "\n");

		eg_strbuf_puts(out, ".TP\n\\fB");
		roff_n(out, p, n);
		eg_strbuf_puts(out, "\\fR\n");
		roff_n(out, p + n + 1, m);
		eg_strbuf_putc(out, '\n');
		p += n + m + 2;
	}
	man_see_also(out, v);
}

static void man_program(struct eg_strbuf *out)
{
	man_head(out, "ergon", "ergon", "measure the energy that a machine uses");
	eg_strbuf_puts(out, ".SH SYNOPSIS\n\\fBergon\\fR \\fIVERB\\fR [\\fIOPTION\\fR]...\n"
			    ".SH DESCRIPTION\n");
	roff_paragraphs(out, about_program);
	eg_strbuf_puts(out, ".SH VERBS\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		if (v->hidden)
			continue;
		eg_strbuf_printf(out, ".TP\n\\fB%s\\fR\n", v->name);
		eg_docs_roff(out, v->summary);
		eg_strbuf_putc(out, '\n');
	}
	man_exits(out, NULL);
	eg_strbuf_puts(out,
		       ".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nIf set and not empty, no colour "
		       "is used on a terminal.\n");
	man_see_also(out, NULL);
}

/* ---- Completion ---- */

static void bash_words(struct eg_strbuf *out, const struct eg_cli_verb *v)
{
	const struct eg_cli_option *o = NULL;
	bool first = true;

	while ((o = eg_cli_next(v, o)) != NULL) {
		if (o->hidden)
			continue;
		if (o->letter)
			eg_strbuf_printf(out, "%s-%c", first ? "" : " ", o->letter);
		eg_strbuf_printf(out, "%s--%s", first && !o->letter ? "" : " ", o->name);
		first = false;
	}
}

/* A case of the options that take this type, over all verbs, each once. */
static bool bash_takes(struct eg_strbuf *out, enum eg_arg_type a, enum eg_arg_type b)
{
	struct eg_strbuf seen = EG_STRBUF_INIT(4096);
	bool any = false;

	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		const struct eg_cli_option *o = NULL;

		while ((o = eg_cli_next(v, o)) != NULL) {
			char word[64];

			snprintf(word, sizeof(word), " --%s ", o->name);
			if (o->hidden || (o->type != a && o->type != b) ||
			    strstr(eg_strbuf_get(&seen), word) != NULL)
				continue;
			eg_strbuf_puts(&seen, word);
			eg_strbuf_printf(out, "%s--%s", any ? "|" : "\t", o->name);
			if (o->letter && o->type == EG_ARG_FILE)
				eg_strbuf_printf(out, "|-%c", o->letter);
			any = true;
		}
	}
	eg_strbuf_free(&seen);
	return any;
}

static void bash(struct eg_strbuf *out)
{
	eg_strbuf_puts(out,
		       "# Completion of ergon for bash; written by `ergon docs bash`.\n"
		       "_ergon()\n{\n"
		       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		       "\tlocal verb=${COMP_WORDS[1]} i\n"
		       "\tCOMPREPLY=()\n"
		       "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
		       "\t\tmapfile -t COMPREPLY < <(compgen -W '");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (!v->hidden)
			eg_strbuf_printf(out, "%s ", v->name);
	eg_strbuf_puts(out, "--help --version' -- \"$cur\")\n\t\treturn\n\tfi\n"
			    "\tcase $prev in\n");
	if (bash_takes(out, EG_ARG_FILE, EG_ARG_FILE))
		eg_strbuf_puts(out, ")\n\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
				    "\t\treturn ;;\n");
	if (bash_takes(out, EG_ARG_DIR, EG_ARG_DIR))
		eg_strbuf_puts(out, ")\n\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
				    "\t\treturn ;;\n");
	eg_strbuf_puts(out, "\tesac\n\tcase $verb in\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		if (v->hidden)
			continue;
		eg_strbuf_printf(out, "\t%s)\n", v->name);
		if (v->takes_command)
			eg_strbuf_puts(
				out, "\t\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
				     "\t\t\tif [ \"${COMP_WORDS[i]}\" = -- ]; then\n"
				     "\t\t\t\tif declare -F _command_offset >/dev/null; then\n"
				     "\t\t\t\t\t_command_offset $((i + 1))\n"
				     "\t\t\t\telif ((i + 1 == COMP_CWORD)); then\n"
				     "\t\t\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
				     "\t\t\t\telse\n"
				     "\t\t\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
				     "\t\t\t\tfi\n"
				     "\t\t\t\treturn\n\t\t\tfi\n\t\tdone\n"
				     "\t\tif [[ $cur != -* ]]; then\n\t\t\tmapfile -t COMPREPLY < "
				     "<(compgen -c -- \"$cur\")\n\t\t\treturn\n\t\tfi\n");
		eg_strbuf_puts(out, "\t\tmapfile -t COMPREPLY < <(compgen -W '");
		bash_words(out, v);
		if (strcmp(v->name, "help") == 0) {
			for (const struct eg_cli_verb *w = eg_cli_verbs; w->name; w++)
				if (!w->hidden)
					eg_strbuf_printf(out, " %s", w->name);
			eg_strbuf_puts(out, " drivers");
		}
		if (v->words != NULL)
			eg_strbuf_printf(out, " %s", v->words);
		eg_strbuf_puts(out, "' -- \"$cur\") ;;\n");
	}
	eg_strbuf_puts(out, "\tesac\n}\ncomplete -F _ergon ergon\n");
}

/* First sentence of a help text, for zsh's one-line descriptions; zsh's own characters escaped. */
static void zsh_help(struct eg_strbuf *out, const char *help)
{
	size_t n = 0;

	while (help[n] && strncmp(help + n, ". ", 2) != 0 && help[n] != ';' && help[n] != ':')
		n++;
	while (n > 0 && (help[n - 1] == '.' || help[n - 1] == ' '))
		n--;
	for (size_t i = 0; i < n; i++) {
		if (help[i] == '\'')
			eg_strbuf_puts(out, "'\\''");
		else if (strchr("[]:\\`$", help[i]) != NULL)
			eg_strbuf_printf(out, "\\%c", help[i]);
		else
			eg_strbuf_putc(out, help[i]);
	}
}

static void zsh_option(struct eg_strbuf *out, const struct eg_cli_option *o)
{
	bool repeats = o->type == EG_ARG_SETTING;

	if (o->letter)
		eg_strbuf_printf(out, "\t\t\t'(-%c --%s)'{-%c,--%s}'[", o->letter, o->name,
				 o->letter, o->name);
	else
		eg_strbuf_printf(out, "\t\t\t'%s--%s[", repeats ? "*" : "", o->name);
	zsh_help(out, o->help);
	eg_strbuf_putc(out, ']');
	if (o->value != NULL)
		eg_strbuf_printf(out, ":%s:%s", o->value,
				 o->type == EG_ARG_FILE ? "_files" :
				 o->type == EG_ARG_DIR	? "_files -/" :
							  "");
	eg_strbuf_puts(out, "' \\\n");
}

/* The same for a program without verbs. */
static void bash_program(struct eg_strbuf *out, const struct eg_cli_verb *v)
{
	eg_strbuf_printf(out,
			 "# Completion of %s for bash; written by `ergon docs bash %s`.\n"
			 "_energy_monitor()\n{\n"
			 "\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
			 "\tmapfile -t COMPREPLY < <(compgen -W '",
			 v->name, v->name);
	bash_words(out, v);
	eg_strbuf_printf(out, "' -- \"$cur\")\n}\ncomplete -F _energy_monitor %s\n", v->name);
}

static void zsh_program(struct eg_strbuf *out, const struct eg_cli_verb *v)
{
	const struct eg_cli_option *o = NULL;

	eg_strbuf_printf(
		out,
		"#compdef %s\n# Completion of %s for zsh; written by `ergon docs zsh %s`.\n"
		"_arguments -s -S \\\n",
		v->name, v->name, v->name);
	while ((o = eg_cli_next(v, o)) != NULL)
		if (!o->hidden)
			zsh_option(out, o);
	eg_strbuf_puts(out, "\t\t\t&& return\n");
}

static void zsh_verbs(struct eg_strbuf *out)
{
	eg_strbuf_puts(out, "\t\t\t'1:verb:(");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (!v->hidden)
			eg_strbuf_printf(out, "%s ", v->name);
	eg_strbuf_puts(out, "drivers)' ;;\n");
}

static void zsh(struct eg_strbuf *out)
{
	eg_strbuf_puts(
		out, "#compdef ergon\n# Completion of ergon for zsh; written by `ergon docs zsh`.\n"
		     "_ergon()\n{\n\tlocal -a verbs\n\tverbs=(\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		if (v->hidden)
			continue;
		eg_strbuf_printf(out, "\t\t'%s:", v->name);
		zsh_help(out, v->summary);
		eg_strbuf_puts(out, "'\n");
	}
	eg_strbuf_puts(out,
		       "\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe verb verbs\n\t\treturn\n"
		       "\tfi\n\tlocal verb=$words[2]\n\tshift words\n\t((CURRENT--))\n"
		       "\tcase $verb in\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++) {
		const struct eg_cli_option *o = NULL;

		if (v->hidden)
			continue;
		eg_strbuf_printf(out, "\t%s)\n\t\t_arguments -s -S \\\n", v->name);
		while ((o = eg_cli_next(v, o)) != NULL)
			if (!o->hidden)
				zsh_option(out, o);
		if (strcmp(v->name, "help") == 0)
			zsh_verbs(out);
		else if (v->words != NULL)
			eg_strbuf_printf(out, "\t\t\t'1:word:(%s)' ;;\n", v->words);
		else
			eg_strbuf_puts(out, v->takes_command ? "\t\t\t'*::command:_normal' ;;\n" :
							       "\t\t\t&& return ;;\n");
	}
	eg_strbuf_puts(out, "\tesac\n}\n_ergon \"$@\"\n");
}

/* ---- Markdown ---- */

void eg_docs_md_cell(struct eg_strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '|' || *s == '*' || *s == '<')
			eg_strbuf_putc(out, '\\');
		eg_strbuf_putc(out, *s == '\n' ? ' ' : *s);
	}
}

static void md_verb(struct eg_strbuf *out, const struct eg_cli_verb *v)
{
	const struct eg_cli_option *o = NULL;

	const char *ergon = v->program ? "" : "ergon ";

	eg_strbuf_printf(out, "\n## %s%s\n\n", ergon, v->name);
	eg_strbuf_printf(out, "    %s%s%s%s\n\n%s\n\n| option | what it does |\n|---|---|\n", ergon,
			 v->name, v->usage[0] ? " " : "", v->usage, v->about);
	while ((o = eg_cli_next(v, o)) != NULL) {
		if (o->hidden)
			continue;
		eg_strbuf_puts(out, "| `");
		if (o->letter)
			eg_strbuf_printf(out, "-%c, ", o->letter);
		eg_strbuf_printf(out, "--%s%s%s` | ", o->name, o->value ? " " : "",
				 o->value ? o->value : "");
		eg_docs_md_cell(out, o->help);
		eg_strbuf_puts(out, " |\n");
	}
	if (v->examples != NULL)
		eg_strbuf_puts(out, "\nExamples:\n\n");
	for (const char *p = v->examples; p && *p;) {
		size_t n = strcspn(p, "\t"), m = strcspn(p + n + 1, "\n");

		eg_strbuf_printf(out, "* `%.*s` - %.*s\n", (int)n, p, (int)m, p + n + 1);
		p += n + m + 2;
	}
}

static void markdown(struct eg_strbuf *out)
{
	eg_strbuf_puts(out, "# The command line\n\n<!-- Written by `ergon docs markdown` from "
			    "src/cli/options.c. -->\n\n");
	eg_strbuf_printf(out, "%s\n\n| verb | what it does |\n|---|---|\n", about_program);
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (!v->hidden)
			eg_strbuf_printf(out, "| [%s](#ergon-%s) | %s |\n", v->name, v->name,
					 v->summary);
	eg_strbuf_puts(out, "\n| exit status | meaning |\n|---|---|\n");
#define X(number, text) eg_strbuf_puts(out, "| " number " | " text " |\n");
	EG_EXITS(X)
#undef X
	eg_strbuf_puts(out,
		       "\nThe JSON that `--json` writes is documented in [json.md](json.md).\n");
	for (const struct eg_cli_verb *v = eg_cli_verbs; v->name; v++)
		if (!v->hidden)
			md_verb(out, v);
	md_verb(out, &eg_cli_monitor);
}

int eg_verb_docs(struct eg_args *args)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	const char *what = args->n_rest > 0 ? args->rest[0] : "";
	const char *name = args->n_rest > 1 ? args->rest[1] : "";
	bool program = strcmp(name, eg_cli_monitor.name) == 0;
	const struct eg_cli_verb *v = program ? &eg_cli_monitor : eg_cli_find(name);
	int code;

	if (strcmp(what, "man") == 0 && args->n_rest == 1)
		man_program(&out);
	else if (strcmp(what, "man") == 0 && v != NULL)
		man_verb(&out, v);
	else if (strcmp(what, "bash") == 0 && program)
		bash_program(&out, v);
	else if (strcmp(what, "bash") == 0)
		bash(&out);
	else if (strcmp(what, "zsh") == 0 && program)
		zsh_program(&out, v);
	else if (strcmp(what, "zsh") == 0)
		zsh(&out);
	else if (strcmp(what, "markdown") == 0)
		markdown(&out);
	else if (strcmp(what, "metrics") == 0)
		eg_metrics_write_docs(&out);
	else if (strcmp(what, "config") == 0)
		eg_docs_config_markdown(&out);
	else if (strcmp(what, "man-config") == 0)
		eg_docs_config_man(&out);
	else {
		eg_say("docs: give man, man VERB, bash, zsh, markdown, metrics, config or man-config");
		return EG_EXIT_USAGE;
	}
	code = eg_out_stdout(&out, NULL);
	eg_strbuf_free(&out);
	return code;
}
