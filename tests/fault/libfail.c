/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the shipped program: the Nth call of one kind fails, everything else goes through.
 * It also counts: calls of that kind, memory and descriptors still held at the end. Told by
 * environment variables, which it removes, so that no program started by the tested one sees them:
 *	FAIL_KIND	memory, open, read, link, dir, write, rename, thread, process
 *	FAIL_NTH	the call that fails, from 1; 0 none
 *	FAIL_ERRNO	its errno; of memory always ENOMEM. 0 at a write: half of it is written, then
 *			the next one fails with ENOSPC
 *	FAIL_REPORT	file that is written at the end: "CALLS HITS MEMORY DESCRIPTORS\n"
 * glibc only: its own allocator is called by the names it exports for that.
 */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

enum kind { MEMORY, OPEN, READ, LINK, DIRECTORY, WRITE, RENAME, THREAD, PROCESS, KINDS };

static const char *const kind_word[KINDS] = {"memory", "open",	 "read",   "link",   "dir",
					     "write",  "rename", "thread", "process"};

static atomic_bool on; /* from the constructor to the destructor, never in a forked child */
static int kind = -1, error;
static unsigned long nth;
static atomic_ulong calls, hits;
static atomic_long
	held; /* blocks of memory, but for those of threads, which glibc keeps for the next */
static _Thread_local bool making_thread;
static char report[512];

/* Counts a call; true: it shall fail. */
static bool fails(enum kind k)
{
	unsigned long n;

	if (!atomic_load(&on) || (int)k != kind)
		return false;
	n = atomic_fetch_add(&calls, 1) + 1;
	if (nth == 0 || n != nth)
		return false;
	atomic_fetch_add(&hits, 1);
	errno = k == MEMORY ? ENOMEM : error;
	return true;
}

static void *next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

/* ---- memory ---- */

EXPORT void *malloc(size_t n)
{
	void *p = fails(MEMORY) ? NULL : __libc_malloc(n);

	if (p && !making_thread)
		atomic_fetch_add(&held, 1);
	return p;
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *p = fails(MEMORY) ? NULL : __libc_calloc(n, size);

	if (p && !making_thread)
		atomic_fetch_add(&held, 1);
	return p;
}

EXPORT void *realloc(void *old, size_t n)
{
	void *p = fails(MEMORY) ? NULL : __libc_realloc(old, n);

	if (p && !old)
		atomic_fetch_add(&held, 1);
	return p;
}

EXPORT void free(void *p)
{
	if (p)
		atomic_fetch_sub(&held, 1);
	__libc_free(p);
}

/* ---- files ---- */

static mode_t mode_of(int flags, va_list ap)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

#define OPEN_LIKE(name)                                                                          \
	EXPORT int name(const char *path, int flags, ...)                                        \
	{                                                                                        \
		va_list ap;                                                                      \
		mode_t mode;                                                                     \
                                                                                                 \
		va_start(ap, flags);                                                             \
		mode = mode_of(flags, ap);                                                       \
		va_end(ap);                                                                      \
		return fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
	}
#define OPENAT_LIKE(name)                                                                   \
	EXPORT int name(int dir, const char *path, int flags, ...)                          \
	{                                                                                   \
		va_list ap;                                                                 \
		mode_t mode;                                                                \
                                                                                            \
		va_start(ap, flags);                                                        \
		mode = mode_of(flags, ap);                                                  \
		va_end(ap);                                                                 \
		return fails(OPEN) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode); \
	}
OPEN_LIKE(open)
OPEN_LIKE(open64)
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

EXPORT int mkostemp64(char *path, int flags)
{
	return fails(OPEN) ? -1 : ((int (*)(char *, int))next("mkostemp64"))(path, flags);
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	return fails(READ) ? -1 : syscall(SYS_read, fd, buf, n);
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return fails(READ) ? -1 : syscall(SYS_pread64, fd, buf, n, off);
}

EXPORT ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	return fails(READ) ? -1 : syscall(SYS_pread64, fd, buf, n, off);
}

EXPORT ssize_t readlinkat(int dir, const char *path, char *buf, size_t n)
{
	return fails(LINK) ? -1 : syscall(SYS_readlinkat, dir, path, buf, n);
}

EXPORT DIR *fdopendir(int fd)
{
	return fails(DIRECTORY) ? NULL : ((DIR * (*)(int)) next("fdopendir"))(fd);
}

EXPORT struct dirent *readdir(DIR *dir)
{
	return fails(DIRECTORY) ? NULL : ((struct dirent * (*)(DIR *)) next("readdir"))(dir);
}

EXPORT struct dirent64 *readdir64(DIR *dir)
{
	return fails(DIRECTORY) ? NULL : ((struct dirent64 * (*)(DIR *)) next("readdir64"))(dir);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	static atomic_bool full;

	if (atomic_exchange(&full, false)) {
		errno = ENOSPC;
		return -1;
	}
	if (!fails(WRITE))
		return syscall(SYS_write, fd, buf, n);
	if (error != 0)
		return -1;
	atomic_store(&full, true);
	return syscall(SYS_write, fd, buf, (n + 1) / 2);
}

EXPORT int rename(const char *from, const char *to)
{
	return fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- threads and processes ---- */

EXPORT int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int r;

	if (fails(THREAD))
		return error;
	making_thread = true;
	r = ((create *)next("pthread_create"))(t, attr, fn, arg);
	making_thread = false;
	return r;
}

EXPORT pid_t fork(void)
{
	pid_t pid;

	if (fails(PROCESS))
		return -1;
	pid = ((pid_t(*)(void))next("fork"))();
	if (pid == 0)
		atomic_store(&on, false);
	return pid;
}

EXPORT int pipe2(int fds[2], int flags)
{
	return fails(PROCESS) ? -1 : (int)syscall(SYS_pipe2, fds, flags);
}

/* ---- begin and end ---- */

static int descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

__attribute__((constructor)) static void begin(void)
{
	for (int k = 0; k < KINDS; k++)
		if (strcmp(setting("FAIL_KIND"), kind_word[k]) == 0)
			kind = k;
	nth = strtoul(setting("FAIL_NTH"), NULL, 10);
	error = atoi(setting("FAIL_ERRNO"));
	snprintf(report, sizeof(report), "%s", setting("FAIL_REPORT"));
	unsetenv("FAIL_KIND");
	unsetenv("FAIL_NTH");
	unsetenv("FAIL_ERRNO");
	unsetenv("FAIL_REPORT");
	unsetenv("LD_PRELOAD");
	atomic_store(&held, 0);
	atomic_store(&on, true);
}

__attribute__((destructor)) static void end(void)
{
	char text[128];
	int fd, n;

	if (!atomic_exchange(&on, false) || !report[0])
		return;
	n = snprintf(text, sizeof(text), "%lu %lu %ld %d\n", atomic_load(&calls),
		     atomic_load(&hits), atomic_load(&held), descriptors());
	fd = (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return;
	(void)!syscall(SYS_write, fd, text, n);
	close(fd);
}
