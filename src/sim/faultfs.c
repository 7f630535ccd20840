/* SPDX-License-Identifier: Apache-2.0 */
/* See faultfs.h: operations of an eg_fs that fail as told, and keep the path of each descriptor. */
#include "sim/faultfs.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct known_fd {
	bool open;
	dev_t dev;
	ino_t ino;
	char path[EG_PATH_MAX];
};

struct eg_faultfs {
	struct eg_fs under; /* what was there before */
	struct eg_clock clock;
	pthread_mutex_t lock;
	struct eg_fault rule[EG_FAULTS_MAX];
	uint64_t matched[EG_FAULTS_MAX]; /* matching calls so far */
	size_t n;
	uint64_t opens, reads, links, hits;
	bool released;
	struct known_fd *fd; /* EG_FAULTFS_FDS_MAX of them */
};

static unsigned default_calls(enum eg_fault_kind kind)
{
	switch (kind) {
	case EG_FAULT_ERROR:
	case EG_FAULT_HANG:
	case EG_FAULT_GARBAGE:
	case EG_FAULT_SHORT:
		return EG_FAULT_READ;
	case EG_FAULT_VANISH:
		break;
	}
	return EG_FAULT_OPEN | EG_FAULT_READ | EG_FAULT_LINK;
}

/* Counts the call and copies the first rule that touches it; false: none. Under the lock. */
static bool match(struct eg_faultfs *ff, unsigned call, const char *path, struct eg_fault *ret)
{
	uint64_t now = ff->clock.ops ? eg_clock_ns(&ff->clock) : 0;

	*(call == EG_FAULT_OPEN ? &ff->opens :
	  call == EG_FAULT_READ ? &ff->reads :
				  &ff->links) += 1;
	for (size_t i = 0; i < ff->n; i++) {
		const struct eg_fault *f = &ff->rule[i];
		uint64_t first = EG_MAX(f->first, 1), nth;

		if (!((f->on ? f->on : default_calls(f->kind)) & call))
			continue;
		if (now < f->from_ns || (f->to_ns && now >= f->to_ns))
			continue;
		if (f->pattern && fnmatch(f->pattern, path, 0) != 0)
			continue;
		nth = ++ff->matched[i];
		if (nth < first || (f->count && nth - first >= f->count))
			continue;
		ff->hits++;
		*ret = *f;
		return true;
	}
	return false;
}

static void hang(struct eg_faultfs *ff, uint64_t ns)
{
	static const struct timespec step = {.tv_nsec = 1000000};
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (;;) {
		bool released;

		pthread_mutex_lock(&ff->lock);
		released = ff->released;
		pthread_mutex_unlock(&ff->lock);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (released || (uint64_t)(now.tv_sec - from.tv_sec) * EG_NSEC_PER_SEC +
						(uint64_t)(now.tv_nsec - from.tv_nsec) >=
					ns)
			return;
		nanosleep(&step, NULL);
	}
}

/* Path below the root of `name` in the directory dirfd; false where it is too long to keep. */
static bool path_of(const struct eg_faultfs *ff, int dirfd, const char *name, char *ret)
{
	const char *dir = "";
	int n;

	if (dirfd >= 0 && dirfd < EG_FAULTFS_FDS_MAX && ff->fd[dirfd].open &&
	    dirfd != ff->under.root_fd)
		dir = ff->fd[dirfd].path;
	if (strcmp(name, ".") == 0)
		n = snprintf(ret, EG_PATH_MAX, "%s", dir);
	else
		n = snprintf(ret, EG_PATH_MAX, "%s%s%s", dir, *dir ? "/" : "", name);
	return n >= 0 && n < EG_PATH_MAX;
}

static void remember(struct eg_faultfs *ff, int fd, const char *path)
{
	struct stat st = {0};

	if (fd < 0 || fd >= EG_FAULTFS_FDS_MAX || fstat(fd, &st) < 0)
		return;
	ff->fd[fd].open = true;
	ff->fd[fd].dev = st.st_dev;
	ff->fd[fd].ino = st.st_ino;
	snprintf(ff->fd[fd].path, sizeof(ff->fd[fd].path), "%s", path);
}

static int fault_openat(void *ctx, int dirfd, const char *name, int flags)
{
	struct eg_faultfs *ff = ctx;
	char path[EG_PATH_MAX];
	struct eg_fault f;
	bool hit;
	int fd;

	pthread_mutex_lock(&ff->lock);
	if (!path_of(ff, dirfd, name, path)) {
		pthread_mutex_unlock(&ff->lock);
		return -ENAMETOOLONG;
	}
	hit = match(ff, EG_FAULT_OPEN, path, &f);
	pthread_mutex_unlock(&ff->lock);
	if (hit && f.kind == EG_FAULT_ERROR)
		return -f.error;
	if (hit && f.kind == EG_FAULT_VANISH)
		return -ENOENT;
	if (hit && f.kind == EG_FAULT_HANG)
		hang(ff, f.hang_ns);
	/* The descriptor and its path appear together for other threads. */
	pthread_mutex_lock(&ff->lock);
	fd = ff->under.ops->openat(ff->under.ctx, dirfd, name, flags);
	remember(ff, fd, path);
	pthread_mutex_unlock(&ff->lock);
	return fd;
}

static ssize_t fault_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	struct eg_faultfs *ff = ctx;
	struct eg_fault f;
	bool hit;

	pthread_mutex_lock(&ff->lock);
	hit = match(ff, EG_FAULT_READ,
		    fd >= 0 && fd < EG_FAULTFS_FDS_MAX && ff->fd[fd].open ? ff->fd[fd].path : "",
		    &f);
	pthread_mutex_unlock(&ff->lock);
	if (hit && f.kind == EG_FAULT_ERROR)
		return -f.error;
	if (hit && f.kind == EG_FAULT_VANISH)
		return -ENODEV;
	if (hit && f.kind == EG_FAULT_HANG)
		hang(ff, f.hang_ns);
	if (hit && f.kind == EG_FAULT_GARBAGE) {
		size_t len = strlen(f.text);

		if ((size_t)off >= len)
			return 0;
		n = EG_MIN(n, len - (size_t)off);
		memcpy(buf, f.text + off, n);
		return (ssize_t)n;
	}
	if (hit && f.kind == EG_FAULT_SHORT) {
		if ((size_t)off >= f.bytes)
			return 0;
		n = EG_MIN(n, f.bytes - (size_t)off);
	}
	return ff->under.ops->pread(ff->under.ctx, fd, buf, n, off);
}

static ssize_t fault_readlinkat(void *ctx, int dirfd, const char *name, char *buf, size_t n)
{
	struct eg_faultfs *ff = ctx;
	char path[EG_PATH_MAX];
	struct eg_fault f;
	bool hit, fits;

	pthread_mutex_lock(&ff->lock);
	fits = path_of(ff, dirfd, name, path);
	hit = fits && match(ff, EG_FAULT_LINK, path, &f);
	pthread_mutex_unlock(&ff->lock);
	if (!fits)
		return -ENAMETOOLONG;
	if (hit && f.kind == EG_FAULT_ERROR)
		return -f.error;
	if (hit && f.kind == EG_FAULT_VANISH)
		return -ENOENT;
	if (hit && f.kind == EG_FAULT_HANG)
		hang(ff, f.hang_ns);
	return ff->under.ops->readlinkat(ff->under.ctx, dirfd, name, buf, n);
}

static int fault_close(void *ctx, int fd)
{
	struct eg_faultfs *ff = ctx;
	int r;

	pthread_mutex_lock(&ff->lock);
	if (fd >= 0 && fd < EG_FAULTFS_FDS_MAX)
		ff->fd[fd].open = false;
	r = ff->under.ops->close(ff->under.ctx, fd);
	pthread_mutex_unlock(&ff->lock);
	return r;
}

static const struct eg_fs_ops fault_ops = {
	.openat = fault_openat,
	.pread = fault_pread,
	.readlinkat = fault_readlinkat,
	.close = fault_close,
};

static void put_rules(struct eg_faultfs *ff, const struct eg_fault *rules, size_t n)
{
	if (n)
		memcpy(ff->rule, rules, n * sizeof(*rules));
	memset(ff->matched, 0, sizeof(ff->matched));
	ff->n = n;
	ff->opens = ff->reads = ff->links = ff->hits = 0;
}

int eg_faultfs_wrap(struct eg_fs *fs, const struct eg_clock *clock, const struct eg_fault *rules,
		    size_t n, struct eg_faultfs **ret)
{
	struct eg_faultfs *ff;

	if (n > EG_FAULTS_MAX)
		return -E2BIG;
	ff = calloc(1, sizeof(*ff));
	if (!ff)
		return -ENOMEM;
	ff->fd = calloc(EG_FAULTFS_FDS_MAX, sizeof(*ff->fd));
	if (!ff->fd) {
		free(ff);
		return -ENOMEM;
	}
	pthread_mutex_init(&ff->lock, NULL);
	ff->under = *fs;
	if (clock)
		ff->clock = *clock;
	put_rules(ff, rules, n);
	fs->ops = &fault_ops;
	fs->ctx = ff;
	*ret = ff;
	return 0;
}

struct eg_faultfs *eg_faultfs_unwrap(struct eg_faultfs *ff, struct eg_fs *fs)
{
	if (!ff)
		return NULL;
	fs->ops = ff->under.ops;
	fs->ctx = ff->under.ctx;
	pthread_mutex_destroy(&ff->lock);
	free(ff->fd);
	free(ff);
	return NULL;
}

int eg_faultfs_set(struct eg_faultfs *ff, const struct eg_fault *rules, size_t n)
{
	if (n > EG_FAULTS_MAX)
		return -E2BIG;
	pthread_mutex_lock(&ff->lock);
	put_rules(ff, rules, n);
	pthread_mutex_unlock(&ff->lock);
	return 0;
}

uint64_t eg_faultfs_calls(const struct eg_faultfs *ff, unsigned on)
{
	return (on & EG_FAULT_OPEN ? ff->opens : 0) + (on & EG_FAULT_READ ? ff->reads : 0) +
	       (on & EG_FAULT_LINK ? ff->links : 0);
}

uint64_t eg_faultfs_hits(const struct eg_faultfs *ff)
{
	return ff->hits;
}

size_t eg_faultfs_open_fds(const struct eg_faultfs *ff)
{
	size_t n = 0;

	/* Directory streams close their descriptor themselves: ask the kernel which are still
	 * open, and whether they are still the same file. */
	for (int fd = 0; fd < EG_FAULTFS_FDS_MAX; fd++) {
		struct stat st;

		if (ff->fd[fd].open && fstat(fd, &st) == 0 && st.st_dev == ff->fd[fd].dev &&
		    st.st_ino == ff->fd[fd].ino)
			n++;
	}
	return n;
}

void eg_faultfs_release(struct eg_faultfs *ff)
{
	pthread_mutex_lock(&ff->lock);
	ff->released = true;
	pthread_mutex_unlock(&ff->lock);
}
