/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine made of files in a temporary directory, a driver opened on it, and file operations that
 * a test can make fail. For the tests of drivers that read the file system.
 */
#ifndef TESTS_DRIVERS_RAPL_TREE_H
#define TESTS_DRIVERS_RAPL_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/driver.h"

#define TREE_FDS 4096

struct tree {
	struct eg_sink sink; /* first: readings come back through it */
	char dir[64];
	struct eg_env env;
	struct eg_manual_clock clock;
	struct eg_diags diags;
	const struct eg_driver *driver;
	struct eg_instance *inst;
	const struct eg_channel *ch;
	size_t n;
	struct eg_reading reading[EG_CHANNELS_MAX];
	size_t n_readings;
	/* Faults of value files, by the last component of their path. */
	const char *value_name;
	bool is_value[TREE_FDS];
	int fail_open, fail_pread; /* errno of value files, negative; 0 none */
	uint64_t creep;		   /* added to a value with each read of any */
	uint64_t crept;
	/* The fail_nth call of all openat and pread fails with EIO; 0 none. */
	unsigned calls, fail_nth;
	unsigned open_fds;
};

static int tree_openat(void *ctx, int dirfd, const char *name, int flags)
{
	struct tree *t = ctx;
	bool value = t->value_name && strcmp(name, t->value_name) == 0;
	int fd;

	if (++t->calls == t->fail_nth)
		return -EIO;
	if (value && t->fail_open)
		return t->fail_open;
	fd = eg_fs_kernel_ops.openat(NULL, dirfd, name, flags);
	if (fd >= 0 && fd < TREE_FDS) {
		t->is_value[fd] = value;
		t->open_fds += value;
	}
	return fd;
}

static ssize_t tree_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	struct tree *t = ctx;
	bool value = fd >= 0 && fd < TREE_FDS && t->is_value[fd];
	ssize_t r;

	if (++t->calls == t->fail_nth)
		return -EIO;
	if (value && t->fail_pread)
		return t->fail_pread;
	r = eg_fs_kernel_ops.pread(NULL, fd, buf, n, off);
	if (value && t->creep && r > 0 && (size_t)r < n) {
		char *s = buf;

		s[r] = '\0';
		t->crept += t->creep;
		r = snprintf(s, n, "%" PRIu64 "\n", (uint64_t)strtoull(s, NULL, 10) + t->crept);
	}
	return r;
}

static ssize_t tree_readlinkat(void *ctx, int dirfd, const char *name, char *buf, size_t n)
{
	return eg_fs_kernel_ops.readlinkat(NULL, dirfd, name, buf, n);
}

static int tree_close_fd(void *ctx, int fd)
{
	struct tree *t = ctx;

	if (fd >= 0 && fd < TREE_FDS && t->is_value[fd]) {
		t->is_value[fd] = false;
		t->open_fds--;
	}
	return eg_fs_kernel_ops.close(NULL, fd);
}

static const struct eg_fs_ops tree_ops = {tree_openat, tree_pread, tree_readlinkat, tree_close_fd};

static void tree_sink_put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct tree *t = (struct tree *)sink;

	assert_true(channel < t->n);
	t->reading[channel] = *r;
	t->n_readings++;
}

static inline void tree_path(const struct tree *t, const char *path, char *buf, size_t cap)
{
	int n = snprintf(buf, cap, "%s/%s", t->dir, path);

	assert_true(n > 0 && (size_t)n < cap);
}

static inline void tree_put_bytes(struct tree *t, const char *path, const void *data, size_t n)
{
	char full[512];
	int fd;

	tree_path(t, path, full, sizeof(full));
	for (char *p = strchr(full + strlen(t->dir) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT, 0644); /* no O_TRUNC: ext4 would flush */
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(ftruncate(fd, (off_t)n), 0);
	close(fd);
}

/* Writes a file below the root, in place where it exists (a kept descriptor sees it). */
EG_PRINTF(3, 4)
static inline void tree_put(struct tree *t, const char *path, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(text));
	tree_put_bytes(t, path, text, (size_t)n);
}

static int tree_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void tree_remove(struct tree *t, const char *path)
{
	char full[512];

	tree_path(t, path, full, sizeof(full));
	assert_int_equal(nftw(full, tree_unlink, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void tree_start(struct tree *t)
{
	int r;

	t->clock.boot_ns = 1000 * EG_NSEC_PER_SEC;
	t->env.clock = eg_clock_manual(&t->clock);
	t->env.fs.ops = &tree_ops;
	t->env.fs.ctx = t;
	t->sink.put = tree_sink_put;
	r = eg_diags_init(&t->diags, EG_DIAGS_MAX);
	assert_int_equal(r, 0);
}

static inline struct tree *tree_new(const struct eg_driver *driver, const char *value_name)
{
	struct tree *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	strcpy(t->dir, "/tmp/ergon-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(chmod(t->dir, 0755), 0);
	assert_int_equal(eg_env_open(&t->env, t->dir), 0);
	t->driver = driver;
	t->value_name = value_name;
	tree_start(t);
	return t;
}

/* A capture below the pack of real machines; skips the test where there is none. */
static inline struct tree *tree_capture(const struct eg_driver *driver, const char *name)
{
	const char *data = getenv("ERGON_TEST_DATA");
	struct tree *t;
	char path[512];

	if (!data || !*data) {
		print_message("# ERGON_TEST_DATA is unset: no captured machines\n");
		skip();
	}
	t = calloc(1, sizeof(*t));
	assert_non_null(t);
	snprintf(path, sizeof(path), "%s/sysfs/%s", data, name);
	assert_int_equal(eg_env_open(&t->env, path), 0);
	t->driver = driver;
	tree_start(t);
	return t;
}

static inline int tree_open_with(struct tree *t, const struct eg_setting *settings, size_t n)
{
	struct eg_driver_config cfg = {.settings = settings, .n_settings = n, .diags = &t->diags};
	struct eg_instance *before = t->inst;
	int r = t->driver->open(&t->env, &cfg, &t->inst);

	if (r < 0) {
		assert_ptr_equal(t->inst, before); /* outputs untouched on failure */
		return r;
	}
	t->n = t->driver->describe(t->inst, &t->ch);
	assert_true(t->n > 0);
	return 0;
}

static inline int tree_open(struct tree *t)
{
	return tree_open_with(t, NULL, 0);
}

static inline void tree_shut(struct tree *t)
{
	t->driver->close(t->inst);
	t->inst = NULL;
	t->ch = NULL;
	t->n = 0;
}

static inline void tree_read(struct tree *t)
{
	t->n_readings = 0;
	t->driver->read(t->inst, &t->sink, &t->diags);
}

static inline void tree_free(struct tree *t)
{
	tree_shut(t);
	t->driver->close(NULL);
	assert_int_equal(t->open_fds, 0); /* every value descriptor was closed */
	eg_env_close(&t->env);
	eg_diags_free(&t->diags);
	if (t->dir[0])
		assert_int_equal(nftw(t->dir, tree_unlink, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(t);
}

/* Index of a channel by its domain; the test fails where there is none. */
static inline size_t tree_find(const struct tree *t, const char *domain)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->ch[i].domain, domain) == 0)
			return i;
	fail_msg("no channel %s", domain);
	return 0;
}

/* The whole list of domains, in order, separated by blanks. */
static inline void tree_expect(const struct tree *t, const char *domains)
{
	char have[8192] = "";
	size_t len = 0;

	for (size_t i = 0; i < t->n; i++)
		len += (size_t)snprintf(have + len, sizeof(have) - len, "%s%s", i ? " " : "",
					t->ch[i].domain);
	assert_string_equal(have, domains);
}

/* The diagnostic of a code whose detail or subject holds a text; NULL where there is none. */
static inline const struct eg_diag *tree_diag(const struct tree *t, enum eg_diag_code code,
					      const char *text)
{
	for (size_t i = 0; i < t->diags.n; i++) {
		const struct eg_diag *d = &t->diags.items[i];

		if (d->code == code && (strstr(d->detail, text) || strstr(d->subject, text)))
			return d;
	}
	return NULL;
}

#endif
