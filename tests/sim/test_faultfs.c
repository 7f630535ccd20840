/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose: each kind does what it says, when it says so, to the paths it names. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "sim/faultfs.h"

static char dir[] = "/tmp/ergon-faultfs-XXXXXX";

static int setup(void **state)
{
	char path[128];
	int fd;

	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/d", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/d/v", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	return fd < 0 || write(fd, "12345\n", 6) != 6 || close(fd) < 0 ||
	       (snprintf(path, sizeof(path), "%s/link", dir), symlink("d", path) < 0);
}

static int teardown(void **state)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/d/v", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/d", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/link", dir);
	unlink(path);
	return rmdir(dir);
}

/* Reads link/v under one rule; the value or the error. */
static int64_t read_with(const struct eg_fault *rule, size_t n, const struct eg_clock *clock)
{
	struct eg_faultfs *ff;
	struct eg_fs fs;
	uint64_t v;
	int r;

	assert_int_equal(eg_fs_open_root(&fs, dir), 0);
	assert_int_equal(eg_faultfs_wrap(&fs, clock, rule, n, &ff), 0);
	r = eg_fs_read_u64(&fs, "link/v", &v);
	assert_int_equal(eg_faultfs_open_fds(ff), 0);
	eg_faultfs_unwrap(ff, &fs);
	assert_ptr_equal(fs.ops, &eg_fs_kernel_ops);
	eg_fs_close_root(&fs);
	return r < 0 ? r : (int64_t)v;
}

static void test_kinds(void **state)
{
	struct eg_fault f = {.pattern = "d/v", .kind = EG_FAULT_ERROR, .error = EIO};

	assert_int_equal(read_with(NULL, 0, NULL), 12345);
	assert_int_equal(read_with(&f, 1, NULL), -EIO);
	f.pattern = "link/v"; /* links are resolved first */
	assert_int_equal(read_with(&f, 1, NULL), 12345);
	f = (struct eg_fault){
		.pattern = "*v", .kind = EG_FAULT_ERROR, .on = EG_FAULT_OPEN, .error = EACCES};
	assert_int_equal(read_with(&f, 1, NULL), -EACCES);
	f = (struct eg_fault){.pattern = "d*", .kind = EG_FAULT_VANISH};
	assert_int_equal(read_with(&f, 1, NULL), -ENOENT);
	f = (struct eg_fault){.pattern = "*v", .kind = EG_FAULT_GARBAGE, .text = "abc"};
	assert_int_equal(read_with(&f, 1, NULL), -EPROTO);
	f = (struct eg_fault){.pattern = "*v", .kind = EG_FAULT_SHORT, .bytes = 2};
	assert_int_equal(read_with(&f, 1, NULL), 12);
	f = (struct eg_fault){.pattern = "*v", .kind = EG_FAULT_HANG, .hang_ns = 1000000};
	assert_int_equal(read_with(&f, 1, NULL), 12345);
}

static void test_time(void **state)
{
	struct eg_manual_clock m = {.boot_ns = 100};
	struct eg_clock clock = eg_clock_manual(&m);
	struct eg_fault f = {.kind = EG_FAULT_ERROR, .error = EIO, .from_ns = 200, .to_ns = 300};

	assert_int_equal(read_with(&f, 1, &clock), 12345);
	m.boot_ns = 200;
	assert_int_equal(read_with(&f, 1, &clock), -EIO);
	m.boot_ns = 300;
	assert_int_equal(read_with(&f, 1, &clock), 12345);
}

/* Every open and every read fails in turn, and nothing else. */
static void test_nth(void **state)
{
	struct eg_faultfs *ff;
	struct eg_fs fs;
	uint64_t v, opens, reads;

	assert_int_equal(eg_fs_open_root(&fs, dir), 0);
	assert_int_equal(eg_faultfs_wrap(&fs, NULL, NULL, 0, &ff), 0);
	assert_int_equal(eg_fs_read_u64(&fs, "link/v", &v), 0);
	opens = eg_faultfs_calls(ff, EG_FAULT_OPEN);
	reads = eg_faultfs_calls(ff, EG_FAULT_READ);
	assert_int_equal(opens, 3); /* link, d, v */
	assert_true(reads >= 1);
	for (uint64_t n = 1; n <= opens + reads; n++) {
		struct eg_fault f = {.kind = EG_FAULT_ERROR,
				     .error = EMFILE,
				     .count = 1,
				     .on = n <= opens ? EG_FAULT_OPEN : EG_FAULT_READ,
				     .first = n <= opens ? n : n - opens};

		assert_int_equal(eg_faultfs_set(ff, &f, 1), 0);
		assert_int_equal(eg_fs_read_u64(&fs, "link/v", &v), -EMFILE);
		assert_int_equal(eg_faultfs_hits(ff), 1);
		assert_int_equal(eg_faultfs_open_fds(ff), 0);
		assert_int_equal(eg_fs_read_u64(&fs, "link/v", &v), 0); /* once only */
	}
	eg_faultfs_unwrap(ff, &fs);
	eg_fs_close_root(&fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_nth),
	};

	return cmocka_run_group_tests_name("sim-faultfs", tests, setup, teardown);
}
