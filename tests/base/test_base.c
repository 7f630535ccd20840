/* SPDX-License-Identifier: Apache-2.0 */
/* Base: parsing, string buffer, the walk below a root, the clocks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/env.h"
#include "base/parse.h"
#include "base/strbuf.h"

static void parse_u64(void **state)
{
	uint64_t v = 7;

	assert_int_equal(eg_parse_u64("18446744073709551615\n", 21, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(eg_parse_u64("  42 ", 5, &v), 0);
	assert_int_equal(v, 42);
	assert_int_equal(eg_parse_u64("18446744073709551616", 20, &v), -ERANGE);
	assert_int_equal(eg_parse_u64("", 0, &v), -EINVAL);
	assert_int_equal(eg_parse_u64(" \n", 2, &v), -EINVAL);
	assert_int_equal(eg_parse_u64("12x", 3, &v), -EINVAL);
	assert_int_equal(eg_parse_u64("-1", 2, &v), -EINVAL);
	assert_int_equal(eg_parse_u64("1 2", 3, &v), -EINVAL);
	assert_int_equal(v, 42); /* untouched on failure */
	assert_int_equal(eg_parse_hex("fF", 2, &v), 0);
	assert_int_equal(v, 255);
}

static void parse_i64(void **state)
{
	int64_t v = 0;

	assert_int_equal(eg_parse_i64("-9223372036854775808", 20, &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(eg_parse_i64("9223372036854775808", 19, &v), -ERANGE);
	assert_int_equal(eg_parse_i64("-9223372036854775809", 20, &v), -ERANGE);
	assert_int_equal(eg_parse_i64("--1", 3, &v), -EINVAL);
}

static void parse_double(void **state)
{
	static const struct {
		const char *text;
		double value;
	} good[] = {{"0", 0},	   {"1.5", 1.5},     {"-2.25e2", -225},
		    {".39", 0.39}, {"1e308", 1e308}, {"2.3283064365386962890625e-10", 0x1p-32},
		    {"5.", 5},	   {"300.000", 300}};
	static const char *const bad[] = {"",	 "nan",	  "inf", "0x10", "1e", "1e400",
					  "1,5", "1.2.3", "-",	 ".",	 "1 2"};
	double v = 1;

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		assert_int_equal(eg_parse_double(good[i].text, strlen(good[i].text), &v), 0);
		assert_true(v == good[i].value);
	}
	v = 1;
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_true(eg_parse_double(bad[i], strlen(bad[i]), &v) < 0);
	assert_true(v == 1);
}

static void parse_duration(void **state)
{
	uint64_t v = 0;

	assert_int_equal(eg_parse_duration("1.5s", 0, &v), 0);
	assert_true(v == 1500000000);
	assert_int_equal(eg_parse_duration("100ms", 0, &v), 0);
	assert_true(v == 100000000);
	assert_int_equal(eg_parse_duration("250", 1000000, &v), 0);
	assert_true(v == 250000000);
	assert_int_equal(eg_parse_duration("250", 0, &v), -EINVAL);
	assert_int_equal(eg_parse_duration("5 parsecs", 0, &v), -EINVAL);
	assert_int_equal(eg_parse_duration("-1s", 0, &v), -ERANGE);
	assert_int_equal(eg_parse_duration("1e300d", 0, &v), -ERANGE);
}

static void edit_distance(void **state)
{
	assert_int_equal(eg_edit_distance("json", "josn"), 1);
	assert_int_equal(eg_edit_distance("json", "json"), 0);
	assert_int_equal(eg_edit_distance("", "abc"), 3);
	assert_int_equal(eg_edit_distance("interval", "intervall"), 1);
}

static void strbuf_ceiling(void **state)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf b = EG_STRBUF_INIT(8);

	assert_string_equal(eg_strbuf_get(&b), "");
	eg_strbuf_puts(&b, "1234");
	eg_strbuf_printf(&b, "%d", 5678);
	assert_string_equal(eg_strbuf_get(&b), "12345678");
	assert_int_equal(eg_strbuf_error(&b), 0);
	eg_strbuf_putc(&b, '9');
	assert_int_equal(eg_strbuf_error(&b), -EOVERFLOW);
	eg_strbuf_putc(&b, '9');
	assert_string_equal(eg_strbuf_get(&b), "12345678");
	eg_strbuf_reset(&b);
	eg_strbuf_puts(&b, "ok");
	assert_string_equal(eg_strbuf_get(&b), "ok");
	assert_int_equal(eg_strbuf_error(&b), 0);
}

/* ---- the root ---- */

struct tree {
	char dir[64];
	struct eg_env env;
};

static void put(const struct tree *t, const char *path, const char *text)
{
	char full[256];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", t->dir, path);
	fd = open(full, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void make_dir(const struct tree *t, const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", t->dir, path);
	assert_int_equal(mkdir(full, 0755), 0);
}

static void make_link(const struct tree *t, const char *target, const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", t->dir, path);
	assert_int_equal(symlink(target, full), 0);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	strcpy(t->dir, "/tmp/ergon-base-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(eg_env_open(&t->env, t->dir), 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;
	char cmd[128];
	pid_t pid;

	eg_env_close(&t->env);
	snprintf(cmd, sizeof(cmd), "%s", t->dir);
	pid = fork();
	if (pid == 0)
		execlp("rm", "rm", "-rf", cmd, (char *)NULL);
	waitpid(pid, NULL, 0);
	free(t);
	return 0;
}

static void root_holds(void **state)
{
	struct tree *t = *state;
	char text[64];
	uint64_t v;

	make_dir(t, "sys");
	make_dir(t, "sys/class");
	make_dir(t, "sys/devices");
	put(t, "sys/devices/energy_uj", "123\n");
	put(t, "passwd", "inside");
	make_link(t, "../devices", "sys/class/zone");
	make_link(t, "/sys/devices", "sys/class/absolute");
	make_link(t, "../../../../../../passwd", "sys/class/up");
	make_link(t, "/etc/passwd", "sys/class/outside");
	make_link(t, "loop", "sys/class/loop");
	make_link(t, "nowhere", "sys/class/dangling");

	assert_int_equal(eg_fs_read_u64(&t->env.fs, "sys/class/zone/energy_uj", &v), 0);
	assert_int_equal(v, 123);
	assert_int_equal(eg_fs_read_u64(&t->env.fs, "/sys/class/absolute/energy_uj", &v), 0);
	/* ".." stops at the root */
	assert_int_equal(eg_fs_read_text(&t->env.fs, "sys/class/up", text, sizeof(text)), 6);
	assert_string_equal(text, "inside");
	/* an absolute link means the root's own path, which has no etc/ */
	assert_int_equal(eg_fs_read_text(&t->env.fs, "sys/class/outside", text, sizeof(text)),
			 -ENOENT);
	assert_int_equal(eg_fs_read_text(&t->env.fs, "sys/class/loop", text, sizeof(text)), -ELOOP);
	assert_int_equal(eg_fs_read_text(&t->env.fs, "sys/class/dangling", text, sizeof(text)),
			 -ENOENT);
	assert_int_equal(eg_fs_read_text(&t->env.fs, "passwd/x", text, sizeof(text)), -ENOTDIR);
	assert_int_equal(eg_fs_read_text(&t->env.fs, "../../etc/passwd", text, sizeof(text)),
			 -ENOENT);
}

static void small_files(void **state)
{
	struct tree *t = *state;
	char text[8], *all;
	size_t n;
	uint64_t v = 9;

	put(t, "a", "1234567\n");
	put(t, "b", "12345678\n");
	put(t, "c", "");
	put(t, "d", "12 garbage");
	assert_int_equal(eg_fs_read_text(&t->env.fs, "a", text, sizeof(text)), -EMSGSIZE);
	assert_int_equal(eg_fs_read_text(&t->env.fs, "c", text, sizeof(text)), 0);
	assert_int_equal(eg_fs_read_u64(&t->env.fs, "b", &v), 0);
	assert_int_equal(v, 12345678);
	assert_int_equal(eg_fs_read_u64(&t->env.fs, "c", &v), -EPROTO);
	assert_int_equal(eg_fs_read_u64(&t->env.fs, "d", &v), -EPROTO);
	assert_int_equal(v, 12345678);
	assert_int_equal(eg_fs_read_all(&t->env.fs, "b", 8, &all, &n), -EMSGSIZE);
	assert_int_equal(eg_fs_read_all(&t->env.fs, "b", 9, &all, &n), 0);
	assert_int_equal(n, 9);
	free(all);
}

static void listing(void **state)
{
	struct tree *t = *state;
	EG_CLEANUP(eg_names_free) struct eg_names names = {0};

	put(t, "hwmon10", "");
	put(t, "hwmon2", "");
	put(t, "hwmon1", "");
	assert_int_equal(eg_fs_list(&t->env.fs, "", &names), 0);
	assert_int_equal(names.n, 3);
	assert_string_equal(names.name[0], "hwmon1");
	assert_string_equal(names.name[1], "hwmon2");
	assert_string_equal(names.name[2], "hwmon10");
	assert_int_equal(eg_fs_list(&t->env.fs, "absent", &names), -ENOENT);
}

static void unreadable(void **state)
{
	struct tree *t = *state;
	char full[128];
	int status;
	pid_t pid;

	if (getuid() != 0) {
		print_message("not root: cannot become another user\n");
		skip();
	}
	put(t, "secret", "1");
	snprintf(full, sizeof(full), "%s/secret", t->dir);
	assert_int_equal(chmod(full, 0400), 0);
	assert_int_equal(chmod(t->dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		uint64_t v;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(eg_fs_read_u64(&t->env.fs, "secret", &v) == -EACCES &&
				      eg_fs_exists(&t->env.fs, "secret") ?
			      0 :
			      1);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A library of another root is found there or not at all, also through links. */
static void loader_stays_inside(void **state)
{
	struct tree *t = *state;
	void *lib = NULL;

	make_dir(t, "usr");
	make_dir(t, "usr/lib");
	make_link(t, "/lib/x86_64-linux-gnu/libm.so.6", "usr/lib/libabsolute.so.1");
	make_link(t, "../../../../../../../../lib/x86_64-linux-gnu/libm.so.6",
		  "usr/lib/libup.so.1");
	put(t, "usr/lib/libbroken.so.1", "no library");
	assert_int_equal(t->env.loader.open(t->env.loader.ctx, "libabsolute.so.1", &lib), -ENOENT);
	assert_int_equal(t->env.loader.open(t->env.loader.ctx, "libup.so.1", &lib), -ENOENT);
	assert_int_equal(t->env.loader.open(t->env.loader.ctx, "libm.so.6", &lib), -ENOENT);
	assert_int_equal(t->env.loader.open(t->env.loader.ctx, "libbroken.so.1", &lib), -ENOEXEC);
	assert_null(lib);
}

static void perf_file(void **state)
{
	struct tree *t = *state;
	uint64_t v = 0;
	int fd;

	make_dir(t, "dev");
	make_dir(t, "dev/ergon-perf");
	make_dir(t, "dev/ergon-perf/power");
	put(t, "dev/ergon-perf/power/2-0", "\x01\x02\x03\x04\x05\x06\x07\x08");
	fd = t->env.perf_open(&t->env, "power", 9, 2, 0);
	assert_true(fd >= 0);
	assert_int_equal(eg_fs_pread(&t->env.fs, fd, &v, sizeof(v), 0), 8);
	eg_fs_close(&t->env.fs, fd);
	assert_int_equal(t->env.perf_open(&t->env, "power", 9, 3, 0), -ENOENT);
}

/* ---- clocks ---- */

static void system_clock(void **state)
{
	struct eg_clock c = eg_clock_system();
	uint64_t a = eg_clock_ns(&c), b;

	assert_int_equal(eg_clock_sleep_until(&c, a + 2000000), 0);
	b = eg_clock_ns(&c);
	assert_true(b >= a + 2000000);
	assert_true(eg_clock_awake_ns(&c) <= b + 1000000000);
}

/* A program that sleeps moves nothing by itself; the simulator moves it, and no further. */
static void file_clock(void **state)
{
	struct tree *t = *state;
	struct eg_file_clock *sim, *prog;
	char path[128];
	uint64_t want = 0;
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/clock", t->dir);
	assert_int_equal(eg_file_clock_attach(path, &prog), -ENOENT);
	put(t, "clock", "no clock");
	assert_int_equal(eg_file_clock_attach(path, &prog), -EPROTO);
	assert_int_equal(eg_file_clock_create(path, 1000, 5000, &sim), 0);
	assert_int_equal(eg_file_clock_wait_sleepers(sim, 1000000, &want), -ETIMEDOUT);
	pid = fork();
	if (pid == 0) {
		struct eg_clock c;

		if (eg_file_clock_attach(path, &prog) < 0)
			_exit(2);
		c = eg_clock_file(prog);
		if (eg_clock_ns(&c) != 1000 || eg_clock_unix_ns(&c) != 5000)
			_exit(3);
		if (eg_clock_sleep_until(&c, 3000) != 0 || eg_clock_ns(&c) != 3000)
			_exit(4);
		if (eg_clock_sleep_until(&c, 9000) != 0 || eg_clock_awake_ns(&c) != 5000)
			_exit(5);
		/* the simulator ends instead */
		if (eg_clock_sleep_until(&c, 10000) != -ECANCELED)
			_exit(6);
		eg_file_clock_close(prog);
		_exit(0);
	}
	assert_int_equal(eg_file_clock_wait_sleepers(sim, 5000000000, &want), 0);
	assert_int_equal(want, 3000);
	eg_file_clock_set(sim, 3000, 0);
	assert_int_equal(eg_file_clock_wait_sleepers(sim, 5000000000, &want), 0);
	assert_int_equal(want, 9000);
	eg_file_clock_set(sim, 9000, 4000); /* 4 us of it asleep */
	assert_int_equal(eg_file_clock_wait_sleepers(sim, 5000000000, &want), 0);
	eg_file_clock_close(sim);
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_u64),
		cmocka_unit_test(parse_i64),
		cmocka_unit_test(parse_double),
		cmocka_unit_test(parse_duration),
		cmocka_unit_test(edit_distance),
		cmocka_unit_test(strbuf_ceiling),
		cmocka_unit_test_setup_teardown(root_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(small_files, setup, teardown),
		cmocka_unit_test_setup_teardown(listing, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(loader_stays_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_file, setup, teardown),
		cmocka_unit_test(system_clock),
		cmocka_unit_test_setup_teardown(file_clock, setup, teardown),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
