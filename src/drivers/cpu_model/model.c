/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models. Sources:
 *  - universal curve and curves over TDP: medians of SPECpower_ssj2008 results (AC wall power at 11
 *    load levels, spec.org/power_ssj2008), systems with the CPUs named;
 *  - curve over TDP for any CPU: Teads engineering, "Estimating AWS EC2 instances power
 *    consumption";
 *  - watts a thread and a vCPU: Cloud Carbon Footprint, coefficients from the same SPECpower data;
 *  - TDP: the vendors' data sheets (Intel ARK, AMD product specifications).
 * The stated error is the half-width, in parts of the estimate, that held the wall power of at least
 * 95 % of the SPECpower points (tests/drivers/cpu_model computes it again).
 */
#include "drivers/cpu_model/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const double universal[EG_CPU_MODEL_POINTS] = {0,    .173, .234, .298, .363, .426,
						      .503, .599, .723, .863, 1};

/* Wall W per W of total TDP at idle, 10, 50, 100 % load. */
static const double curve_ratio[] = {0, .1, .5, 1};
static const struct {
	enum eg_uarch uarch;
	double per_tdp[4];
} curves[] = {
	{EG_UARCH_UNKNOWN, {.12, .32, .75, 1.02}}, /* any CPU (Teads) */
	{EG_UARCH_SKYLAKE, {.14, .31, .57, 1.12}},    {EG_UARCH_CASCADELAKE, {.15, .30, .53, 1.06}},
	{EG_UARCH_COOPERLAKE, {.21, .34, .56, 1.04}}, {EG_UARCH_ICELAKE, {.24, .36, .57, 1.16}},
	{EG_UARCH_ROCKETLAKE, {.21, .27, .41, .77}},  {EG_UARCH_COFFEELAKE, {.17, .22, .38, .90}},
	{EG_UARCH_BROADWELL, {.16, .30, .51, .90}},   {EG_UARCH_HASWELL, {.17, .32, .54, .97}},
	{EG_UARCH_IVYBRIDGE, {.42, .51, .74, 1.23}},  {EG_UARCH_SANDYBRIDGE, {.29, .41, .65, 1.29}},
	{EG_UARCH_EPYC1, {.26, .41, .55, .82}},	      {EG_UARCH_EPYC2, {.26, .46, .72, 1.00}},
	{EG_UARCH_EPYC3, {.19, .35, .50, .82}},
};

/* Watts a hardware thread, idle and full. */
static const struct {
	enum eg_uarch uarch;
	double idle, full;
} threads[] = {
	{EG_UARCH_UNKNOWN, .74, 3.5}, /* mean of a cloud's vCPUs */
	{EG_UARCH_CASCADELAKE, .64, 3.97}, {EG_UARCH_SKYLAKE, .65, 4.26},
	{EG_UARCH_BROADWELL, .71, 3.69},   {EG_UARCH_HASWELL, 1, 4.74},
	{EG_UARCH_COFFEELAKE, 1.14, 5.42}, {EG_UARCH_SANDYBRIDGE, 2.17, 8.58},
	{EG_UARCH_IVYBRIDGE, 3.04, 8.25},  {EG_UARCH_EPYC1, .82, 2.55},
	{EG_UARCH_EPYC2, .47, 1.69},
};

static const struct {
	const char *citation;
	uint32_t rel_ppm;
} kinds[] = {
	[EG_CPU_MODEL_CALIBRATED] = {"SPECpower_ssj2008: 95 % of points 2017+ within 25 %", 250000},
	[EG_CPU_MODEL_UARCH] = {"SPECpower_ssj2008: 95 % of points within 50 %", 500000},
	[EG_CPU_MODEL_TDP] = {"Teads curve on SPECpower_ssj2008: 95 % of points 2017+ within 75 %",
			      750000},
	[EG_CPU_MODEL_THREAD] = {"Cloud Carbon Footprint on SPECpower_ssj2008: 95 % within 65 %",
				 650000},
	[EG_CPU_MODEL_VCPU] = {"Cloud Carbon Footprint mean on SPECpower_ssj2008: 95 % of points "
			       "2017+ within 75 %",
			       750000},
};

static const struct {
	const char *name;
	unsigned watts;
} tdps[] = {
	{"E5-2620", 95},	 {"E5-2630", 95},	  {"E5-2640", 95},
	{"E5-2650", 95},	 {"E5-2650L", 70},	  {"E5-2660", 95},
	{"E5-2665", 115},	 {"E5-2670", 115},	  {"E5-2680", 130},
	{"E5-2690", 135},	 {"E5-2620 v2", 80},	  {"E5-2630 v2", 80},
	{"E5-2640 v2", 95},	 {"E5-2650 v2", 95},	  {"E5-2660 v2", 95},
	{"E5-2670 v2", 115},	 {"E5-2680 v2", 115},	  {"E5-2690 v2", 130},
	{"E5-2620 v3", 85},	 {"E5-2630 v3", 85},	  {"E5-2640 v3", 90},
	{"E5-2650 v3", 105},	 {"E5-2660 v3", 105},	  {"E5-2670 v3", 120},
	{"E5-2680 v3", 120},	 {"E5-2690 v3", 135},	  {"E5-2698 v3", 135},
	{"E5-2699 v3", 145},	 {"E5-2620 v4", 85},	  {"E5-2630 v4", 85},
	{"E5-2640 v4", 90},	 {"E5-2650 v4", 105},	  {"E5-2660 v4", 105},
	{"E5-2680 v4", 120},	 {"E5-2690 v4", 135},	  {"E5-2698 v4", 135},
	{"E5-2699 v4", 145},	 {"Silver 4110", 85},	  {"Silver 4114", 85},
	{"Gold 5118", 105},	 {"Gold 6130", 125},	  {"Gold 6138", 125},
	{"Gold 6140", 140},	 {"Gold 6142", 150},	  {"Gold 6148", 150},
	{"Gold 6154", 200},	 {"Platinum 8160", 150},  {"Platinum 8168", 205},
	{"Platinum 8176", 165},	 {"Platinum 8180", 205},  {"Silver 4208", 85},
	{"Silver 4210", 85},	 {"Silver 4214", 85},	  {"Gold 5218", 125},
	{"Gold 6230", 125},	 {"Gold 6240", 150},	  {"Gold 6248", 150},
	{"Gold 6248R", 205},	 {"Gold 6252", 150},	  {"Gold 6258R", 205},
	{"Platinum 8260", 165},	 {"Platinum 8268", 205},  {"Platinum 8276", 165},
	{"Platinum 8280", 205},	 {"Silver 4310", 120},	  {"Silver 4314", 135},
	{"Gold 5318Y", 165},	 {"Gold 6326", 185},	  {"Gold 6330", 205},
	{"Gold 6338", 205},	 {"Gold 6342", 230},	  {"Gold 6348", 235},
	{"Platinum 8358", 250},	 {"Platinum 8368", 270},  {"Platinum 8380", 270},
	{"Platinum 8480+", 350}, {"Platinum 8490H", 350}, {"E-2176G", 80},
	{"E-2288G", 95},	 {"E-2236", 80},	  {"E-2388G", 95},
	{"E-2356G", 80},	 {"EPYC 7451", 180},	  {"EPYC 7551", 180},
	{"EPYC 7601", 180},	 {"EPYC 7302", 155},	  {"EPYC 7402", 180},
	{"EPYC 7502", 180},	 {"EPYC 7702", 200},	  {"EPYC 7702P", 200},
	{"EPYC 7742", 225},	 {"EPYC 7313", 155},	  {"EPYC 7443", 200},
	{"EPYC 7543", 225},	 {"EPYC 7713", 225},	  {"EPYC 7763", 280},
	{"EPYC 9354", 280},	 {"EPYC 9454", 290},	  {"EPYC 9554", 360},
	{"EPYC 9654", 360},
};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Is the word whole at p? "Gold 6348" is not in "Gold 6348H", "E5-2660" not in "E5-2660 v2". */
static bool whole(const char *name, const char *p, size_t n)
{
	if (p > name && is_alnum(p[-1]))
		return false;
	p += n;
	if (is_alnum(*p) || *p == '+')
		return false;
	return !(p[0] == ' ' && p[1] == 'v' && p[2] >= '0' && p[2] <= '9');
}

unsigned eg_cpu_model_tdp_watts(const char *model_name)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(tdps); i++) {
		const char *p = strstr(model_name, tdps[i].name);

		if (p && whole(model_name, p, strlen(tdps[i].name)))
			return tdps[i].watts;
	}
	return 0;
}

static double interpolate(const double *x, const double *y, size_t n, double at)
{
	size_t i = 1;

	if (!(at > x[0])) /* also where it is no number */
		return y[0];
	while (i < n - 1 && at > x[i])
		i++;
	if (at >= x[n - 1])
		return y[n - 1];
	return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]);
}

double eg_cpu_model_watts(const struct eg_cpu_model *m, double ratio)
{
	return interpolate(m->ratio, m->watts, m->n, ratio);
}

static const double *curve_of(enum eg_uarch u)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(curves); i++)
		if (curves[i].uarch == u)
			return curves[i].per_tdp;
	return NULL;
}

double eg_cpu_model_per_tdp(enum eg_uarch u, double ratio)
{
	const double *c = curve_of(u);

	return c ? interpolate(curve_ratio, c, 4, ratio) : -1;
}

static bool watts_ok(double w)
{
	return w > 0 && w <= EG_CPU_MODEL_MAX_WATTS;
}

static void calibrated(const struct eg_cpu_model_inputs *in, struct eg_cpu_model *m)
{
	m->kind = EG_CPU_MODEL_CALIBRATED;
	m->n = EG_CPU_MODEL_POINTS;
	for (size_t i = 0; i < m->n; i++) {
		m->ratio[i] = (double)i / 10;
		m->watts[i] = in->idle_watts + universal[i] * (in->full_watts - in->idle_watts);
	}
	snprintf(m->label, sizeof(m->label), "calibrated %.4g to %.4g W", in->idle_watts,
		 in->full_watts);
	snprintf(m->text, sizeof(m->text),
		 "universal curve between the given %.6g W idle and %.6g W at full load",
		 in->idle_watts, in->full_watts);
}

static void over_tdp(const struct eg_cpu *cpu, double tdp, const double *curve,
		     struct eg_cpu_model *m)
{
	uint32_t sockets = EG_MAX(cpu->sockets, 1u);
	double total = tdp * sockets;
	const char *name = m->kind == EG_CPU_MODEL_UARCH ? eg_uarch_word(cpu->uarch) : "any-CPU";

	m->n = 4;
	for (size_t i = 0; i < m->n; i++) {
		m->ratio[i] = curve_ratio[i];
		m->watts[i] = curve[i] * total;
	}
	snprintf(m->label, sizeof(m->label), "%s curve, TDP %u x %.4g W", name, sockets, tdp);
	snprintf(m->text, sizeof(m->text),
		 "%s curve of wall power over %u x %.6g W TDP: %.3g W idle, %.3g W at full load",
		 name, sockets, tdp, m->watts[0], m->watts[3]);
}

static void over_threads(const struct eg_cpu *cpu, bool guest, struct eg_cpu_model *m)
{
	size_t row = 0;

	for (size_t i = 1; i < EG_ARRAY_SIZE(threads); i++)
		if (threads[i].uarch == cpu->uarch)
			row = i;
	m->kind = row ? EG_CPU_MODEL_THREAD : EG_CPU_MODEL_VCPU;
	m->n = 2;
	m->ratio[0] = 0;
	m->ratio[1] = 1;
	m->watts[0] = threads[row].idle * cpu->threads;
	m->watts[1] = threads[row].full * cpu->threads;
	snprintf(m->label, sizeof(m->label), "%s, %u x %.3g to %.3g W",
		 row ? eg_uarch_word(cpu->uarch) : "mean vCPU", cpu->threads, threads[row].idle,
		 threads[row].full);
	snprintf(m->text, sizeof(m->text), "%s of %u %s: %.3g W idle and %.3g W full each%s",
		 row ? eg_uarch_word(cpu->uarch) : "cloud mean", cpu->threads,
		 guest ? "virtual CPUs" : "threads", threads[row].idle, threads[row].full,
		 row ? "" : " (CPU without a curve or a known TDP)");
}

int eg_cpu_model_choose(const struct eg_cpu_model_inputs *in, struct eg_cpu_model *ret,
			const char **ret_why)
{
	bool have_tdp = in->tdp_watts >= 0;
	double tdp = have_tdp ? in->tdp_watts : eg_cpu_model_tdp_watts(in->cpu->model_name);
	const double *curve = curve_of(in->cpu->uarch);
	struct eg_cpu_model m = {.kind = EG_CPU_MODEL_CALIBRATED};

	if ((in->idle_watts >= 0) != (in->full_watts >= 0)) {
		*ret_why = "idle_watts and full_watts go together";
		return -EINVAL;
	}
	if (in->idle_watts >= 0 && !(watts_ok(in->idle_watts) && watts_ok(in->full_watts) &&
				     in->idle_watts <= in->full_watts)) {
		*ret_why = "0 < idle_watts <= full_watts <= 100000 must hold";
		return -EINVAL;
	}
	if (have_tdp && !watts_ok(tdp)) {
		*ret_why = "0 < tdp_watts <= 100000 must hold";
		return -EINVAL;
	}
	if (in->idle_watts >= 0) {
		calibrated(in, &m);
	} else if (!in->guest && tdp > 0) {
		m.kind = curve && in->cpu->uarch != EG_UARCH_UNKNOWN ? EG_CPU_MODEL_UARCH :
								       EG_CPU_MODEL_TDP;
		over_tdp(in->cpu, tdp, curve ? curve : curve_of(EG_UARCH_UNKNOWN), &m);
	} else if (in->cpu->threads > 0) {
		over_threads(in->cpu, in->guest, &m);
	} else {
		return -ENODATA;
	}
	m.rel_ppm = kinds[m.kind].rel_ppm;
	m.citation = kinds[m.kind].citation;
	*ret = m;
	return 0;
}
