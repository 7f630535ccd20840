/* SPDX-License-Identifier: Apache-2.0 */
/* Scenario files: what is written is what is read, and each mistake is told with its line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/scenario.h"

#define ZONE "[rapl intel-rapl:0]\nname = package-0\npower = 10W\n"

static void test_shipped(void **state)
{
	size_t n = 0;

	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++, n++) {
		struct eg_scenario_error e;
		struct eg_scenario *sc;

		if (eg_scenario_parse(s->text, strlen(s->text), s->name, &sc, &e) < 0)
			fail_msg("%s:%u: %s", s->name, e.line, e.message);
		if (!sc->title[0])
			fail_msg("%s has no title", s->name);
		eg_scenario_free(sc);
	}
	assert_true(n >= 45);
	assert_string_equal(eg_shipped_scenarios[0].name, "default");
}

static void test_good(void **state)
{
	static const char text[] =
		"# a comment\n\n[scenario]\ntitle = x\n[machine]\ncpus = 8\nevent = 5s suspend for 10s\n"
		"[rapl intel-rapl:0]\r\nname = package-0\nrange = 262143328850\nstart = 61035\n"
		"power = 300W\ngain = -1.5%\nevent = 3s reset 7\nevent = 1s vanish for 2s\n"
		"[rapl intel-rapl-mmio:0]\nname = package-0\nmirror = intel-rapl:0";
	struct eg_scenario_error e;
	struct eg_scenario *sc;

	assert_int_equal(eg_scenario_parse(text, strlen(text), "x", &sc, &e), 0);
	assert_int_equal(sc->cpus, 8);
	assert_int_equal(sc->n_channels, 2);
	assert_true(sc->channel[0].modulus_raw == 1ULL << 32);
	assert_int_equal(sc->channel[0].start_raw, 1000);
	assert_int_equal(sc->channel[0].gain_ppm, -15000);
	assert_int_equal(sc->channel[1].mirror, 0);
	assert_int_equal(sc->n_events, 3); /* by time */
	assert_int_equal(sc->event[0].kind, EG_SIM_VANISH);
	assert_int_equal(sc->event[1].value, 7);
	assert_int_equal(sc->event[2].kind, EG_SIM_SUSPEND);
	/* Suspended time is no energy. */
	assert_true(eg_scenario_true_energy_fj(sc, 0, 0, 20 * EG_NSEC_PER_SEC) ==
		    (eg_fj)3000 * EG_FJ_PER_J);
	assert_int_equal(eg_scenario_suspended_ns(sc, 7 * EG_NSEC_PER_SEC), 2 * EG_NSEC_PER_SEC);
	eg_scenario_free(sc);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *says;
	} bad[] = {
		{"cpus = 4\n", 1, "before the first"},
		{"[machine]\ncpu = 4\n", 2, "did you mean 'cpus'"},
		{"\n[machin]\n", 2, "did you mean 'machine'"},
		{"[machine\n", 1, "no ']'"},
		{"[machine]\nhello\n", 2, "neither"},
		{"[machine]\ncpus = 0\n", 0, "at least one"},
		{"[machine]\ncpus = 9999\n", 2, "whole number"},
		{ZONE "powr = 3W\n", 4, "did you mean 'power'"},
		{ZONE "power = sine mean=1W\n", 4, "amplitude"},
		{ZONE "event = 5s vanish for x\n", 4, "no duration"},
		{ZONE "event = 5s vansh\n", 4, "did you mean 'vanish'"},
		{ZONE "event = 5s suspend for 1s\n", 4, "event of a sensor"},
		{ZONE "event = soon reset\n", 4, "TIME KIND"},
		{ZONE "start = 999999999999999\n", 1, "beyond the range"},
		{ZONE ZONE, 4, "line 1 already"},
		{"[rapl intel-rapl]\n", 1, "takes a zone"},
		{"[rapl intel-rapl:0]\nname = x\n", 1, "needs power"},
		{"[rapl intel-rapl:0]\npower = 1W\n", 1, "needs name"},
		{"[rapl a:0]\nname = x\nmirror = a:1\n", 1, "mirror"},
		{"[hwmon 0 power1]\npower = 1W\n", 1, "needs a section"},
		{"[hwmon 0 fan1]\n", 1, "energyN, powerN or railN"},
		{"[file ../etc/passwd]\ntext = x\n", 1, "without '..'"},
		{"[file a/b]\nmode = 0444\n", 0, "text or link"},
		{"[machine]\nevent = 1s suspend for 5s\nevent = 2s suspend for 1s\n", 3,
		 "while suspended"},
		{"[machine]\nevent = 1s clock-step 5s\n", 2, "clock-step takes"},
		{"[proc]\nutilization = 2\n", 2, "from 0 to 1"},
		{"[perf power pkg 0]\nconfig = 2\npower = 1W\n", 1, "needs a section [perf power]"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_scenario_error e = {0};
		struct eg_scenario *sc = NULL;

		assert_int_equal(eg_scenario_parse(bad[i].text, strlen(bad[i].text), "x", &sc, &e),
				 -EINVAL);
		assert_null(sc);
		if (e.line != bad[i].line || !strstr(e.message, bad[i].says))
			fail_msg("%zu: line %u: %s", i, e.line, e.message);
	}
}

static void test_load(void **state)
{
	struct eg_scenario_error e;
	struct eg_scenario *sc = NULL;

	assert_int_equal(eg_scenario_load("no-such-name", &sc, &e), -ENOENT);
	assert_int_equal(eg_scenario_load("./no-such-file.scn", &sc, &e), -ENOENT);
	assert_null(sc);
	assert_int_equal(eg_scenario_load("node-24h", &sc, &e), 0);
	assert_int_equal(sc->n_channels, 4);
	eg_scenario_free(sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests_name("sim-scenario", tests, NULL, NULL);
}
