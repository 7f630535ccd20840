/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meter against a known truth: windows of every kind, gaps, resets, hangs, snapshots, selection,
 * and whether the stated uncertainty is honest.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "rig.h"

static struct rig *rig;

static int setup(void **state)
{
	rig = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(rig);
	return 0;
}

static struct eg_result *end(const char *name)
{
	struct eg_result *res = NULL;

	assert_int_equal(eg_meter_end(rig->meter, name, &res), 0);
	return res;
}

static bool has_flag(uint32_t flags, enum eg_flag f)
{
	return flags & EG_FLAG_BIT(f);
}

static void assert_near(double value, double truth, double tolerance)
{
	if (fabs(value - truth) > tolerance)
		fail_msg("%.3f, expected %.3f +- %.3f", value, truth, tolerance);
}

/* ---- windows ---- */

static void counters_exact(void **state)
{
	struct eg_result *res;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "300W")->ch.update_ns = 0;
	rig_counter(rig, "dram-0", "cpu-0", EG_COMPONENT_DRAM, "25W")->ch.update_ns = 0;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 3600 * SECOND, 15 * SECOND); /* four wraps of the package */
	res = end("w");
	assert_true(res->has_total);
	assert_int_equal(res->total_provenance, EG_PROVENANCE_MEASURED);
	assert_near((double)res->channel[0].uj, 300e6 * 3600, 62);
	assert_near((double)res->channel[1].uj, 25e6 * 3600, 62);
	assert_int_equal(res->channel[0].wraps, 4);
	assert_int_equal(res->channel[0].gap_ns, 0);
	assert_near((double)res->total_uj, 325e6 * 3600, 124);
	assert_near(res->total_mean_w, 325, 1e-3);
	assert_near(res->total_max_w, 325, 1e-3);
	assert_int_equal(res->seconds_ns, 3600 * SECOND);
	eg_result_free(res);
}

/* Back to back windows sum to the enclosing one, exactly; nested ones do not disturb. */
static void windows_sum(void **state)
{
	char name[16], next[16];
	uint64_t sum = 0, est = 0, t = 0;
	struct eg_result *res;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE,
		    "idle-active idle=20W active=150W slot=50ms share=0.4 seed=3");
	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU,
		  "sine mean=200W amplitude=100W period=7s");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "all"), 0);
	assert_int_equal(eg_meter_begin(rig->meter, "0"), 0);
	for (int i = 0; i < 200; i++) {
		t += (uint64_t)(1 + i * 7919 % 400) * 1000000;
		rig_at(rig, t);
		snprintf(name, sizeof(name), "%d", i);
		snprintf(next, sizeof(next), "%d", i + 1);
		if (i % 3 == 0) {
			assert_int_equal(eg_meter_begin(rig->meter, "nested"), 0);
			eg_result_free(end("nested"));
		}
		assert_int_equal(eg_meter_next(rig->meter, name, i == 199 ? "0" : next, &res), 0);
		sum += res->total_uj;
		est += res->total_est_uj;
		eg_result_free(res);
	}
	res = end("all");
	assert_true(res->total_uj == sum);
	assert_int_equal(est, 0);
	eg_result_free(res);
	assert_int_equal(eg_meter_cancel(rig->meter, "0"), 0);
}

static void window_errors(void **state)
{
	char name[EG_WINDOW_NAME_MAX + 1];
	struct eg_result *res = NULL;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "10W");
	rig_open(rig, NULL);
	memset(name, 'x', sizeof(name));
	name[EG_WINDOW_NAME_MAX] = '\0';
	assert_int_equal(eg_meter_begin(rig->meter, ""), -EINVAL);
	assert_int_equal(eg_meter_begin(rig->meter, name), -ENAMETOOLONG);
	assert_int_equal(eg_meter_begin(rig->meter, "a"), 0);
	assert_int_equal(eg_meter_begin(rig->meter, "a"), -EEXIST);
	assert_int_equal(eg_meter_end(rig->meter, "b", &res), -ENOENT);
	assert_int_equal(eg_meter_peek(rig->meter, "b", &res), -ENOENT);
	assert_int_equal(eg_meter_cancel(rig->meter, "b"), -ENOENT);
	assert_int_equal(eg_meter_next(rig->meter, "b", "c", &res), -ENOENT);
	assert_int_equal(eg_meter_begin(rig->meter, "c"), 0);
	assert_int_equal(eg_meter_next(rig->meter, "a", "c", &res), -EEXIST);
	assert_null(res);
	assert_int_equal(eg_meter_add_units(rig->meter, "b", "records", 1), -ENOENT);
	assert_int_equal(eg_meter_add_units(rig->meter, "a", "", 1), -EINVAL);
	assert_int_equal(eg_meter_add_units(rig->meter, "a", "records", 5), 0);
	assert_int_equal(eg_meter_add_units(rig->meter, "a", "records", 7), 0);
	assert_int_equal(eg_meter_add_units(rig->meter, "a", "records", UINT64_MAX), -EOVERFLOW);
	for (int i = 1; i < EG_UNITS_MAX; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		assert_int_equal(eg_meter_add_units(rig->meter, "a", name, 1), 0);
	}
	assert_int_equal(eg_meter_add_units(rig->meter, "a", "one more", 1), -ENOSPC);
	/* "next" onto its own name begins anew */
	rig_at(rig, SECOND);
	assert_int_equal(eg_meter_next(rig->meter, "a", "a", &res), 0);
	assert_int_equal(res->n_units, EG_UNITS_MAX);
	assert_string_equal(res->units[0].name, "records");
	assert_int_equal(res->units[0].count, 12);
	eg_result_free(res);
	rig_at(rig, 2 * SECOND);
	res = end("a");
	assert_int_equal(res->n_units, 0);
	assert_near((double)res->total_uj, 10e6, 20000);
	assert_true(has_flag(res->flags, EG_FLAG_SHORT));
	eg_result_free(res);
}

static void thousand_open(void **state)
{
	char name[16];

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W")->ch.update_ns = 0;
	rig_open(rig, NULL);
	for (int i = 0; i < 1000; i++) {
		rig_at(rig, (uint64_t)i * 1000000);
		snprintf(name, sizeof(name), "w%d", i);
		assert_int_equal(eg_meter_begin(rig->meter, name), 0);
	}
	rig_at(rig, 2 * SECOND);
	for (int i = 999; i >= 0; i--) {
		struct eg_result *res;

		snprintf(name, sizeof(name), "w%d", i);
		res = end(name);
		assert_near((double)res->total_uj, 100e3 * (2000 - i), 124);
		eg_result_free(res);
	}
	for (int i = 0; i < EG_WINDOWS_MAX; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		assert_int_equal(eg_meter_begin(rig->meter, name), 0);
	}
	assert_int_equal(eg_meter_begin(rig->meter, "too many"), -ENOSPC);
}

/* Windows on samples that were there anyway: none is taken, and back to back they sum exactly. */
static void windows_on_last_samples(void **state)
{
	struct eg_result *res = NULL;
	uint64_t sum = 0, unix_ns;
	unsigned reads;
	char name[16];

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE,
		    "idle-active idle=20W active=150W slot=50ms share=0.4 seed=3");
	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU,
		  "sine mean=200W amplitude=100W period=7s");
	rig_open(rig, NULL);
	assert_false(eg_meter_has_slow(rig->meter));
	assert_int_equal(eg_meter_part_of(rig->meter, 0), -1);
	assert_int_equal(eg_meter_begin_last(rig->meter, "early"), -ENODATA);
	eg_meter_sample(rig->meter, false);
	assert_int_equal(eg_meter_begin_last(rig->meter, ""), -EINVAL);
	assert_int_equal(eg_meter_begin_last(rig->meter, "all"), 0);
	assert_int_equal(eg_meter_begin_last(rig->meter, "all"), -EEXIST);
	assert_int_equal(eg_meter_begin_last(rig->meter, "0"), 0);
	unix_ns = eg_clock_unix_ns(&rig->env.clock);
	for (int i = 0; i < 100; i++) {
		uint64_t t = (uint64_t)(i + 1) * SECOND;

		rig_at(rig, t);
		eg_meter_sample(rig->meter, false);
		reads = rig->reads;
		rig_at(rig, t + (uint64_t)(i * 7919 % 900) * 1000000); /* later than the sample */
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(eg_meter_peek_last(rig->meter, name, &res), 0);
		eg_result_free(res);
		assert_int_equal(eg_meter_end_last(rig->meter, name, &res), 0);
		assert_int_equal(res->end_ns, RIG_T0 + t);
		assert_int_equal(res->seconds_ns, SECOND);
		assert_int_equal(res->begin_unix_ns, unix_ns + t - SECOND);
		assert_int_equal(res->end_unix_ns, unix_ns + t);
		sum += res->total_uj;
		eg_result_free(res);
		snprintf(name, sizeof(name), "%d", i + 1);
		assert_int_equal(eg_meter_begin_last(rig->meter, name), 0);
		assert_int_equal(rig->reads, reads);
	}
	assert_int_equal(eg_meter_end_last(rig->meter, "all", &res), 0);
	assert_true(res->has_total && res->total_uj == sum);
	assert_near((double)sum,
		    rig_truth_uj(rig, 0, 0, 100 * SECOND) + rig_truth_uj(rig, 1, 0, 100 * SECOND),
		    3e8);
	eg_result_free(res);
	res = NULL;
	assert_int_equal(eg_meter_end_last(rig->meter, "all", &res), -ENOENT);
	assert_int_equal(eg_meter_peek_last(rig->meter, "all", &res), -ENOENT);
	assert_null(res);
}

/* Begun and ended on one sample: no time, no joules, and nothing made up. */
static void window_without_time(void **state)
{
	struct eg_result *res = NULL;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	rig_open(rig, NULL);
	eg_meter_sample(rig->meter, false);
	assert_int_equal(eg_meter_begin_last(rig->meter, "w"), 0);
	rig_at(rig, SECOND);
	assert_int_equal(eg_meter_end_last(rig->meter, "w", &res), 0);
	assert_int_equal(res->seconds_ns, 0);
	assert_false(res->has_total);
	assert_false(res->channel[0].has_value);
	eg_result_free(res);
}

/* ---- what goes wrong ---- */

/* Away at the begin: what was used before the window is not in it, and the time is a gap. */
static void vanish_and_return(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	c->ch.update_ns = 0;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "outer"), 0);
	rig_run(rig, 5 * SECOND, SECOND);
	c->absent = true;
	rig_run(rig, 10 * SECOND, SECOND);
	assert_int_equal(eg_meter_begin(rig->meter, "inner"), 0);
	rig_run(rig, 12 * SECOND, SECOND);
	c->absent = false;
	rig_run(rig, 20 * SECOND, SECOND);
	res = end("inner");
	assert_true(res->has_total);
	assert_near((double)res->total_uj, 7e8, 124); /* from 13 s on */
	assert_true(res->channel[0].gap_ns == 3 * SECOND);
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_GAP));
	assert_near(res->channel[0].mean_w, 100, 0.01);
	eg_result_free(res);
	/* The outer one has it all: the counter went on counting, and 8 s hold no second wrap. */
	res = end("outer");
	assert_near((double)res->total_uj, 20e8, 124);
	assert_int_equal(res->channel[0].gap_ns, 0);
	eg_result_free(res);

	/* Gone at the end: what is known, and since when it is not. */
	assert_int_equal(eg_meter_begin(rig->meter, "last"), 0);
	rig_run(rig, 24 * SECOND + 1, SECOND);
	eg_meter_sample(rig->meter, true);
	c->absent = true;
	rig_run(rig, 30 * SECOND, SECOND);
	res = end("last");
	assert_near((double)res->total_uj, 4e8, 200);
	assert_near((double)res->channel[0].gap_ns, 6e9, 2);
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_LOST));
	eg_result_free(res);

	/* Never there: no value at all, and no total. */
	assert_int_equal(eg_meter_begin(rig->meter, "none"), 0);
	rig_run(rig, 40 * SECOND, SECOND);
	res = end("none");
	assert_false(res->has_total);
	assert_false(res->channel[0].has_value);
	assert_int_equal(res->channel[0].role, EG_ROLE_UNUSABLE);
	eg_result_free(res);
}

/* The machine-wide channel goes: the running total waits for it, and does not fall to its parts. */
static void running_total_never_falls(void **state)
{
	struct eg_result *res;
	uint64_t last = 0;

	rig_counter(rig, "psys", "node", EG_COMPONENT_PSYS, "35W");
	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin_running(rig->meter, "all"), 0);
	for (uint64_t t = 1; t < 60; t++) {
		rig->c[0].absent = t > 20 && t < 40;
		rig_at(rig, t * SECOND);
		assert_int_equal(eg_meter_peek(rig->meter, "all", &res), 0);
		assert_true(res->has_total);
		assert_true(res->total_uj >= last);
		last = res->total_uj;
		eg_result_free(res);
	}
	assert_near((double)last, 35e6 * 59, 1e5);
}

static void gauge_held(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_gauge(rig, "psu-1", "psu-1", EG_COMPONENT_PSU, "500W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 10 * SECOND, SECOND);
	c->absent = true;
	rig_run(rig, 3600 * SECOND, SECOND);
	c->absent = false;
	eg_meter_sample(rig->meter, false);
	rig_run(rig, 3610 * SECOND, SECOND);
	res = end("w");
	/* T26: held joules only up to the limit (the reference adds 1.8 MJ) */
	assert_near((double)res->channel[0].est_uj, 500e6 * 60, 1);
	assert_near((double)res->channel[0].uj, 500e6 * 19, 1);
	assert_near((double)res->channel[0].gap_ns, (3600 - 9 - 60) * 1e9, 1);
	assert_int_equal(res->channel[0].provenance, EG_PROVENANCE_ESTIMATED);
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_HELD));
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_GAP));
	assert_near(res->channel[0].mean_w, 500, 0.01);
	eg_result_free(res);
}

/* hold_max = 0 is a choice, not the default: a lost hour is all gap. */
static void holding_nothing(void **state)
{
	struct eg_meter_config cfg = {.integrate = {.gap_ns = 10 * SECOND, .hold_max_ns = 0}};
	struct rig_channel *c = rig_gauge(rig, "chassis", "node", EG_COMPONENT_CHASSIS, "500W");
	struct eg_result *res;

	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 10 * SECOND, SECOND); /* the last reading is at 9 s */
	c->absent = true;
	rig_run(rig, 3600 * SECOND, 60 * SECOND);
	c->absent = false;
	eg_meter_sample(rig->meter, false);
	rig_run(rig, 3610 * SECOND, SECOND);
	res = end("w");
	assert_int_equal(res->channel[0].est_uj, 0);
	assert_near((double)res->channel[0].gap_ns, 3591e9, 1);
	eg_result_free(res);
}

/* A battery on the charger for an hour: nothing is held over it. */
static void gauge_epochs(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_gauge(rig, "BAT0", "node", EG_COMPONENT_BATTERY, "20W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 10 * SECOND, SECOND); /* the last reading is at 9 s */
	c->absent = true;
	rig_run(rig, 3600 * SECOND, 60 * SECOND);
	c->absent = false;
	c->epoch++;
	eg_meter_sample(rig->meter, false);
	rig_run(rig, 3610 * SECOND, SECOND);
	res = end("w");
	assert_int_equal(res->channel[0].est_uj, 0);
	assert_near((double)res->channel[0].uj, 20e6 * 19, 1);
	assert_near((double)res->channel[0].gap_ns, 3591e9, 1);
	eg_result_free(res);
}

static void bad_readings(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_gauge(rig, "chassis", "node", EG_COMPONENT_CHASSIS, "100W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, SECOND);
	c->bad_value = NAN;
	eg_meter_sample(rig->meter, false);
	rig_at(rig, 2 * SECOND);
	c->bad_value = -50;
	eg_meter_sample(rig->meter, false);
	rig_at(rig, 3 * SECOND);
	c->bad_value = 1e308;
	eg_meter_sample(rig->meter, false);
	rig_at(rig, 4 * SECOND);
	c->bad_value = 0;
	res = end("w");
	assert_int_equal(res->channel[0].uj, 0);
	assert_int_equal(res->channel[0].bad, 3);
	assert_true(res->channel[0].gap_ns == 4 * SECOND);
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_BAD_SAMPLES) ||
		    has_flag(res->channel[0].flags, EG_FLAG_CEILING));
	assert_true(isnan(res->channel[0].mean_w));
	eg_result_free(res);
}

static void suspend(void **state)
{
	struct eg_result *res;

	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 5 * SECOND, SECOND);
	rig_at(rig, 5 * SECOND);
	eg_meter_sample(rig->meter, false);
	rig->clock.suspended_ns = 3600 * SECOND;
	rig_at(rig, 3606 * SECOND);
	eg_meter_sample(rig->meter, false);
	rig_run(rig, 3610 * SECOND, SECOND);
	res = end("w");
	assert_near((double)res->channel[0].uj, 9e8, 1); /* 5 s before, 4 s after */
	assert_int_equal(res->channel[0].est_uj, 0);	 /* a suspend is not held over */
	assert_true(has_flag(res->channel[0].flags, EG_FLAG_SUSPEND));
	assert_near((double)res->channel[0].gap_ns, 3601e9, 1);
	eg_result_free(res);
}

static void driver_says(void **state)
{
	struct eg_result *res;

	rig_counter(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	rig->celsius = 40;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, SECOND);
	rig->flags = EG_FLAG_BIT(EG_FLAG_THROTTLED);
	eg_meter_sample(rig->meter, false);
	rig->flags = 0;
	rig->celsius = 51;
	rig_at(rig, 12 * SECOND);
	res = end("w");
	assert_true(has_flag(res->flags, EG_FLAG_THROTTLED)); /* inside, though not at an edge */
	assert_true(has_flag(res->flags, EG_FLAG_THERMAL));
	assert_false(has_flag(res->flags, EG_FLAG_SHORT));
	eg_result_free(res);
}

/* A read that does not end: what was known is told, the rest is named, nothing waits twice. */
static void hanging_read(void **state)
{
	struct eg_meter_config cfg = {.read_deadline_ns = 50 * 1000000};
	EG_CLEANUP(eg_diags_free) struct eg_diags diags = {0};
	struct eg_result *res;
	bool found = false;
	unsigned reads;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W")->ch.update_ns = 0;
	rig->driver.blocking_ns = SECOND;
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, 5 * SECOND);
	eg_meter_sample(rig->meter, true);
	atomic_store(&rig->hang, 1);
	rig_at(rig, 10 * SECOND);
	res = end("w");
	assert_near((double)res->total_uj, 5e8, 124);
	assert_near((double)res->channel[0].gap_ns, 5e9, 1);
	eg_result_free(res);
	assert_int_equal(eg_meter_diags(rig->meter, &diags), 0);
	for (size_t i = 0; i < diags.n; i++)
		found |= diags.items[i].code == EG_DIAG_SENSOR_TIMEOUT;
	assert_true(found);
	/* It comes back: the counter knows what it missed. */
	assert_int_equal(eg_meter_begin(rig->meter, "again"), 0);
	rig_at(rig, 20 * SECOND);
	atomic_store(&rig->hang, 0);
	for (reads = rig->reads; rig->reads == reads;)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	eg_meter_sample(rig->meter,
			true); /* the late one's reading is in by now, or comes with it */
	eg_meter_sample(rig->meter, true);
	rig_at(rig, 30 * SECOND);
	res = end("again");
	assert_true(res->has_total);
	assert_near((double)res->total_uj, 10e8, 1000);
	assert_near((double)res->channel[0].gap_ns, 10e9, 1);
	eg_result_free(res);
}

static struct eg_meter *volatile left_behind; /* so that a leak checker still finds it */

static void hanging_open(void **state)
{
	struct eg_meter_config cfg = {.open_deadline_ns = 50 * 1000000};
	EG_CLEANUP(eg_diags_free) struct eg_diags diags = {0};
	struct eg_meter *m;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	atomic_store(&rig->hang_open, 1);
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 0);
	assert_int_equal(eg_meter_diags(rig->meter, &diags), 0);
	assert_int_equal(diags.n, 1);
	assert_int_equal(diags.items[0].code, EG_DIAG_SENSOR_TIMEOUT);
	/* Left behind on purpose, and said so. */
	m = left_behind = rig->meter;
	assert_ptr_equal(eg_meter_close(m), m);
	atomic_store(&rig->hang_open, 0);
	while (atomic_load(&rig->opened) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	rig->meter = NULL;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_count(rig->meter), 1);
}

/* What was read before the window and comes late is no base: its step reaches back too far. */
static void late_readings(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	c->ch.update_ns = 0;
	c->lag_ns = 5 * SECOND;
	rig_open(rig, NULL);
	rig_run(rig, 10 * SECOND, SECOND);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 20 * SECOND, SECOND);
	res = end("w");
	assert_true(res->has_total);
	assert_near((double)res->total_uj, 5e8, 124); /* from 10 s to 15 s */
	assert_near((double)res->channel[0].gap_ns, 5e9, 1);
	assert_near(res->channel[0].mean_w, 100, 0.01);
	eg_result_free(res);
}

/* A reset that leaves the whole window unknown: no value, and no 0 in its place. */
static void nothing_known(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	c = rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, 10 * SECOND);
	c->epoch++;
	res = end("w");
	assert_false(res->has_total);
	assert_false(res->channel[0].has_value);
	assert_true(res->channel[0].gap_ns == 10 * SECOND);
	assert_int_equal(res->channel[0].resets, 1);
	eg_result_free(res);
}

/* The highest power is that of the window, also where a counter refreshes seldom. */
static void max_is_inside(void **state)
{
	struct rig_channel *c;
	struct eg_result *res;

	/* 500 W up to 10 s, then 10 W */
	c = rig_counter(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU,
			"square low=10W high=500W period=20s");
	c->ch.update_ns = SECOND / 10;
	rig_open(rig, NULL);
	rig_run(rig, 10 * SECOND, 300 * 1000000);
	rig_at(rig, 10200 * 1000000ULL); /* nine refreshes short of a new power */
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, 10300 * 1000000ULL);
	eg_meter_sample(rig->meter, false);
	rig_run(rig, 15 * SECOND, 1500 * 1000000ULL);
	res = end("w");
	assert_near(res->total_mean_w, 10, 1);
	assert_near(res->channel[0].max_w, 10, 1);
	assert_near(res->total_max_w, 10, 1);
	eg_result_free(res);
}

static bool preempted;

/* The thread is put off for 200 ms right after it read the clock. */
static uint64_t preempted_awake(void *ctx)
{
	struct eg_manual_clock *c = ctx;
	uint64_t now = c->boot_ns - c->suspended_ns;

	if (preempted)
		c->boot_ns += SECOND / 5;
	preempted = false;
	return now;
}

static void preempted_is_no_suspend(void **state)
{
	struct eg_clock_ops ops;
	struct eg_result *res;

	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	ops = *rig->env.clock.ops;
	ops.awake_ns = preempted_awake;
	rig->env.clock.ops = &ops;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, SECOND);
	preempted = true;
	eg_meter_sample(rig->meter, false);
	assert_false(preempted);
	rig_at(rig, 2 * SECOND);
	res = end("w");
	assert_near((double)res->total_uj, 2e8, 1);
	assert_false(has_flag(res->flags, EG_FLAG_SUSPEND));
	eg_result_free(res);
}

/* ---- drivers that are more than they should be ---- */

#define MANY (EG_CHANNELS_MAX + 88)

static struct eg_channel many[MANY];
static size_t many_shown; /* what describe() says */
static size_t many_read;  /* what read() gives */

static int many_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		     struct eg_instance **ret)
{
	for (size_t i = 0; i < MANY; i++) {
		many[i] = (struct eg_channel){.component = EG_COMPONENT_OUTLET,
					      .quantity = EG_QUANTITY_ENERGY,
					      .unit_num = 1,
					      .unit_den = 1,
					      .max_uw = 1000000000,
					      .part_of = -1};
		snprintf(many[i].domain, sizeof(many[i].domain), "c-%zu", i);
		eg_copy(many[i].device, sizeof(many[i].device), many[i].domain);
	}
	*ret = (struct eg_instance *)many;
	return 0;
}

static size_t many_describe(const struct eg_instance *inst, const struct eg_channel **ret)
{
	size_t n = many_shown;

	many_shown = many_read;
	*ret = many;
	return n;
}

/* Channel i counts i + 1 joules a second. */
static void many_read_all(struct eg_instance *inst, struct eg_sink *sink, struct eg_diags *diags)
{
	for (size_t i = 0; i < many_read; i++)
		eg_sink_put(
			sink, i,
			&(struct eg_reading){.raw = (i + 1) * (rig->clock.boot_ns - RIG_T0) / 1000,
					     .t_ns = rig->clock.boot_ns + i});
}

static void many_close(struct eg_instance *inst)
{
}

static const struct eg_driver many_driver = {.name = "many",
					     .open = many_open,
					     .describe = many_describe,
					     .read = many_read_all,
					     .close = many_close};

static void sum_of_many(size_t shown, size_t read, size_t kept)
{
	struct eg_result *res;

	many_shown = shown;
	many_read = read;
	rig->drivers[0] = &many_driver;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_count(rig->meter), kept);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_at(rig, 10 * SECOND);
	res = end("w");
	for (size_t i = 0; i < kept; i++)
		assert_near((double)res->channel[i].uj, 10e6 * (double)(i + 1), 0);
	eg_result_free(res);
}

/* Readings of channels above the ceiling go nowhere. */
static void too_many_channels(void **state)
{
	sum_of_many(MANY, MANY, EG_CHANNELS_MAX);
}

/* More than when it was opened: the rest does not exist. */
static void more_channels_later(void **state)
{
	sum_of_many(3, MANY, 3);
}

/* ---- sampling thread, and windows of several threads on a slow driver ---- */

/* An interval shorter than a sample takes: everybody else still gets at the meter. */
static void tiny_interval(void **state)
{
	struct eg_meter_config cfg = {.interval_ns = 1};

	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	rig->env.clock = eg_clock_system();
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_start(rig->meter), 0);
	while (rig->reads < 10)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	eg_result_free(end("w"));
}

/* One that does not fit the clock: it ends at its ceiling, and is not "always". */
static void huge_interval(void **state)
{
	struct eg_meter_config cfg = {.interval_ns = UINT64_MAX};

	rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	rig->env.clock = eg_clock_system();
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_start(rig->meter), 0);
	while (rig->reads < 1)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	assert_int_equal(rig->reads, 1);
	assert_true(eg_meter_next_due(rig->meter, 5) == 5 + EG_INTERVAL_MAX_NS);
}

static void *begin_b(void *arg)
{
	return (void *)(intptr_t)eg_meter_begin(rig->meter, "b");
}

/* While one waits for a slow driver another takes the name: only one of them gets it. */
static void name_taken_while_waiting(void **state)
{
	int r, other, taken = 0;
	struct eg_result *res;
	void *got;
	pthread_t t;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	rig->driver.blocking_ns = SECOND;
	rig_open(rig, NULL);
	for (int i = 0; i < 40; i++) {
		unsigned reads = rig->reads;

		rig_at(rig, (uint64_t)(i + 1) * SECOND);
		assert_int_equal(eg_meter_begin(rig->meter, "a"), 0);
		atomic_store(&rig->hang, 1);
		assert_int_equal(pthread_create(&t, NULL, begin_b, NULL), 0);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
		res = NULL;
		atomic_store(&rig->hang, 0);
		r = eg_meter_next(rig->meter, "a", "b", &res);
		pthread_join(t, &got);
		other = (int)(intptr_t)got;
		assert_true((r == 0 && other == -EEXIST) || (r == -EEXIST && other == 0));
		taken += r != 0;
		eg_result_free(res);
		eg_result_free(end("b"));
		assert_int_equal(eg_meter_cancel(rig->meter, "b"), -ENOENT);
		assert_int_equal(eg_meter_cancel(rig->meter, "a"), r ? 0 : -ENOENT);
		assert_true(rig->reads > reads);
	}
	print_message("# the name was taken by the other %d of 40 times\n", taken);
}

static void *one_begin(void *arg)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", (int)(intptr_t)arg);
	return (void *)(intptr_t)eg_meter_begin(rig->meter, name);
}

/*
 * Threads that come one after the other, each while the driver is being read: everybody waits for
 * his own reading, not for those that others ask for meanwhile, which would take too long.
 */
static void many_wait(void **state)
{
	struct eg_meter_config cfg = {.read_deadline_ns = SECOND};
	EG_CLEANUP(eg_diags_free) struct eg_diags diags = {0};
	pthread_t t[16];

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	rig->driver.blocking_ns = SECOND;
	rig->slow_ns = 100000000;
	rig_open(rig, &cfg);
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		assert_int_equal(pthread_create(&t[i], NULL, one_begin, (void *)(intptr_t)i), 0);
		nanosleep(&(struct timespec){.tv_nsec = 90000000}, NULL);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		void *r;

		pthread_join(t[i], &r);
		assert_null(r);
	}
	assert_int_equal(eg_meter_diags(rig->meter, &diags), 0);
	assert_int_equal(diags.n, 0); /* no time-out */
}

static bool newest_is_own(void)
{
	const struct eg_snapshot *s;
	bool own;

	eg_meter_sample(rig->meter, false);
	s = eg_meter_pin(rig->meter);
	own = s->channel[0].t_ns == s->t_ns;
	eg_meter_unpin(rig->meter, s);
	return own;
}

/*
 * A sample that is no window's edge holds what a fast worker was asked for it, not for the one before; and
 * waits for no worker that is known to be slow.
 */
static void fast_workers(void **state)
{
	unsigned own = 0;

	rig_counter(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, "100W");
	rig->driver.blocking_ns = SECOND;
	rig_open(rig, NULL);
	for (uint64_t i = 1; i <= 200; i++) {
		rig_at(rig, i * SECOND);
		own += newest_is_own();
	}
	assert_in_range(own, 1, 200); /* without a wait it is none; a loaded machine misses some */
	rig->slow_ns = 30000000;
	rig_at(rig, 1000 * SECOND);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0); /* is waited for: now it is known */
	for (uint64_t i = 1; i <= 10; i++) {
		rig_at(rig, (1000 + i) * SECOND);
		assert_false(newest_is_own());
	}
	eg_result_free(end("w"));
}

/* ---- totals, ledger, selection ---- */

static void boundaries(void **state)
{
	struct eg_result *res;

	rig_counter(rig, "psys", "node", EG_COMPONENT_PSYS, "35W");
	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "core-0", "cpu-0", EG_COMPONENT_CORE, "12W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 20 * SECOND, SECOND);
	res = end("w");
	assert_near((double)res->total_uj, 35e6 * 20, 1e5);
	assert_int_equal(res->channel[0].role, EG_ROLE_TOTAL);
	assert_int_equal(res->channel[1].role, EG_ROLE_PART);
	assert_int_equal(res->channel[2].role, EG_ROLE_PART);
	eg_result_free(res);
}

static void cross_checks(void **state)
{
	struct eg_result *res;

	rig_counter(rig, "a", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "b", "cpu-0", EG_COMPONENT_PACKAGE, "20.5W"); /* within both 5 % */
	rig_counter(rig, "c", "cpu-1", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "d", "cpu-1", EG_COMPONENT_PACKAGE, "26W");
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, 20 * SECOND, SECOND);
	res = end("w");
	assert_near((double)res->total_uj, 40e6 * 20, 1e5);
	assert_int_equal(res->channel[1].role, EG_ROLE_CROSSCHECK);
	assert_int_equal(res->channel[1].of, 0);
	assert_int_equal(res->channel[3].role, EG_ROLE_CROSSCHECK);
	assert_false(has_flag(res->channel[0].flags, EG_FLAG_DISAGREE));
	assert_false(has_flag(res->channel[1].flags, EG_FLAG_DISAGREE));
	assert_true(has_flag(res->channel[2].flags, EG_FLAG_DISAGREE));
	assert_true(has_flag(res->channel[3].flags, EG_FLAG_DISAGREE));
	eg_result_free(res);
}

static void ledger_accounts(void **state)
{
	struct eg_account *a;
	size_t n;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W")->ch.update_ns = 0;
	rig_counter(rig, "again", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_open(rig, NULL);
	eg_meter_sample(rig->meter, true);
	rig_run(rig, 60 * SECOND, SECOND);
	eg_meter_sample(rig->meter, true);
	assert_int_equal(eg_meter_accounts(rig->meter, &a, &n), 0);
	assert_int_equal(n, 2); /* measured and estimated; the cross-check feeds none */
	assert_string_equal(a[0].device, "cpu-0");
	assert_near((double)a[0].uj, 20e6 * 60, 62);
	assert_int_equal(a[1].provenance, EG_PROVENANCE_ESTIMATED);
	assert_int_equal(a[1].uj, 0);
	free(a);
}

/* Inside psys nobody is a cross-check, and yet the account is fed once. */
static void accounts_of_parts(void **state)
{
	struct eg_account *a;
	size_t n, packages = 0;

	rig_counter(rig, "psys", "node", EG_COMPONENT_PSYS, "35W");
	rig_gauge(rig, "gauge", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W")->ch.update_ns = 0;
	rig_counter(rig, "again", "cpu-0", EG_COMPONENT_PACKAGE, "20W")->ch.update_ns = 0;
	rig_gauge(rig, "VDD_IN", "ina-1", EG_COMPONENT_RAIL, "8W");
	rig_gauge(rig, "VDD_CPU", "ina-1", EG_COMPONENT_RAIL, "3W");
	rig_open(rig, NULL);
	eg_meter_sample(rig->meter, true);
	rig_run(rig, 60 * SECOND, SECOND);
	eg_meter_sample(rig->meter, true);
	assert_int_equal(eg_meter_accounts(rig->meter, &a, &n), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_not_equal(a[i].component, EG_COMPONENT_RAIL);
		if (a[i].component != EG_COMPONENT_PACKAGE ||
		    a[i].provenance != EG_PROVENANCE_MEASURED)
			continue;
		assert_near((double)a[i].uj, 20e6 * 60, 62);
		packages++;
	}
	assert_int_equal(packages, 1);
	free(a);
}

/* A channel that is not there is named; a select that names nothing at all is refused unopened. */
static void selection_misses(void **state)
{
	struct eg_meter_config cfg = {.select = "rig/pakage-0,dram"};
	EG_CLEANUP(eg_diags_free) struct eg_diags diags = {0};
	struct eg_meter *m;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 0);
	assert_int_equal(eg_meter_diags(rig->meter, &diags), 0);
	assert_int_equal(diags.n, 1);
	assert_int_equal(diags.items[0].code, EG_DIAG_CONFIG);
	assert_string_equal(diags.items[0].subject, "rig/pakage-0");
	cfg.select = "nonsense";
	assert_int_equal(rig->opened, 1);
	assert_int_equal(eg_meter_open(&rig->env, rig->drivers, &cfg, &m, NULL), -EINVAL);
	assert_int_equal(rig->opened, 1);
}

static void selection(void **state)
{
	struct eg_meter_config cfg = {.select = "rig/package-*,-rig/package-1"};
	const char *why = NULL;
	struct eg_meter *m;

	rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "package-1", "cpu-1", EG_COMPONENT_PACKAGE, "20W");
	rig_counter(rig, "dram-0", "cpu-0", EG_COMPONENT_DRAM, "20W");
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 1);
	assert_string_equal(eg_meter_channel_name(rig->meter, 0), "rig/package-0");
	assert_null(eg_meter_close(rig->meter));
	cfg.select = "dram";
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 1);
	assert_string_equal(eg_meter_channel_name(rig->meter, 0), "rig/dram-0");
	assert_null(eg_meter_close(rig->meter));
	cfg.select = "-dram";
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 2);
	cfg.select = "rig,nonsense";
	assert_int_equal(eg_meter_open(&rig->env, rig->drivers, &cfg, &m, &why), -EINVAL);
	assert_non_null(strstr(why, "nonsense"));
	cfg.select = "rig,,";
	assert_int_equal(eg_meter_open(&rig->env, rig->drivers, &cfg, &m, &why), -EINVAL);
}

static void estimates_need_leave(void **state)
{
	struct eg_meter_config cfg = {.allow_estimates = true};

	rig_counter(rig, "cpu", "cpu-model", EG_COMPONENT_PACKAGE, "20W");
	rig->driver.estimator = true;
	rig_open(rig, NULL);
	assert_int_equal(eg_meter_count(rig->meter), 0);
	assert_null(eg_meter_close(rig->meter));
	rig_open(rig, &cfg);
	assert_int_equal(eg_meter_count(rig->meter), 1);
}

/* Beside a sensor of the same component the estimate feeds nothing: a sum of packages counts once. */
static void an_estimate_of_what_is_measured_has_no_account(void **state)
{
	struct eg_meter_config cfg = {.allow_estimates = true};
	struct eg_account *a;
	size_t n;

	for (int measured = 0; measured < 2; measured++) {
		rig_counter(rig, "cpu", "cpu-model", EG_COMPONENT_PACKAGE, "20W");
		rig->c[rig->n - 1].ch.provenance = EG_PROVENANCE_ESTIMATED;
		rig_counter(rig, "other", "x", measured ? EG_COMPONENT_PACKAGE : EG_COMPONENT_GPU,
			    "30W");
		rig->c[rig->n - 1].ch.update_ns = 0;
		rig_open(rig, &cfg);
		eg_meter_sample(rig->meter, true);
		rig_run(rig, 60 * SECOND, SECOND);
		eg_meter_sample(rig->meter, true);
		assert_int_equal(eg_meter_accounts(rig->meter, &a, &n), 0);
		for (size_t i = 0; i < n; i++)
			assert_true(!measured || strcmp(a[i].device, "x") == 0);
		assert_true(n == (measured ? 2 : 3)); /* with the one for held readings */
		free(a);
		rig_free(rig);
		rig = rig_new();
	}
}

/* ---- snapshots under load ---- */

static atomic_int stop;
static atomic_uint awake; /* readers that have seen something */

static void *watch(void *arg)
{
	uint64_t last = 0, seen = 0, uj = 0;

	while (!atomic_load(&stop)) {
		const struct eg_snapshot *s = eg_meter_pin(rig->meter);

		if (!s)
			continue;
		/* A torn snapshot would show channels that do not belong together. */
		if (s->seq < last || s->channel[0].uj < uj || s->channel[0].uj != s->channel[1].uj)
			atomic_store(&stop, 2);
		seen += s->seq != last;
		if (seen == 1 && s->seq != last)
			atomic_fetch_add(&awake, 1);
		last = s->seq;
		uj = s->channel[0].uj;
		eg_meter_unpin(rig->meter, s);
	}
	return (void *)(uintptr_t)seen;
}

static void snapshots(void **state)
{
	pthread_t t[3];
	uint64_t seen = 0;

	rig_counter(rig, "a", "cpu-0", EG_COMPONENT_PACKAGE, "100W");
	rig_counter(rig, "b", "cpu-1", EG_COMPONENT_PACKAGE, "100W");
	rig_open(rig, NULL);
	assert_null(eg_meter_pin(rig->meter));
	eg_meter_sample(rig->meter, false);
	atomic_store(&stop, 0);
	atomic_store(&awake, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, watch, NULL), 0);
	/* No reader may have had its turn on a busy machine by the time they are all taken. */
	for (uint64_t i = 1; (i < 50000 || atomic_load(&awake) < 3) && !atomic_load(&stop); i++) {
		rig_at(rig, i * 1000000);
		eg_meter_sample(rig->meter, false);
	}
	assert_int_equal(atomic_exchange(&stop, 1), 0);
	for (int i = 0; i < 3; i++) {
		void *n;

		pthread_join(t[i], &n);
		seen += (uintptr_t)n;
	}
	assert_true(seen >= 3);
}

/* ---- honest uncertainty ---- */

static uint64_t seed = 88172645463325252ULL;

static double uniform(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* Lower end of the 95 % Clopper-Pearson interval of k successes in n, by bisection on the tail. */
static double clopper_pearson_low(unsigned k, unsigned n)
{
	double lo = 0, hi = 1;

	for (int it = 0; it < 60; it++) {
		double p = (lo + hi) / 2, tail = 0;

		for (unsigned i = k; i <= n; i++)
			tail += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) +
				    i * log(p) + (n - i) * log1p(-p));
		if (tail < 0.025)
			lo = p;
		else
			hi = p;
	}
	return lo;
}

/* The seed of chance follows. */
static const char *const noisy[] = {
	"200W noise=60W noise-period=300ms noise-seed=",
	"sine mean=150W amplitude=90W period=11s noise=20W noise-period=700ms noise-seed=",
	"square low=70W high=300W period=4s noise=15W noise-period=90ms noise-seed=",
	"idle-active idle=25W active=220W slot=400ms share=0.4 seed=",
	"bursts base=40W peak=350W period=2s width=150ms noise=10W noise-period=1s noise-seed=",
};

#define KINDS ((int)EG_ARRAY_SIZE(noisy))

struct trial {
	int group; /* kind of power x kind of channel */
	bool held;
	double err, width; /* relative to the truth */
};

/*
 * One random window on a noisy machine whose meter has a gain error drawn from its class. Gauges are
 * sampled at random from far too seldom to well, but for the bursts: nothing can know of a burst
 * that no sample met, so those are sampled at least twice a burst.
 */
static struct trial one_window(void)
{
	uint64_t t0, t1, step = (uint64_t)(100e6 + uniform() * 900e6);
	double gain = 1 + normal() * 0.05 / 1.959964, truth;
	int kind = (int)(uniform() * KINDS);
	bool gauge = uniform() < 0.5;
	struct rig_channel *c;
	struct eg_result *res;
	struct trial t;
	char text[160];

	rig = rig_new();
	snprintf(text, sizeof(text), "%s%d", noisy[kind], (int)(uniform() * 1e6));
	c = gauge ? rig_gauge(rig, "gpu-0", "gpu-x", EG_COMPONENT_GPU, text) :
		    rig_counter(rig, "package-0", "cpu-0", EG_COMPONENT_PACKAGE, text);
	if (gauge && kind == KINDS - 1)
		step = (uint64_t)(20e6 + uniform() * 55e6);
	c->gain = gain;
	c->phase_ns = (uint64_t)(uniform() * 1e8);
	c->offset = (uint64_t)(uniform() * 2.6e11);
	if (!gauge && uniform() < 0.5)
		c->ch.update_ns = 100000000; /* as slow as a GPU's */
	rig_open(rig, NULL);
	t0 = (uint64_t)(uniform() * 100e9) + 5 * SECOND;
	t1 = t0 + (uint64_t)((0.3 + uniform() * 60) * 1e9);
	rig_at(rig, t0 - 5 * SECOND);
	eg_meter_sample(rig->meter, true);
	rig_run(rig, t0, step);
	assert_int_equal(eg_meter_begin(rig->meter, "w"), 0);
	rig_run(rig, t1, step);
	res = end("w");
	truth = rig_truth_uj(rig, 0, t0, t1);
	t = (struct trial){.group = kind * 2 + gauge,
			   .err = fabs((double)res->total_uj - truth) / truth,
			   .width = (double)res->total_uncertainty.total_uj / truth};
	t.held = t.err <= t.width;
	eg_result_free(res);
	rig_free(rig);
	return t;
}

static int by_group_and_error(const void *a, const void *b)
{
	const struct trial *x = a, *y = b;

	if (x->group != y->group)
		return x->group - y->group;
	return (x->err > y->err) - (x->err < y->err);
}

/*
 * Does the interval hold the truth in at least 95 % of the windows, and is it no wider than it must
 * be? The best possible interval of a group of windows is found from their errors themselves: the
 * one that holds exactly 95 % of them.
 */
static void honest(void **state)
{
	unsigned n = getenv("ERGON_SOAK") ? 10000 : 1000, held = 0;
	struct trial *t = calloc(n, sizeof(*t));
	double width = 0, best = 0, low;

	for (unsigned i = 0; i < n; i++) {
		t[i] = one_window();
		held += t[i].held;
		width += t[i].width / n;
	}
	qsort(t, n, sizeof(*t), by_group_and_error);
	for (unsigned from = 0, to; from < n; from = to) {
		for (to = from; to < n && t[to].group == t[from].group; to++)
			;
		best += t[from + (to - from) * 95 / 100].err * (to - from) / n;
	}
	free(t);
	low = clopper_pearson_low(held, n);
	print_message("# %u of %u windows hold the truth (%.2f %%, Clopper-Pearson from %.2f %%); "
		      "mean half-width %.2f %% of the truth, best possible %.2f %%: ratio %.2f\n",
		      held, n, 100.0 * held / n, 100 * low, 100 * width, 100 * best, width / best);
	assert_true(low >= 0.95);
	assert_true(width / best <= 1.5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(counters_exact),
		T(windows_sum),
		T(window_errors),
		T(windows_on_last_samples),
		T(window_without_time),
		T(thousand_open),
		T(vanish_and_return),
		T(running_total_never_falls),
		T(gauge_held),
		T(holding_nothing),
		T(gauge_epochs),
		T(bad_readings),
		T(suspend),
		T(driver_says),
		T(late_readings),
		T(nothing_known),
		T(max_is_inside),
		T(preempted_is_no_suspend),
		T(too_many_channels),
		T(more_channels_later),
		T(tiny_interval),
		T(huge_interval),
		T(name_taken_while_waiting),
		T(many_wait),
		T(fast_workers),
		T(hanging_read),
		T(hanging_open),
		T(boundaries),
		T(cross_checks),
		T(ledger_accounts),
		T(accounts_of_parts),
		T(selection),
		T(selection_misses),
		T(estimates_need_leave),
		T(an_estimate_of_what_is_measured_has_no_account),
		T(snapshots),
		cmocka_unit_test(honest),
	};

	return cmocka_run_group_tests_name("meter", tests, NULL, NULL);
}
