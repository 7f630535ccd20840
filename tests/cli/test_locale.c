/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in locales whose decimal separator is a comma or several bytes. Which locales a machine
 * has installed is chance, so the libc calls of number.c are replaced by ones that behave so.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *separator;

static int local_snprintf(char *buf, size_t cap, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int local_snprintf(char *buf, size_t cap, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	char *dot;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dot = strchr(text, '.');
	if (dot == NULL)
		return snprintf(buf, cap, "%s", text);
	n += (int)strlen(separator) - 1;
	snprintf(buf, cap, "%.*s%s%s", (int)(dot - text), text, separator, dot + 1);
	return n;
}

static double local_strtod(const char *s, char **end)
{
	char text[512];
	const char *at = strstr(s, separator);

	if (at == NULL)
		return strtod(s, end);
	snprintf(text, sizeof(text), "%.*s.%s", (int)(at - s), s, at + strlen(separator));
	return strtod(text, NULL);
}

#define snprintf local_snprintf
#define strtod	 local_strtod
#include "codec/number.c"
#undef snprintf
#undef strtod

static void check(const char *with)
{
	char text[EG_NUMBER_MAX];

	separator = with;
	eg_number_double(text, 123456.789);
	assert_string_equal(text, "123456.789");
	eg_number_double(text, -1.25e-10);
	assert_string_equal(text, "-1.25e-10");
	eg_number_double(text, 0.1);
	assert_string_equal(text, "0.1");
	eg_number_fixed(text, 12.345678, 3);
	assert_string_equal(text, "12.346");
	eg_number_fixed(text, -0.0001, 3);
	assert_string_equal(text, "0.000");
	eg_number_fixed(text, 1234.5, 0);
	assert_string_equal(text, "1234");
	eg_number_scaled(text, 151200000, 6);
	assert_string_equal(text, "151.2");
}

static void test_point(void **state)
{
	check(".");
}

static void test_comma(void **state)
{
	check(",");
}

static void test_several_bytes(void **state)
{
	check("\xd9\xab"); /* U+066B, as in ps_AF */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_point),
		cmocka_unit_test(test_comma),
		cmocka_unit_test(test_several_bytes),
	};

	return cmocka_run_group_tests_name("locale", tests, NULL, NULL);
}
