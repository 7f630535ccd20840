/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- the kernel ---- */

static struct rig *of(void *ctx)
{
	return ctx;
}

/* Is it to fail now? Counts the call. */
static int fate(struct rig *r, enum rig_op op)
{
	r->calls[op]++;
	if (r->dead)
		return -EIO;
	if (r->times[op] == 0)
		return 0;
	if (r->skip[op] > 0) {
		r->skip[op]--;
		return 0;
	}
	if (r->times[op] > 0)
		r->times[op]--;
	return r->fail[op];
}

static void die(struct rig *r)
{
	if (r->kill_process)
		kill(getpid(), SIGKILL);
	r->dead = true;
}

/* How much of a change of so many units still happens. */
static size_t spend(struct rig *r, size_t units)
{
	size_t done = units;

	if (r->budget >= 0 && (size_t)r->budget < units)
		done = (size_t)r->budget;
	if (r->budget >= 0)
		r->budget -= (int64_t)done;
	r->spent += done;
	return done;
}

/* A change that happens whole or not at all. Called with the mutex; 0: go on. */
static int change(struct rig *r, enum rig_op op)
{
	int err = fate(r, op);

	if (err == 0 && spend(r, 1) == 0) {
		die(r);
		err = -EIO;
	}
	return err;
}

static int rig_openat(void *ctx, int dir, const char *name, int flags, mode_t mode)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = flags & O_CREAT ? change(r, RIG_OPEN) : fate(r, RIG_OPEN);
	if (err == 0)
		err = eg_io_kernel_ops.openat(NULL, dir, name, flags, mode);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static ssize_t rig_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = fate(r, RIG_READ);
	pthread_mutex_unlock(&r->mutex);
	return err < 0 ? err : eg_io_kernel_ops.pread(NULL, fd, buf, n, off);
}

static ssize_t rig_pwrite(void *ctx, int fd, const void *buf, size_t n, off_t off)
{
	struct rig *r = of(ctx);
	ssize_t w;
	size_t may;

	pthread_mutex_lock(&r->mutex);
	w = fate(r, RIG_WRITE);
	if (w == 0) {
		may = spend(r, n);
		w = may ? eg_io_kernel_ops.pwrite(NULL, fd, buf, may, off) : 0;
		if (may < n) {
			die(r);
			w = -EIO;
		}
	}
	pthread_mutex_unlock(&r->mutex);
	return w;
}

static void copy_file(int fd, uint8_t **data, size_t *n)
{
	struct stat st;

	assert_ok(fstat(fd, &st));
	free(*data);
	*data = malloc((size_t)st.st_size + 1);
	assert_non_null(*data);
	*n = (size_t)st.st_size;
	assert_int_equal(pread(fd, *data, *n, 0), *n);
}

static bool is_log(const struct rig *r, int fd, const char *name)
{
	struct stat mine, there;
	char path[256];

	rig_path(r, name, path);
	return fstat(fd, &mine) == 0 && lstat(path, &there) == 0 && mine.st_ino == there.st_ino;
}

static int rig_fdatasync(void *ctx, int fd)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_DATASYNC);
	if (err == 0 && !r->lazy && is_log(r, fd, EG_STORE_LOG))
		copy_file(fd, &r->durable, &r->n_durable);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int rig_fsync(void *ctx, int fd)
{
	struct rig *r = of(ctx);
	struct stat st;
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_SYNC);
	if (err == 0 && !r->lazy && is_log(r, fd, EG_STORE_NEW_LOG))
		copy_file(fd, &r->pending, &r->n_pending);
	if (err == 0 && r->pending && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		free(r->durable);
		r->durable = r->pending;
		r->n_durable = r->n_pending;
		r->pending = NULL;
	}
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int rig_ftruncate(void *ctx, int fd, off_t size)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_TRUNCATE);
	if (err == 0)
		err = eg_io_kernel_ops.ftruncate(NULL, fd, size);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int rig_fallocate(void *ctx, int fd, off_t size)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_ALLOCATE);
	if (err == 0)
		err = eg_io_kernel_ops.fallocate(NULL, fd, size);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int rig_renameat(void *ctx, int dir, const char *from, const char *to)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_RENAME);
	if (err == 0)
		err = eg_io_kernel_ops.renameat(NULL, dir, from, to);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int rig_unlinkat(void *ctx, int dir, const char *name)
{
	struct rig *r = of(ctx);
	int err;

	pthread_mutex_lock(&r->mutex);
	err = change(r, RIG_UNLINK);
	if (err == 0)
		err = eg_io_kernel_ops.unlinkat(NULL, dir, name);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static const struct eg_io_ops rig_ops = {
	.openat = rig_openat,
	.pread = rig_pread,
	.pwrite = rig_pwrite,
	.fdatasync = rig_fdatasync,
	.fsync = rig_fsync,
	.ftruncate = rig_ftruncate,
	.fallocate = rig_fallocate,
	.renameat = rig_renameat,
	.unlinkat = rig_unlinkat,
};

/* ---- the directory ---- */

struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	snprintf(r->dir, sizeof(r->dir), "%s/eg-store-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	r->io = (struct eg_io){.ops = &rig_ops, .ctx = r};
	r->budget = -1;
	pthread_mutex_init(&r->mutex, NULL);
	return r;
}

struct rig *rig_free(struct rig *r)
{
	rig_empty(r);
	assert_ok(rmdir(r->dir));
	pthread_mutex_destroy(&r->mutex);
	free(r->durable);
	free(r->pending);
	free(r);
	return NULL;
}

int rig_setup(void **state)
{
	*state = rig_new();
	return 0;
}

int rig_teardown(void **state)
{
	rig_free(*state);
	return 0;
}

void rig_path(const struct rig *r, const char *name, char buf[256])
{
	snprintf(buf, 256, "%s/%s", r->dir, name);
}

uint8_t *rig_load(const struct rig *r, const char *name, size_t *ret_n)
{
	uint8_t *data = NULL;
	char path[256];
	int fd;

	rig_path(r, name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	copy_file(fd, &data, ret_n);
	close(fd);
	return data;
}

void rig_save(const struct rig *r, const char *name, const void *data, size_t n)
{
	char path[256];
	int fd;

	rig_path(r, name, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
}

void rig_remove(const struct rig *r, const char *name)
{
	char path[256];

	rig_path(r, name, path);
	if (unlink(path) < 0 && errno != ENOENT)
		assert_ok(rmdir(path));
}

void rig_empty(const struct rig *r)
{
	DIR *d = opendir(r->dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rig_remove(r, e->d_name);
	closedir(d);
}

uint64_t rig_size(const struct rig *r, const char *name)
{
	struct stat st;
	char path[256];

	rig_path(r, name, path);
	assert_ok(stat(path, &st));
	return (uint64_t)st.st_size;
}

/* ---- the store ---- */

struct eg_account rig_account(const char *device, uint64_t uj)
{
	struct eg_account a = {.component = EG_COMPONENT_PACKAGE,
			       .provenance = EG_PROVENANCE_MEASURED,
			       .source = EG_SOURCE_RAPL,
			       .boundary = EG_BOUNDARY_COMPONENT,
			       .created_unix_ns = T0,
			       .uj = uj,
			       .last = {.raw = uj * 3,
					.t_ns = 1000 + uj,
					.awake_ns = 900 + uj,
					.unix_ns = T0 + uj,
					.unit_num = 1,
					.unit_den = 3,
					.modulus = 1u << 30,
					.counter = true}};

	assert_ok(eg_copy(a.device, sizeof(a.device), device));
	snprintf(a.channel, sizeof(a.channel), "rapl/%.64s", device);
	return a;
}

uint64_t rig_restored(const struct eg_store *s, const char *device)
{
	const struct eg_account *a;
	size_t n = eg_store_accounts(s, &a);

	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i].device, device) == 0)
			return a[i].uj;
	return UINT64_MAX;
}

int rig_open_at(struct rig *r, const char *boot, uint64_t unix_ns, uint64_t log_max,
		struct eg_store **ret, struct eg_strbuf *why)
{
	const struct eg_store_config cfg = {
		.dir = r->dir, .boot_id = boot, .unix_ns = unix_ns, .log_max_bytes = log_max};

	return eg_store_open_with(&cfg, &r->io, ret, why);
}

struct eg_store *rig_start(struct rig *r, const char *boot, size_t n)
{
	struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct eg_store *s = NULL;
	int err = rig_open_at(r, boot, T0, 0, &s, &why);

	if (err < 0)
		print_error("open: %s\n", eg_strbuf_get(&why));
	assert_ok(err);
	assert_ok(eg_store_start(s, n, &why));
	eg_strbuf_free(&why);
	return s;
}

int rig_flush(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns)
{
	assert_true(eg_store_flush(s, a, n, unix_ns));
	return eg_flush_wait(s, 60 * EG_NSEC_PER_SEC);
}

void rig_kill(struct eg_store *s)
{
	assert_null(eg_store_close(s, NULL, 0, 0, 0, NULL));
}

void rig_close(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns)
{
	assert_null(eg_store_close(s, a, n, unix_ns, 60 * EG_NSEC_PER_SEC, NULL));
}

uint64_t rig_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ULL;
}
