/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget of one window's error (see uncertainty.h), after JCGM 100 (GUM): each item has a
 * standard deviation, and is given as EG_COVERAGE times it.
 *
 *  resolution  A counter shows its energy rounded down to a step q. The rounding at either edge is
 *              uniform over q, their difference triangular: q / sqrt(6). RAPL in addition: the
 *              kernel rounds the energy unit to whole microjoules over powers of two, which is a
 *              gain error of up to 2.6 ppm (contracts/measurement.md 4.4); 3 ppm is added whole.
 *  update      Counter: the last refresh lies uniformly within one period T before each edge, so
 *              P T of energy at each edge is uniform: P T / sqrt(6). Gauge: its values are late by
 *              a constant part of T, which moves the curve and changes only what enters and leaves
 *              at the edges: rms of a uniform delay, T / sqrt(3), times the step of power between
 *              the edges.
 *              The readings also lie a little off the window's edges, by times that are known: what
 *              may have flowed in them is added as it is.
 *  sampling    What the power did between two samples is not known. The caller brings the variance
 *              of the integral (step_var_j2).
 *  accuracy    The class is the half-width of the 95 % interval of a gain error: class / 1.96. That
 *              of an estimator is the bound that held 95 % of a published table, and stands as it is.
 *  held        A held reading may be wrong by all of itself, uniformly: E / sqrt(3).
 */
#include "core/uncertainty.h"

#include <math.h>

#include "base/util.h"

#define KERNEL_UNIT_PPM 3
#define NORMAL_95	1.959964 /* half-width of 95 % of a normal distribution, in deviations */

/* Rounded up; stays at UINT64_MAX, also for what is no number: then nothing is known. */
static uint64_t to_uj(double v)
{
	if (v < 0x1p63)
		return v > 0 ? (uint64_t)ceil(v) : 0;
	return UINT64_MAX;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static double rss(double a, double b)
{
	return sqrt(a * a + b * b);
}

static void combine(struct eg_uncertainty *u)
{
	double v[] = {(double)u->resolution_uj, (double)u->update_uj, (double)u->sampling_uj,
		      (double)u->accuracy_uj, (double)u->held_uj};
	double total = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(v); i++)
		total = rss(total, v[i]);
	u->total_uj = to_uj(total);
}

double eg_uncertainty_accuracy_uj(const struct eg_accuracy *accuracy, enum eg_provenance provenance,
				  double uj, uint64_t ns)
{
	double half = EG_MAX((double)accuracy->rel_ppm * 1e-6 * uj,
			     (double)accuracy->abs_uw * seconds(ns));

	/* The class of an estimate is a bound that was counted out, not a spread: it stands. */
	return provenance == EG_PROVENANCE_ESTIMATED ? half : half * (EG_COVERAGE / NORMAL_95);
}

double eg_uncertainty_held_uj(double est_uj)
{
	return EG_COVERAGE * est_uj / sqrt(3);
}

void eg_uncertainty_channel(const struct eg_channel *ch, const struct eg_window_facts *facts,
			    struct eg_uncertainty *ret)
{
	bool counter = ch->quantity == EG_QUANTITY_ENERGY;
	double uj = (double)facts->uj + (double)facts->est_uj, update_s = seconds(ch->update_ns);
	uint64_t measured_ns = facts->seconds_ns - EG_MIN(facts->gap_ns, facts->seconds_ns);
	double resolution = 0, update;

	if (counter) {
		resolution = EG_COVERAGE * (double)ch->resolution_uj / sqrt(6);
		if (ch->source == EG_SOURCE_RAPL)
			resolution += KERNEL_UNIT_PPM * 1e-6 * uj;
		update = facts->edge_w * 1e6 * update_s / sqrt(6);
	} else {
		update = facts->edge_step_w * 1e6 * update_s / sqrt(3);
	}
	*ret = (struct eg_uncertainty){
		.resolution_uj = to_uj(resolution),
		.update_uj = to_uj(rss(EG_COVERAGE * update, facts->skew_j * 1e6)),
		.sampling_uj = to_uj(EG_COVERAGE * 1e6 * sqrt(facts->step_var_j2)),
		.accuracy_uj = to_uj(
			eg_uncertainty_accuracy_uj(&ch->accuracy, ch->provenance, uj, measured_ns)),
		.held_uj = to_uj(eg_uncertainty_held_uj((double)facts->est_uj)),
	};
	combine(ret);
}

void eg_uncertainty_total(const struct eg_channel *const *ch, const struct eg_uncertainty *items,
			  size_t n, struct eg_uncertainty *ret)
{
	double resolution = 0, update = 0, sampling = 0, accuracy = 0, held = 0;
	double of_source[EG_SOURCE_COUNT] = {0};

	for (size_t i = 0; i < n; i++) {
		resolution = rss(resolution, (double)items[i].resolution_uj);
		update = rss(update, (double)items[i].update_uj);
		sampling = rss(sampling, (double)items[i].sampling_uj);
		held = rss(held, (double)items[i].held_uj);
		of_source[ch[i]->source] += (double)items[i].accuracy_uj;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(of_source); i++)
		accuracy = rss(accuracy, of_source[i]);
	*ret = (struct eg_uncertainty){
		.resolution_uj = to_uj(resolution),
		.update_uj = to_uj(update),
		.sampling_uj = to_uj(sampling),
		.accuracy_uj = to_uj(accuracy),
		.held_uj = to_uj(held),
	};
	combine(ret);
}
