/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/config.md and ergon.toml(5): what holds of every key in prose, then the rows of config_keys.h.
 * They need no library of the agent, so that every build writes the same.
 */
#include <stdio.h>
#include <string.h>

#include "agent/config_keys.h"
#include "cli/docs.h"

static const struct {
	const char *title, *text; /* one paragraph */
} chapters[] = {
	{"Where it is read from",
	 "`ergon agent` works without a configuration. It reads one TOML file: that of --config, else "
	 "$XDG_CONFIG_HOME/ergon/config.toml (~/.config where that variable is not set), else "
	 "/etc/ergon/config.toml; the first that is there. It is a regular file of at most 1 MiB in "
	 "UTF-8; a symbolic link is refused. `ergon config path` shows which file it is."},
	{"What goes before what",
	 "An option of `ergon agent` goes before the environment variable ERGON_SECTION_KEY (such as "
	 "ERGON_ENERGY_CURRENCY, or ERGON_DRIVERS_NAME_OPTION for an option of a driver), that before "
	 "the names of all-smi, those before the file, and the file before the default. A variable "
	 "that is empty counts as not set. Every value is checked, also one that another goes before: "
	 "a mistake anywhere stops the agent with exit status 2. `ergon config print` shows what holds "
	 "and where it came from."},
	{"Mistakes",
	 "Each is told as FILE:LINE:COLUMN: message, with the nearest key where one is unknown; "
	 "`ergon config validate` tells them without starting anything. An unknown variable whose name "
	 "begins with ERGON_ or ALL_SMI_ENERGY_ is a warning."},
	{"Reload",
	 "On SIGHUP the agent reads everything again. A file with a mistake changes nothing: what held "
	 "goes on, and the log says why. Keys marked restart are taken at the next start only; the log "
	 "names those that differ."},
};

static const struct {
	const char *word, *text;
} words[] = {
	{"true or false", "In variables also yes, no, on, off, 1 and 0."},
	{"TEXT, NAME, LIST", "A text in quotes: UTF-8 without control characters."},
	{"FILE, DIR, PATH",
	 "A text of at most 1000 bytes. ~ and ~/ stand for the home directory. Without a leading / it "
	 "is below the directory in which the agent was started."},
	{"ADDR:PORT", "A numeric address, IPv6 in brackets; names are not looked up."},
	{"TIME",
	 "A text of a number and its unit, which are ns, us, ms, s, m, h and d: \"500ms\", \"1.5h\". 0 "
	 "needs none."},
	{"SECONDS", "A number of seconds, or a text with a unit as above."},
	{"SIZE",
	 "Bytes, or a text with kB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024) or B."},
	{"MODE", "Octal digits in quotes as chmod takes them, or TOML's 0o660."},
	{"NUMBER", "A number without quotes; a price may have a fraction."},
};

static const char *value_word(const struct eg_config_key *k)
{
	return k->type == EG_CONFIG_BOOL ? "true or false" : k->value;
}

static const char *when(const struct eg_config_key *k)
{
	return k->bits & EG_CONFIG_RESTART ? "restart" : "reload";
}

/* ---- Markdown ---- */

static void md_keys(struct eg_strbuf *out)
{
	for (const struct eg_config_section *s = eg_config_sections; s->name; s++) {
		bool head = false;

		eg_strbuf_printf(out, "\n## [%s]\n\n%s\n", s->name, s->help);
		for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
			const struct eg_config_key *k = &eg_config_keys[i];

			if (strcmp(k->section, s->name) != 0)
				continue;
			if (!head)
				eg_strbuf_puts(out, "\n| key | value | option | taken at | what it "
						    "does |\n|---|---|---|---|---|\n");
			head = true;
			eg_strbuf_printf(out, "| `%s` | ", k->name);
			eg_docs_md_cell(out, value_word(k));
			eg_strbuf_printf(out, " | %s%s%s | %s | ", k->flag ? "`--" : "",
					 k->flag ? k->flag : "", k->flag ? "`" : "", when(k));
			eg_docs_md_cell(out, k->help);
			eg_strbuf_puts(out, " |\n");
		}
	}
}

static void md_aliases(struct eg_strbuf *out)
{
	eg_strbuf_puts(out,
		       "\n## Names of all-smi\n\nThey work too; a later row goes before an "
		       "earlier one of the same key, and ERGON_SECTION_KEY before both. An older "
		       "name is told as a warning.\n\n| variable | key | |\n|---|---|---|\n");
	for (const struct eg_config_alias *a = eg_config_aliases; a->name; a++)
		eg_strbuf_printf(out, "| `%s` | `%s.%s%s` | %s |\n", a->name,
				 eg_config_keys[a->key].section, eg_config_keys[a->key].name,
				 a->negated ? " = false" : "",
				 a->negated ? "older; set to anything but `0` and `false`" :
				 a->older   ? "older" :
					      "");
}

static const char json_text[] =
	"\n## JSON\n\n"
	"`ergon config print --json`, schema `ergon.config/1`: `file` (`null` none) and `values`, a list "
	"of objects:\n\n"
	"| key | what it is |\n|---|---|\n"
	"| `key` | `SECTION.KEY`, or `drivers.NAME.OPTION` |\n"
	"| `value` | text, number, boolean; times in seconds, sizes in bytes; `null` for a price that is "
	"not set. A secret is `\"***\"` |\n"
	"| `source` | `default`, `file`, `environment` or `flag` |\n"
	"| `file`, `line` | where, of a `file` |\n"
	"| `name` | the variable or option, of the others |\n\n"
	"`ergon config path --json`, schema `ergon.config-path/1`: `file`, `state`, `socket` and `page`, "
	"each a path or `null`.\n";

void eg_docs_config_markdown(struct eg_strbuf *out)
{
	eg_strbuf_puts(out,
		       "# Configuration of the agent\n\n<!-- Written by `ergon docs config` from "
		       "src/agent/config_keys.h. -->\n\n`ergon config init FILE` writes a file "
		       "with every key, its default and what it does.\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(chapters); i++)
		eg_strbuf_printf(out, "\n## %s\n\n%s\n", chapters[i].title, chapters[i].text);
	eg_strbuf_puts(out, "\n## How values are written\n\n| value | how |\n|---|---|\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		eg_strbuf_printf(out, "| %s | %s |\n", words[i].word, words[i].text);
	md_keys(out);
	md_aliases(out);
	eg_strbuf_puts(out, json_text);
}

/* ---- man(7) ---- */

static void man_item(struct eg_strbuf *out, const char *name, const char *rest, const char *text)
{
	eg_strbuf_puts(out, ".TP\n\\fB");
	eg_docs_roff(out, name);
	eg_strbuf_puts(out, "\\fR");
	if (rest[0]) {
		eg_strbuf_puts(out, " \\fI");
		eg_docs_roff(out, rest);
		eg_strbuf_puts(out, "\\fR");
	}
	eg_strbuf_putc(out, '\n');
	eg_docs_roff(out, text);
	eg_strbuf_putc(out, '\n');
}

static void man_keys(struct eg_strbuf *out)
{
	for (const struct eg_config_section *s = eg_config_sections; s->name; s++) {
		eg_strbuf_printf(out, ".SH SECTION [%s]\n", s->name);
		eg_docs_roff(out, s->help);
		eg_strbuf_putc(out, '\n');
		for (unsigned i = 0; i < EG_CONFIG_N_KEYS; i++) {
			const struct eg_config_key *k = &eg_config_keys[i];

			if (strcmp(k->section, s->name) != 0)
				continue;
			man_item(out, k->name, value_word(k), k->help);
			if (k->flag != NULL)
				eg_strbuf_printf(out, "Option \\fB\\-\\-%s\\fR.\n", k->flag);
			if (k->bits & EG_CONFIG_RESTART)
				eg_strbuf_puts(out, "Taken at a restart.\n");
		}
	}
}

void eg_docs_config_man(struct eg_strbuf *out)
{
	char text[256];

	eg_strbuf_puts(out,
		       ".\\\" Written by `ergon docs man-config` from src/agent/config_keys.h.\n"
		       ".TH ERGON.TOML 5 " EG_DOCS_DATE " Ergon\n.SH NAME\nergon.toml \\- "
		       "configuration of the agent of Ergon\n.SH DESCRIPTION\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(chapters); i++) {
		eg_strbuf_printf(out, ".SS %s\n", chapters[i].title);
		eg_docs_roff(out, chapters[i].text);
		eg_strbuf_putc(out, '\n');
	}
	eg_strbuf_puts(out, ".SS How values are written\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		man_item(out, words[i].word, "", words[i].text);
	man_keys(out);
	eg_strbuf_puts(out, ".SH ENVIRONMENT\nERGON_SECTION_KEY sets any key. The names of "
			    "all\\-smi work too:\n");
	for (const struct eg_config_alias *a = eg_config_aliases; a->name; a++) {
		snprintf(text, sizeof(text), "%s.%s%s", eg_config_keys[a->key].section,
			 eg_config_keys[a->key].name,
			 a->negated ? " = false, by anything but 0 and false" : "");
		man_item(out, a->name, "", text);
	}
	eg_strbuf_puts(out,
		       ".SH FILES\n.TP\n\\fI/etc/ergon/config.toml\\fR\nRead where the user has "
		       "none.\n.SH SEE ALSO\n\\fBergon\\-agent\\fR(1),\n"
		       "\\fBergon\\-config\\fR(1)\n");
}
