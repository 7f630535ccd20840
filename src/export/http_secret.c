/* SPDX-License-Identifier: Apache-2.0 */
/* See http_secret.h. The checks are made on the open descriptor, so that they hold for what is read. */
#include "export/http_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/diag.h"

static int check(const char *path, int fd, bool secret, struct eg_strbuf *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		eg_strbuf_printf(why, "%s is no plain file; name the file itself", path);
		return -EINVAL;
	}
	if (secret && (st.st_mode & (S_IRWXO | S_IWGRP))) {
		eg_strbuf_printf(why, "%s holds secrets, and %s (mode %04o); run: chmod 0640 %s",
				 path,
				 st.st_mode & S_IRWXO ? "every user may read or write it" :
							"its group may change it",
				 (unsigned)(st.st_mode & 07777), path);
		return -EACCES;
	}
	if (st.st_size > (off_t)EG_SECRET_FILE_MAX) {
		eg_strbuf_printf(why, "%s is larger than %u bytes; is it the right file?", path,
				 EG_SECRET_FILE_MAX);
		return -EINVAL;
	}
	return 0;
}

int eg_secret_read(const char *path, bool secret, char **ret, size_t *ret_len,
		   struct eg_strbuf *why)
{
	eg_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len = 0;
	ssize_t n;
	char *text;
	int r;

	if (fd < 0) {
		r = -errno;
		eg_strbuf_printf(why, "%s cannot be opened: %s; check its path and its mode", path,
				 eg_errno_text(r));
		return r;
	}
	r = check(path, fd, secret, why);
	if (r < 0)
		return r;
	text = malloc(EG_SECRET_FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	do {
		n = read(fd, text + len, EG_SECRET_FILE_MAX - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		r = -errno;
		eg_strbuf_printf(why, "%s cannot be read: %s", path, eg_errno_text(r));
	} else if (memchr(text, '\0', len)) {
		r = -EINVAL;
		eg_strbuf_printf(why, "%s is no text file; is it the right file?", path);
	}
	if (r < 0) {
		eg_secret_free(text, len);
		return r;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

void eg_secret_free(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}

/* The next line that says something, trimmed, cut out of the text in place. */
static char *next_line(char **text, unsigned *line)
{
	while (**text) {
		char *s = *text, *end = s + strcspn(s, "\n");

		*text = *end ? end + 1 : end;
		*end = '\0';
		(*line)++;
		s += strspn(s, " \t");
		end = s + strlen(s);
		while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
			*--end = '\0';
		if (*s && *s != '#')
			return s;
	}
	return NULL;
}

int eg_secret_lines(const char *file,
		    int (*add)(void *arg, const char *file, unsigned line, char *s,
			       struct eg_strbuf *why),
		    void *arg, struct eg_strbuf *why)
{
	char *text = NULL, *rest, *s;
	unsigned line = 0, n = 0;
	size_t len = 0;
	int r = eg_secret_read(file, true, &text, &len, why);

	if (r < 0)
		return r;
	rest = text;
	while (r == 0 && (s = next_line(&rest, &line))) {
		r = add(arg, file, line, s, why);
		n++;
	}
	if (r == 0 && n == 0) {
		eg_strbuf_printf(why, "%s holds no credentials; nobody could be let in", file);
		r = -EINVAL;
	}
	eg_secret_free(text, len);
	return r;
}
