/* SPDX-License-Identifier: Apache-2.0 */
/* See lab.h. */
#include "lab.h"

#include <ftw.h>
#include <limits.h>
#include <math.h>

extern const struct eg_driver *const eg_drivers[];

static struct eg_scenario *load(const char *scenario)
{
	struct eg_scenario_error e;
	struct eg_scenario *sc = NULL;

	if (!strchr(scenario, '\n')) {
		assert_int_equal(eg_scenario_named(scenario, &sc), 0);
		return sc;
	}
	if (eg_scenario_parse(scenario, strlen(scenario), "test", &sc, &e) < 0)
		fail_msg("line %u: %s", e.line, e.message);
	return sc;
}

struct lab *lab_new(const char *scenario)
{
	/* In memory where there is such a place: thousands of writes, and reads that need no worker. */
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	struct lab *l = calloc(1, sizeof(*l));
	size_t n;

	assert_non_null(l);
	l->sc = load(scenario);
	snprintf(l->dir, sizeof(l->dir), "%.30s/ergon-truth-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(l->dir));
	assert_int_equal(eg_sim_open(l->sc, l->dir, LAB_T0, &l->sim), 0);
	l->clock = (struct eg_manual_clock){.boot_ns = LAB_T0, .unix_base_ns = 1700000000 * SECOND};
	assert_int_equal(eg_env_open(&l->env, l->dir), 0);
	l->env.clock = eg_clock_manual(&l->clock);
	n = eg_sim_faults(l->sim, l->fault, LAB_FAULTS);
	assert_true(n <= LAB_FAULTS);
	for (size_t i = 0; i < n; i++)
		l->fault[i].hang_ns = EG_MIN(l->fault[i].hang_ns, EG_NSEC_PER_MSEC);
	assert_int_equal(eg_faultfs_wrap(&l->env.fs, &l->env.clock, l->fault, n, &l->ff), 0);
	return l;
}

/* "sys/.../hwmon0/in1_input": its folder with links resolved, and "in1". */
static bool split_path(const struct lab *l, const char *path, char dir[PATH_MAX], char stem[64])
{
	char full[PATH_MAX + 64], *base;

	snprintf(full, sizeof(full), "%s/%.*s", l->dir, (int)strcspn(path, " "), path);
	base = strrchr(full, '/');
	*base++ = '\0';
	snprintf(stem, 64, "%.*s", (int)EG_MIN(strcspn(base, "_"), 63U), base);
	return realpath(full, dir) != NULL;
}

/* The simulated sensor that a channel reads, by the files both name. */
static int find_source(const struct lab *l, const struct eg_channel *ch)
{
	char pmu[48], event[48], dir[PATH_MAX], stem[64], their_dir[PATH_MAX], their_stem[64],
		id[128];
	const char *second = strstr(ch->origin, " x ");
	unsigned cpu;

	if (sscanf(ch->origin, "sys/bus/event_source/devices/%47[^/]/events/%47s on CPU %u", pmu,
		   event, &cpu) == 3) {
		snprintf(id, sizeof(id), "perf %s %s %u", pmu, event, cpu);
		return eg_scenario_channel(l->sc, id);
	}
	if (!split_path(l, ch->origin, dir, stem))
		return -1;
	for (size_t i = 0; i < l->sc->n_channels; i++) {
		const char *path = eg_sim_path(l->sim, i);

		if (!*path || !split_path(l, path, their_dir, their_stem) ||
		    strcmp(dir, their_dir) != 0)
			continue;
		if (strcmp(stem, their_stem) == 0 ||
		    (second && strncmp(second + 3, their_stem, strlen(their_stem)) == 0 &&
		     second[3 + strlen(their_stem)] == '_'))
			return (int)i;
	}
	return -1;
}

void lab_open(struct lab *l, uint64_t interval_ns, const struct eg_driver *const *drivers)
{
	/* Deadlines are in real time: wide, so that a busy machine changes nothing. */
	const struct eg_meter_config cfg = {.interval_ns = interval_ns,
					    .open_deadline_ns = 60 * SECOND,
					    .read_deadline_ns = 60 * SECOND};
	const char *why = "";

	if (eg_meter_open(&l->env, drivers ? drivers : eg_drivers, &cfg, &l->m, &why) < 0)
		fail_msg("%s", why);
	for (size_t i = 0; i < eg_meter_count(l->m); i++)
		l->source[i] = find_source(l, eg_meter_channel(l->m, i));
}

uint64_t lab_now(const struct lab *l)
{
	return l->clock.boot_ns - LAB_T0;
}

void lab_at(struct lab *l, uint64_t t_ns)
{
	for (size_t i = 0; i < l->sc->n_events; i++) {
		const struct eg_sim_event *e = &l->sc->event[i];

		if (e->kind == EG_SIM_SUSPEND && t_ns > e->at_ns && t_ns < e->at_ns + e->for_ns)
			t_ns = e->at_ns + e->for_ns;
	}
	if (t_ns <= lab_now(l))
		return;
	assert_int_equal(eg_sim_advance(l->sim, LAB_T0 + t_ns), 0);
	/* A worker that hangs may look at the clock at any time. */
	__atomic_store_n(&l->clock.boot_ns, LAB_T0 + t_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&l->clock.suspended_ns, eg_scenario_suspended_ns(l->sc, t_ns),
			 __ATOMIC_RELAXED);
	l->clock.unix_base_ns =
		1700000000 * SECOND + (uint64_t)eg_scenario_clock_step_ns(l->sc, t_ns);
}

static void check_never_falls(struct lab *l)
{
	const struct eg_snapshot *s = eg_meter_pin(l->m);

	assert_non_null(s);
	for (size_t i = 0; i < s->n; i++) {
		if (s->channel[i].uj < l->seen_uj[i] || s->channel[i].est_uj < l->seen_est_uj[i])
			fail_msg("%s: %s fell at %.3f s", l->sc->name,
				 eg_meter_channel_name(l->m, i), (double)lab_now(l) / 1e9);
		l->seen_uj[i] = s->channel[i].uj;
		l->seen_est_uj[i] = s->channel[i].est_uj;
	}
	eg_meter_unpin(l->m, s);
}

void lab_sample(struct lab *l)
{
	eg_meter_sample(l->m, true);
	check_never_falls(l);
}

void lab_run(struct lab *l, uint64_t until_ns, uint64_t step_ns)
{
	for (uint64_t t = lab_now(l) + step_ns; t < until_ns; t += step_ns) {
		lab_at(l, t);
		lab_sample(l);
	}
	lab_at(l, until_ns);
}

void lab_begin(struct lab *l, const char *name)
{
	assert_int_equal(eg_meter_begin(l->m, name), 0);
	check_never_falls(l);
}

struct eg_result *lab_end(struct lab *l, const char *name)
{
	struct eg_result *r = NULL;

	assert_int_equal(eg_meter_end(l->m, name, &r), 0);
	check_never_falls(l);
	return r;
}

struct eg_result *lab_window(struct lab *l, uint64_t from_ns, uint64_t to_ns, uint64_t step_ns)
{
	lab_run(l, from_ns, step_ns);
	lab_begin(l, "w");
	lab_run(l, to_ns, step_ns);
	return lab_end(l, "w");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void lab_free(struct lab *l)
{
	assert_null(eg_meter_close(l->m));
	assert_int_equal(eg_faultfs_open_fds(l->ff), 0);
	eg_faultfs_unwrap(l->ff, &l->env.fs);
	eg_env_close(&l->env);
	eg_sim_close(l->sim);
	eg_scenario_free(l->sc);
	nftw(l->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(l);
}

const struct eg_result_channel *lab_channel(const struct eg_result *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->channel[i].name, name) == 0)
			return &r->channel[i];
	fail_msg("no channel %s", name);
	return NULL;
}

const struct eg_sim_channel *lab_source(const struct lab *l, size_t channel)
{
	return &l->sc->channel[l->source[channel]];
}

double lab_truth_uj(const struct lab *l, size_t channel, uint64_t begin_ns, uint64_t end_ns)
{
	eg_fj e = eg_scenario_true_energy_fj(l->sc, (size_t)l->source[channel], begin_ns - LAB_T0,
					     end_ns - LAB_T0);

	return (double)((long double)e / EG_FJ_PER_UJ *
			(1 + (long double)lab_source(l, channel)->gain_ppm / 1e6L));
}

double lab_resolution_uj(const struct lab *l, size_t channel)
{
	const struct eg_sim_channel *c = lab_source(l, channel);
	double unit_uj = c->kind == EG_SIM_PERF ? ldexp(1e6, -(int)c->unit_bits) :
						  (double)c->unit_nj / 1e3;

	return fmax(unit_uj, (double)eg_meter_channel(l->m, channel)->resolution_uj) + 1;
}

double lab_max_w(const struct lab *l, size_t channel)
{
	return (double)eg_power_max_uw(&lab_source(l, channel)->power) / 1e6;
}
