/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See file.h. The temporary name has our number in it, so that two writers never share one; it begins
 * with a dot and ends in ".tmp", so that no collector takes it for a page.
 */
#include "export/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"

#define PATH_MAX_BYTES 4096

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill(int fd, const char *data, size_t len, mode_t mode, bool sync)
{
	int r = write_all(fd, data, len);

	if (r < 0)
		return r;
	return fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0) ? -errno : 0;
}

/* A name left by a killed process of our number is in the way at most once. */
static int create(int dir_fd, const char *name)
{
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 2; tries++) {
		fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd < 0 && (errno != EEXIST || unlinkat(dir_fd, name, 0) < 0))
			return -errno;
	}
	return fd < 0 ? -EEXIST : fd;
}

int eg_file_replace(const char *path, const char *data, size_t len, mode_t mode, bool sync)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf dir = EG_STRBUF_INIT(PATH_MAX_BYTES);
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf temp = EG_STRBUF_INIT(PATH_MAX_BYTES);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	eg_autoclose int dir_fd = -1, fd = -1;
	int r;

	if (!*name)
		return -EINVAL;
	if (slash)
		eg_strbuf_append(&dir, path, (size_t)(name - path));
	else
		eg_strbuf_puts(&dir, ".");
	eg_strbuf_printf(&temp, ".%s.%ld.tmp", name, (long)getpid());
	if (eg_strbuf_error(&dir) < 0 || eg_strbuf_error(&temp) < 0)
		return eg_strbuf_error(&dir) < 0 ? eg_strbuf_error(&dir) : eg_strbuf_error(&temp);
	dir_fd = open(eg_strbuf_get(&dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	fd = create(dir_fd, eg_strbuf_get(&temp));
	if (fd < 0)
		return fd;
	r = fill(fd, data, len, mode, sync);
	if (r == 0 && renameat(dir_fd, eg_strbuf_get(&temp), dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir_fd, eg_strbuf_get(&temp), 0);
		return r;
	}
	return sync && fsync(dir_fd) < 0 ? -errno : 0;
}
