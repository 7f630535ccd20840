/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every shipped scenario through the drivers and the meter, beside the truth. A counter without a
 * gap is within its resolution; over a gap energy may be missing, at most what can have flowed in
 * it, and never be invented. A gauge is within its stated uncertainty. Totals never fall.
 */
#include "lab.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

extern const struct eg_driver eg_driver_rapl;

/* Sensors of scenarios that no channel reads, and why. A trailing '*' stands for the rest. */
static const struct {
	const char *scenario, *id, *why;
} unread[] = {
	{"*", "cgroup*", "no meter: a control group"},
	{"amd-mirrored-dies", "rapl intel-rapl:1", "the same counter as die 0"},
	{"amd-mirrored-dies", "rapl intel-rapl:2", "the same counter as die 0"},
	{"amd-mirrored-dies", "rapl intel-rapl:3", "the same counter as die 0"},
	{"mmio-twins", "rapl intel-rapl-mmio*", "the same joules as intel-rapl"},
	{"gauge-*", "hwmon 0 energy1",
	 "the amdgpu chip has no energy file: its truth, beside the gauge"},
	{"hwmon-zoo", "hwmon 3 rail2", "disabled"},
	{"jetson", "hwmon 0 rail3", "not connected"},
};

/* Machines without a readable sensor: no channel, and each driver that is missed says why. */
static const char *const nothing[] = {"no-sensor", "perf-empty"};
/* Scenarios in which energy of a counter is lost for good, and must be reported as a gap. */
static const char *const lossy[] = {"counter-reset", "driver-reload", "no-range",
				    "reboot",	     "suspend",	      "battery"};

static bool matches(const char *pattern, const char *s)
{
	size_t n = strlen(pattern);

	if (n && pattern[n - 1] == '*')
		return strncmp(pattern, s, n - 1) == 0;
	return strcmp(pattern, s) == 0;
}

static bool listed(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static bool is_unread(const char *scenario, const char *id)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(unread); i++)
		if (matches(unread[i].scenario, scenario) && matches(unread[i].id, id))
			return true;
	return false;
}

/* As long as something new happens: events, wraps, periods; 15 minutes at most. */
static uint64_t length_of(const struct eg_scenario *sc)
{
	uint64_t ns = 65 * SECOND;

	for (size_t i = 0; i < sc->n_events; i++)
		ns = EG_MAX(ns, sc->event[i].at_ns + sc->event[i].for_ns + 15 * SECOND);
	for (size_t i = 0; i < sc->n_channels; i++) {
		const struct eg_sim_channel *c = &sc->channel[i];
		const struct eg_power *p = &c->power;
		uint64_t steps = 0;

		for (size_t k = 0; k < p->n_steps; k++)
			steps += p->step[k].for_ns;
		ns = EG_MAX(ns, 2 * c->fold_ns + 15 * SECOND);
		ns = EG_MAX(ns, 2 * EG_MIN(EG_MAX(p->period_ns, steps), 600 * SECOND));
		if (c->kind == EG_SIM_RAPL && eg_power_max_uw(p))
			ns = EG_MAX(ns, EG_MIN((c->range_uj - c->start_uj) * 1000 /
						       eg_power_max_uw(p) * EG_NSEC_PER_MSEC,
					       900 * SECOND) +
						15 * SECOND);
	}
	return ns;
}

/* Every sensor of the scenario has a channel or is named above, and every channel a sensor. */
static void check_cover(const struct lab *l)
{
	size_t read = 0;

	for (size_t i = 0; i < eg_meter_count(l->m); i++)
		if (l->source[i] < 0)
			fail_msg("%s: %s reads %s, which is no sensor of it", l->sc->name,
				 eg_meter_channel_name(l->m, i), eg_meter_channel(l->m, i)->origin);
	for (size_t s = 0; s < l->sc->n_channels; s++) {
		const struct eg_sim_channel *c = &l->sc->channel[s];
		unsigned n = 0;

		if (c->kind == EG_SIM_HWMON || c->kind == EG_SIM_PMU)
			continue;
		for (size_t i = 0; i < eg_meter_count(l->m); i++)
			n += l->source[i] == (int)s;
		if (n != !is_unread(l->sc->name, c->id))
			fail_msg("%s: %u channels read [%s]", l->sc->name, n, c->id);
		read += n;
	}
	if ((read == 0) != listed(nothing, EG_ARRAY_SIZE(nothing), l->sc->name))
		fail_msg("%s: %zu sensors are read", l->sc->name, read);
}

static void print_row(const struct lab *l, const char *name, double truth, double ours,
		      double allowed)
{
	print_message("# %-20s %-34.34s %16.6f %16.6f %13.6f %13.6f\n", l->sc->name, name,
		      truth / 1e6, ours / 1e6, (ours - truth) / 1e6, allowed / 1e6);
}

/* aligned: both edges of the window lie on a refresh of the sensor. */
static void check_counter(const struct lab *l, const struct eg_result *r, size_t i, bool aligned,
			  bool often)
{
	const struct eg_result_channel *c = &r->channel[i];
	double truth = lab_truth_uj(l, i, r->begin_ns, r->end_ns), ours = (double)c->uj;
	double edge = aligned ? 0 : lab_max_w(l, i) * (double)lab_source(l, i)->update_ns / 1e3;
	double above = lab_resolution_uj(l, i) * (1 + (double)c->resets) + edge;
	double below = above + lab_max_w(l, i) * (double)c->gap_ns / 1e3;

	if (aligned)
		print_row(l, c->name, truth, ours, below);
	assert_true(c->has_value);
	assert_int_equal(c->est_uj, 0);
	if (c->gap_ns && !listed(lossy, EG_ARRAY_SIZE(lossy), l->sc->name))
		fail_msg("%s: %s has a gap of %.9f s at %.3f", l->sc->name, c->name,
			 (double)c->gap_ns / 1e9, (double)lab_now(l) / 1e9);
	/*
	 * Between two readings a register that started again at 0 can have passed its old value: no
	 * reader can tell that from a step, and what is missing is less than that old value.
	 */
	if (!often && strcmp(l->sc->name, "driver-reload") == 0)
		below += (double)lab_source(l, i)->start_uj + 1650e6;
	if (ours - truth > above || truth - ours > below)
		fail_msg("%s: %s says %.6f J, truth %.6f J, allowed -%.6f +%.6f J", l->sc->name,
			 c->name, ours / 1e6, truth / 1e6, below / 1e6, above / 1e6);
}

/* The shortest stretch of a power function that a sampler has to meet. */
static uint64_t feature_ns(const struct eg_power *p)
{
	uint64_t ns = UINT64_MAX;

	switch (p->kind) {
	case EG_POWER_PULSE:
		return EG_MIN(p->high_ns, p->period_ns - p->high_ns);
	case EG_POWER_SINE:
		return p->period_ns / 2;
	case EG_POWER_RAMP:
	case EG_POWER_IDLE_ACTIVE:
		return p->period_ns;
	case EG_POWER_STEPS:
		for (size_t k = 0; k < p->n_steps; k++)
			ns = EG_MIN(ns, p->step[k].for_ns);
		return ns;
	case EG_POWER_CONSTANT:
		break;
	}
	return ns;
}

/*
 * A gauge can tell only what its samples meet: four in the shortest stretch, and a sensor that
 * refreshes as often. What is faster (bursts of 5 ms behind a refresh of 100 ms) is not in its
 * readings at all, so that nothing is said of it here.
 */
static bool can_follow(const struct lab *l, size_t i, uint64_t step_ns)
{
	uint64_t feature = feature_ns(&lab_source(l, i)->power);

	return EG_MAX(step_ns, lab_source(l, i)->update_ns) <= feature / 4;
}

static void check_gauge(const struct lab *l, const struct eg_result *r, size_t i, bool print)
{
	const struct eg_result_channel *c = &r->channel[i];
	double truth = lab_truth_uj(l, i, r->begin_ns, r->end_ns),
	       ours = (double)(c->uj + c->est_uj);
	double allowed = (double)c->uncertainty.total_uj;
	double missing = lab_max_w(l, i) * (double)c->gap_ns / 1e3;

	if (print)
		print_row(l, c->name, truth, ours, allowed + missing);
	assert_true(c->has_value);
	if (ours - truth > allowed || truth - ours > allowed + missing)
		fail_msg("%s: %s says %.6f J +- %.6f, truth %.6f J, gap %.3f s", l->sc->name,
			 c->name, ours / 1e6, allowed / 1e6, truth / 1e6, (double)c->gap_ns / 1e9);
}

static void check_total(const struct lab *l, const struct eg_result *r)
{
	uint64_t sum = 0;
	bool any = false;

	for (size_t i = 0; i < r->n; i++) {
		if (r->channel[i].role != EG_ROLE_TOTAL)
			continue;
		any = true;
		sum += r->channel[i].uj + r->channel[i].est_uj;
	}
	assert_int_equal(any, r->has_total);
	if (any)
		assert_true(sum == r->total_uj);
}

/* Each sensor that is missed has a diagnostic, and one that can be helped has the cure. */
static void check_diagnosed(const struct lab *l)
{
	struct eg_diags d;
	unsigned cures = 0;

	assert_int_equal(eg_meter_diags(l->m, &d), 0);
	for (size_t i = 0; i < d.n; i++) {
		assert_true(d.items[i].detail[0]);
		cures += d.items[i].cure[0] != '\0';
	}
	if (cures == 0)
		fail_msg("%s: no diagnostic with a cure", l->sc->name);
	eg_diags_free(&d);
}

static void run_scenario(const char *name, uint64_t step_ns, bool by_guard, bool print)
{
	struct lab *l = lab_new(name);
	uint64_t length = length_of(l->sc), guard;
	struct eg_result *r;

	lab_open(l, by_guard ? 3600 * SECOND : step_ns, NULL);
	check_cover(l);
	check_diagnosed(l);
	guard = eg_meter_guard_ns(l->m);
	if (by_guard)
		step_ns = EG_MIN(guard, 3600 * SECOND);
	r = lab_window(l, 0, length, EG_MIN(step_ns, guard));
	for (size_t i = 0; i < r->n; i++) {
		bool aligned = step_ns == SECOND && length % lab_source(l, i)->update_ns == 0;

		if (eg_meter_channel(l->m, i)->quantity == EG_QUANTITY_ENERGY)
			check_counter(l, r, i, aligned, !by_guard);
		else if (!by_guard && can_follow(l, i, step_ns))
			check_gauge(l, r, i, print);
	}
	check_total(l, r);
	assert_int_equal(r->seconds_ns, r->end_ns - r->begin_ns);
	eg_result_free(r);
	lab_free(l);
}

static void each_second(void **state)
{
	print_message("# %-20s %-34s %16s %16s %13s %13s\n", "scenario", "channel", "truth J",
		      "ours J", "error J", "allowed J");
	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++)
		run_scenario(s->name, SECOND, false, true);
}

/* Steps that meet neither the refreshes of sensors nor the events of scenarios. */
static void odd_steps(void **state)
{
	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++) {
		run_scenario(s->name, 736954321, false, false);
		run_scenario(s->name, 4999999999, false, false);
	}
}

/* Each gauge at a rate that can follow it; named where none can. */
static void gauges_followed(void **state)
{
	unsigned followed = 0;

	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++) {
		struct lab *l = lab_new(s->name);
		uint64_t step_ns = SECOND;
		struct eg_result *r;
		bool any = false;

		lab_open(l, EG_NSEC_PER_MSEC, NULL);
		for (size_t i = 0; i < eg_meter_count(l->m); i++) {
			const struct eg_sim_channel *c = lab_source(l, i);

			if (eg_meter_channel(l->m, i)->quantity != EG_QUANTITY_POWER)
				continue;
			any = true;
			step_ns = EG_MIN(step_ns, EG_MAX(c->update_ns, feature_ns(&c->power) / 20));
		}
		if (any) {
			r = lab_window(l, 3 * SECOND + 17, 45 * SECOND + 419, step_ns);
			for (size_t i = 0; i < r->n; i++) {
				if (r->channel[i].ch->quantity != EG_QUANTITY_POWER)
					continue;
				if (can_follow(l, i, step_ns))
					check_gauge(l, r, i, true);
				else if (strcmp(s->name, "gauge-bursts") != 0)
					fail_msg("%s: nothing follows %s", s->name,
						 r->channel[i].name);
				followed += can_follow(l, i, step_ns);
			}
			eg_result_free(r);
		}
		lab_free(l);
	}
	assert_true(followed >= 20);
}

/*
 * A counter whose refresh is told nowhere moves by a whole refresh between two readings that are a
 * millisecond apart: that is energy, not a fault.
 */
static void refresh_between_close_readings(void **state)
{
	struct lab *l = lab_new("[scenario]\ntitle = energy by hwmon, refreshed each 100 ms\n"
				"[machine]\ncpus = 2\n[hwmon 0]\nname = amd_energy\n"
				"[hwmon 0 energy1]\nlabel = Esocket0\nupdate = 100ms\n"
				"power = 300W\n");
	uint64_t sum = 0, t = 0;
	struct eg_result *r;

	lab_open(l, SECOND, NULL);
	lab_begin(l, "all");
	lab_begin(l, "part");
	for (int k = 0; k < 400; k++) {
		t += k % 4 == 3 ? 97 * EG_NSEC_PER_MSEC : EG_NSEC_PER_MSEC;
		lab_at(l, t);
		assert_int_equal(eg_meter_next(l->m, "part", "part", &r), 0);
		assert_int_equal(r->channel[0].gap_ns, 0);
		sum += r->channel[0].uj;
		eg_result_free(r);
	}
	r = lab_end(l, "all");
	assert_int_equal(r->channel[0].gap_ns, 0);
	assert_true(r->channel[0].uj == sum);
	assert_true(fabs((double)sum - 3000e6) <= 17);
	eg_result_free(r);
	lab_free(l);
}

static void guard_alone(void **state)
{
	for (const struct eg_shipped_scenario *s = eg_shipped_scenarios; s->name; s++)
		run_scenario(s->name, 0, true, false);
}

static const struct eg_diag *find(const struct eg_diags *d, enum eg_diag_code code,
				  const char *driver)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].code == code && strcmp(d->items[i].driver, driver) == 0)
			return &d->items[i];
	return NULL;
}

/* Opened while the zone may not be read: no channel, no joule, and the way out. */
static void denied_at_open(void **state)
{
	struct lab *l = lab_new("eacces");
	const struct eg_diag *d;
	struct eg_diags diags;
	struct eg_result *r;

	lab_at(l, 6 * SECOND);
	lab_open(l, SECOND, NULL);
	assert_int_equal(eg_meter_count(l->m), 0);
	assert_int_equal(eg_meter_diags(l->m, &diags), 0);
	d = find(&diags, EG_DIAG_SENSOR_BLOCKED, "rapl");
	assert_non_null(d);
	assert_true(d->cure[0]);
	print_message("# eacces: %s; cure: %s\n", d->detail, d->cure);
	eg_diags_free(&diags);
	r = lab_window(l, 7 * SECOND, 10 * SECOND, SECOND);
	assert_false(r->has_total);
	assert_int_equal(r->total_uj, 0);
	assert_int_equal(r->n, 0);
	eg_result_free(r);
	lab_free(l);
}

/* Each scenario whose sensor is not there names the driver's reason with a cure. */
static void absent_is_explained(void **state)
{
	static const struct {
		const char *scenario, *driver;
	} cases[] = {{"no-sensor", "rapl"},   {"no-sensor", "hwmon"}, {"perf-empty", "perf_rapl"},
		     {"gpu-library", "nvml"}, {"gpu-mute", "nvml"},   {"gpu-lost", "nvml"}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct lab *l = lab_new(cases[i].scenario);
		const struct eg_diag *found = NULL;
		struct eg_diags d;

		lab_open(l, SECOND, NULL);
		assert_int_equal(eg_meter_diags(l->m, &d), 0);
		for (size_t k = 0; k < d.n; k++)
			if (strcmp(d.items[k].driver, cases[i].driver) == 0 && d.items[k].cure[0])
				found = &d.items[k];
		if (!found)
			fail_msg("%s: %s gives no cure", cases[i].scenario, cases[i].driver);
		print_message("# %s: %s: %s: %s; cure: %s\n", cases[i].scenario, found->driver,
			      eg_diag_word(found->code), found->detail, found->cure);
		eg_diags_free(&d);
		lab_free(l);
	}
}

/* What the scenario does shows in the flags, and nowhere else. */
static void events_are_flagged(void **state)
{
	static const struct {
		const char *scenario;
		uint32_t flags;
	} cases[] = {
		{"counter-reset", EG_FLAG_BIT(EG_FLAG_RESET) | EG_FLAG_BIT(EG_FLAG_GAP)},
		{"driver-reload", EG_FLAG_BIT(EG_FLAG_RESET) | EG_FLAG_BIT(EG_FLAG_GAP)},
		{"reboot", EG_FLAG_BIT(EG_FLAG_RESET) | EG_FLAG_BIT(EG_FLAG_GAP)},
		{"no-range", EG_FLAG_BIT(EG_FLAG_RESET) | EG_FLAG_BIT(EG_FLAG_GAP)},
		{"suspend", EG_FLAG_BIT(EG_FLAG_SUSPEND) | EG_FLAG_BIT(EG_FLAG_GAP)},
		{"wrap-many", 0},
		{"eio-once", 0},
		{"zone-vanish", 0},
		{"clock-step", 0},
	};
	const uint32_t looked_at = EG_FLAG_BIT(EG_FLAG_RESET) | EG_FLAG_BIT(EG_FLAG_GAP) |
				   EG_FLAG_BIT(EG_FLAG_SUSPEND) | EG_FLAG_BIT(EG_FLAG_HELD) |
				   EG_FLAG_BIT(EG_FLAG_LOST);

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct lab *l = lab_new(cases[i].scenario);
		const struct eg_result_channel *c;
		struct eg_result *r;

		lab_open(l, SECOND, NULL);
		r = lab_window(l, 0, length_of(l->sc), SECOND);
		c = lab_channel(r, "rapl/package-0");
		if ((c->flags & looked_at) != cases[i].flags)
			fail_msg("%s: flags %x, expected %x", cases[i].scenario,
				 c->flags & looked_at, cases[i].flags);
		eg_result_free(r);
		lab_free(l);
	}
}

/* One of two packages is away for a whole window: the total is not whole, and says so. */
static void a_missing_part_is_flagged(void **state)
{
	const uint32_t gap = EG_FLAG_BIT(EG_FLAG_GAP), lost = EG_FLAG_BIT(EG_FLAG_LOST);
	struct lab *l = lab_new("[scenario]\ntitle = one of two packages is away\n[machine]\n"
				"cpus = 4\npackages = 2\n[rapl intel-rapl:0]\nname = package-0\n"
				"power = 100W\n[rapl intel-rapl:1]\nname = package-1\npower = 50W\n"
				"event = 5s vanish for 10s\n");
	struct eg_result *r;

	lab_open(l, SECOND, NULL);
	r = lab_window(l, 6 * SECOND, 14 * SECOND, SECOND);
	assert_true(fabs((double)r->total_uj - 800e6) <= 62);
	assert_int_equal(r->channel[1].role, EG_ROLE_UNUSABLE);
	assert_int_equal(r->flags & (gap | lost), gap | lost);
	eg_result_free(r);
	lab_free(l);
	l = lab_new("zone-vanish"); /* and where nothing is left to count */
	lab_open(l, SECOND, NULL);
	r = lab_window(l, 6 * SECOND, 14 * SECOND, SECOND);
	assert_false(r->has_total);
	assert_int_equal(r->flags & (gap | lost), gap | lost);
	eg_result_free(r);
	lab_free(l);
	l = lab_new("[scenario]\ntitle = a second interface reads the same\n[machine]\ncpus = 4\n"
		    "[perf power]\ntype = 21\ncpumask = 0\n[perf power energy-pkg 0]\nconfig = 2\n"
		    "power = 50W\n[rapl intel-rapl:0]\nname = package-0\npower = 50W\n"
		    "event = 5s vanish for 10s\n");
	lab_open(l, SECOND, NULL);
	r = lab_window(l, 6 * SECOND, 14 * SECOND, SECOND);
	assert_true(fabs((double)r->total_uj - 400e6) <= 62); /* whole, by perf */
	assert_int_equal(r->flags & (gap | lost), 0);
	eg_result_free(r);
	lab_free(l);
}

/* Unix time jumps; the window's length and its energy are of the interval clock. */
static void clock_steps_change_nothing(void **state)
{
	struct lab *l = lab_new("clock-step");
	struct eg_result *r;

	lab_open(l, SECOND, NULL);
	r = lab_window(l, 5 * SECOND, 25 * SECOND, SECOND);
	assert_int_equal(r->seconds_ns, 20 * SECOND);
	assert_true(r->end_unix_ns < r->begin_unix_ns);
	assert_true(fabs((double)r->total_uj - 2000e6) <= 62);
	eg_result_free(r);
	lab_free(l);
}

/*
 * A read that hangs, on a worker: the meter goes on without it, adds nothing, and after the counter
 * answered again nothing is lost either.
 */
static void hang_on_a_worker(void **state)
{
	struct lab *l = lab_new("hang");
	struct eg_driver slow = eg_driver_rapl;
	const struct eg_driver *const drivers[] = {&slow, NULL};
	const struct eg_meter_config cfg = {.read_deadline_ns = 20 * EG_NSEC_PER_MSEC};
	enum eg_status status = EG_STATUS_ERROR;
	const char *why;
	struct eg_diags diags;
	struct eg_result *r;
	uint64_t before;

	slow.blocking_ns = 50 * EG_NSEC_PER_MSEC;
	l->fault[0].hang_ns = 3600 * SECOND;
	assert_int_equal(eg_faultfs_set(l->ff, l->fault, 1), 0);
	assert_int_equal(eg_meter_open(&l->env, drivers, &cfg, &l->m, &why), 0);
	lab_begin(l, "w");
	/* A loaded machine may miss a deadline of 20 ms: until it hangs, wait for the sample. */
	lab_at(l, 4 * SECOND);
	lab_sample(l);
	lab_at(l, 6 * SECOND);
	before = l->seen_uj[0];
	lab_sample(l);
	lab_sample(l);
	assert_true(l->seen_uj[0] == before);
	assert_int_equal(eg_meter_diags(l->m, &diags), 0);
	assert_non_null(find(&diags, EG_DIAG_SENSOR_TIMEOUT, "rapl"));
	eg_diags_free(&diags);
	/* The file answers from 8 s on; the read that hung ends and gives the value of then. */
	lab_at(l, 20 * SECOND);
	eg_faultfs_release(l->ff);
	for (int k = 0; k < 3000 && status != EG_STATUS_OK; k++) {
		const struct eg_snapshot *s;

		usleep(10000);
		lab_sample(l);
		s = eg_meter_pin(l->m);
		status = s->channel[0].status;
		eg_meter_unpin(l->m, s);
	}
	assert_int_equal(status, EG_STATUS_OK);
	r = lab_end(l, "w");
	print_message("# hang: 20 s at 150 W, hanging from 5 s on: %.6f J\n",
		      (double)r->total_uj / 1e6);
	assert_true(fabs((double)r->channel[0].uj - 3000e6) <= 62);
	assert_int_equal(r->channel[0].gap_ns, 0);
	eg_result_free(r);
	lab_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_second),
		cmocka_unit_test(odd_steps),
		cmocka_unit_test(gauges_followed),
		cmocka_unit_test(guard_alone),
		cmocka_unit_test(refresh_between_close_readings),
		cmocka_unit_test(denied_at_open),
		cmocka_unit_test(absent_is_explained),
		cmocka_unit_test(events_are_flagged),
		cmocka_unit_test(a_missing_part_is_flagged),
		cmocka_unit_test(clock_steps_change_nothing),
		cmocka_unit_test(hang_on_a_worker),
	};

	return cmocka_run_group_tests_name("truth-scenarios", tests, NULL, NULL);
}
