/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a perf PMU mean: events, scales, CPU lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "drivers/perf_rapl/event.h"

static int event(const char *s, uint64_t *ret)
{
	return eg_perf_rapl_parse_event(s, strlen(s), ret);
}

static void events(void **state)
{
	static const char *const bad[] = {
		"",
		"event",
		"event=",
		"event=0x",
		"event=0",
		"event=0x00",
		"event=0x100",
		"event=256",
		"event=-1",
		"umask=0x02",
		"Event=0x02",
		"event=0x02,umask=1",
		"config=0x02",
		"event=0x02x",
		"event==2",
		"event=99999999999999999999",
	};
	uint64_t v = 77;

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		assert_int_equal(event(bad[i], &v), -EINVAL);
		assert_int_equal(v, 77);
	}
	assert_int_equal(event("event=0x02", &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(event("event=0xfF", &v), 0);
	assert_int_equal(v, 255);
	assert_int_equal(event("event=5", &v), 0);
	assert_int_equal(v, 5);
}

static int scale(const char *s, uint64_t *num, uint64_t *den)
{
	return eg_perf_rapl_parse_scale(s, strlen(s), num, den);
}

static void scales(void **state)
{
	static const char *const bad[] = {"",	   "x",	  "nan",     "inf",    "-1e-10", "0",
					  "1e-16", "1e7", "0x1p-32", "1e-10J", "1e",	 "."};
	uint64_t num = 1, den = 2;

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		assert_true(scale(bad[i], &num, &den) < 0);
		assert_true(num == 1 && den == 2);
	}
	/* 2^-32 J, as the kernel writes it: exact. */
	assert_int_equal(scale("2.3283064365386962890625e-10", &num, &den), 0);
	assert_true(num == 15625 && den == 67108864);
	assert_int_equal(scale("6.103515625e-05", &num, &den), 0); /* 2^-14 J */
	assert_true(num == 15625 && den == 256);
	assert_int_equal(scale("1", &num, &den), 0);
	assert_true(num == 1000000 && den == 1);
	assert_int_equal(scale("0.5", &num, &den), 0);
	assert_true(num == 500000 && den == 1);
	assert_int_equal(scale("524288", &num, &den), 0);
	assert_true(num == 524288000000 && den == 1);
	/* Decimal ones within one part in 10^11. */
	assert_int_equal(scale("1e-6", &num, &den), 0);
	assert_true((unsigned __int128)num == den);
	assert_int_equal(scale("15.3e-6", &num, &den), 0);
	assert_true(num * 10 >= den * 153 - 100 && num * 10 <= den * 153 + 100);
	assert_int_equal(scale("1e-15", &num, &den), 0);
	assert_true(num > 0 && den > 0);
	assert_int_equal(scale("999999", &num, &den), 0);
	assert_true(num == 999999000000 * den);
}

static ssize_t cpus(const char *s, uint32_t *out, size_t cap)
{
	return eg_perf_rapl_parse_cpus(s, strlen(s), out, cap);
}

static void lists(void **state)
{
	static const char *const bad[] = {"",	   ",", "0,",  ",0",  "0-",   "-1",  "3-1",
					  "0-1-2", "a", "0;1", "0x1", "0,,1", "0:1", "\n"};
	uint32_t c[8];

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(cpus(bad[i], c, 8), -EINVAL);
	assert_int_equal(cpus("8192", c, 8), -ERANGE);
	assert_int_equal(cpus("0-99999999999", c, 8), -ERANGE);
	assert_int_equal(cpus("0\n", c, 8), 1);
	assert_int_equal(c[0], 0);
	assert_int_equal(cpus("0,18", c, 8), 2);
	assert_true(c[0] == 0 && c[1] == 18);
	assert_int_equal(cpus("0-2,8\n", c, 8), 4);
	assert_true(c[0] == 0 && c[1] == 1 && c[2] == 2 && c[3] == 8);
	memset(c, 0xff, sizeof(c));
	assert_int_equal(cpus("0-8191", c, 4), 8192);
	assert_true(c[3] == 3 && c[4] == UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events),
		cmocka_unit_test(scales),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("perf_rapl-event", tests, NULL, NULL);
}
