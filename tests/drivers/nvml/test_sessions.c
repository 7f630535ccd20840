/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several users of the library at once (contracts/measurement.md M16): in one process, in several, over
 * a fork, and at exit. NVML counts its sessions in each process; none of ours may end another's, and
 * another's end may cost a reading and never a joule.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "rig.h"

#define EXITS	12 /* each keeps a slot of the clock file, which has 16 */
#define ONE_GPU "gpu\ncounter 10\npower 300W\n"

struct users {
	struct rig *r;
	int (*init)(void);
	int (*shutdown)(void);
	unsigned (*sessions)(void);
	_Atomic bool stop;
	_Atomic unsigned rounds, bad;
};

static void find_symbols(struct users *u)
{
	assert_true(symbol_of(u->r, "nvmlInit_v2", &u->init, sizeof(u->init)));
	assert_true(symbol_of(u->r, "nvmlShutdown", &u->shutdown, sizeof(u->shutdown)));
	assert_true(symbol_of(u->r, "fake_nvml_sessions", &u->sessions, sizeof(u->sessions)));
}

/* ---- in one process ---- */

/* As a sampler of the same program does it through another binding: pairs, and never one too many. */
static void *init_and_shutdown(void *arg)
{
	struct users *u = arg;

	while (!atomic_load(&u->stop)) {
		if (u->init() != 0)
			atomic_fetch_add(&u->bad, 1);
		sched_yield();
		if (u->shutdown() != 0)
			atomic_fetch_add(&u->bad, 1);
		atomic_fetch_add(&u->rounds, 1);
	}
	return NULL;
}

static void test_pairs_beside_ours(void **state)
{
	static struct readings rd;
	struct rig r;
	struct users u = {.r = &r};
	struct opened o;
	pthread_t id;

	rig_start(&r, "FAKE_NVML", ONE_GPU);
	assert_int_equal(rig_open(&r, &o), 0);
	find_symbols(&u);
	assert_int_equal(pthread_create(&id, NULL, init_and_shutdown, &u), 0);
	for (int k = 1; k <= 2000 || atomic_load(&u.rounds) < 100; k++) {
		rig_at(&r, k * 0.01);
		rig_read(&o, &rd);
		assert_int_equal(rd.n, 1);
		assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
		assert_int_equal(rd.item[0].r.raw, 1000000 + 3000 * (uint64_t)k);
	}
	atomic_store(&u.stop, true);
	pthread_join(id, NULL);
	assert_int_equal(atomic_load(&u.bad), 0);
	assert_int_equal(u.sessions(), 1);
	rig_close(&o);
	rig_end(&r);
}

/* One shutdown too many, at any moment of a read, again and again. */
static void *shut_down_under_us(void *arg)
{
	struct users *u = arg;

	while (!atomic_load(&u->stop)) {
		if (u->sessions() > 0 && u->shutdown() == 0)
			atomic_fetch_add(&u->rounds, 1);
		nanosleep(&(struct timespec){0, 200000}, NULL);
	}
	return NULL;
}

static void test_shutdown_while_a_thread_reads(void **state)
{
	struct rig r;
	struct users u = {.r = &r};
	struct eg_result *res = NULL;
	struct eg_meter *m;
	pthread_t id;
	double s = 1;

	rig_start(&r, "FAKE_NVML", ONE_GPU);
	m = rig_meter(&r, 100);
	rig_at(&r, s);
	assert_int_equal(eg_meter_begin(m, "w"), 0);
	find_symbols(&u);
	assert_int_equal(pthread_create(&id, NULL, shut_down_under_us, &u), 0);
	while (s < 200 || (atomic_load(&u.rounds) < 20 && s < 200000)) {
		rig_at(&r, s += 0.1);
		eg_meter_sample(m, true);
	}
	atomic_store(&u.stop, true);
	pthread_join(id, NULL);
	/* The back-off ends after a minute at most; the counter went on all the time. */
	rig_run(&r, m, s, s + 130, 0.1);
	assert_int_equal(eg_meter_end(m, "w", &res), 0);
	print_message("%u sessions ended under the reader in %.0f s\n", atomic_load(&u.rounds),
		      s - 1);
	assert_true(atomic_load(&u.rounds) > 0);
	assert_int_equal(u.sessions(), 1);
	assert_true(res->has_total);
	assert_int_equal(res->total_est_uj, 0);
	assert_true((double)res->total_uj <= (s + 129) * 300e6 + 3e6);
	assert_true((double)res->total_uj >= (s + 129) * 300e6 - 6e6);
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

/* ---- in several processes ---- */

static int start(const char *what)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		execl("/proc/self/exe", "test-nvml-sessions", what, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The rig of the parent, seen from another program. */
static void join_rig(struct rig *r)
{
	const char *dir = getenv("TEST_NVML_DIR");
	char clock[128];

	*r = (struct rig){0};
	snprintf(clock, sizeof(clock), "%s/clock", dir);
	if (eg_env_open(&r->env, dir) < 0 || eg_file_clock_attach(clock, &r->fc) < 0)
		_exit(99);
	r->env.clock = eg_clock_file(r->fc);
	r->inline_driver = eg_driver_nvml;
	r->inline_driver.blocking_ns = 0;
	r->drivers[0] = &r->inline_driver;
}

static int child_reads(void)
{
	static struct readings rd;
	struct rig r;
	int bad = 0;

	join_rig(&r);
	for (int k = 0; k < 50; k++) {
		struct opened o;

		if (rig_open(&r, &o) < 0)
			return 1;
		for (int i = 0; i < 5; i++) {
			rig_read(&o, &rd);
			bad |= rd.n != 1 || rd.item[0].r.status != EG_STATUS_OK;
		}
		rig_close(&o);
	}
	eg_env_close(&r.env);
	eg_file_clock_close(r.fc);
	return bad;
}

static void test_programs_at_once(void **state)
{
	static struct readings rd;
	struct rig r;
	struct opened o;
	pid_t pid[3];

	rig_start(&r, "FAKE_NVML", ONE_GPU);
	setenv("TEST_NVML_DIR", r.dir, 1);
	rig_at(&r, 2);
	assert_int_equal(rig_open(&r, &o), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(pid); i++)
		pid[i] = start("reads");
	for (int k = 0; k < 1000; k++) {
		rig_read(&o, &rd);
		assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(pid); i++)
		assert_int_equal(status_of(pid[i]), 0);
	rig_read(&o, &rd);
	assert_int_equal(rd.item[0].r.raw, 1600000);
	rig_close(&o);
	rig_end(&r);
}

/*
 * A fork with handles open, as a server of models does with its workers: the child opens its own, the
 * parent's session and handles stay, whichever ends first.
 */
static void test_fork_with_handles(void **state)
{
	static struct readings rd;
	struct rig r;
	struct users u = {.r = &r};
	struct opened o;
	pid_t pid;

	rig_start(&r, "FAKE_NVML", ONE_GPU);
	rig_at(&r, 2);
	assert_int_equal(rig_open(&r, &o), 0);
	find_symbols(&u);
	for (int k = 0; k < 4; k++) {
		pid = fork();
		if (pid == 0) {
			struct opened mine;
			bool good = rig_open(&r, &mine) == 0;

			if (good)
				rig_read(&mine, &rd);
			good = good && rd.n == 1 && rd.item[0].r.status == EG_STATUS_OK;
			if (good && k % 2) { /* in order, or only gone */
				rig_close(&mine);
				rig_close(&o);
			}
			_exit(good ? 0 : 1);
		}
		rig_read(&o, &rd);
		assert_int_equal(rd.item[0].r.status, EG_STATUS_OK);
		assert_int_equal(status_of(pid), 0);
		assert_int_equal(u.sessions(), 1);
		rig_read(&o, &rd);
		assert_int_equal(rd.item[0].r.raw, 1600000);
	}
	rig_close(&o);
	rig_end(&r);
}

/* ---- at exit ---- */

static struct eg_meter *left_open;

static void close_late(void)
{
	left_open = eg_meter_close(left_open);
}

/* Ends the process while the driver's worker may be reading; before: closes by an exit handler. */
static int child_exits(bool handler)
{
	static struct rig r;
	struct eg_meter_config cfg = {.interval_ns = EG_NSEC_PER_MSEC};
	const struct eg_driver *drivers[] = {&eg_driver_nvml, NULL};
	const char *why;

	if (handler)
		atexit(close_late); /* before the library is there, so it runs late */
	join_rig(&r);
	if (eg_meter_open(&r.env, drivers, &cfg, &left_open, &why) < 0)
		return 1;
	if (eg_meter_begin(left_open, "never ended") < 0)
		return 2;
	for (int k = 0; k < 20; k++)
		eg_meter_sample(left_open, k % 2);
	return 42;
}

static void test_exit_with_sessions_open(void **state)
{
	static const char *const ways[] = {"exits", "exits-late"};
	struct rig r;

	/* A read takes 3 ms: the worker is in one when the process ends. */
	rig_start(&r, "FAKE_NVML", "slow nvmlDeviceGetTotalEnergyConsumption 3\n" ONE_GPU);
	setenv("TEST_NVML_DIR", r.dir, 1);
	rig_at(&r, 2);
	for (size_t k = 0; k < EXITS; k++)
		assert_int_equal(status_of(start(ways[k % 2])), 42);
	rig_end(&r);
}

/* ---- the integrated power beside the counter ---- */

static void test_power_check(void **state)
{
	struct eg_setting on = {"nvml", "power_check", "true"};
	struct eg_meter_config cfg = {
		.interval_ns = 100 * EG_NSEC_PER_MSEC, .settings = &on, .n_settings = 1};
	struct eg_result *res;
	struct eg_meter *m;
	const char *why;
	struct rig r;

	rig_start(&r, "FAKE_NVML",
		  "gpu\ncounter 100\npower sine mean=300W amplitude=100W period=7s\n"
		  "gpu\ncounter none\npower 70W\ngpu\nfail nvmlDeviceGetSamples 3\n"
		  "counter 100\ninstant no\nusage no\npower 50W\n");
	assert_int_equal(eg_meter_open(&r.env, r.drivers, &cfg, &m, &why), 0);
	assert_int_equal(eg_meter_count(m), 4); /* the last has no power to integrate */
	assert_string_equal(eg_meter_channel(m, 0)->domain, "gpu-0");
	assert_string_equal(eg_meter_channel(m, 1)->domain, "gpu-0-power");
	assert_string_equal(eg_meter_channel(m, 1)->device, eg_meter_channel(m, 0)->device);
	assert_int_equal(eg_meter_channel(m, 1)->quantity, EG_QUANTITY_POWER);
	assert_string_equal(eg_meter_channel(m, 2)->domain, "gpu-1");
	res = rig_window(&r, m, 1, 21, 0.1);
	assert_int_equal(res->channel[1].role, EG_ROLE_CROSSCHECK);
	assert_int_equal(res->channel[1].of, 0);
	assert_true(res->channel[1].has_value);
	/* Counted once, and both near the truth. */
	assert_int_equal(res->total_uj,
			 res->channel[0].uj + res->channel[2].uj + res->channel[3].uj);
	for (size_t i = 0; i < 2; i++) {
		double truth = truth_j("sine mean=300W amplitude=100W period=7s", 1, 21);

		assert_true((double)res->channel[i].uj > truth * 0.99e6);
		assert_true((double)res->channel[i].uj < truth * 1.01e6);
	}
	eg_result_free(res);
	eg_meter_close(m);
	rig_end(&r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs_beside_ours),
		cmocka_unit_test(test_shutdown_while_a_thread_reads),
		cmocka_unit_test(test_programs_at_once),
		cmocka_unit_test(test_fork_with_handles),
		cmocka_unit_test(test_exit_with_sessions_open),
		cmocka_unit_test(test_power_check),
	};

	if (argc > 1 && strcmp(argv[1], "reads") == 0)
		return child_reads();
	if (argc > 1)
		return child_exits(strcmp(argv[1], "exits-late") == 0);
	return cmocka_run_group_tests_name("nvml-sessions", tests, NULL, NULL);
}
