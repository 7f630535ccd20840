/* SPDX-License-Identifier: Apache-2.0 */
/* Checked output; see out.h. */
#include "cli/out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/plain.h"
#include "core/diag.h"

#define MESSAGE_MAX 8192

int eg_write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, data, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		data += w;
		n -= (size_t)w;
	}
	return 0;
}

/* By the variables that name the locale, in their order: no locale is loaded for a sign or two. */
bool eg_locale_is_ascii(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	const char *value = NULL;

	for (size_t i = 0; i < EG_ARRAY_SIZE(names) && (!value || !*value); i++)
		value = getenv(names[i]);
	return !value || (!strcasestr(value, "utf-8") && !strcasestr(value, "utf8"));
}

void eg_say(const char *fmt, ...)
{
	char text[MESSAGE_MAX] = "ergon: ";
	struct eg_strbuf plain = EG_STRBUF_INIT(4 * MESSAGE_MAX);
	size_t len = strlen(text);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + len, sizeof(text) - len - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		len = EG_MIN(len + (size_t)n, sizeof(text) - 2);
	text[len++] = '\n';
	eg_plain_text(&plain, text, len, eg_locale_is_ascii());
	if (eg_strbuf_error(&plain) == 0)
		(void)!eg_write_all(STDERR_FILENO, eg_strbuf_get(&plain), plain.len);
	eg_strbuf_free(&plain);
}

int eg_out_stdout(const struct eg_strbuf *text, bool *ret_gone)
{
	int err = eg_strbuf_error(text);

	if (err == 0)
		err = eg_write_all(STDOUT_FILENO, eg_strbuf_get(text), text->len);
	if (err == -EPIPE) {
		if (ret_gone != NULL)
			*ret_gone = true;
		return 0;
	}
	if (err < 0) {
		eg_say("cannot write to standard output: %s", eg_errno_text(err));
		return 1;
	}
	return 0;
}

int eg_out_text(const struct eg_strbuf *text, bool ascii, bool *ret_gone)
{
	struct eg_strbuf plain = EG_STRBUF_INIT(4 * text->max);
	int code;

	eg_plain_text(&plain, eg_strbuf_get(text), text->len, ascii);
	code = eg_out_stdout(eg_strbuf_error(text) < 0 ? text : &plain, ret_gone);
	eg_strbuf_free(&plain);
	return code;
}

/* A regular file, or none yet, is replaced; anything else (a device, a pipe) is written in place. */
static bool replaceable(const char *path, mode_t *ret_mode)
{
	struct stat st;
	mode_t mask;

	if (stat(path, &st) == 0) {
		*ret_mode = st.st_mode & 0777;
		return S_ISREG(st.st_mode);
	}
	mask = umask(0);
	umask(mask);
	*ret_mode = 0666 & ~mask;
	return true;
}

static int open_temporary(struct eg_out_file *f, mode_t mode)
{
	const char *slash = strrchr(f->path, '/');
	int dir_len = slash ? (int)(slash - f->path) + 1 : 0;

	if (asprintf(&f->temporary, "%.*s.%s.XXXXXX", dir_len, f->path,
		     slash ? slash + 1 : f->path) < 0) {
		f->temporary = NULL;
		return -ENOMEM;
	}
	f->fd = mkostemp(f->temporary, O_CLOEXEC);
	if (f->fd < 0) {
		int err = -errno;

		free(f->temporary);
		f->temporary = NULL;
		return err;
	}
	return fchmod(f->fd, mode) < 0 ? -errno : 0;
}

int eg_out_open(const char *path, struct eg_out_file *ret)
{
	struct eg_out_file f = {.fd = -1};
	mode_t mode;
	int err = 0;

	if (strcmp(path, "-") == 0) {
		f.path = strdup("standard output");
		f.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		err = f.path == NULL ? -ENOMEM : f.fd < 0 ? -errno : 0;
	} else {
		/* A link is followed: what it names is replaced, not the link. */
		f.path = realpath(path, NULL);
		if (f.path == NULL)
			f.path = strdup(path);
		if (f.path == NULL)
			return -ENOMEM;
		if (replaceable(f.path, &mode)) {
			err = open_temporary(&f, mode);
		} else {
			f.fd = open(f.path, O_WRONLY | O_CLOEXEC);
			err = f.fd < 0 ? -errno : 0;
		}
	}
	if (err < 0) {
		eg_out_close(&f);
		return err;
	}
	*ret = f;
	return 0;
}

/* By folder and name: neither needs to exist yet. */
bool eg_out_same(const struct eg_out_file *a, const struct eg_out_file *b)
{
	const char *paths[] = {a->path, b->path}, *name[2];
	struct stat st[2];

	if (a->temporary == NULL || b->temporary == NULL)
		return false;
	for (int i = 0; i < 2; i++) {
		const char *slash = strrchr(paths[i], '/');
		eg_autofree char *dir = slash ? strndup(paths[i], (size_t)(slash - paths[i]) + 1) :
						strdup(".");

		name[i] = slash ? slash + 1 : paths[i];
		if (dir == NULL || stat(dir, &st[i]) < 0)
			return false;
	}
	return strcmp(name[0], name[1]) == 0 && st[0].st_dev == st[1].st_dev &&
	       st[0].st_ino == st[1].st_ino;
}

int eg_out_commit(struct eg_out_file *f, const struct eg_strbuf *text)
{
	int err = eg_strbuf_error(text);

	if (err == 0)
		err = eg_write_all(f->fd, eg_strbuf_get(text), text->len);
	if (close(eg_take_fd(&f->fd)) < 0 && err == 0)
		err = -errno;
	if (err == 0 && f->temporary != NULL) {
		if (rename(f->temporary, f->path) < 0)
			return -errno;
		free(f->temporary);
		f->temporary = NULL;
	}
	return err;
}

void eg_out_close(struct eg_out_file *f)
{
	if (f->fd >= 0)
		close(eg_take_fd(&f->fd));
	if (f->temporary != NULL)
		unlink(f->temporary);
	free(f->temporary);
	free(f->path);
	f->temporary = f->path = NULL;
}
