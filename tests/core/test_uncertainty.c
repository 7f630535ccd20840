/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error budget: each item against its formula, how channels combine, and whether the stated
 * interval holds the truth: simulated sensors with a gain error drawn from their class.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "core/uncertainty.h"
#include "random.h"

#define SEC EG_NSEC_PER_SEC
#define W   1000000ULL

static struct eg_channel counter_channel(void)
{
	return (struct eg_channel){.source = EG_SOURCE_NVML,
				   .quantity = EG_QUANTITY_ENERGY,
				   .resolution_uj = 1000,
				   .update_ns = 100 * EG_NSEC_PER_MSEC,
				   .accuracy = {.rel_ppm = 50000, .abs_uw = 5 * W}};
}

static uint64_t half_width(double deviation_uj)
{
	return (uint64_t)ceil(EG_COVERAGE * deviation_uj);
}

static void near(uint64_t got, uint64_t want)
{
	assert_in_range(got + 1, want, want + 2);
}

static void test_counter_items(void **state)
{
	struct eg_channel ch = counter_channel();
	struct eg_window_facts f = {.uj = 3000 * W, .seconds_ns = 10 * SEC, .edge_w = 300};
	struct eg_uncertainty u;

	eg_uncertainty_channel(&ch, &f, &u);
	near(u.resolution_uj, half_width(1000 / sqrt(6)));
	near(u.update_uj, half_width(30 * W / sqrt(6)));     /* 300 W x 0.1 s at either edge */
	near(u.accuracy_uj, half_width(150 * W / 1.959964)); /* 5 % is more than 5 W x 10 s */
	assert_int_equal(u.sampling_uj, 0);
	assert_int_equal(u.held_uj, 0);
	near(u.total_uj, (uint64_t)ceil(hypot(hypot((double)u.resolution_uj, (double)u.update_uj),
					      (double)u.accuracy_uj)));
}

static void test_absolute_class_at_low_power(void **state)
{
	struct eg_channel ch = counter_channel();
	struct eg_window_facts f = {.uj = 400 * W, .seconds_ns = 10 * SEC, .edge_w = 40};
	struct eg_uncertainty u;

	eg_uncertainty_channel(&ch, &f, &u);
	near(u.accuracy_uj, half_width(50 * W / 1.959964)); /* 5 W x 10 s; 5 % would be 20 J */
	f.gap_ns = 5 * SEC; /* unmeasured time is not in the energy */
	eg_uncertainty_channel(&ch, &f, &u);
	near(u.accuracy_uj, half_width(25 * W / 1.959964));
	f.gap_ns = 20 * SEC;
	eg_uncertainty_channel(&ch, &f, &u);
	near(u.accuracy_uj, half_width(20 * W / 1.959964));
}

static void test_rapl_unit_rounding(void **state)
{
	struct eg_channel ch = counter_channel();
	struct eg_window_facts f = {.uj = 1000000 * W, .seconds_ns = 3600 * SEC};
	struct eg_uncertainty u;

	ch.source = EG_SOURCE_RAPL;
	ch.resolution_uj = 61;
	eg_uncertainty_channel(&ch, &f, &u);
	near(u.resolution_uj, 3 * W + half_width(61 / sqrt(6))); /* 3 ppm of 1 MJ */
}

static void test_gauge_items(void **state)
{
	struct eg_channel ch = counter_channel();
	struct eg_window_facts f = {.uj = 3000 * W,
				    .est_uj = 600 * W,
				    .seconds_ns = 10 * SEC,
				    .edge_w = 300,
				    .edge_step_w = 50,
				    .step_var_j2 = 16};
	struct eg_uncertainty u;

	ch.quantity = EG_QUANTITY_POWER;
	eg_uncertainty_channel(&ch, &f, &u);
	assert_int_equal(u.resolution_uj, 0);
	near(u.update_uj, half_width(5 * W / sqrt(3)));
	near(u.sampling_uj, half_width(4 * W));
	near(u.accuracy_uj, half_width(180 * W / 1.959964)); /* held energy has the gain as well */
	near(u.held_uj, half_width(600 * W / sqrt(3)));
}

static void test_unknown_is_unbounded(void **state)
{
	struct eg_channel ch = counter_channel();
	struct eg_window_facts f = {.uj = W, .seconds_ns = SEC, .edge_w = NAN};
	struct eg_uncertainty u;

	eg_uncertainty_channel(&ch, &f, &u);
	assert_true(u.update_uj == UINT64_MAX);
	assert_true(u.total_uj == UINT64_MAX);
	f = (struct eg_window_facts){.uj = UINT64_MAX,
				     .est_uj = UINT64_MAX,
				     .seconds_ns = UINT64_MAX,
				     .edge_w = 1e300,
				     .step_var_j2 = 1e300};
	eg_uncertainty_channel(&ch, &f, &u);
	assert_true(u.total_uj == UINT64_MAX);
	f = (struct eg_window_facts){0};
	eg_uncertainty_channel(&ch, &f, &u);
	assert_int_equal(u.accuracy_uj, 0);
}

static void test_total(void **state)
{
	struct eg_channel nvml = counter_channel(), rapl = counter_channel();
	const struct eg_channel *ch[] = {&nvml, &nvml, &rapl};
	struct eg_uncertainty items[] = {
		{.resolution_uj = 3, .accuracy_uj = 30, .update_uj = 6},
		{.resolution_uj = 4, .accuracy_uj = 30, .sampling_uj = 5, .update_uj = 8},
		{.accuracy_uj = 80, .sampling_uj = 12, .held_uj = 7},
	};
	struct eg_uncertainty u;

	rapl.source = EG_SOURCE_RAPL;
	eg_uncertainty_total(ch, items, 3, &u);
	assert_int_equal(u.resolution_uj, 5);
	assert_int_equal(u.update_uj, 10);
	assert_int_equal(u.sampling_uj, 13);
	assert_int_equal(u.held_uj, 7);
	assert_int_equal(u.accuracy_uj, 100); /* 30 + 30 share one gain; 80 is another's */
	assert_int_equal(u.total_uj, (uint64_t)ceil(sqrt(25 + 100 + 169 + 49 + 10000)));
	eg_uncertainty_total(NULL, NULL, 0, &u);
	assert_int_equal(u.total_uj, 0);
}

static double normal(uint64_t *rng)
{
	return sqrt(-2 * log(1 - random_unit(rng))) * cos(2 * M_PI * random_unit(rng));
}

/* A window of a simulated sensor: its error and its stated half-width, J. */
struct trial {
	double error_j, width_j;
};

/* A counter with steps and refreshes, under constant power, over t seconds. */
static struct trial counter_trial(uint64_t *rng, double t_s, double w)
{
	struct eg_channel ch = counter_channel();
	double gain = 1 + 0.05 / 1.959964 * normal(rng), period = 0.1, q = 0.001;
	double begin = 1 + random_unit(rng), end = begin + t_s, phase = random_unit(rng) * period;
	double shown_begin = floor((begin - phase) / period) * period + phase;
	double shown_end = floor((end - phase) / period) * period + phase;
	double offset = random_unit(rng);
	double got = floor((offset + w * gain * shown_end) / q) * q -
		     floor((offset + w * gain * shown_begin) / q) * q;
	struct eg_window_facts f = {.uj = (uint64_t)(got * 1e6 + 0.5),
				    .seconds_ns = (uint64_t)(t_s * 1e9),
				    .edge_w = w};
	struct eg_uncertainty u;

	ch.accuracy.abs_uw = 0;
	eg_uncertainty_channel(&ch, &f, &u);
	return (struct trial){got - w * t_s, (double)u.total_uj / 1e6};
}

/* A gauge sampled each second while the power jumps at random moments between samples. */
static struct trial gauge_trial(uint64_t *rng, unsigned seconds)
{
	struct eg_channel ch = counter_channel();
	double gain = 1 + 0.02 / 1.959964 * normal(rng), truth = 0, got = 0, var = 0;
	double p0 = 100 + 200 * random_unit(rng), first = p0;
	struct eg_window_facts f = {.seconds_ns = seconds * SEC};
	struct eg_uncertainty u;

	for (unsigned i = 0; i < seconds; i++) {
		double p1 = 100 + 200 * random_unit(rng), moment = random_unit(rng);

		truth += p0 * moment + p1 * (1 - moment);
		got += gain * (p0 + p1) / 2;
		var += gain * gain * (p1 - p0) * (p1 - p0) / 12;
		p0 = p1;
	}
	ch.quantity = EG_QUANTITY_POWER;
	ch.update_ns = 0;
	ch.accuracy = (struct eg_accuracy){.rel_ppm = 20000};
	f.uj = (uint64_t)(got * 1e6);
	f.step_var_j2 = var;
	f.edge_step_w = fabs(p0 - first);
	eg_uncertainty_channel(&ch, &f, &u);
	return (struct trial){got - truth, (double)u.total_uj / 1e6};
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define TRIALS 20000

/*
 * Honest: at least 95 % of the intervals hold the truth; and useful: their mean width is at most
 * 1.5 times that of the best constant interval that would hold 95 %.
 */
static void judge(const char *name, const struct trial *trial)
{
	static double error[TRIALS];
	double width = 0, best;
	size_t held = 0;

	for (size_t i = 0; i < TRIALS; i++) {
		error[i] = fabs(trial[i].error_j);
		held += error[i] <= trial[i].width_j;
		width += trial[i].width_j / TRIALS;
	}
	qsort(error, TRIALS, sizeof(error[0]), ascending);
	best = error[TRIALS * 95 / 100];
	print_message("# %s: %.2f %% hold the truth, %.2f x the best width\n", name,
		      100.0 * (double)held / TRIALS, width / best);
	assert_true(held >= TRIALS * 95 / 100);
	assert_true(width <= 1.5 * best);
}

static void test_intervals_hold_the_truth(void **state)
{
	static struct trial trial[TRIALS];
	static const double counter_s[] = {0.05, 0.35, 1, 3, 30};
	uint64_t rng = 17;
	char name[40];

	for (size_t k = 0; k < EG_ARRAY_SIZE(counter_s); k++) {
		for (size_t i = 0; i < TRIALS; i++)
			trial[i] =
				counter_trial(&rng, counter_s[k] * (0.5 + random_unit(&rng)), 300);
		snprintf(name, sizeof(name), "counter, about %g s", counter_s[k]);
		judge(name, trial);
	}
	for (unsigned s = 2; s <= 200; s *= 10) {
		for (size_t i = 0; i < TRIALS; i++)
			trial[i] = gauge_trial(&rng, s);
		snprintf(name, sizeof(name), "gauge, %u samples", s);
		judge(name, trial);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter_items),
		cmocka_unit_test(test_absolute_class_at_low_power),
		cmocka_unit_test(test_rapl_unit_rounding),
		cmocka_unit_test(test_gauge_items),
		cmocka_unit_test(test_unknown_is_unbounded),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_intervals_hold_the_truth),
	};

	return cmocka_run_group_tests_name("core-uncertainty", tests, NULL, NULL);
}
