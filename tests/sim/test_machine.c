/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree through time: over every shipped scenario each counter, read from its file, follows the
 * truth within one unit and one refresh; and each event shows as it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/env.h"
#include "sim/machine.h"
#include "sim/run.h"

#define S  EG_NSEC_PER_SEC
#define T0 EG_SIM_BOOT_NS

struct rig {
	char dir[64];
	struct eg_scenario *sc;
	struct eg_sim *sim;
	struct eg_env env;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static struct rig up(const char *name)
{
	struct rig r = {.dir = "/tmp/ergon-sim-XXXXXX"};

	assert_non_null(mkdtemp(r.dir));
	assert_int_equal(eg_scenario_named(name, &r.sc), 0);
	assert_int_equal(eg_sim_open(r.sc, r.dir, T0, &r.sim), 0);
	assert_int_equal(eg_env_open(&r.env, r.dir), 0);
	return r;
}

static void down(struct rig *r)
{
	eg_env_close(&r->env);
	eg_sim_close(r->sim);
	eg_scenario_free(r->sc);
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t value(struct rig *r, size_t channel)
{
	uint64_t v;
	int e = eg_fs_read_u64(&r->env.fs, eg_sim_path(r->sim, channel), &v);

	return e < 0 ? e : (int64_t)v;
}

static bool steady(const struct eg_scenario *sc, size_t channel)
{
	for (size_t i = 0; i < sc->n_events; i++)
		if (sc->event[i].channel == (int)channel || sc->event[i].kind == EG_SIM_REBOOT)
			return false;
	return true;
}

/* What a counter has moved, from file to file; modulo its range. */
struct follow {
	uint64_t before;
	unsigned __int128 units;
};

static void follow_step(struct rig *r, size_t i, struct follow *f)
{
	const struct eg_sim_channel *c = &r->sc->channel[i];
	uint64_t now = eg_sim_shown(r->sim, i);

	assert_true(value(r, i) == (int64_t)((unsigned __int128)now * c->unit_nj / 1000));
	f->units += now >= f->before ? now - f->before : now + c->modulus_raw - f->before;
	f->before = now;
}

static void follow_check(struct rig *r, size_t i, const struct follow *f, uint64_t t_ns)
{
	const struct eg_sim_channel *c = &r->sc->channel[i];
	long double shown_uj = (long double)f->units * (long double)c->unit_nj / 1000;
	long double truth_uj = (long double)eg_sim_true_energy_uj(r->sim, c->id, T0, t_ns) *
			       (1 + (long double)c->gain_ppm / 1e6L);
	long double slack =
		(long double)c->unit_nj / 1000 + 1 +
		(long double)eg_power_max_uw(&c->power) * (long double)c->update_ns / 1e9L;

	if (fabsl(shown_uj - truth_uj) > slack)
		fail_msg("%s: %Lf uJ shown, %Lf true", c->id, shown_uj, truth_uj);
}

static bool counter(const struct eg_scenario *sc, size_t i)
{
	enum eg_sim_kind k = sc->channel[i].kind;

	return (k == EG_SIM_RAPL || k == EG_SIM_HWMON_ENERGY) && steady(sc, i);
}

static void test_every_scenario(void **state)
{
	size_t counters = 0;

	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++) {
		struct rig r = up(s->name);
		struct follow f[64] = {0};

		assert_true(r.sc->n_channels <= 64);
		for (size_t i = 0; i < r.sc->n_channels; i++)
			f[i].before = eg_sim_shown(r.sim, i);
		for (uint64_t n = 1; n <= 300; n++) {
			assert_int_equal(eg_sim_advance(r.sim, T0 + n * 137 * EG_NSEC_PER_MSEC), 0);
			for (size_t i = 0; i < r.sc->n_channels; i++)
				if (counter(r.sc, i))
					follow_step(&r, i, &f[i]);
		}
		for (size_t i = 0; i < r.sc->n_channels; i++)
			if (counter(r.sc, i)) {
				follow_check(&r, i, &f[i], T0 + 300 * 137 * EG_NSEC_PER_MSEC);
				counters++;
			}
		assert_int_equal(eg_sim_advance(r.sim, T0 + 200 * S), 0);
		down(&r);
	}
	assert_true(counters > 60);
}

/* 24 h at 1 s: exact to one unit, through 98 wraps. */
static void test_day(void **state)
{
	struct rig r = up("node-24h");
	const struct eg_sim_channel *c = &r.sc->channel[0];
	unsigned __int128 units = 0;
	uint64_t before = 0, wraps = 0;

	for (uint64_t t = 1; t <= 86400; t++) {
		uint64_t now;

		assert_int_equal(eg_sim_advance(r.sim, T0 + t * S), 0);
		now = eg_sim_shown(r.sim, 0);
		wraps += now < before;
		units += now >= before ? now - before : now + c->modulus_raw - before;
		before = now;
	}
	assert_true(units == (unsigned __int128)25920000 * 1000000000 / c->unit_nj);
	assert_int_equal(wraps, 98);
	down(&r);
}

static void test_events(void **state)
{
	struct rig r = up("counter-reset");
	uint64_t v;
	int fd;

	assert_int_equal(eg_sim_advance(r.sim, T0 + 9 * S), 0);
	assert_true(value(&r, 0) > 100000000000);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 11 * S), 0);
	assert_in_range(value(&r, 0), 150000000 - 100, 150000000);
	down(&r);

	r = up("zone-vanish");
	fd = eg_fs_open(&r.env.fs, "sys/class/powercap/intel-rapl:0/energy_uj");
	assert_true(fd >= 0);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 6 * S), 0);
	assert_false(eg_fs_exists(&r.env.fs, "sys/class/powercap/intel-rapl:0"));
	assert_int_equal(eg_fs_pread_u64(&r.env.fs, fd, &v),
			 -EPROTO); /* no value, never an old one */
	eg_fs_close(&r.env.fs, fd);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 20 * S), 0);
	assert_in_range(value(&r, 0), 100000000 + 3000000000 - 100, 100000000 + 3000000000);
	down(&r);

	r = up("garbage");
	assert_int_equal(eg_sim_advance(r.sim, T0 + 6 * S), 0);
	assert_int_equal(value(&r, 0), -EPROTO);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 9 * S), 0);
	assert_true(value(&r, 0) > 0);
	down(&r);

	r = up("no-range");
	assert_false(
		eg_fs_exists(&r.env.fs, "sys/class/powercap/intel-rapl:0/max_energy_range_uj"));
	down(&r);

	r = up("suspend");
	assert_int_equal(eg_sim_advance(r.sim, T0 + 20 * S), 0);
	v = (uint64_t)value(&r, 0);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 79 * S), 0);
	assert_int_equal(value(&r, 0), v);
	assert_int_equal(eg_sim_advance(r.sim, T0 + 90 * S), 0);
	assert_in_range(value(&r, 0), 1500000000 - 100, 1500000000);
	down(&r);
}

/* The counter that nobody reads goes wrong at the kernel's timer; the one that is read does not. */
static void test_fold(void **state)
{
	for (int guarded = 0; guarded < 2; guarded++) {
		struct rig r = up("perf-unread");
		int fd = r.env.perf_open(&r.env, "power", 21, 2, 0);
		int64_t count = 0;

		assert_true(fd >= 0);
		for (uint64_t t = 1; t <= 1400; t++) {
			assert_int_equal(eg_sim_advance(r.sim, T0 + t * S), 0);
			if (guarded && t % 30 == 0)
				assert_int_equal(eg_fs_pread(&r.env.fs, fd, &count, 8, 0), 8);
		}
		assert_int_equal(eg_fs_pread(&r.env.fs, fd, &count, 8, 0), 8);
		if (guarded)
			assert_true(count == (int64_t)350 * 1400 << 32);
		else
			assert_true(count < 0);
		eg_fs_close(&r.env.fs, fd);
		down(&r);
	}
}

/* In lock-step with another process: it wakes at the time it asked for, at the true count. */
static void test_lock_step(void **state)
{
	struct rig r = up("node-24h");
	char clock[80];
	struct eg_file_clock *fc;
	int status = -1;
	pid_t pid;

	snprintf(clock, sizeof(clock), "%s/clock", r.dir);
	assert_int_equal(eg_file_clock_create(clock, T0, EG_SIM_UNIX_NS, &fc), 0);
	pid = fork();
	if (pid == 0) {
		struct eg_file_clock *mine;
		struct eg_clock c;
		uint64_t v, bad = 0;

		if (eg_file_clock_attach(clock, &mine) < 0)
			_exit(9);
		c = eg_clock_file(mine);
		for (uint64_t i = 1; i <= 200; i++) {
			if (eg_clock_sleep_until(&c, T0 + i * S) < 0 ||
			    eg_clock_ns(&c) != T0 + i * S ||
			    eg_fs_read_u64(&r.env.fs, eg_sim_path(r.sim, 0), &v) < 0)
				_exit(8);
			bad += v != i * 300 * 1000000000ULL / 61035 * 61035 / 1000;
		}
		eg_file_clock_close(mine);
		_exit(bad != 0);
	}
	for (;;) {
		uint64_t want;

		if (eg_file_clock_wait_sleepers(fc, S / 20, &want) == 0) {
			assert_int_equal(eg_sim_advance(r.sim, want), 0);
			eg_file_clock_set(fc, want, 0);
		} else if (waitpid(pid, &status, WNOHANG) == pid) {
			break;
		}
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	eg_file_clock_close(fc);
	down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_scenario), cmocka_unit_test(test_day),
		cmocka_unit_test(test_events),	       cmocka_unit_test(test_fold),
		cmocka_unit_test(test_lock_step),
	};

	return cmocka_run_group_tests_name("sim-machine", tests, NULL, NULL);
}
