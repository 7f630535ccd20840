/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of drivers that read sysfs: a temporary root with files and links, a driver opened on it
 * with a clock moved by hand, its readings recorded, file errors on demand by file name, and a
 * printed channel list to compare with a golden one.
 */
#ifndef EG_TESTS_DRIVERS_TREE_H
#define EG_TESTS_DRIVERS_TREE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/env.h"
#include "base/strbuf.h"
#include "core/driver.h"

#define TREE_FDS 1024

struct rig {
	char root[64];
	struct eg_env env;
	struct eg_manual_clock manual;
	struct eg_diags diags;
	const struct eg_driver *driver;
	struct eg_instance *inst;
	const struct eg_channel *ch;
	size_t n;
	/* Readings of the last rig_read. */
	struct eg_sink sink;
	struct eg_reading reading[512];
	size_t puts;
	/* Faults: file name -> errno of open or pread (0 none). */
	const char *fault_file;
	int fault_open, fault_pread;
	char fd_name[TREE_FDS][48];
	long fail_open_at, opens; /* the Nth open fails with EIO; 0 none */
	int open_fds;		  /* before the driver opened anything */
};

static inline int rig_count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline void rig_mkdirs(const char *path)
{
	char p[512];

	snprintf(p, sizeof(p), "%s", path);
	for (char *s = strchr(p + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		mkdir(p, 0755);
		*s = '/';
	}
}

static inline void rig_write_bytes(struct rig *r, const char *path, const void *data, size_t n)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", r->root, path);
	rig_mkdirs(full);
	f = fopen(full, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* A file of one line, as the kernel writes them. */
static inline void rig_write(struct rig *r, const char *path, const char *text)
{
	char line[512];

	snprintf(line, sizeof(line), "%s\n", text);
	rig_write_bytes(r, path, line, strlen(line));
}

static inline void rig_link(struct rig *r, const char *path, const char *target)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", r->root, path);
	rig_mkdirs(full);
	assert_int_equal(symlink(target, full), 0);
}

static inline void rig_chmod(struct rig *r, const char *path, mode_t mode)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", r->root, path);
	assert_int_equal(chmod(full, mode), 0);
}

static inline void rig_rename(struct rig *r, const char *from, const char *to)
{
	char a[512], b[512];

	snprintf(a, sizeof(a), "%s/%s", r->root, from);
	snprintf(b, sizeof(b), "%s/%s", r->root, to);
	assert_int_equal(rename(a, b), 0);
}

static int rig_openat(void *ctx, int dirfd, const char *name, int flags)
{
	struct rig *r = ctx;
	int fd;

	if (r->fail_open_at && ++r->opens == r->fail_open_at)
		return -EIO;
	if (r->fault_open && r->fault_file && strcmp(r->fault_file, name) == 0)
		return -r->fault_open;
	fd = eg_fs_kernel_ops.openat(NULL, dirfd, name, flags);
	if (fd >= 0 && fd < TREE_FDS)
		snprintf(r->fd_name[fd], sizeof(r->fd_name[fd]), "%s", name);
	return fd;
}

static ssize_t rig_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	struct rig *r = ctx;

	if (r->fault_pread && r->fault_file && fd < TREE_FDS &&
	    strcmp(r->fault_file, r->fd_name[fd]) == 0)
		return -r->fault_pread;
	return eg_fs_kernel_ops.pread(NULL, fd, buf, n, off);
}

static ssize_t rig_readlinkat(void *ctx, int dirfd, const char *name, char *buf, size_t n)
{
	return eg_fs_kernel_ops.readlinkat(NULL, dirfd, name, buf, n);
}

static int rig_close_fd(void *ctx, int fd)
{
	return eg_fs_kernel_ops.close(NULL, fd);
}

static const struct eg_fs_ops rig_fs_ops = {rig_openat, rig_pread, rig_readlinkat, rig_close_fd};

static void rig_put(struct eg_sink *sink, size_t channel, const struct eg_reading *reading)
{
	struct rig *r = (struct rig *)((char *)sink - offsetof(struct rig, sink));

	assert_true(channel < r->n && channel < EG_ARRAY_SIZE(r->reading));
	r->reading[channel] = *reading;
	r->puts++;
}

/* An empty root in a temporary folder. */
static inline struct rig *rig_new(const struct eg_driver *driver)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->driver = driver;
	snprintf(r->root, sizeof(r->root), "/tmp/ergon-test-XXXXXX");
	assert_non_null(mkdtemp(r->root));
	assert_int_equal(chmod(r->root, 0755), 0);
	assert_int_equal(eg_env_open(&r->env, r->root), 0);
	r->env.fs.ops = &rig_fs_ops;
	r->env.fs.ctx = r;
	r->manual.boot_ns = 1000 * EG_NSEC_PER_SEC;
	r->env.clock = eg_clock_manual(&r->manual);
	r->sink.put = rig_put;
	r->open_fds = rig_count_fds();
	assert_int_equal(eg_diags_init(&r->diags, EG_DIAGS_MAX), 0);
	return r;
}

static inline int rig_open_with(struct rig *r, const struct eg_setting *settings, size_t n)
{
	struct eg_driver_config cfg = {.settings = settings, .n_settings = n, .diags = &r->diags};
	struct eg_instance *inst = (struct eg_instance *)r; /* must stay untouched on failure */
	int e = r->driver->open(&r->env, &cfg, &inst);

	if (e < 0) {
		assert_ptr_equal(inst, r);
		return e;
	}
	r->inst = inst;
	r->n = r->driver->describe(inst, &r->ch);
	assert_true(r->n > 0);
	return e;
}

static inline int rig_open(struct rig *r)
{
	return rig_open_with(r, NULL, 0);
}

static inline void rig_read(struct rig *r)
{
	r->puts = 0;
	memset(r->reading, 0xff, sizeof(r->reading));
	r->manual.boot_ns += EG_NSEC_PER_SEC;
	r->driver->read(r->inst, &r->sink, &r->diags);
}

static inline void rig_close(struct rig *r)
{
	r->driver->close(r->inst);
	r->inst = NULL;
}

static inline void rig_free(struct rig *r)
{
	char cmd[128];

	rig_close(r);
	assert_int_equal(rig_count_fds(), r->open_fds); /* no descriptor of the driver is left */
	eg_diags_free(&r->diags);
	/* The environment closes its root with the operations it was opened with. */
	r->env.fs.ops = &eg_fs_kernel_ops;
	r->env.fs.ctx = NULL;
	eg_env_close(&r->env);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->root);
	assert_int_equal(system(cmd), 0);
	free(r);
}

static inline int rig_find(const struct rig *r, const char *domain)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->ch[i].domain, domain) == 0)
			return (int)i;
	return -1;
}

/* The reading of a channel that must exist. */
static inline const struct eg_reading *rig_reading(const struct rig *r, const char *domain)
{
	int i = rig_find(r, domain);

	if (i < 0)
		print_message("no channel %s\n", domain);
	assert_true(i >= 0);
	return &r->reading[i];
}

static inline const struct eg_diag *rig_diag(const struct rig *r, enum eg_diag_code code,
					     const char *subject)
{
	for (size_t i = 0; i < r->diags.n; i++)
		if (r->diags.items[i].code == code &&
		    (!subject || strcmp(r->diags.items[i].subject, subject) == 0))
			return &r->diags.items[i];
	return NULL;
}

/*
 * One line a channel: domain device component boundary quantity value|status. Compares with the
 * golden text and shows both where they differ.
 */
static inline void rig_assert_list(struct rig *r, const char *golden)
{
	struct eg_strbuf b = EG_STRBUF_INIT(64 * 1024);

	rig_read(r);
	assert_int_equal(r->puts, r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct eg_channel *c = &r->ch[i];

		eg_strbuf_printf(&b, "%s %s %s %s %s ", c->domain, c->device,
				 eg_component_word(c->component), eg_boundary_word(c->boundary),
				 eg_quantity_word(c->quantity));
		if (r->reading[i].status == EG_STATUS_OK)
			eg_strbuf_printf(&b, "%llu\n", (unsigned long long)r->reading[i].raw);
		else
			eg_strbuf_printf(&b, "%s\n", eg_status_word(r->reading[i].status));
		assert_true(c->max_uw > 0 && c->unit_num > 0 && c->unit_den > 0);
		assert_true(c->domain[0] && c->device[0] && c->origin[0] && c->accuracy.citation);
		for (size_t k = 0; k < i; k++) {
			assert_string_not_equal(c->domain, r->ch[k].domain);
			assert_false(strcmp(c->device, r->ch[k].device) == 0 &&
				     c->component == r->ch[k].component);
		}
	}
	if (strcmp(eg_strbuf_get(&b), golden) != 0)
		fprintf(stderr, "got:\n%sexpected:\n%s", eg_strbuf_get(&b), golden);
	assert_string_equal(eg_strbuf_get(&b), golden);
	eg_strbuf_free(&b);
}

/* Attributes as lines "device name value", for comparison with a golden text. */
struct rig_attributes {
	struct eg_attribute_sink sink; /* first */
	struct eg_strbuf text;
};

static inline void rig_put_attribute(struct eg_attribute_sink *sink, const struct eg_attribute *a)
{
	struct rig_attributes *l = (struct rig_attributes *)sink;

	if (a->is_text)
		eg_strbuf_printf(&l->text, "%s %s %s\n", a->device, a->name, a->text);
	else
		eg_strbuf_printf(&l->text, "%s %s %.10g\n", a->device, a->name, a->value);
}

static inline void rig_assert_attributes(struct rig *r, const char *golden)
{
	struct rig_attributes l = {{rig_put_attribute}, EG_STRBUF_INIT(64 * 1024)};

	r->driver->attributes(r->inst, &l.sink);
	assert_string_equal(eg_strbuf_get(&l.text), golden);
	eg_strbuf_free(&l.text);
}

/* Runs fn in a child without rights; its return value is the child's exit status. */
static inline int rig_as_nobody(int (*fn)(struct rig *), struct rig *r)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(99);
		_exit(fn(r));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A text that is only the target of a relative link: how the captures store links. */
static int rig_restore_link(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char target[512];
	ssize_t n;
	int fd;

	if (type != FTW_F || st->st_size == 0 || st->st_size >= (off_t)sizeof(target))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, target, sizeof(target) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	target[n] = '\0';
	if (strncmp(target, "../", 3) != 0 || strchr(target, '\n'))
		return 0;
	return unlink(path) != 0 || symlink(target, path) != 0 ? -1 : 0;
}

/*
 * A root that holds a copy of a capture below ERGON_TEST_DATA, its links made again; skips the test
 * where the variable is unset.
 */
static inline struct rig *rig_new_capture(const struct eg_driver *driver, const char *folder)
{
	const char *data = getenv("ERGON_TEST_DATA");
	char cmd[1024];
	struct rig *r;

	if (!data || !data[0]) {
		print_message("# ERGON_TEST_DATA is unset: no captured machines\n");
		skip();
	}
	r = rig_new(driver);
	snprintf(cmd, sizeof(cmd), "cp -r '%s/%s/.' '%s' && chmod -R u+w '%s'", data, folder,
		 r->root, r->root);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(nftw(r->root, rig_restore_link, 16, FTW_PHYS), 0);
	return r;
}

#endif
