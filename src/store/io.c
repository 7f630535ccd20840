/* SPDX-License-Identifier: Apache-2.0 */
/* See io.h. */
#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/diag.h"

static int kernel_openat(void *ctx, int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags, mode);

	return fd < 0 ? -errno : fd;
}

static ssize_t kernel_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	ssize_t r = pread(fd, buf, n, off);

	return r < 0 ? -errno : r;
}

static ssize_t kernel_pwrite(void *ctx, int fd, const void *buf, size_t n, off_t off)
{
	ssize_t r = pwrite(fd, buf, n, off);

	return r < 0 ? -errno : r;
}

static int kernel_fdatasync(void *ctx, int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int kernel_fsync(void *ctx, int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

static int kernel_ftruncate(void *ctx, int fd, off_t size)
{
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

static int kernel_fallocate(void *ctx, int fd, off_t size)
{
	return -posix_fallocate(fd, 0, size);
}

static int kernel_renameat(void *ctx, int dir, const char *from, const char *to)
{
	return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

static int kernel_unlinkat(void *ctx, int dir, const char *name)
{
	return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

const struct eg_io_ops eg_io_kernel_ops = {
	.openat = kernel_openat,
	.pread = kernel_pread,
	.pwrite = kernel_pwrite,
	.fdatasync = kernel_fdatasync,
	.fsync = kernel_fsync,
	.ftruncate = kernel_ftruncate,
	.fallocate = kernel_fallocate,
	.renameat = kernel_renameat,
	.unlinkat = kernel_unlinkat,
};

int eg_io_open(const struct eg_io *io, int dir, const char *name, int flags)
{
	eg_autoclose int fd = io->ops->openat(
		io->ctx, dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd == -ENXIO) /* a socket, which cannot be opened */
		return -EPROTO;
	if (fd < 0)
		return eg_take_fd(&fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return S_ISREG(st.st_mode) ? eg_take_fd(&fd) : -EPROTO;
}

int eg_io_create(const struct eg_io *io, int dir, const char *name, int flags)
{
	eg_autoclose int fd = io->ops->openat(
		io->ctx, dir, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0)
		return eg_take_fd(&fd);
	/* Without the right to give it away the file stays ours, which is right too. */
	if (geteuid() == 0 && fstat(dir, &st) == 0 && (st.st_uid || st.st_gid) &&
	    fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EPERM) {
		int err = -errno;

		(void)!io->ops->unlinkat(io->ctx, dir, name);
		return err;
	}
	return eg_take_fd(&fd);
}

int eg_io_write_all(const struct eg_io *io, int fd, const void *buf, size_t n, uint64_t off)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t w = io->ops->pwrite(io->ctx, fd, p, n, (off_t)off);

		if (w == -EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? (int)w : -EIO;
		p += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

ssize_t eg_io_read_full(const struct eg_io *io, int fd, void *buf, size_t n, uint64_t off)
{
	size_t len = 0;

	while (len < n) {
		ssize_t r =
			io->ops->pread(io->ctx, fd, (char *)buf + len, n - len, (off_t)(off + len));

		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		if (r == 0)
			break;
		len += (size_t)r;
	}
	return (ssize_t)len;
}

bool eg_io_is_named(int fd, int dir, const char *name)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

static const char *cure_of(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return "run as the user it belongs to, or name another place with --state";
	case -EROFS:
		return "mount it writable, or name another place with --state";
	case -ENOSPC:
	case -EDQUOT:
		return "free some space";
	case -ELOOP:
		return "a symbolic link is never followed here: remove it";
	case -EISDIR:
		return "a directory lies where the file belongs: move it away";
	case -EEXIST:
		return "it is in the way and no file of ours: move it away";
	case -ENOTDIR:
		return "name a directory with --state";
	case -ENOENT:
		return "make the directory above it, or name another place with --state";
	case -EPROTO:
		return "it is not ours and stays as it is: move it away, or name another place with "
		       "--state";
	default:
		return NULL;
	}
}

int eg_io_why(struct eg_strbuf *why, int err, const char *what, const char *name)
{
	const char *cure = cure_of(err);

	if (!why)
		return err;
	eg_strbuf_reset(why);
	if (err == -EPROTO)
		eg_strbuf_printf(why, "%s is no file of Ergon", name);
	else
		eg_strbuf_printf(why, "cannot %s %s: %s", what, name, eg_errno_text(err));
	if (cure)
		eg_strbuf_printf(why, "; %s", cure);
	return err;
}
