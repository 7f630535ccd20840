/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The integrals of the power functions, against numeric integration of P(t) in many pieces between
 * its kinks, and against figures worked out by hand; and that they add up exactly.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/power.h"

#define S EG_NSEC_PER_SEC

static struct eg_power parse(const char *text)
{
	struct eg_power p;
	char why[200] = "";

	if (eg_power_parse(text, &p, why, sizeof(why)) < 0)
		fail_msg("%s: %s", text, why);
	return p;
}

static long double joules(const struct eg_power *p, uint64_t t0, uint64_t t1)
{
	return eg_fj_to_joules(eg_power_energy_fj(p, t0, t1));
}

/* Gauss-Legendre, three points a piece of 1 ms; every kink of the functions below is on a whole ms. */
static long double numeric(const struct eg_power *p, uint64_t ms0, uint64_t ms1)
{
	long double sum = 0, at = 0.38729833462074168851792653997824L; /* sqrt(0.6) / 2 */

	for (uint64_t ms = ms0; ms < ms1; ms++) {
		long double mid = (long double)ms * 1e6L + 5e5L;
		uint64_t a = (uint64_t)(mid - at * 1e6L), b = (uint64_t)mid,
			 c = (uint64_t)(mid + at * 1e6L);

		sum += (5 * eg_power_at_uw(p, a) + 8 * eg_power_at_uw(p, b) +
			5 * eg_power_at_uw(p, c)) /
		       18;
	}
	return sum * 1e-9L; /* uW x ms */
}

static const char *const functions[] = {
	"300W",
	"steps 2s:100W 3s:300W 500ms:7W",
	"steps 2s:100W 3s:300W 500ms:7W repeat",
	"sine mean=200W amplitude=100W period=7s phase=1s",
	"square low=70W high=700W period=2s duty=0.25 phase=300ms",
	"bursts base=60W peak=400W period=37ms width=5ms",
	"ramp from=50W to=350W over=4s",
	"ramp from=350W to=50W over=4s repeat",
	"idle-active idle=20W active=150W slot=250ms share=0.3 seed=9",
	"100W noise=50W noise-period=300ms noise-seed=4",
};

static void test_numeric(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(functions); i++) {
		struct eg_power p = parse(functions[i]);
		long double got = joules(&p, 123 * S / 1000, 15 * S),
			    want = numeric(&p, 123, 15000);

		/* Points are cut to whole ns: up to 1 ns of slope a piece. */
		if (fabsl(got - want) > 2e-5L)
			fail_msg("%s: %.9Lf J, numerically %.9Lf J", functions[i], got, want);
	}
}

/* A day later the noise, sines and pulses still integrate to what one period gives. */
static void test_day(void **state)
{
	struct eg_power p = parse("sine mean=200W amplitude=100W period=60s");

	assert_true(eg_power_energy_fj(&p, 0, 86400 * S) == (eg_fj)200 * 86400 * EG_FJ_PER_J);
	assert_true(eg_power_energy_fj(&p, 86400 * S, 86430 * S) ==
		    eg_power_energy_fj(&p, 0, 30 * S));
	/* contracts/energy-accounting.md T1, T2. */
	assert_true(fabsl(joules(&p, 0, 30 * S) - 7909.859317102744L) < 1e-6L);
	p = parse("bursts base=60W peak=400W period=37ms width=5ms");
	assert_true(eg_power_energy_fj(&p, 0, 37 * S) == (eg_fj)(60 * 37 + 340 * 5) * EG_FJ_PER_J);
	/* D8, D9: squares over ten seconds of their own periods. */
	p = parse("square low=100W high=300W period=4s");
	assert_true(eg_power_energy_fj(&p, 0, 8 * S) == (eg_fj)1600 * EG_FJ_PER_J);
	p = parse("ramp from=100W to=200W over=10s");
	assert_true(eg_power_energy_fj(&p, 0, 20 * S) == (eg_fj)3500 * EG_FJ_PER_J);
}

/* Half a period of a slow sine of a server: 400 W x 900 s + 2 x 100 W x 900 s / 2 pi. */
static void test_slow_sine(void **state)
{
	struct eg_power p = parse("sine mean=400W amplitude=100W period=900s");

	assert_true(fabsl(joules(&p, 0, 450 * S) - (180000 + 90000 / 3.14159265358979323846L)) <
		    1e-6L);
	assert_true(fabsl(joules(&p, 0, 900 * S) - 360000) < 1e-6L);
}

static void test_additive(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(functions); i++) {
		struct eg_power p = parse(functions[i]);
		eg_fj sum = 0;
		uint64_t t = 0;

		for (uint64_t n = 0; n < 2000; n++) {
			uint64_t next = t + 1 + eg_sim_hash(5, n) % (S / 20);
			eg_fj e = eg_power_energy_fj(&p, t, next);

			assert_true(e >= 0);
			sum += e;
			t = next;
		}
		assert_true(sum == eg_power_energy_fj(&p, 0, t));
	}
}

static void test_bounds(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(functions); i++) {
		struct eg_power p = parse(functions[i]);

		for (uint64_t n = 0; n < 5000; n++) {
			long double uw = eg_power_at_uw(&p, eg_sim_hash(6, n) % (20 * S));

			assert_true(uw >= (long double)eg_power_min_uw(&p) - 1e-6L);
			assert_true(uw <= (long double)eg_power_max_uw(&p) + 1e-6L);
		}
	}
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"red",
		"300",
		"sine",
		"sine mean=10W amplitude=20W period=1s",
		"sine mean=10W amplitude=2W period=0s",
		"square low=1W high=2W period=1s duty=2",
		"bursts base=1W peak=2W period=1s width=2s",
		"steps",
		"steps 0s:1W",
		"steps 1s",
		"-3W",
		"1W 2W",
		"10W noise=11W",
		"10W colour=red",
		"idle-active idle=1W active=2W slot=1ms",
		"ramp from=1W over=1s",
		"2GW",
		"nanW",
		"square low=1W high=2W period=20d",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_power p = {.seed = 77};
		char why[200] = "";

		if (i == 2) { /* a number alone is watts */
			assert_int_equal(eg_power_parse(bad[i], &p, why, sizeof(why)), 0);
			assert_true(p.high_uw == 300000000);
			continue;
		}
		if (eg_power_parse(bad[i], &p, why, sizeof(why)) != -EINVAL || !why[0])
			fail_msg("'%s' was taken", bad[i]);
		assert_true(p.seed == 77); /* untouched */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numeric),	  cmocka_unit_test(test_day),
		cmocka_unit_test(test_slow_sine), cmocka_unit_test(test_additive),
		cmocka_unit_test(test_bounds),	  cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests_name("sim-power", tests, NULL, NULL);
}
