/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file layer: finds the file, reads it whole, and gives each key of it to its row. A link is
 * refused (contract: all-smi-compat.md 4.2), for whoever may change where it points would configure
 * a program that starts as root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config_internal.h"
#include "base/parse.h"
#include "core/diag.h"

/* ---- Reading ---- */

/* A mistake with the file as a whole; returns its error. */
static int refuse(struct eg_config_loader *l, int err, const char *what)
{
	struct eg_config_origin at = {.layer = EG_LAYER_FILE};

	eg_config_mistake(l, &at, "%s", what);
	return err;
}

static int read_all(struct eg_config_loader *l, int fd, char **ret, size_t *ret_len)
{
	eg_autofree char *text = malloc(EG_CONFIG_FILE_MAX + 1);
	size_t n = 0;

	if (text == NULL)
		return -ENOMEM;
	while (n <= EG_CONFIG_FILE_MAX) {
		ssize_t r = read(fd, text + n, EG_CONFIG_FILE_MAX + 1 - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			int err = -errno;

			return refuse(l, err, eg_errno_text(err));
		}
		if (r == 0) {
			*ret = eg_take_ptr(text);
			*ret_len = n;
			return 0;
		}
		n += (size_t)r;
	}
	return refuse(l, -EFBIG, "is larger than 1 MiB, which no configuration is");
}

static int open_file(struct eg_config_loader *l)
{
	eg_autoclose int fd =
		open(l->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct eg_config_origin at = {.layer = EG_LAYER_FILE};
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		return refuse(l, -ELOOP,
			      "is a symbolic link, which is not followed; give the path of the "
			      "file itself with --config");
	if (fd < 0 && errno == ENOENT)
		return refuse(l, -ENOENT, "there is no such file");
	if (fd < 0) {
		int err = -errno;

		eg_config_mistake(l, &at, "cannot be read: %s", eg_errno_text(err));
		return err;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return refuse(l, -EINVAL, "is no regular file");
	if (st.st_mode & S_IWOTH)
		eg_config_warn(l, &at, "everybody may write to it; chmod o-w it");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		eg_config_warn(
			l, &at,
			"belongs to user %u, who so decides what this program does; chown it",
			(unsigned)st.st_uid);
	return eg_take_fd(&fd);
}

/* ---- Finding ---- */

size_t eg_config_candidates(const char *const *env, char ret[EG_CONFIG_CANDIDATES][EG_PLACE_MAX])
{
	const char *xdg = eg_config_getenv(env, "XDG_CONFIG_HOME");
	const char *home = eg_config_home(env);
	size_t n = 0;
	int len = 0;

	if (xdg != NULL && xdg[0] == '/')
		len = snprintf(ret[0], EG_PLACE_MAX, "%s/ergon/config.toml", xdg);
	else if (home != NULL)
		len = snprintf(ret[0], EG_PLACE_MAX, "%s/.config/ergon/config.toml", home);
	n += len > 0 && len < EG_PLACE_MAX;
	snprintf(ret[n++], EG_PLACE_MAX, "/etc/ergon/config.toml");
	return n;
}

/* 1 found, 0 none, negative errno. */
static int find_file(struct eg_config_loader *l)
{
	char places[EG_CONFIG_CANDIDATES][EG_PLACE_MAX];
	size_t n = eg_config_candidates(l->env, places);
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		if (lstat(places[i], &st) == 0) {
			l->c->file = strdup(places[i]);
			return l->c->file != NULL ? 1 : -ENOMEM;
		}
		/* Somebody else's home, after a change of user: there may be one, but not ours. */
		if (errno == EACCES) {
			l->file = places[i];
			eg_config_warn(l, &(struct eg_config_origin){.layer = EG_LAYER_FILE},
				       "its folder cannot be looked into; passed over");
			l->file = NULL;
		}
	}
	return 0;
}

/* ---- Giving each key to its row ---- */

static bool is_section(const char *name)
{
	for (const struct eg_config_section *s = eg_config_sections; s->name; s++)
		if (strcmp(s->name, name) == 0)
			return true;
	return false;
}

static const char *nearest_section(const char *name, unsigned *ret_distance)
{
	const char *best = "";

	*ret_distance = UINT32_MAX;
	for (const struct eg_config_section *s = eg_config_sections; s->name; s++) {
		unsigned d = eg_edit_distance(name, s->name);

		if (d < *ret_distance) {
			*ret_distance = d;
			best = s->name;
		}
	}
	return best;
}

static void at_top(struct eg_config_loader *l, const struct eg_toml_entry *e,
		   const struct eg_config_origin *at)
{
	const char *name = e->part[0];
	int near = eg_config_nearest("", name);
	const struct eg_config_key *k = near < 0 ? NULL : &eg_config_keys[near];
	unsigned d;
	const char *section = nearest_section(name, &d);

	if (k == NULL) {
		eg_config_mistake(l, at, "unknown %s '%s'",
				  e->type == EG_TOML_TABLE ? "section" : "key", name);
	} else if (is_section(name)) {
		if (e->type != EG_TOML_TABLE)
			eg_config_mistake(l, at, "%s is a section: write [%s]", name, name);
	} else if (e->type == EG_TOML_TABLE || d < eg_edit_distance(name, k->name)) {
		eg_config_mistake(l, at, "unknown section '%s'; did you mean [%s]?", name, section);
	} else {
		eg_config_mistake(l, at, "key '%s' stands in no section; did you mean %s in [%s]?",
				  name, k->name, k->section);
	}
}

static void unknown_key(struct eg_config_loader *l, const struct eg_config_origin *at,
			const char *section, const char *name)
{
	int near = eg_config_nearest(section, name);
	const struct eg_config_key *k = near < 0 ? NULL : &eg_config_keys[near];

	if (k == NULL)
		eg_config_mistake(l, at, "unknown key '%s' in [%s]", name, section);
	else if (strcmp(section, k->section) == 0)
		eg_config_mistake(l, at, "unknown key '%s' in [%s]; did you mean %s?", name,
				  section, k->name);
	else
		eg_config_mistake(l, at, "unknown key '%s' in [%s]; did you mean %s in [%s]?", name,
				  section, k->name, k->section);
}

static void in_section(struct eg_config_loader *l, const struct eg_toml_entry *e,
		       struct eg_config_origin *at)
{
	const char *section = e->part[0], *name = e->part[1];
	int key = eg_config_find(section, name);
	struct eg_strbuf why = EG_STRBUF_INIT(1024);
	bool octal;
	int err;

	if (key < 0) {
		unknown_key(l, at, section, name);
		return;
	}
	if (e->type != EG_TOML_TABLE) { /* which begins at its '[' */
		at->line = e->value_line;
		at->column = e->value_column;
	}
	octal = eg_config_keys[key].type == EG_CONFIG_OCTAL;
	err = eg_config_set(l->c, (unsigned)key, e->type, octal && e->octal ? e->octal : e->text,
			    eg_config_home(l->env), &why);
	if (err == 0)
		l->c->origin[key] = *at;
	else if (err == -EINVAL)
		eg_config_mistake(l, at, "%s.%s: %s", section, name, eg_strbuf_get(&why));
	else
		l->error = err;
	eg_strbuf_free(&why);
}

static void in_drivers(struct eg_config_loader *l, const struct eg_toml_entry *e,
		       struct eg_config_origin *at)
{
	if (e->depth == 2) {
		if (e->type != EG_TOML_TABLE)
			eg_config_mistake(l, at, "drivers.%s is a section: write [drivers.%s]",
					  e->part[1], e->part[1]);
		else
			(void)eg_config_know_driver(l, at, e->part[1]);
		return;
	}
	if (e->type == EG_TOML_TABLE || e->type == EG_TOML_ARRAY || e->type == EG_TOML_DATE) {
		eg_config_mistake(l, at, "drivers.%s.%s takes one text, number, true or false",
				  e->part[1], e->part[2]);
		return;
	}
	eg_config_setting(l, at, e->part[1], e->part[2], e->text);
}

static int apply(struct eg_config_loader *l, const struct eg_toml *toml)
{
	const struct eg_toml_entry *e;
	size_t n = eg_toml_entries(toml, &e);

	for (size_t i = 0; i < n; i++, e++) {
		struct eg_config_origin at = {
			.layer = EG_LAYER_FILE, .line = e->line, .column = e->column};

		/* What lies in an unknown section or key is not told one by one. */
		if (e->depth == 1)
			at_top(l, e, &at);
		else if (strcmp(e->part[0], "drivers") == 0)
			in_drivers(l, e, &at);
		else if (e->depth == 2 && is_section(e->part[0]))
			in_section(l, e, &at);
	}
	return l->error;
}

int eg_config_read_text(struct eg_config_loader *l, const char *text, size_t n)
{
	struct eg_config_origin at = {.layer = EG_LAYER_FILE};
	struct eg_toml_error error = {0};
	struct eg_toml *toml = NULL;
	int err = eg_toml_parse(text, n, &toml, &error);

	if (err == -EINVAL) {
		at.line = error.line;
		at.column = error.column;
		eg_config_mistake(l, &at, "%s", error.message);
	}
	if (err < 0)
		return err;
	err = apply(l, toml);
	eg_toml_free(toml);
	return err;
}

int eg_config_read_file(struct eg_config_loader *l, const char *named)
{
	eg_autofree char *text = NULL;
	size_t len = 0;
	int err = 1;

	if (named == NULL)
		err = find_file(l);
	else if ((l->c->file = strdup(named)) == NULL)
		err = -ENOMEM;
	if (err <= 0)
		return err;
	l->file = l->c->cfg.file = l->c->file;
	{
		eg_autoclose int fd = open_file(l);

		if (fd < 0)
			return fd;
		err = read_all(l, fd, &text, &len);
		if (err < 0)
			return err;
	}
	return eg_config_read_text(l, text, len);
}
