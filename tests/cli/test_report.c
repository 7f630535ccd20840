/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four faces of a report on a result made by hand: what is unknown stays unknown in each, held
 * energy is told apart, and a ceiling or a shortage of memory is an error, never half a report.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/report.h"

static const struct eg_driver driver = {.name = "fake", .summary = "for tests"};
static const struct eg_channel package = {.domain = "package-0",
					  .device = "cpu-0",
					  .component = EG_COMPONENT_PACKAGE,
					  .source = EG_SOURCE_RAPL,
					  .boundary = EG_BOUNDARY_COMPONENT,
					  .quantity = EG_QUANTITY_ENERGY};
static const struct eg_channel gauge = {.domain = "<gauge>",
					.device = "node",
					.component = EG_COMPONENT_CHASSIS,
					.source = EG_SOURCE_HWMON,
					.boundary = EG_BOUNDARY_NODE,
					.quantity = EG_QUANTITY_POWER};

struct fixture {
	struct eg_result_channel channel[2];
	struct eg_result result;
	struct eg_diag diag;
	struct eg_diags diags;
	const char *command[3];
	struct eg_report report;
};

static void make(struct fixture *f)
{
	*f = (struct fixture){
		.channel = {{.ch = &package,
			     .driver = &driver,
			     .name = "fake/package-0",
			     .role = EG_ROLE_TOTAL,
			     .of = -1,
			     .has_value = true,
			     .provenance = EG_PROVENANCE_ESTIMATED,
			     .uj = 150000000,
			     .est_uj = 1200000,
			     .uncertainty = {.total_uj = 7560000},
			     .mean_w = 75.6,
			     .max_w = NAN,
			     .samples = 3,
			     .flags = EG_FLAG_BIT(EG_FLAG_HELD)},
			    {.ch = &gauge,
			     .driver = &driver,
			     .name = "fake/<gauge>",
			     .role = EG_ROLE_UNUSABLE,
			     .of = -1,
			     .why = "no reading",
			     .mean_w = NAN,
			     .max_w = NAN,
			     .gap_ns = 2000000000}},
		.result = {.name = "run",
			   .seconds_ns = 2000000001,
			   .has_total = true,
			   .total_uj = 151200000,
			   .total_est_uj = 1200000,
			   .total_uncertainty = {.total_uj = 7560000},
			   .total_provenance = EG_PROVENANCE_ESTIMATED,
			   .total_mean_w = 75.6,
			   .total_max_w = NAN,
			   .flags = EG_FLAG_BIT(EG_FLAG_HELD),
			   .n = 2},
		.diag = {.code = EG_DIAG_SENSOR_BLOCKED,
			 .driver = "fake",
			 .subject = "sys/\xff",
			 .detail = "no right to \"read\" <it>",
			 .cure = "ask & wait",
			 .count = 2},
		.command = {"echo", "<b>", NULL},
	};
	f->result.channel = f->channel;
	f->diags = (struct eg_diags){.items = &f->diag, .n = 1, .cap = 1};
	f->report = (struct eg_report){.command = f->command,
				       .result = &f->result,
				       .interval_ns = EG_NSEC_PER_SEC,
				       .diags = &f->diags};
}

static void has(const struct eg_strbuf *b, const char *part)
{
	if (strstr(eg_strbuf_get(b), part) == NULL)
		fail_msg("no '%s' in:\n%s", part, eg_strbuf_get(b));
}

static void has_not(const struct eg_strbuf *b, const char *part)
{
	if (strstr(eg_strbuf_get(b), part) != NULL)
		fail_msg("'%s' in:\n%s", part, eg_strbuf_get(b));
}

static void test_json(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_REPORT_MAX);
	struct fixture f;

	make(&f);
	assert_int_equal(eg_report_json(&f.report, &b), 0);
	has(&b,
	    "\"joules\": 151.2,\n    \"estimated_joules\": 1.2,\n    \"uncertainty_joules\": 7.56,");
	has(&b, "\"joules\": 150,\n      \"estimated_joules\": 1.2,");
	has(&b, "\"seconds\": 2.000000001,");
	has(&b, "\"mean_watts\": 75.6,\n    \"max_watts\": null,");
	has(&b, "\"joules\": null,\n      \"estimated_joules\": null,\n      "
		"\"uncertainty_joules\": null,\n      \"mean_watts\": null,");
	has(&b, "\"flags\": [\n        \"held\"\n      ]");
	has(&b, "\"subject\": \"sys/\xef\xbf\xbd\",");
	has(&b, "\"method\": \"integrated_power\"");
	has_not(&b, "\"signal\"");
	has_not(&b, "\"repeats\"");
	eg_strbuf_free(&b);
}

static void test_nothing_measured(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_REPORT_MAX);
	struct fixture f;

	make(&f);
	f.result.has_total = false;
	f.result.n = 0;
	assert_int_equal(eg_report_json(&f.report, &b), 0);
	has(&b, "\"total\": null,\n  \"channels\": [],");
	eg_strbuf_reset(&b);
	assert_int_equal(eg_report_text(&f.report, &b), 0);
	has(&b, "ergon: no energy was measured in 2.000 s");
	has(&b, "no right to \"read\" <it> (2 times) [sensor_blocked]\n      cure: ask & wait");
	has_not(&b, " J");
	eg_strbuf_reset(&b);
	assert_int_equal(eg_report_csv(&f.report, &b), 0);
	has(&b, "\ntotal,total,,,,,,,,,,,,,,2.000000001,0,held\n");
	eg_strbuf_free(&b);
}

static void test_text(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_REPORT_MAX);
	struct fixture f;

	make(&f);
	assert_int_equal(eg_report_text(&f.report, &b), 0);
	has(&b, "ergon: 151.2 J \xc2\xb1 7.6 (5.0 %) in 2.000 s, mean 75.6 W  [estimated]\n");
	has(&b, "estimated, not measured");
	has(&b, "scope machine");
	has(&b, "no reading");
	has(&b, "note: held: ");
	has_not(&b, "peak 0");
	has_not(&b, "nan");
	eg_strbuf_free(&b);
}

static void test_repeats(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_REPORT_MAX);
	struct eg_repeat repeat[3] = {
		{.seconds_ns = 1000000000, .has_total = true, .total_uj = 1000000},
		{.seconds_ns = 2000000000},
		{.seconds_ns = 3000000000, .has_total = true, .total_uj = 3000000, .exit = 1}};
	struct fixture f;

	make(&f);
	f.report.repeat = repeat;
	f.report.n_repeats = 3;
	assert_int_equal(eg_report_json(&f.report, &b), 0);
	has(&b, "\"count\": 3,\n    \"joules\": {\n      \"n\": 2,\n      \"mean\": 2,");
	has(&b, "\"seconds\": {\n      \"n\": 3,\n      \"mean\": 2,\n      \"stddev\": 1,");
	has(&b, "\"joules\": null,\n        \"exit\": 0");
	f.report.n_repeats = 1;
	eg_strbuf_reset(&b);
	assert_int_equal(eg_report_json(&f.report, &b), 0);
	has(&b, "\"stddev\": null,\n      \"ci95_low\": null");
	f.report.n_repeats = 3;
	eg_strbuf_reset(&b);
	assert_int_equal(eg_report_text(&f.report, &b), 0);
	has(&b, "3 runs: 2");
	eg_strbuf_free(&b);
}

static void test_html(void **state)
{
	struct eg_strbuf b = EG_STRBUF_INIT(EG_REPORT_MAX);
	struct eg_curve curve;
	struct fixture f;

	make(&f);
	assert_int_equal(eg_curve_init(&curve, 2, 0), 0);
	for (uint64_t i = 1; i <= 20; i++)
		eg_curve_add(&curve, i * 100000000,
			     (uint64_t[]){i == 10 ? EG_CURVE_UNKNOWN : i * 1000000,
					  EG_CURVE_UNKNOWN});
	f.report.curve = &curve;
	assert_int_equal(eg_report_html(&f.report, &b), 0);
	has(&b, "&lt;b&gt;");
	has(&b, "fake/&lt;gauge&gt;");
	has(&b, "no right to &quot;read&quot; &lt;it&gt;");
	has(&b, "class=\"line\"");
	has(&b, "class=\"area\"");
	has_not(&b, "<b>");
	has_not(&b, "nan");
	has_not(&b, "http");
	/* The unknown step breaks the line in two. */
	{
		const char *line = strstr(b.s, "class=\"line\"");
		const char *end = strstr(line, "/>");
		int starts = 0;

		for (const char *p = line; p < end; p++)
			starts += *p == 'M';
		assert_int_equal(starts, 2);
	}
	eg_curve_free(&curve);
	eg_strbuf_free(&b);
}

static void test_command_line(void **state)
{
	const char *const words[] = {"make", "-j8", "a b", "it's", "", "$HOME", NULL};
	struct eg_strbuf b = EG_STRBUF_INIT(4096);

	eg_report_command(&b, words);
	assert_string_equal(b.s, "make -j8 'a b' 'it'\\''s' '' '$HOME'");
	eg_strbuf_free(&b);
}

static void test_ceiling(void **state)
{
	int (*const face[])(const struct eg_report *, struct eg_strbuf *) = {
		eg_report_json, eg_report_csv, eg_report_text, eg_report_html};
	struct fixture f;

	make(&f);
	for (size_t i = 0; i < 4; i++) {
		struct eg_strbuf whole = EG_STRBUF_INIT(EG_REPORT_MAX);

		assert_int_equal(face[i](&f.report, &whole), 0);
		for (size_t max = 1; max < whole.len; max += 7) {
			struct eg_strbuf b = EG_STRBUF_INIT(max);

			assert_int_equal(face[i](&f.report, &b), -EOVERFLOW);
			eg_strbuf_free(&b);
		}
		eg_strbuf_free(&whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),	cmocka_unit_test(test_nothing_measured),
		cmocka_unit_test(test_text),	cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_html),	cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
