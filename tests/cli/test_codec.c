/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writers of src/codec: exact numbers, JSON and HTML that no input can break, CSV quoting, the
 * curve's ceiling, Student's t.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/csv.h"
#include "codec/curve.h"
#include "codec/html.h"
#include "codec/json.h"
#include "codec/number.h"
#include "codec/plain.h"
#include "codec/stats.h"
#include "codec/utf8.h"

static void scaled_is(uint64_t v, unsigned digits, const char *want)
{
	char text[EG_NUMBER_MAX];

	assert_int_equal(eg_number_scaled(text, v, digits), strlen(want));
	assert_string_equal(text, want);
}

static void plain_is(const char *s, size_t n, bool ascii, const char *want)
{
	struct eg_strbuf out = EG_STRBUF_INIT(256);

	eg_plain_text(&out, s, n, ascii);
	assert_int_equal(eg_strbuf_error(&out), 0);
	assert_string_equal(eg_strbuf_get(&out), want);
	eg_strbuf_free(&out);
}

static void test_plain(void **state)
{
	plain_is("", 0, false, "");
	plain_is("a\tb\n\xc2\xb1 \xe2\x82\xac", 10, false, "a\tb\n\xc2\xb1 \xe2\x82\xac");
	plain_is("a\tb\n\xc2\xb1 \xe2\x82\xac", 10, true, "a\tb\n+/- ?");
	plain_is("\x1b[m\r\0\x7f", 6, true, "?[m???");
	plain_is("\xc2\x9bm\xc2\xa0", 5, false, EG_UTF8_REPLACEMENT "m\xc2\xa0");
	plain_is("\xe2\x80\xae\xe2\x81\xa9", 6, true, "??");
	plain_is("\xe2\x80\xaf\xe2\x81\xaa", 6, false, "\xe2\x80\xaf\xe2\x81\xaa");
	plain_is("\xe2\x82", 2, false, EG_UTF8_REPLACEMENT); /* cut off */
	plain_is("\xff\xf0\x9f\x94\x8b", 5, true, "??");
}

static void test_scaled(void **state)
{
	scaled_is(151200000, 6, "151.2");
	scaled_is(0, 6, "0");
	scaled_is(1, 6, "0.000001");
	scaled_is(1000000, 6, "1");
	scaled_is(10000000, 6, "10");
	scaled_is(100, 0, "100");
	scaled_is(2000000001, 9, "2.000000001");
	scaled_is(UINT64_MAX, 6, "18446744073709.551615");
	scaled_is(UINT64_MAX, 0, "18446744073709551615");
	scaled_is(UINT64_MAX, 18, "18.446744073709551615");
}

static void double_is(double v, const char *want)
{
	char text[EG_NUMBER_MAX];

	assert_int_equal(eg_number_double(text, v), strlen(want));
	assert_string_equal(text, want);
}

static void check_doubles(void)
{
	double_is(0, "0");
	double_is(-0.0, "0");
	double_is(1, "1");
	double_is(-1.5, "-1.5");
	double_is(0.1, "0.1");
	double_is(100, "100");
	double_is(1e-9, "0.000000001");
	double_is(123456.789, "123456.789");
	double_is(0.30000000000000004, "0.30000000000000004");
	double_is(1e20, "100000000000000000000");
	double_is(1e21, "1e21");
	double_is(1.25e-10, "1.25e-10");
	double_is(1.7976931348623157e308, "1.7976931348623157e308");
	double_is(5e-324, "5e-324");
	double_is(NAN, "");
	double_is(INFINITY, "");
	double_is(-INFINITY, "");
}

static void fixed_is(double v, unsigned decimals, const char *want)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, v, decimals);
	assert_string_equal(text, want);
}

static void check_fixed(void)
{
	fixed_is(12.345, 2, "12.35");
	fixed_is(0, 2, "0.00");
	fixed_is(-0.001, 2, "0.00");
	fixed_is(-1.5, 0, "-2");
	fixed_is(999999.5, 0, "1000000");
	fixed_is(1e20, 9, "100000000000000000000.000000000");
	fixed_is(NAN, 2, "-");
	fixed_is(1e300, 2, "-");
}

static void test_doubles(void **state)
{
	check_doubles();
	check_fixed();
}

static void test_doubles_read_back(void **state)
{
	uint64_t seed = 88172645463325252ULL;

	for (int i = 0; i < 20000; i++) {
		char text[EG_NUMBER_MAX];
		double v;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		memcpy(&v, &seed, sizeof(v));
		if (!isfinite(v))
			continue;
		assert_true(eg_number_double(text, v) > 0);
		assert_true(strtod(text, NULL) == v);
	}
}

static void json_text_is(const char *in, const char *want)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);
	struct eg_json j;

	eg_json_init(&j, &b, false);
	eg_json_text(&j, NULL, in);
	assert_int_equal(eg_json_finish(&j), 0);
	assert_int_equal(b.s[b.len - 1], '\n');
	b.s[b.len - 1] = '\0';
	assert_string_equal(b.s, want);
	eg_strbuf_free(&b);
}

static void test_json_text(void **state)
{
	json_text_is("", "\"\"");
	json_text_is("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	json_text_is("\n\t\r\b\f\x01\x1f\x7f", "\"\\n\\t\\r\\u0008\\u000c\\u0001\\u001f\\u007f\"");
	json_text_is("gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x8b",
		     "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x94\x8b\"");
	json_text_is(NULL, "null");
	/* One U+FFFD a maximal subpart: overlong, surrogate, above U+10FFFF, cut short. */
	json_text_is("\xff", "\"\xef\xbf\xbd\"");
	json_text_is("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	json_text_is("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	json_text_is("\xf4\x90\x80\x80x", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"");
	json_text_is("\xe2\x82", "\"\xef\xbf\xbd\"");
	json_text_is("\xf0\x9f\x94"
		     "a",
		     "\"\xef\xbf\xbd"
		     "a\"");
	json_text_is("\x80", "\"\xef\xbf\xbd\"");
}

/* All 1- to 3-byte strings: the output holds well-formed UTF-8 only and ends where it must. */
static void test_every_short_string_is_made_well_formed(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(256);
	char in[4] = "";
	size_t skip;

	for (unsigned v = 1; v < 1u << 24; v += v < 1u << 16 ? 1 : 97) {
		in[0] = (char)(v & 0xff);
		in[1] = (char)(v >> 8 & 0xff);
		in[2] = (char)(v >> 16);
		eg_strbuf_reset(&b);
		eg_html_text(&b, in);
		for (size_t i = 0; i < b.len;) {
			size_t n = eg_utf8_sequence(b.s + i, b.len - i, &skip);

			assert_true(n > 0);
			assert_false(b.s[i] == '<' || b.s[i] == '>' || b.s[i] == '"');
			i += n;
		}
	}
	eg_strbuf_free(&b);
}

static void test_json_document(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);
	struct eg_json j;

	eg_json_init(&j, &b, false);
	eg_json_object(&j, NULL);
	eg_json_micro(&j, "joules", 151200000);
	eg_json_nano(&j, "seconds", 2000000001);
	eg_json_double(&j, "watts", NAN);
	eg_json_double(&j, "ratio", 0.25);
	eg_json_u64(&j, "max", UINT64_MAX);
	eg_json_i64(&j, "min", INT64_MIN);
	eg_json_bool(&j, "yes", true);
	eg_json_null(&j, "none");
	eg_json_array(&j, "list");
	eg_json_end(&j);
	eg_json_array(&j, "pair");
	eg_json_u64(&j, NULL, 1);
	eg_json_object(&j, NULL);
	eg_json_end(&j);
	eg_json_end(&j);
	eg_json_end(&j);
	assert_int_equal(eg_json_finish(&j), 0);
	assert_string_equal(b.s, "{\"joules\":151.2,\"seconds\":2.000000001,\"watts\":null,"
				 "\"ratio\":0.25,\"max\":18446744073709551615,"
				 "\"min\":-9223372036854775808,\"yes\":true,\"none\":null,"
				 "\"list\":[],\"pair\":[1,{}]}\n");
	eg_strbuf_free(&b);
}

static void test_json_pretty(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);
	struct eg_json j;

	eg_json_init(&j, &b, true);
	eg_json_object(&j, NULL);
	eg_json_array(&j, "a");
	eg_json_u64(&j, NULL, 1);
	eg_json_u64(&j, NULL, 2);
	eg_json_end(&j);
	eg_json_object(&j, "b");
	eg_json_end(&j);
	eg_json_end(&j);
	assert_int_equal(eg_json_finish(&j), 0);
	assert_string_equal(b.s, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}\n");
	eg_strbuf_free(&b);
}

static int misuse(int how)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);
	struct eg_json j;
	int err;

	eg_json_init(&j, &b, false);
	if (how == 1) { /* no key in an object */
		eg_json_object(&j, NULL);
		eg_json_u64(&j, NULL, 1);
		eg_json_end(&j);
	} else if (how == 2) { /* a key in an array */
		eg_json_array(&j, NULL);
		eg_json_u64(&j, "a", 1);
		eg_json_end(&j);
	} else if (how == 3) { /* left open */
		eg_json_object(&j, NULL);
	} else if (how == 4) { /* closed too often */
		eg_json_object(&j, NULL);
		eg_json_end(&j);
		eg_json_end(&j);
	} else if (how == 5) { /* two documents */
		eg_json_u64(&j, NULL, 1);
		eg_json_u64(&j, NULL, 2);
	} else if (how == 6) { /* too deep */
		for (int i = 0; i <= EG_JSON_DEPTH_MAX; i++)
			eg_json_array(&j, NULL);
		for (int i = 0; i <= EG_JSON_DEPTH_MAX; i++)
			eg_json_end(&j);
	} else if (how == 7) { /* as deep as it goes */
		for (int i = 0; i < EG_JSON_DEPTH_MAX; i++)
			eg_json_array(&j, NULL);
		for (int i = 0; i < EG_JSON_DEPTH_MAX; i++)
			eg_json_end(&j);
	}
	err = eg_json_finish(&j);
	eg_strbuf_free(&b);
	return err;
}

static void test_json_misuse_is_told(void **state)
{
	for (int how = 0; how <= 6; how++)
		assert_int_equal(misuse(how), -EINVAL);
	assert_int_equal(misuse(7), 0);
}

static void test_json_ceiling(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(8);
	struct eg_json j;

	eg_json_init(&j, &b, false);
	eg_json_text(&j, NULL, "longer than eight bytes");
	assert_int_equal(eg_json_finish(&j), -EOVERFLOW);
	eg_strbuf_free(&b);
}

static void test_csv(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);
	struct eg_csv c;

	eg_csv_init(&c, &b);
	eg_csv_text(&c, "plain");
	eg_csv_text(&c, "a,b");
	eg_csv_text(&c, "say \"x\"");
	eg_csv_text(&c, "two\nlines");
	eg_csv_text(&c, NULL);
	eg_csv_row(&c);
	eg_csv_micro(&c, 1500000);
	eg_csv_nano(&c, 1);
	eg_csv_u64(&c, 7);
	eg_csv_double(&c, NAN);
	eg_csv_double(&c, 0.5);
	eg_csv_empty(&c);
	eg_csv_row(&c);
	assert_string_equal(b.s, "plain,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\n"
				 "1.5,0.000000001,7,,0.5,\n");
	eg_strbuf_free(&b);
}

static void test_html(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(4096);

	eg_html_text(&b, "<a href=\"x\" y='z'>&amp;\x01\xff\n\tok</a>");
	assert_string_equal(b.s, "&lt;a href=&quot;x&quot; y=&#39;z&#39;&gt;&amp;amp;\xef\xbf\xbd"
				 "\xef\xbf\xbd\n\tok&lt;/a&gt;");
	eg_strbuf_free(&b);
}

/* However many points come, the ceiling holds and the energy under the curve stays. */
static void test_curve(void **state)
{
	for (size_t points = 1; points < 50000; points = points * 3 + 1) {
		struct eg_curve c;
		double energy = 0, want = 0;

		assert_int_equal(eg_curve_init(&c, 2, 1000), 0);
		for (size_t i = 1; i <= points; i++) {
			uint64_t uw[2] = {1000000 * (i % 7), i % 2 ? EG_CURVE_UNKNOWN : 5};

			eg_curve_add(&c, 1000 + i * 100, uw);
			want += (double)uw[0] * 100;
		}
		assert_true(c.n <= EG_CURVE_POINTS && c.n > 0);
		assert_true(points < EG_CURVE_POINTS || c.n >= EG_CURVE_POINTS / 2);
		assert_int_equal(c.t_ns[c.n - 1], 1000 + points * 100);
		for (size_t i = 0; i < c.n; i++) {
			energy += (double)c.uw[i * 2] *
				  (double)(c.t_ns[i] - (i > 0 ? c.t_ns[i - 1] : c.t0_ns));
			assert_true(c.uw[i * 2 + 1] == 5 || c.uw[i * 2 + 1] == EG_CURVE_UNKNOWN);
		}
		assert_true(fabs(energy - want) <= want * 1e-5);
		eg_curve_free(&c);
	}
}

static void test_curve_takes_no_older_point(void **state)
{
	struct eg_curve c;
	uint64_t uw = 1;

	assert_int_equal(eg_curve_init(&c, 1, 1000), 0);
	eg_curve_add(&c, 1000, &uw);
	eg_curve_add(&c, 900, &uw);
	assert_int_equal(c.n, 0);
	eg_curve_add(&c, 1001, &uw);
	eg_curve_add(&c, 1001, &uw);
	assert_int_equal(c.n, 1);
	eg_curve_free(&c);
}

/* Against the tables of Abramowitz and Stegun, 26.10. */
static void test_student(void **state)
{
	static const struct {
		size_t df;
		double t;
	} table[] = {{1, 12.706},  {2, 4.303},	  {3, 3.182},	 {4, 2.776},  {5, 2.571},
		     {9, 2.262},   {10, 2.228},	  {29, 2.045},	 {30, 2.042}, {60, 2.000},
		     {120, 1.980}, {9999, 1.960}, {20000, 1.960}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_true(fabs(eg_student_t975(table[i].df) - table[i].t) < 0.0006);
	assert_true(isnan(eg_student_t975(0)));
}

static void test_stats(void **state)
{
	const double v[] = {2, 4, 4, 4, 5, 5, 7, 9};
	struct eg_stats s;

	eg_stats_of(v, 8, &s);
	assert_true(fabs(s.mean - 5) < 1e-12 && fabs(s.stddev - sqrt(32.0 / 7)) < 1e-12);
	assert_true(fabs(s.ci95 - 2.364624 * s.stddev / sqrt(8)) < 1e-5);
	eg_stats_of(v, 1, &s);
	assert_true(s.mean == 2 && isnan(s.stddev) && isnan(s.ci95));
	eg_stats_of(v, 0, &s);
	assert_true(isnan(s.mean));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scaled),
		cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_doubles_read_back),
		cmocka_unit_test(test_json_text),
		cmocka_unit_test(test_every_short_string_is_made_well_formed),
		cmocka_unit_test(test_json_document),
		cmocka_unit_test(test_json_pretty),
		cmocka_unit_test(test_json_misuse_is_told),
		cmocka_unit_test(test_json_ceiling),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_html),
		cmocka_unit_test(test_curve),
		cmocka_unit_test(test_curve_takes_no_older_point),
		cmocka_unit_test(test_student),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
