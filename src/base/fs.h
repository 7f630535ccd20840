/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All file access, below one root directory that the caller injects. "/" is the machine; any other
 * directory is a captured or simulated machine, and nothing outside it is ever opened: a path is
 * walked one component at a time, ".." stops at the root, and absolute links start again at it.
 * The operations can be replaced (fault tests). Paths have no leading slash.
 *
 * Results are 0, a count or a descriptor; negative errno on failure, outputs untouched.
 */
#ifndef EG_BASE_FS_H
#define EG_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"

#define EG_PATH_MAX	1024 /* a path below the root, bytes */
#define EG_FS_NAMES_MAX 4096 /* entries taken of one directory */

/* What touches the kernel. Each returns like its system call, with -errno instead of -1. */
struct eg_fs_ops {
	int (*openat)(void *ctx, int dirfd, const char *name, int flags);
	ssize_t (*pread)(void *ctx, int fd, void *buf, size_t n, off_t off);
	ssize_t (*readlinkat)(void *ctx, int dirfd, const char *name, char *buf, size_t n);
	int (*close)(void *ctx, int fd);
};

struct eg_fs {
	const struct eg_fs_ops *ops;
	void *ctx;
	int root_fd;
	bool is_machine; /* root is "/" itself */
};

struct eg_names {
	char **name; /* sorted: digits compare as numbers (hwmon2 before hwmon10) */
	size_t n;
};

extern const struct eg_fs_ops eg_fs_kernel_ops;

/* root: directory path; NULL or "/" is the machine. Errors: ENOENT, ENOTDIR, EACCES. */
int eg_fs_open_root(struct eg_fs *fs, const char *root) EG_MUST_CHECK;
void eg_fs_close_root(struct eg_fs *fs);

/* Opens read-only, close-on-exec, non-blocking; returns the descriptor, the caller's to close. */
int eg_fs_open(const struct eg_fs *fs, const char *path) EG_MUST_CHECK;
int eg_fs_openf(const struct eg_fs *fs, const char *fmt, ...) EG_PRINTF(2, 3) EG_MUST_CHECK;
int eg_fs_open_dir(const struct eg_fs *fs, const char *path) EG_MUST_CHECK;
ssize_t eg_fs_pread(const struct eg_fs *fs, int fd, void *buf, size_t n, off_t off) EG_MUST_CHECK;
void eg_fs_close(const struct eg_fs *fs, int fd); /* fd < 0: nothing */

/*
 * Reads a whole small file. buf is NUL terminated, trailing blanks cut. Returns the length.
 * -EMSGSIZE when the file holds more than cap - 1 bytes.
 */
ssize_t eg_fs_read_text(const struct eg_fs *fs, const char *path, char *buf,
			size_t cap) EG_MUST_CHECK;
/* One unsigned decimal in a file; -EPROTO when it holds something else. */
int eg_fs_read_u64(const struct eg_fs *fs, const char *path, uint64_t *ret) EG_MUST_CHECK;
/* The same from a kept descriptor at offset 0: the sampling path (one pread, no allocation). */
int eg_fs_pread_u64(const struct eg_fs *fs, int fd, uint64_t *ret) EG_MUST_CHECK;
/* Whole file of at most max bytes into fresh memory (NUL added). The caller frees *ret. */
int eg_fs_read_all(const struct eg_fs *fs, const char *path, size_t max, char **ret,
		   size_t *ret_len) EG_MUST_CHECK;

/* Names in a directory without "." and ".."; -E2BIG above EG_FS_NAMES_MAX. */
int eg_fs_list(const struct eg_fs *fs, const char *path, struct eg_names *ret) EG_MUST_CHECK;
void eg_names_free(struct eg_names *names);
bool eg_fs_exists(const struct eg_fs *fs, const char *path);
/* Where a link below the root points, as written in it. */
ssize_t eg_fs_readlink(const struct eg_fs *fs, const char *path, char *buf,
		       size_t cap) EG_MUST_CHECK;
/*
 * True where a read may block without bound: FUSE, network and unknown file systems. sysfs, procfs,
 * tmpfs and local disks answer at once; a driver whose files may block runs on a worker.
 */
bool eg_fs_may_block(const struct eg_fs *fs, int fd);

#endif
