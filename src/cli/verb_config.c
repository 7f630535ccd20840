/* SPDX-License-Identifier: Apache-2.0 */
/* `ergon config`: init, print, validate, path. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config_keys.h"
#include "cli/configure.h"
#include "cli/out.h"
#include "codec/json.h"
#include "core/diag.h"

#define TEXT_MAX (1u << 20)

/* Says whether the file can be made; a link, a device or a folder is nobody's configuration. */
static int check_new(const char *path, bool force)
{
	struct stat st;

	if (strcmp(path, "-") == 0 || lstat(path, &st) < 0)
		return 0;
	if (S_ISREG(st.st_mode) && force)
		return 0;
	eg_say("config init: %s is there already%s", path,
	       S_ISREG(st.st_mode) ? "; --force replaces it" : " and no regular file");
	return EG_EXIT_FAILURE;
}

static int init(const struct eg_args *args)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	const char *path = args->n_rest > 1 ? args->rest[1] : "-";
	struct eg_out_file file;
	int code = check_new(path, args->force), err;

	if (code != 0)
		return code;
	eg_config_write_default(&text);
	if (strcmp(path, "-") == 0) {
		code = eg_out_stdout(&text, NULL);
		eg_strbuf_free(&text);
		return code;
	}
	err = eg_out_open(path, &file);
	if (err == 0) {
		err = eg_out_commit(&file, &text);
		eg_out_close(&file);
	}
	if (err < 0)
		eg_say("config init: cannot write %s: %s", path, eg_errno_text(err));
	eg_strbuf_free(&text);
	return err < 0 ? EG_EXIT_FAILURE : 0;
}

static int print(const struct eg_args *args)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_config_source *c;
	int code = eg_configure(args, args->config, &c, NULL);

	if (code != 0)
		return code;
	eg_config_print(c, args->json, &text);
	eg_config_free(c);
	/* Both are UTF-8 whatever the locale, for they are read back. */
	code = args->json ? eg_out_stdout(&text, NULL) : eg_out_text(&text, false, NULL);
	eg_strbuf_free(&text);
	return code;
}

static int validate(const struct eg_args *args)
{
	const char *file = args->n_rest > 1 ? args->rest[1] : args->config;
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_config_source *c;
	int code;

	if (args->n_rest > 1 && args->config != NULL) {
		eg_say("config validate: FILE and --config exclude each other");
		return EG_EXIT_USAGE;
	}
	code = eg_configure(args, file, &c, NULL);
	if (code != 0)
		return code;
	file = eg_config_get(c)->file;
	eg_strbuf_printf(&text, "%s: ok\n", file[0] ? file : "no file");
	eg_config_free(c);
	code = eg_out_text(&text, eg_locale_is_ascii(), NULL);
	eg_strbuf_free(&text);
	return code;
}

static void path_text(const char *file, const struct eg_places *p, struct eg_strbuf *out)
{
	char places[EG_CONFIG_CANDIDATES][EG_PLACE_MAX];
	size_t n = eg_config_candidates((const char *const *)environ, places);

	eg_strbuf_printf(out, "file    %s\n", file[0] ? file : "none");
	for (size_t i = 0; file[0] == '\0' && i < n; i++)
		eg_strbuf_printf(out, "        %s is not there\n", places[i]);
	eg_strbuf_printf(out, "state   %s\n", p->state[0] ? p->state : "none");
	eg_strbuf_printf(out, "socket  %s\n", p->socket[0] ? p->socket : "none");
	eg_strbuf_printf(out, "page    %s\n", p->page[0] ? p->page : "none");
}

static void json_path(struct eg_json *j, const char *key, const char *path)
{
	eg_json_text(j, key, path[0] ? path : NULL);
}

static int path(const struct eg_args *args)
{
	struct eg_strbuf text = EG_STRBUF_INIT(TEXT_MAX);
	struct eg_config_source *c;
	struct eg_places p;
	struct eg_json j;
	int code = eg_configure(args, args->config, &c, NULL);

	if (code != 0)
		return code;
	code = eg_configure_places(c, &p);
	if (code == 0 && args->json) {
		eg_json_init(&j, &text, true);
		eg_json_object(&j, NULL);
		eg_json_text(&j, "schema", "ergon.config-path/1");
		json_path(&j, "file", eg_config_get(c)->file);
		json_path(&j, "state", p.state);
		json_path(&j, "socket", p.socket);
		json_path(&j, "page", p.page);
		eg_json_end(&j);
		code = eg_json_finish(&j) < 0 ? EG_EXIT_FAILURE : eg_out_stdout(&text, NULL);
	} else if (code == 0) {
		path_text(eg_config_get(c)->file, &p, &text);
		code = eg_out_text(&text, eg_locale_is_ascii(), NULL);
	}
	eg_config_free(c);
	eg_strbuf_free(&text);
	return code;
}

int eg_verb_config(struct eg_args *args)
{
	static const struct {
		const char *name;
		int (*run)(const struct eg_args *args);
		int words;
	} verbs[] = {{"init", init, 2},
		     {"print", print, 1},
		     {"validate", validate, 2},
		     {"path", path, 1}};
	const char *word = args->n_rest > 0 ? args->rest[0] : "";

	for (size_t i = 0; i < EG_ARRAY_SIZE(verbs); i++) {
		if (strcmp(word, verbs[i].name) != 0)
			continue;
		if (args->n_rest <= verbs[i].words)
			return verbs[i].run(args);
		eg_say("config %s: unexpected word '%s'", word, args->rest[verbs[i].words]);
		return EG_EXIT_USAGE;
	}
	eg_say("config: give init, print, validate or path\nergon: see ergon config --help");
	return EG_EXIT_USAGE;
}
