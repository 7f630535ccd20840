/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <dirent.h>
#include <limits.h>

static char dir[] = "/tmp/ergon-config-XXXXXX";
static char before[PATH_MAX];

int rig_enter(void **state)
{
	umask(022);
	return getcwd(before, sizeof(before)) && mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

int rig_leave(void **state)
{
	DIR *d = opendir(".");
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			(void)remove(e->d_name);
	if (d)
		closedir(d);
	return chdir(before) == 0 && rmdir(dir) == 0 ? 0 : -1;
}

void write_file(const char *name, const void *data, size_t n)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

struct loaded load(const char *text, const char *const *env, const struct eg_config_flag *flags,
		   size_t n_flags)
{
	static const char *const none[] = {NULL};
	struct loaded l = {.why_buf = EG_STRBUF_INIT(1 << 20),
			   .warnings_buf = EG_STRBUF_INIT(1 << 20)};

	if (text != NULL)
		write_file(FILE_NAME, text, strlen(text));
	l.err = eg_config_load(text ? FILE_NAME : NULL, env ? env : none, flags, n_flags, &l.c,
			       &l.why_buf, &l.warnings_buf);
	l.cfg = l.err == 0 ? eg_config_get(l.c) : NULL;
	l.why = eg_strbuf_get(&l.why_buf);
	l.warnings = eg_strbuf_get(&l.warnings_buf);
	assert_int_equal(l.err<0, l.why_buf.len> 0);
	return l;
}

void unload(struct loaded *l)
{
	eg_config_free(l->c);
	eg_strbuf_free(&l->why_buf);
	eg_strbuf_free(&l->warnings_buf);
}

struct loaded loaded_well(const char *text, const char *const *env,
			  const struct eg_config_flag *flags, size_t n_flags)
{
	struct loaded l = load(text, env, flags, n_flags);

	assert_string_equal(l.why, "");
	assert_int_equal(l.err, 0);
	return l;
}

void refused(const char *text, const char *want)
{
	struct loaded l = load(text, NULL, NO_FLAGS);

	assert_int_equal(l.err, -EINVAL);
	assert_string_equal(l.why, want);
	unload(&l);
}

void assert_contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("'%s' is not in '%s'", part, text);
}

char *shown(const struct eg_config *cfg, unsigned key)
{
	struct eg_strbuf text = EG_STRBUF_INIT(4 * EG_CONFIG_TEXT_MAX);
	char *copy;

	eg_config_value(cfg, key, &text);
	copy = strdup(eg_strbuf_get(&text));
	eg_strbuf_free(&text);
	return copy;
}
