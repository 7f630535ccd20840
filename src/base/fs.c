/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fs.h. The walk below a foreign root opens one component at a time with O_NOFOLLOW and
 * resolves links itself; openat2(RESOLVE_IN_ROOT) would do the same, but is Linux only and absent
 * under some tracers. On the machine itself the kernel's own walk is used.
 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include "base/parse.h"

enum { LINKS_MAX = 40, DEPTH_MAX = 64 };

static int kernel_openat(void *ctx, int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags);

	return fd < 0 ? -errno : fd;
}

static ssize_t kernel_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	ssize_t r;

	do
		r = pread(fd, buf, n, off);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static ssize_t kernel_readlinkat(void *ctx, int dirfd, const char *name, char *buf, size_t n)
{
	ssize_t r = readlinkat(dirfd, name, buf, n);

	return r < 0 ? -errno : r;
}

static int kernel_close(void *ctx, int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

const struct eg_fs_ops eg_fs_kernel_ops = {
	.openat = kernel_openat,
	.pread = kernel_pread,
	.readlinkat = kernel_readlinkat,
	.close = kernel_close,
};

int eg_fs_open_root(struct eg_fs *fs, const char *root)
{
	bool machine = !root || strcmp(root, "/") == 0;
	int fd = open(machine ? "/" : root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*fs = (struct eg_fs){.ops = &eg_fs_kernel_ops, .root_fd = fd, .is_machine = machine};
	return 0;
}

void eg_fs_close_root(struct eg_fs *fs)
{
	if (fs->root_fd >= 0)
		close(fs->root_fd);
	fs->root_fd = -1;
}

void eg_fs_close(const struct eg_fs *fs, int fd)
{
	if (fd >= 0)
		fs->ops->close(fs->ctx, fd);
}

/* The directories between the root and where the walk stands; "..": one less, never below 0. */
struct walk {
	const struct eg_fs *fs;
	int dir[DEPTH_MAX];
	unsigned depth, links;
	char rest[EG_PATH_MAX * 2]; /* path still to go */
};

static int walk_top(const struct walk *w)
{
	return w->depth ? w->dir[w->depth - 1] : w->fs->root_fd;
}

static void walk_unwind(struct walk *w, unsigned to)
{
	while (w->depth > to)
		eg_fs_close(w->fs, w->dir[--w->depth]);
}

/* Puts a link's target in front of the rest of the path. */
static int walk_link(struct walk *w, const char *name)
{
	char target[EG_PATH_MAX], rest[sizeof(w->rest)];
	ssize_t n;

	if (++w->links > LINKS_MAX)
		return -ELOOP;
	n = w->fs->ops->readlinkat(w->fs->ctx, walk_top(w), name, target, sizeof(target) - 1);
	if (n < 0)
		return (int)n;
	if ((size_t)n >= sizeof(target) - 1)
		return -ENAMETOOLONG;
	target[n] = '\0';
	if (target[0] == '/')
		walk_unwind(w, 0);
	memcpy(rest, w->rest, strlen(w->rest) + 1);
	n = snprintf(w->rest, sizeof(w->rest), "%s/%s", target, rest);
	return n < 0 || (size_t)n >= sizeof(w->rest) ? -ENAMETOOLONG : 0;
}

/* Takes the next component off the rest; false at the end. */
static bool walk_next(struct walk *w, char *name, size_t cap, bool *ret_last, int *ret_err)
{
	char *p = w->rest, *end;
	size_t n;

	while (*p == '/')
		p++;
	if (!*p)
		return false;
	end = strchrnul(p, '/');
	n = (size_t)(end - p);
	if (n >= cap) {
		*ret_err = -ENAMETOOLONG;
		return false;
	}
	memcpy(name, p, n);
	name[n] = '\0';
	while (*end == '/')
		end++;
	*ret_last = !*end;
	memmove(w->rest, end, strlen(end) + 1);
	return true;
}

static int walk_open(struct walk *w, int flags)
{
	char name[256];
	bool last = false;
	int err = 0;

	while (walk_next(w, name, sizeof(name), &last, &err)) {
		int fd;

		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			walk_unwind(w, w->depth ? w->depth - 1 : 0);
			continue;
		}
		fd = w->fs->ops->openat(w->fs->ctx, walk_top(w), name,
					(last ? flags : O_RDONLY | O_DIRECTORY | O_CLOEXEC) |
						O_NOFOLLOW);
		/* A link: ELOOP, or ENOTDIR where O_DIRECTORY was asked for. */
		if (fd == -ELOOP || fd == -EMLINK || fd == -ENOTDIR) {
			int r = walk_link(w, name);

			if (r == -EINVAL) /* no link after all */
				return fd;
			if (r < 0)
				return r;
			continue;
		}
		if (fd < 0 || last)
			return fd;
		if (w->depth == DEPTH_MAX) {
			eg_fs_close(w->fs, fd);
			return -ENAMETOOLONG;
		}
		w->dir[w->depth++] = fd;
	}
	if (err)
		return err;
	/* The path ended in "..", "." or nothing: the directory where the walk stands. */
	return w->fs->ops->openat(w->fs->ctx, walk_top(w), ".", flags);
}

static int open_flags(const struct eg_fs *fs, const char *path, int flags)
{
	struct walk w = {.fs = fs};
	int fd;

	while (*path == '/')
		path++;
	if (strlen(path) >= EG_PATH_MAX)
		return -ENAMETOOLONG;
	if (fs->is_machine)
		return fs->ops->openat(fs->ctx, fs->root_fd, *path ? path : ".", flags);
	memcpy(w.rest, path, strlen(path) + 1);
	fd = walk_open(&w, flags);
	walk_unwind(&w, 0);
	return fd;
}

int eg_fs_open(const struct eg_fs *fs, const char *path)
{
	return open_flags(fs, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

int eg_fs_open_dir(const struct eg_fs *fs, const char *path)
{
	return open_flags(fs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int eg_fs_openf(const struct eg_fs *fs, const char *fmt, ...)
{
	char path[EG_PATH_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return eg_fs_open(fs, path);
}

ssize_t eg_fs_pread(const struct eg_fs *fs, int fd, void *buf, size_t n, off_t off)
{
	return fs->ops->pread(fs->ctx, fd, buf, n, off);
}

/* Reads from fd until the end or until buf is full. */
static ssize_t read_fully(const struct eg_fs *fs, int fd, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = eg_fs_pread(fs, fd, buf + len, cap - len, (off_t)len);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

ssize_t eg_fs_read_text(const struct eg_fs *fs, const char *path, char *buf, size_t cap)
{
	int fd = eg_fs_open(fs, path);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_fully(fs, fd, buf, cap);
	eg_fs_close(fs, fd);
	if (n < 0)
		return n;
	if ((size_t)n >= cap)
		return -EMSGSIZE;
	while (n && strchr(" \t\r\n", buf[n - 1]))
		n--;
	buf[n] = '\0';
	return n;
}

int eg_fs_read_u64(const struct eg_fs *fs, const char *path, uint64_t *ret)
{
	char buf[64];
	ssize_t n = eg_fs_read_text(fs, path, buf, sizeof(buf));

	if (n < 0)
		return n == -EMSGSIZE ? -EPROTO : (int)n;
	return eg_parse_u64(buf, (size_t)n, ret) < 0 ? -EPROTO : 0;
}

int eg_fs_pread_u64(const struct eg_fs *fs, int fd, uint64_t *ret)
{
	char buf[64];
	ssize_t n = eg_fs_pread(fs, fd, buf, sizeof(buf), 0);

	if (n < 0)
		return (int)n;
	return eg_parse_u64(buf, (size_t)n, ret) < 0 ? -EPROTO : 0;
}

int eg_fs_read_all(const struct eg_fs *fs, const char *path, size_t max, char **ret,
		   size_t *ret_len)
{
	size_t cap = 4096, len = 0;
	eg_autofree char *buf = NULL;
	int fd = eg_fs_open(fs, path), r = 0;

	if (fd < 0)
		return fd;
	cap = EG_MIN(cap, max + 1);
	for (;;) {
		char *grown = realloc(buf, cap + 1);
		ssize_t n;

		if (!grown) {
			r = -ENOMEM;
			break;
		}
		buf = grown;
		n = eg_fs_pread(fs, fd, buf + len, cap - len, (off_t)len);
		if (n <= 0) {
			r = (int)n;
			break;
		}
		len += (size_t)n;
		if (len > max) {
			r = -EMSGSIZE;
			break;
		}
		if (len == cap)
			cap = EG_MIN(cap * 2, max + 1);
	}
	eg_fs_close(fs, fd);
	if (r < 0)
		return r;
	buf[len] = '\0';
	*ret = eg_take_ptr(buf);
	*ret_len = len;
	return 0;
}

/* Orders like people do: runs of digits by value. */
static int compare_names(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	while (*x && *y) {
		if (*x >= '0' && *x <= '9' && *y >= '0' && *y <= '9') {
			char *xe, *ye;
			unsigned long long n = strtoull(x, &xe, 10), m = strtoull(y, &ye, 10);

			if (n != m)
				return n < m ? -1 : 1;
			x = xe;
			y = ye;
		} else if (*x != *y) {
			break;
		} else {
			x++;
			y++;
		}
	}
	return (unsigned char)*x - (unsigned char)*y;
}

static int names_add(struct eg_names *names, const char *name)
{
	char *copy;

	if (names->n >= EG_FS_NAMES_MAX)
		return -E2BIG;
	if ((names->n & (names->n - 1)) == 0) { /* full at each power of two */
		size_t cap = names->n ? names->n * 2 : 1;
		char **grown = realloc(names->name, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		names->name = grown;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	names->name[names->n++] = copy;
	return 0;
}

int eg_fs_list(const struct eg_fs *fs, const char *path, struct eg_names *ret)
{
	EG_CLEANUP(eg_names_free) struct eg_names names = {0};
	int fd = eg_fs_open_dir(fs, path), r = 0;
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		eg_fs_close(fs, fd);
		return r;
	}
	for (errno = 0; r == 0 && (e = readdir(dir)); errno = 0)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = names_add(&names, e->d_name);
	if (r == 0 && errno)
		r = -errno;
	closedir(dir);
	if (r < 0)
		return r;
	if (names.n)
		qsort(names.name, names.n, sizeof(*names.name), compare_names);
	*ret = names;
	names = (struct eg_names){0};
	return 0;
}

void eg_names_free(struct eg_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct eg_names){0};
}

bool eg_fs_exists(const struct eg_fs *fs, const char *path)
{
	int fd = open_flags(fs, path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return fd == -EACCES;
	eg_fs_close(fs, fd);
	return true;
}

ssize_t eg_fs_readlink(const struct eg_fs *fs, const char *path, char *buf, size_t cap)
{
	char dir[EG_PATH_MAX];
	const char *slash;
	ssize_t n;
	int fd;

	if (eg_copy(dir, sizeof(dir), path) < 0 || cap == 0)
		return -ENAMETOOLONG;
	slash = strrchr(dir, '/');
	if (slash)
		dir[slash - dir] = '\0';
	fd = eg_fs_open_dir(fs, slash ? dir : "");
	if (fd < 0)
		return fd;
	n = fs->ops->readlinkat(fs->ctx, fd, slash ? path + (slash - dir) + 1 : path, buf, cap - 1);
	eg_fs_close(fs, fd);
	if (n < 0)
		return n;
	buf[n] = '\0';
	return n;
}

bool eg_fs_may_block(const struct eg_fs *fs, int fd)
{
	/* Replaced operations are a test's; it may make them hang. */
	if (fs->ops != &eg_fs_kernel_ops)
		return true;
#ifdef __linux__
	/* File system magic numbers of those that answer from memory or a local disk (statfs(2)). */
	static const unsigned long local[] = {
		0x62656572 /* sysfs */, 0x9fa0 /* proc */,	  0x01021994 /* tmpfs */,
		0x858458f6 /* ramfs */, 0xef53 /* ext */,	  0x9123683e /* btrfs */,
		0x58465342 /* xfs */,	0x794c7630 /* overlay */, 0x64626720 /* debugfs */,
		0x27e0eb /* cgroup */,	0x63677270 /* cgroup2 */, 0x2fc12fc1 /* zfs */,
		0xf2f52010 /* f2fs */,
	};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return true;
	for (size_t i = 0; i < EG_ARRAY_SIZE(local); i++)
		if ((unsigned long)st.f_type == local[i])
			return false;
	return true;
#else
	return false;
#endif
}
