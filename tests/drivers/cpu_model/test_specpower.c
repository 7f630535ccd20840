/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models against the wall power of the SPECpower_ssj2008 systems: the mean error, and that the
 * stated 95 % bounds hold at least 95 % of the points.
 */
#include "../../host/tree.h"

#include <ctype.h>
#include <math.h>

#include "drivers/cpu_model/model.h"

#define LEVELS	    11
#define SYSTEMS_MAX 1024

struct system {
	double watts[LEVELS]; /* idle, 10 %, ... 100 % */
	double tdp, chips, threads, year;
	enum eg_uarch uarch;
	char cpu[128];
};

struct table {
	struct system *s;
	size_t n;
};

/* Splits one CSV record in place (quotes, doubled quotes); returns where the next begins. */
static char *record(char *p, char **field, size_t max, size_t *ret_n)
{
	size_t n = 0;

	for (;;) {
		char *out = p, *start = p;
		bool quoted = false;

		for (; *p && (quoted || (*p != ',' && *p != '\n')); p++) {
			if (*p == '"' && quoted && p[1] == '"')
				*out++ = *p++;
			else if (*p == '"')
				quoted = !quoted;
			else
				*out++ = *p;
		}
		char end = *p;

		*out = '\0';
		if (n < max)
			field[n++] = start;
		if (end)
			p++;
		if (end != ',')
			break;
	}
	*ret_n = n;
	return p;
}

static size_t column(char **head, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(head[i], name))
			return i;
	fail_msg("no column %s", name);
	return 0;
}

static enum eg_uarch uarch_by_word(const char *w)
{
	static const char *const epyc[] = {"epyc-gen1", "epyc-gen2", "epyc-gen3"};

	for (size_t i = 0; i < 3; i++)
		if (!strcmp(w, epyc[i]))
			return EG_UARCH_EPYC1 + (enum eg_uarch)i;
	for (int u = 0; u < EG_UARCH_COUNT; u++)
		if (!strcmp(w, eg_uarch_word((enum eg_uarch)u)))
			return (enum eg_uarch)u;
	return EG_UARCH_UNKNOWN;
}

static int load(void **state)
{
	const char *data = test_data();
	char path[512], *head[128], *f[128];
	size_t nh, nf, c[LEVELS], tdp, chips, threads, year, arch, cpu;
	struct table *t;

	*state = NULL;
	if (!data)
		return 0;
	snprintf(path, sizeof(path), "%s/tables/specpower/spec_data_cleaned_unmelted.csv", data);
	eg_autofree char *text = slurp(path, NULL);

	assert_non_null(text);
	char *p = record(text, head, 128, &nh);

	c[0] = column(head, nh, "ActiveIdle");
	for (int i = 1; i < LEVELS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d_AvgPower", i * 10);
		c[i] = column(head, nh, name);
	}
	tdp = column(head, nh, "TDP");
	chips = column(head, nh, "CPUChips");
	threads = column(head, nh, "HW_HardwareThreads");
	year = column(head, nh, "Hardware_Availability_Year");
	arch = column(head, nh, "Architecture");
	cpu = column(head, nh, "HW_CPUName");
	t = calloc(1, sizeof(*t));
	assert_non_null(t);
	t->s = calloc(SYSTEMS_MAX, sizeof(*t->s));
	assert_non_null(t->s);
	while (*p && t->n < SYSTEMS_MAX) {
		struct system *s = &t->s[t->n];

		p = record(p, f, 128, &nf);
		if (nf != nh)
			continue;
		for (int i = 0; i < LEVELS; i++)
			s->watts[i] = atof(f[c[i]]);
		s->tdp = atof(f[tdp]);
		s->chips = atof(f[chips]);
		s->threads = atof(f[threads]);
		s->year = atof(f[year]);
		s->uarch = uarch_by_word(f[arch]);
		eg_copy(s->cpu, sizeof(s->cpu), f[cpu]);
		t->n++;
	}
	*state = t;
	return 0;
}

static int unload(void **state)
{
	struct table *t = *state;

	if (t)
		free(t->s);
	free(t);
	return 0;
}

struct score {
	size_t systems, points, within;
	double sum_abs, sum_signed, mape, bias, coverage;
};

/*
 * Runs choose() for each system and compares all levels from..to. known_uarch: only systems whose
 * microarchitecture has a curve.
 */
static struct score score(const struct table *t, enum eg_cpu_model_kind kind, double from_year,
			  int from, int to)
{
	struct score sc = {0};

	for (size_t i = 0; i < t->n; i++) {
		const struct system *s = &t->s[i];
		struct eg_cpu cpu = {.sockets = (uint32_t)s->chips,
				     .threads = (uint32_t)s->threads,
				     .uarch = s->uarch};
		struct eg_cpu_model_inputs in = {&cpu, false, -1, -1, -1};
		struct eg_cpu_model m;
		const char *why;

		if (s->year < from_year)
			continue;
		if (kind == EG_CPU_MODEL_CALIBRATED) {
			in.idle_watts = s->watts[0];
			in.full_watts = s->watts[LEVELS - 1];
		} else if (kind == EG_CPU_MODEL_UARCH || kind == EG_CPU_MODEL_TDP) {
			if (s->tdp <= 0 || s->chips < 1)
				continue;
			in.tdp_watts = s->tdp;
		}
		if (kind == EG_CPU_MODEL_TDP || kind == EG_CPU_MODEL_VCPU)
			cpu.uarch = EG_UARCH_UNKNOWN;
		if (eg_cpu_model_choose(&in, &m, &why) < 0 || m.kind != kind)
			continue;
		sc.systems++;
		for (int k = from; k <= to; k++) {
			double e = eg_cpu_model_watts(&m, k / 10.0), w = s->watts[k];

			sc.points++;
			sc.sum_abs += fabs(e - w) / w;
			sc.sum_signed += (e - w) / w;
			sc.within += fabs(e - w) <= e * m.rel_ppm / 1e6;
		}
	}
	assert_true(sc.points > 0);
	sc.mape = sc.sum_abs / (double)sc.points;
	sc.bias = sc.sum_signed / (double)sc.points;
	sc.coverage = (double)sc.within / (double)sc.points;
	return sc;
}

static void say(const char *what, const struct score *s)
{
	print_message(
		"# %s: %zu systems, MAPE %.1f %%, bias %+.1f %%, %.1f %% of points inside the "
		"stated bound\n",
		what, s->systems, 100 * s->mape, 100 * s->bias, 100 * s->coverage);
}

static void calibrated(void **state)
{
	struct score s;

	if (!*state)
		skip();
	s = score(*state, EG_CPU_MODEL_CALIBRATED, 2017, 1, 9);
	say("idle and full known, universal curve, 2017+, 10-90 %", &s);
	assert_int_equal(s.systems, 212);
	assert_true(s.mape < .0835); /* published: 8.3 % */
	assert_true(s.mape > .05);
	assert_true(s.coverage >= .95);
	s = score(*state, EG_CPU_MODEL_CALIBRATED, 0, 1, 9);
	say("idle and full known, universal curve, all years, 10-90 %", &s);
	assert_true(s.coverage >= .95);
}

static void by_uarch(void **state)
{
	struct score s;

	if (!*state)
		skip();
	s = score(*state, EG_CPU_MODEL_UARCH, 0, 0, 10);
	say("curve of the microarchitecture over TDP", &s);
	assert_true(s.systems > 300);
	assert_true(s.mape < .148); /* published, leave-one-out: 14.8 % */
	assert_true(s.coverage >= .95);
	s = score(*state, EG_CPU_MODEL_TDP, 2017, 0, 10);
	say("one curve for any CPU over TDP, 2017+", &s);
	assert_true(s.mape < .28); /* published: 27.2 % */
	assert_true(s.coverage >= .95);
	s = score(*state, EG_CPU_MODEL_TDP, 0, 0, 10);
	say("one curve for any CPU over TDP, all years", &s);
	assert_true(s.mape < .31); /* published: 30.6 % */
}

static void by_thread(void **state)
{
	struct score s;

	if (!*state)
		skip();
	s = score(*state, EG_CPU_MODEL_THREAD, 0, 0, 10);
	say("watts a thread of the microarchitecture", &s);
	assert_true(s.mape < .26);
	assert_true(s.coverage >= .95);
	s = score(*state, EG_CPU_MODEL_VCPU, 2017, 0, 10);
	say("mean watts a vCPU, 2017+", &s);
	assert_true(s.mape < .35);
	assert_true(s.coverage >= .95);
}

/* Every TDP of ours that the published tables name too is theirs. */
static void tdp_table(void **state)
{
	const struct table *t = *state;
	size_t seen = 0, wrong = 0;

	if (!t)
		skip();
	for (size_t i = 0; i < t->n; i++) {
		unsigned w = eg_cpu_model_tdp_watts(t->s[i].cpu);

		if (!w || t->s[i].tdp <= 0)
			continue;
		seen++;
		if (w != t->s[i].tdp && ++wrong)
			print_message("# %s: %u, table %g\n", t->s[i].cpu, w, t->s[i].tdp);
	}
	print_message("# %zu systems named a CPU of the TDP table\n", seen);
	assert_true(seen > 100);
	assert_int_equal(wrong, 0);
}

static void tdp_table_codecarbon(void **state)
{
	const char *data = test_data();
	char path[512], *f[8];
	size_t n, seen = 0, wrong = 0;

	if (!data)
		skip();
	snprintf(path, sizeof(path), "%s/tables/codecarbon/cpu_power.csv", data);
	eg_autofree char *text = slurp(path, NULL);

	assert_non_null(text);
	for (char *p = record(text, f, 8, &n); *p;) {
		p = record(p, f, 8, &n);
		if (n < 2)
			continue;
		unsigned w = eg_cpu_model_tdp_watts(f[0]);

		if (!w || atof(f[1]) <= 0)
			continue;
		seen++;
		if (w != atof(f[1]) && ++wrong)
			print_message("# %s: %u, table %s\n", f[0], w, f[1]);
	}
	print_message("# %zu of its CPUs are in the TDP table\n", seen);
	assert_true(seen > 60);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calibrated, load, unload),
		cmocka_unit_test_setup_teardown(by_uarch, load, unload),
		cmocka_unit_test_setup_teardown(by_thread, load, unload),
		cmocka_unit_test_setup_teardown(tdp_table, load, unload),
		cmocka_unit_test(tdp_table_codecarbon),
	};

	return cmocka_run_group_tests_name("cpu_model-specpower", tests, NULL, NULL);
}
