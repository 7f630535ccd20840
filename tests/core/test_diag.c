/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics: one of a kind with a count, a ceiling, text that cannot break a report. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/diag.h"

static void test_one_of_a_kind(void **state)
{
	struct eg_diags d;

	assert_int_equal(eg_diags_init(&d, 8), 0);
	for (int i = 1; i <= 1000; i++)
		eg_diag_add(&d, EG_DIAG_SENSOR_ERROR, "rapl", "package-0", "look", "read %d", i);
	eg_diag_add(&d, EG_DIAG_SENSOR_ERROR, "rapl", "package-1", NULL, "another subject");
	eg_diag_add(&d, EG_DIAG_SENSOR_ERROR, "nvml", "package-0", NULL, "another driver");
	eg_diag_add(&d, EG_DIAG_SENSOR_BLOCKED, "rapl", "package-0", NULL, "another code");
	eg_diag_add(&d, EG_DIAG_CONFIG, NULL, NULL, NULL, "no driver");
	assert_int_equal(d.n, 5);
	assert_int_equal(d.items[0].count, 1000);
	assert_string_equal(d.items[0].detail, "read 1000"); /* the newest words */
	assert_string_equal(d.items[0].cure, "look");
	assert_string_equal(d.items[0].driver, "rapl");
	assert_string_equal(d.items[0].subject, "package-0");
	assert_string_equal(d.items[1].cure, "");
	assert_string_equal(d.items[4].driver, "");
	assert_int_equal(d.dropped, 0);
	eg_diags_free(&d);
	assert_null(d.items);
}

static void test_ceiling(void **state)
{
	struct eg_diags d = {.n = 77};
	char subject[8];

	assert_int_equal(eg_diags_init(&d, 0), -EINVAL);
	assert_int_equal(eg_diags_init(&d, EG_DIAGS_MAX + 1), -EINVAL);
	assert_int_equal(d.n, 77);
	assert_int_equal(eg_diags_init(&d, EG_DIAGS_MAX), 0);
	for (int i = 0; i < EG_DIAGS_MAX + 10; i++) {
		snprintf(subject, sizeof(subject), "%d", i);
		eg_diag_add(&d, EG_DIAG_SENSOR_ABSENT, "x", subject, "", "gone");
	}
	assert_int_equal(d.n, EG_DIAGS_MAX);
	assert_int_equal(d.dropped, 10);
	/* Those that are in still count. */
	eg_diag_add(&d, EG_DIAG_SENSOR_ABSENT, "x", "0", "", "gone");
	assert_int_equal(d.items[0].count, 2);
	eg_diags_free(&d);
	eg_diags_free(NULL);
	eg_diag_add(NULL, EG_DIAG_CONFIG, "", "", "", "nowhere");
}

static void test_hostile_text(void **state)
{
	struct eg_diags d;
	char big[1000];

	assert_int_equal(eg_diags_init(&d, 4), 0);
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	eg_diag_add(&d, EG_DIAG_CONFIG, big, big, big, "%s", big);
	eg_diag_add(&d, EG_DIAG_CONFIG, big, big, big, "%s", big);
	assert_int_equal(d.n, 1); /* equal although it was cut */
	assert_int_equal(strlen(d.items[0].detail), sizeof(d.items[0].detail) - 1);
	assert_int_equal(strlen(d.items[0].subject), sizeof(d.items[0].subject) - 1);
	eg_diag_add(&d, EG_DIAG_CONFIG, "a\nb", "c\td", "e\x1b[31m", "%s", "f\r\ng");
	eg_diag_add(&d, EG_DIAG_CONFIG, "a\nb", "c\td", "e\x1b[31m", "%s", "f\r\ng\xc3\xa4");
	assert_int_equal(d.n, 2);
	assert_string_equal(d.items[1].driver, "a b");
	assert_string_equal(d.items[1].subject, "c d");
	assert_string_equal(d.items[1].cure, "e [31m");
	assert_string_equal(d.items[1].detail, "f  g\xc3\xa4");
	eg_diags_free(&d);
}

static void test_codes_of_errors(void **state)
{
	assert_int_equal(eg_diag_code_of(-ENOENT), EG_DIAG_SENSOR_ABSENT);
	assert_int_equal(eg_diag_code_of(-ENODEV), EG_DIAG_SENSOR_ABSENT);
	assert_int_equal(eg_diag_code_of(-EACCES), EG_DIAG_SENSOR_BLOCKED);
	assert_int_equal(eg_diag_code_of(-EPERM), EG_DIAG_SENSOR_BLOCKED);
	assert_int_equal(eg_diag_code_of(-EOPNOTSUPP), EG_DIAG_SENSOR_UNSUPPORTED);
	assert_int_equal(eg_diag_code_of(-ETIMEDOUT), EG_DIAG_SENSOR_TIMEOUT);
	assert_int_equal(eg_diag_code_of(-EIO), EG_DIAG_SENSOR_ERROR);
	assert_int_equal(eg_diag_code_of(-EPROTO), EG_DIAG_SENSOR_ERROR);
	assert_string_equal(eg_errno_text(-EACCES), "Permission denied");
	assert_string_equal(eg_errno_text(ENOENT), "No such file or directory");
	assert_string_equal(eg_errno_text(-99999), "unknown error");
	assert_string_equal(eg_errno_text(INT32_MIN), eg_errno_text(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_of_a_kind),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_codes_of_errors),
	};

	return cmocka_run_group_tests_name("core-diag", tests, NULL, NULL);
}
