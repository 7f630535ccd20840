/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store asks of the kernel, replaceable so that tests can make each of it fail or stop at any
 * byte. Every path is a name in one directory that is held open; nothing is followed.
 */
#ifndef EG_STORE_IO_H
#define EG_STORE_IO_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/strbuf.h"

#define EG_STORE_LOCK		"lock"
#define EG_STORE_LOG		"ledger.log"
#define EG_STORE_CHECKPOINT	"checkpoint"
/* Written beside and renamed; what a crash left of them is removed at the next start. */
#define EG_STORE_NEW_LOG	"ledger.log.new"
#define EG_STORE_NEW_CHECKPOINT "checkpoint.new"

/* Each returns like its system call, with -errno instead of -1. */
struct eg_io_ops {
	int (*openat)(void *ctx, int dir, const char *name, int flags, mode_t mode);
	ssize_t (*pread)(void *ctx, int fd, void *buf, size_t n, off_t off);
	ssize_t (*pwrite)(void *ctx, int fd, const void *buf, size_t n, off_t off);
	int (*fdatasync)(void *ctx, int fd);
	int (*fsync)(void *ctx, int fd);
	int (*ftruncate)(void *ctx, int fd, off_t size);
	int (*fallocate)(void *ctx, int fd, off_t size);
	int (*renameat)(void *ctx, int dir, const char *from, const char *to);
	int (*unlinkat)(void *ctx, int dir, const char *name);
};

struct eg_io {
	const struct eg_io_ops *ops;
	void *ctx;
};
extern const struct eg_io_ops eg_io_kernel_ops;

/*
 * A regular file below dir; -ELOOP a symlink, -EISDIR a directory, -EPROTO any other kind. Never blocks
 * on a pipe that lies there.
 */
int eg_io_open(const struct eg_io *io, int dir, const char *name, int flags) EG_MUST_CHECK;
/*
 * A new file, mode 0600, that belongs to whom the directory belongs, so that what root makes here (a
 * compaction by hand) can still be used by the agent's own user.
 */
int eg_io_create(const struct eg_io *io, int dir, const char *name, int flags) EG_MUST_CHECK;
/* Everything, through short writes and interrupts. */
int eg_io_write_all(const struct eg_io *io, int fd, const void *buf, size_t n,
		    uint64_t off) EG_MUST_CHECK;
/* As much as there is, up to n. */
ssize_t eg_io_read_full(const struct eg_io *io, int fd, void *buf, size_t n,
			uint64_t off) EG_MUST_CHECK;
/* Is this open file still what the name means? */
bool eg_io_is_named(int fd, int dir, const char *name);

/* One sentence for people, with the cure: cannot WHAT FILE in the state directory. Returns err. */
int eg_io_why(struct eg_strbuf *why, int err, const char *what, const char *name);

#endif
