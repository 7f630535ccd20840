/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A day of a node at three rates, sines through a gauge, and the same meter on the real clock.
 * ERGON_SOAK=N makes the day N days.
 */
#include "lab.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

#define DAY_S 86400

/* Two packages at 300 W and two DRAM zones at 25 W over ranges of 262143.328850 J: no error is left
 * but one step of the counter (61.035 uJ), whatever the interval. */
static void day_of_a_node(void **state)
{
	static const uint64_t steps_s[] = {1, 15, 60};
	const char *soak = getenv("ERGON_SOAK");
	uint64_t days = soak ? strtoull(soak, NULL, 10) : 1;

	days = EG_MAX(1, EG_MIN(days, 9)); /* the simulator's functions end after ten days */
	for (size_t k = 0; k < EG_ARRAY_SIZE(steps_s); k++) {
		struct lab *l = lab_new("node-24h");
		uint64_t step = steps_s[k] * SECOND, wraps = 0, asked = 0;
		struct eg_result *r;
		double worst = 0;

		lab_open(l, step, NULL);
		lab_begin(l, "w");
		/* As the meter wants it: the interval, and guard reads where that is too long. */
		while (lab_now(l) < days * DAY_S * SECOND) {
			lab_at(l, eg_meter_next_due(l->m, l->clock.boot_ns) - LAB_T0);
			lab_sample(l);
			asked++;
		}
		r = lab_end(l, "w");
		assert_int_equal(r->seconds_ns, days * DAY_S * SECOND);
		assert_int_equal(r->n, 4);
		for (size_t i = 0; i < r->n; i++) {
			double truth = lab_truth_uj(l, i, r->begin_ns, r->end_ns);

			worst = fmax(worst, fabs((double)r->channel[i].uj - truth));
			wraps += r->channel[i].wraps;
			assert_int_equal(r->channel[i].gap_ns, 0);
			assert_int_equal(r->channel[i].resets, 0);
		}
		print_message(
			"# %llu s every %llu s, %llu samples: %.6f J, truth %.6f J, %llu wraps, "
			"worst channel off by %.3f uJ\n",
			(unsigned long long)(days * DAY_S), (unsigned long long)steps_s[k],
			(unsigned long long)asked, (double)r->total_uj / 1e6,
			650.0 * (double)days * DAY_S, (unsigned long long)wraps, worst);
		assert_true(worst <= 61.035);
		assert_true(wraps >= days * 2 * (98 + 8));
		eg_result_free(r);
		lab_free(l);
	}
}

/* 40 samples a period, windows of one period and more, begun at any phase: 0.1 %. */
static void sines_by_a_gauge(void **state)
{
	static const double lengths[] = {40, 40.5, 47.3, 60, 71.9, 120};
	double worst = 0;

	for (unsigned phase = 0; phase < 40; phase += 3)
		for (size_t k = 0; k < EG_ARRAY_SIZE(lengths); k++) {
			uint64_t from = 3 * SECOND + phase * 1013000000ULL;
			uint64_t to = from + (uint64_t)(lengths[k] * 1e9);
			char text[512];
			struct eg_result *r;
			struct lab *l;
			double truth, error;

			snprintf(text, sizeof(text),
				 "[scenario]\ntitle = sine by a gauge\n[machine]\ncpus = 2\n"
				 "[hwmon 0]\nname = power_meter\n[hwmon 0 power1]\nupdate = 1ms\n"
				 "power = sine mean=200W amplitude=150W period=40s phase=%us\n",
				 phase);
			l = lab_new(text);
			lab_open(l, SECOND, NULL);
			r = lab_window(l, from, to, SECOND);
			truth = lab_truth_uj(l, 0, r->begin_ns, r->end_ns);
			error = fabs((double)r->total_uj - truth) / truth;
			worst = fmax(worst, error);
			if (error > 0.001)
				fail_msg("phase %u s, %.1f s: %.4f %%", phase, lengths[k],
					 error * 100);
			assert_true(error * truth <= (double)r->total_uncertainty.total_uj);
			eg_result_free(r);
			lab_free(l);
		}
	print_message("# 14 phases x 6 windows of a sine, 40 samples a period: worst %.4f %%\n",
		      worst * 100);
}

/*
 * The real clock. The tree is brought to the present before each read, as a mounted one is, so that
 * the simulator's own delays on a busy machine are no part of what is measured.
 */
struct live {
	struct eg_fs_ops ops;
	const struct eg_fs_ops *under;
	void *under_ctx;
	struct eg_sim *sim;
	struct eg_clock clock;
	pthread_mutex_t lock;
};

static int live_openat(void *ctx, int dirfd, const char *name, int flags)
{
	struct live *v = ctx;

	return v->under->openat(v->under_ctx, dirfd, name, flags);
}

static ssize_t live_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	struct live *v = ctx;
	ssize_t r;

	pthread_mutex_lock(&v->lock);
	r = eg_sim_advance(v->sim, eg_clock_ns(&v->clock));
	if (r == 0)
		r = v->under->pread(v->under_ctx, fd, buf, n, off);
	pthread_mutex_unlock(&v->lock);
	return r;
}

static ssize_t live_readlinkat(void *ctx, int dirfd, const char *name, char *buf, size_t n)
{
	struct live *v = ctx;

	return v->under->readlinkat(v->under_ctx, dirfd, name, buf, n);
}

static int live_close(void *ctx, int fd)
{
	struct live *v = ctx;

	return v->under->close(v->under_ctx, fd);
}

static void real_time(void **state)
{
	struct eg_clock clock = eg_clock_system();
	struct lab *l = lab_new("constant-200w");
	uint64_t t0 = eg_clock_ns(&clock), edges_ns;
	double truth, error, allowed, best;
	struct live live = {.ops = {live_openat, live_pread, live_readlinkat, live_close},
			    .clock = clock};
	struct eg_result *r;

	/* The machine again, born now. */
	eg_sim_close(l->sim);
	assert_int_equal(eg_sim_open(l->sc, l->dir, t0, &l->sim), 0);
	l->env.clock = clock;
	live.sim = l->sim;
	live.under = l->env.fs.ops;
	live.under_ctx = l->env.fs.ctx;
	pthread_mutex_init(&live.lock, NULL);
	l->env.fs.ops = &live.ops;
	l->env.fs.ctx = &live;
	lab_open(l, 100 * EG_NSEC_PER_MSEC, NULL);
	assert_int_equal(eg_meter_start(l->m), 0);
	edges_ns = eg_clock_ns(&clock);
	lab_begin(l, "w");
	edges_ns = eg_clock_ns(&clock) - edges_ns;
	usleep(2000000);
	edges_ns -= eg_clock_ns(&clock);
	r = lab_end(l, "w");
	edges_ns += eg_clock_ns(&clock);
	truth = (double)eg_scenario_true_energy_fj(l->sc, 0, r->begin_ns - t0, r->end_ns - t0) /
		EG_FJ_PER_UJ;
	error = (double)r->total_uj - truth;
	/* One step, one update period, and the time that the two calls themselves took. */
	best = 62 + 200e6 * 1e-3;
	allowed = best + 200e6 * (double)edges_ns / 1e9;
	print_message(
		"# real time: %.6f s at 200 W: %.6f J, truth %.6f J, error %.6f J (resolution + "
		"power x update %.6f J; both edges took %.6f s)\n",
		(double)r->seconds_ns / 1e9, (double)r->total_uj / 1e6, truth / 1e6, error / 1e6,
		best / 1e6, (double)edges_ns / 1e9);
	if (fabs(error) > allowed)
		fail_msg("off by %.6f J, allowed %.6f J", error / 1e6, allowed / 1e6);
	assert_true(fabs(error) <= (double)r->total_uncertainty.total_uj + allowed - best);
	eg_result_free(r);
	l->m = eg_meter_close(l->m);
	l->env.fs.ops = live.under;
	l->env.fs.ctx = live.under_ctx;
	pthread_mutex_destroy(&live.lock);
	lab_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(day_of_a_node),
		cmocka_unit_test(sines_by_a_gauge),
		cmocka_unit_test(real_time),
	};

	return cmocka_run_group_tests_name("truth-long", tests, NULL, NULL);
}
