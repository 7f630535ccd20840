/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joules against the truth, through the meter: counters of every period, gauges with and without
 * the ring of samples, and the peers' defects D6 to D10 of the measurement contract.
 */
#include "rig.h"

#include <math.h>

static struct eg_result *measure(struct rig *r, const char *gpu, const char *power, double a,
				 double b, double interval_s)
{
	struct eg_result *res;
	struct eg_meter *m;
	char script[1024];

	snprintf(script, sizeof(script), "gpu\n%s\npower %s\n", gpu, power);
	rig_start(r, "FAKE_NVML", script);
	rig_at(r, 0.05);
	m = rig_meter(r, (uint64_t)(interval_s * 1000));
	assert_int_equal(eg_meter_count(m), 1);
	eg_meter_sample(m, true);
	rig_run(r, m, 0.05, a, interval_s);
	res = rig_window(r, m, a, b, interval_s);
	/* The result borrows from the meter: what the tests look at is copied by then. */
	for (size_t i = 0; i < res->n; i++)
		res->channel[i].ch = NULL;
	assert_null(eg_meter_close(m));
	rig_end(r);
	return res;
}

/* Measures and compares; returns the error in J. */
static double check(const char *what, const char *gpu, const char *power, double a, double b,
		    double interval_s, double allowed_j)
{
	struct rig r;
	struct eg_result *res = measure(&r, gpu, power, a, b, interval_s);
	double truth = truth_j(power, a, b), got = (double)res->total_uj / 1e6;
	double u = (double)res->total_uncertainty.total_uj / 1e6;

	print_message("# %s: %.3f J +- %.3f, truth %.3f J\n", what, got, u, truth);
	assert_true(res->has_total);
	assert_int_equal(res->total_est_uj, 0);
	assert_true(fabs(got - truth) <= allowed_j);
	assert_true(fabs(got - truth) <= u);
	eg_result_free(res);
	return got - truth;
}

static void test_counter_periods(void **state)
{
	static const char *const powers[] = {"300W", "square low=70W high=700W period=2s duty=0.5",
					     "sine mean=300W amplitude=200W period=700ms",
					     "ramp from=50W to=600W over=7s",
					     "bursts base=60W peak=650W period=330ms width=13ms"};
	static const unsigned periods_ms[] = {10, 20, 100};

	(void)state;
	for (size_t p = 0; p < EG_ARRAY_SIZE(periods_ms); p++)
		for (size_t k = 0; k < EG_ARRAY_SIZE(powers); k++) {
			char gpu[64], what[128];

			snprintf(gpu, sizeof(gpu), "counter %u", periods_ms[p]);
			snprintf(what, sizeof(what), "counter %u ms, %s", periods_ms[p], powers[k]);
			/* At most what flows within one period at an edge, and the last mJ. */
			check(what, gpu, powers[k], 1.037, 6.081, 1,
			      700 * periods_ms[p] * 1e-3 + 0.002);
		}
}

/* Windows of at least ten counter periods: under 1 % at constant power. */
static void test_one_percent(void **state)
{
	struct rig r;
	struct eg_meter *m;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 100\npower 300W\n");
	rig_at(&r, 0.01);
	m = rig_meter(&r, 1000);
	for (int k = 0; k < 50; k++) {
		double a = 1 + k * 2.013, b = a + 1.0 + 0.017 * k;
		struct eg_result *res = rig_window(&r, m, a, b, 0.1);
		double truth = 300 * (b - a);

		/* One step of 30 J at either edge is 10 % of 1 s: the bound is the stated one. */
		assert_true(fabs((double)res->total_uj / 1e6 - truth) <=
			    (double)res->total_uncertainty.total_uj / 1e6);
		assert_true(fabs((double)res->total_uj / 1e6 - truth) <= 30.002);
		eg_result_free(res);
	}
	eg_meter_close(m);
	rig_end(&r);
	/* 10 ms counter, 3 s: 300 periods. */
	check("counter 10 ms, 3 s", "counter 10", "300W", 1.003, 4.009, 1, 9);
}

static void test_d6_constant_polled(void **state)
{
	static const double intervals[] = {0.1, 1, 5};

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(intervals); i++)
		check("D6 polled 300 W, 5 s", "counter none\nring none", "300W", 1, 6, intervals[i],
		      1e-5);
	check("D6 with ring", "counter none", "300W", 1, 6, 1, 1e-5);
}

static void test_d7_pre_volta(void **state)
{
	(void)state;
	check("D7 pre-Volta 300 W, 3 s", "counter none\narch 4\ninstant no", "300W", 1, 4, 1, 1e-5);
	check("D7 without ring", "counter none\narch 2\ninstant no\nring none", "300W", 1, 4, 0.1,
	      1e-5);
}

static void test_d8_d9_squares(void **state)
{
	(void)state;
	check("D8 300/100 W, ring", "counter none\narch 4\ninstant no\ncounter none\ncounter none",
	      "square low=100W high=300W period=4s duty=0.5", 3.29, 8.29, 1, 958 * 0.01);
	check("D9 700/70 W, ring", "counter none\narch 4\ninstant no",
	      "square low=70W high=700W period=2s duty=0.5", 1.119, 6.119, 1, 1685 * 0.01);
	check("D8 counter", "counter 100", "square low=100W high=300W period=4s duty=0.5", 3.29,
	      8.29, 1, 30);
	check("D9 counter", "counter 20", "square low=70W high=700W period=2s duty=0.5", 1.119,
	      6.119, 1, 14);
}

/* Bursts between reads: seen by the ring, missed without it. */
static void test_bursts(void **state)
{
	static const char power[] = "bursts base=50W peak=650W period=1s width=110ms phase=300ms";
	struct rig r;
	struct eg_result *res;
	double truth = truth_j(power, 1.05, 13.05), blind;

	(void)state;
	check("bursts, ring", "counter none\nring 119 17 0", power, 1.05, 13.05, 1, truth * 0.02);
	res = measure(&r, "counter none\nring none", power, 1.05, 13.05, 1);
	blind = (double)res->total_uj / 1e6;
	eg_result_free(res);
	print_message("# bursts without ring: %.1f J, truth %.1f J\n", blind, truth);
	assert_true(fabs(blind - truth) > truth * 0.2); /* so the test above can fail */
}

static void test_ring_states(void **state)
{
	static const char square[] = "square low=100W high=300W period=4s duty=0.5";

	(void)state;
	check("ring full, read every 2.3 s", "counter none", square, 3.29, 27.29, 2.3, 60);
	/* Depth 119 x 20 ms = 2.4 s: what lies before it is interpolated. */
	check("ring overrun, read every 5 s", "counter none", "300W", 1, 26, 5, 1e-5);
	check("ring empty", "counter none\nring 0 20 0", "300W", 1, 6, 1, 1e-5);
	check("ring late by 500 ms", "counter none\nring 119 20 500", square, 3.29, 27.29, 1, 300);
	check("ring late, constant", "counter none\nring 119 20 500", "300W", 1, 6, 1, 1e-5);
	check("ring of 17 ms", "counter none\nring 119 17 0", square, 3.29, 27.29, 1, 60);
	check("idle ring, 1 s apart", "counter none\nring 119 1000 0", "20W", 3, 30, 1, 1e-5);
}

/* Short windows on a counter that steps every 100 ms. */
static void test_d10_short_windows(void **state)
{
	static const unsigned lengths_ms[] = {5, 20, 50, 80, 150};
	struct rig r;
	struct eg_meter *m;
	double t = 2.0;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 100\npower 300W\n");
	rig_at(&r, 0.05);
	m = rig_meter(&r, 100);
	eg_meter_sample(m, true);
	rig_run(&r, m, 0.05, 2.0, 0.1);
	for (size_t k = 0; k < EG_ARRAY_SIZE(lengths_ms); k++) {
		double len = lengths_ms[k] / 1e3, sum_error = 0;
		unsigned covered = 0, zero = 0, n = 400;

		for (unsigned i = 0; i < n; i++) {
			struct eg_result *res = rig_window(&r, m, t, t + len, 1);
			double got = (double)res->total_uj / 1e6, truth = 300 * len;

			covered += fabs(got - truth) <=
				   (double)res->total_uncertainty.total_uj / 1e6;
			zero += res->total_uj == 0;
			sum_error += got - truth;
			assert_int_equal(!!(res->flags & EG_FLAG_BIT(EG_FLAG_BELOW_PERIOD)),
					 len < 0.1);
			assert_true(res->has_total);
			t += len + 0.0137;
			eg_result_free(res);
		}
		print_message("# D10 %u ms: mean %+.2f J of %.1f J, zero %u %%, covered %.1f %%\n",
			      lengths_ms[k], sum_error / n, 300 * len, zero * 100 / n,
			      covered * 100.0 / n);
		assert_true(covered * 100 >= n * 95);
		assert_true(fabs(sum_error / n) < 2); /* no bias */
	}
	eg_meter_close(m);
	rig_end(&r);
}

/* Back-to-back windows sum to the enclosing one, to the microjoule. */
static void test_back_to_back(void **state)
{
	struct rig r;
	struct eg_meter *m;
	struct eg_result *res;
	uint64_t sum = 0;
	double t = 1;

	(void)state;
	rig_start(&r, "FAKE_NVML",
		  "gpu\ncounter none\npower sine mean=300W amplitude=250W period=900ms\n"
		  "gpu\ncounter 20\npower 123.457W\n");
	rig_at(&r, 0.5);
	m = rig_meter(&r, 1000);
	rig_at(&r, t);
	assert_int_equal(eg_meter_begin(m, "all"), 0);
	rig_at(&r, t += 0.001);
	assert_int_equal(eg_meter_next(m, "all", "w0", &res), 0);
	eg_result_free(res);
	assert_int_equal(eg_meter_begin(m, "all"), 0);
	for (int k = 0; k < 40; k++) {
		char name[16], next[16];

		snprintf(name, sizeof(name), "w%d", k);
		snprintf(next, sizeof(next), "w%d", k + 1);
		rig_at(&r, t += 0.0731);
		assert_int_equal(eg_meter_next(m, name, next, &res), 0);
		sum += res->total_uj;
		eg_result_free(res);
	}
	assert_int_equal(eg_meter_end(m, "all", &res), 0);
	assert_int_equal(res->total_uj, sum);
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

/* A sensor that sees the last 25 ms of each 100: right on average, and inside its class. */
static void test_part_time_sensor(void **state)
{
	(void)state;
	check("A100-like, 25 % seen", "counter 100\nseen 25",
	      "sine mean=250W amplitude=150W period=370ms", 2, 22, 1, 250 * 20 * 0.05);
	check("constant, 25 % seen", "counter 100\nseen 25", "300W", 2, 22, 1, 30.01);
}

/* The driver as it is, on a worker with a deadline. */
static void test_worker(void **state)
{
	struct rig r;
	struct eg_meter *m;
	struct eg_result *res;

	(void)state;
	rig_start(&r, "FAKE_NVML", "gpu\ncounter 10\npower 300W\n");
	r.drivers[0] = &eg_driver_nvml;
	m = rig_meter(&r, 1000);
	res = rig_window(&r, m, 1, 6, 1);
	assert_int_equal(res->total_uj, 1500000000);
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

static void test_hanging_read(void **state)
{
	struct eg_meter_config cfg = {.read_deadline_ns = 50 * EG_NSEC_PER_MSEC};
	enum eg_status status = EG_STATUS_NO_DATA;
	struct eg_diags diags;
	struct eg_result *res;
	struct eg_meter *m;
	const char *why;
	struct rig r;

	(void)state;
	rig_start(&r, "FAKE_NVML",
		  "gpu\ncounter 10\npower 300W\n"
		  "slow nvmlDeviceGetTotalEnergyConsumption 300 1 3\n");
	r.drivers[0] = &eg_driver_nvml;
	assert_int_equal(eg_meter_open(&r.env, r.drivers, &cfg, &m, &why), 0);
	res = rig_window(&r, m, 1, 2, 1);
	assert_false(res->has_total && res->total_uj > 300000000);
	eg_result_free(res);
	assert_int_equal(eg_meter_diags(m, &diags), 0);
	assert_non_null(find_diag(&diags, EG_DIAG_SENSOR_TIMEOUT, NULL));
	eg_diags_free(&diags);
	/* It comes back: its worker is taken up again. */
	rig_at(&r, 4);
	for (int k = 0; k < 500 && status != EG_STATUS_OK; k++) {
		const struct eg_snapshot *s;

		usleep(10000);
		eg_meter_sample(m, true);
		s = eg_meter_pin(m);
		status = s->channel[0].status;
		eg_meter_unpin(m, s);
	}
	assert_int_equal(status, EG_STATUS_OK);
	assert_null(eg_meter_close(m));
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter_periods),
		cmocka_unit_test(test_one_percent),
		cmocka_unit_test(test_d6_constant_polled),
		cmocka_unit_test(test_d7_pre_volta),
		cmocka_unit_test(test_d8_d9_squares),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_ring_states),
		cmocka_unit_test(test_d10_short_windows),
		cmocka_unit_test(test_back_to_back),
		cmocka_unit_test(test_part_time_sensor),
		cmocka_unit_test(test_worker),
		cmocka_unit_test(test_hanging_read),
	};

	return cmocka_run_group_tests_name("nvml-energy", tests, NULL, NULL);
}
