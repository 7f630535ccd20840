/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every open, read and readlink of the meter on shipped scenarios failing in turn, vanishing files
 * and garbage: the meter opens and closes, no descriptor stays open, and no channel shows more than
 * the undisturbed meter showed, but for what its sampling cannot know.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/meter.h"
#include "sim/faultfs.h"
#include "sim/machine.h"

#define T0_NS	     (1000 * EG_NSEC_PER_SEC)
#define STEPS	     4
#define CHANNELS_MAX 32
#define RUNS_MAX     40 /* of one kind; ERGON_SOAK: all */

static const char *const scenarios[] = {"default", "perf-power", "hwmon-zoo",
					"battery", "intel-gpu",	 "wrap-in"};

struct outcome {
	uint64_t calls[3]; /* opens, reads, links */
	uint64_t hits;
	size_t n;
	struct {
		char name[96];
		uint64_t uj;
	} channel[CHANNELS_MAX];
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

/* A machine's life of two seconds with one fault; what each channel showed in the end. */
static void live(const char *name, const struct eg_fault *fault, struct outcome *ret)
{
	struct eg_manual_clock now = {.boot_ns = T0_NS, .unix_base_ns = T0_NS};
	struct eg_meter_config cfg = {.interval_ns = EG_NSEC_PER_SEC / 2};
	char dir[] = "/tmp/ergon-files-XXXXXX";
	struct eg_scenario *sc = NULL;
	struct eg_faultfs *ff = NULL;
	struct eg_result *res = NULL;
	struct eg_meter *m = NULL;
	struct eg_sim *sim = NULL;
	struct eg_env env;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(eg_scenario_named(name, &sc), 0);
	assert_int_equal(eg_sim_open(sc, dir, T0_NS, &sim), 0);
	assert_int_equal(eg_env_open(&env, dir), 0);
	env.clock = eg_clock_manual(&now);
	assert_int_equal(eg_faultfs_wrap(&env.fs, &env.clock, fault, fault ? 1 : 0, &ff), 0);
	assert_int_equal(eg_meter_open(&env, eg_drivers, &cfg, &m, NULL), 0);
	assert_int_equal(eg_meter_begin(m, "w"), 0);
	for (int i = 1; i <= STEPS; i++) {
		assert_int_equal(eg_sim_advance(sim, T0_NS + (uint64_t)i * cfg.interval_ns), 0);
		now.boot_ns = T0_NS + (uint64_t)i * cfg.interval_ns;
		if (i < STEPS)
			eg_meter_sample(m, true);
	}
	assert_int_equal(eg_meter_end(m, "w", &res), 0);
	*ret = (struct outcome){.n = res->n, .hits = eg_faultfs_hits(ff)};
	assert_true(res->n <= CHANNELS_MAX);
	for (size_t i = 0; i < res->n; i++) {
		const struct eg_result_channel *c = &res->channel[i];

		snprintf(ret->channel[i].name, sizeof(ret->channel[i].name), "%s", c->name);
		ret->channel[i].uj = c->uj + c->est_uj;
		if (!c->has_value)
			assert_int_equal(c->uj + c->est_uj, 0);
	}
	eg_result_free(res);
	assert_null(eg_meter_close(m));
	ret->calls[0] = eg_faultfs_calls(ff, EG_FAULT_OPEN);
	ret->calls[1] = eg_faultfs_calls(ff, EG_FAULT_READ);
	ret->calls[2] = eg_faultfs_calls(ff, EG_FAULT_LINK);
	assert_int_equal(eg_faultfs_open_fds(ff), 0);
	eg_faultfs_unwrap(ff, &env.fs);
	eg_env_close(&env);
	eg_sim_close(sim);
	eg_scenario_free(sc);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/*
 * A gauge read less often is integrated over longer stretches: a tenth more, and 1 mJ. A perf counter
 * whose read failed is opened again and then counts from 0; the file that stands for it does not, so
 * it is left out here.
 */
static void compare(const char *scenario, const char *what, uint64_t nth,
		    const struct outcome *clean, const struct outcome *o)
{
	for (size_t i = 0; i < o->n; i++)
		for (size_t k = 0; k < clean->n; k++)
			if (strncmp(o->channel[i].name, "perf_rapl/", 10) != 0 &&
			    strcmp(clean->channel[k].name, o->channel[i].name) == 0 &&
			    o->channel[i].uj >
				    clean->channel[k].uj + clean->channel[k].uj / 10 + 1000)
				fail_msg("%s, %s %llu: %s has %.6f J of %.6f J", scenario, what,
					 (unsigned long long)nth, o->channel[i].name,
					 (double)o->channel[i].uj / 1e6,
					 (double)clean->channel[k].uj / 1e6);
}

static void each_fails(void **state)
{
	static const char *const kinds[] = {"open", "read", "link"};
	static const int errors[] = {EIO, EACCES, ENOENT, EMFILE, ENODEV, EAGAIN};
	uint64_t runs = 0, hits = 0;

	for (size_t s = 0; s < EG_ARRAY_SIZE(scenarios); s++) {
		struct outcome clean, o;

		live(scenarios[s], NULL, &clean);
		assert_true(clean.n > 0);
		for (unsigned k = 0; k < 3; k++) {
			uint64_t step = getenv("ERGON_SOAK") ? 1 : clean.calls[k] / RUNS_MAX + 1;

			for (uint64_t n = 1; n <= clean.calls[k]; n += step) {
				struct eg_fault f = {.kind = EG_FAULT_ERROR,
						     .on = 1u << k,
						     .first = n,
						     .count = 1,
						     /* Of reads those that tell no new device. */
						     .error = errors[runs % (k == 1 ? 2 : 6)]};

				live(scenarios[s], &f, &o);
				compare(scenarios[s], kinds[k], n, &clean, &o);
				runs++;
				hits += o.hits;
			}
		}
	}
	print_message("# %llu runs over %zu scenarios, %llu of them met their fault\n",
		      (unsigned long long)runs, EG_ARRAY_SIZE(scenarios), (unsigned long long)hits);
	assert_true(hits * 10 >= runs * 9);
}

/* Open succeeds, every read of a value then finds its device gone or something else than a value. */
static void vanishes_between_open_and_read(void **state)
{
	static const struct eg_fault faults[] = {
		{.kind = EG_FAULT_VANISH, .on = EG_FAULT_READ, .pattern = "*energy*"},
		{.kind = EG_FAULT_GARBAGE, .pattern = "*energy*", .text = "1x2\n"},
		{.kind = EG_FAULT_GARBAGE, .pattern = "*energy*", .text = ""},
		{.kind = EG_FAULT_SHORT, .pattern = "*energy_uj", .bytes = 0},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(faults); i++) {
		struct outcome o;

		live("default", &faults[i], &o);
		assert_true(o.hits > 0);
		for (size_t k = 0; k < o.n; k++)
			if (strncmp(o.channel[k].name, "rapl/", 5) == 0)
				assert_int_equal(o.channel[k].uj, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fails),
		cmocka_unit_test(vanishes_between_open_and_read),
	};

	return cmocka_run_group_tests_name("fault-files", tests, NULL, NULL);
}
