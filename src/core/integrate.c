/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trapezoid of a gauge (see integrate.h). (p0 + p1) / 2 microwatts times dt nanoseconds are
 * (p0 + p1) * dt / 2e9 microjoules; the remainder over 2e9 is carried, so that three million steps
 * of a fraction of a microjoule lose nothing. Each product is 128-bit and divided by itself: their
 * sum would not fit.
 */
#include "core/integrate.h"

#include <errno.h>

#include "base/util.h"
#include "core/counter.h"

typedef unsigned __int128 u128;

#define DEN	       2000000000ULL
#define SUSPEND_MIN_NS 100000000 /* boot and awake clock are read one after the other */
#define CONFIG_MAX_NS  (3600 * EG_NSEC_PER_SEC)

/* (p0 + p1) * dt / 2e9 with carried remainder; stays at UINT64_MAX above it. */
static uint64_t trapezoid(uint64_t p0_uw, uint64_t p1_uw, uint64_t dt_ns, uint64_t *rem)
{
	u128 a = (u128)p0_uw * dt_ns, b = (u128)p1_uw * dt_ns;
	uint64_t rest = (uint64_t)(a % DEN) + (uint64_t)(b % DEN) + *rem;
	u128 uj = a / DEN + b / DEN + rest / DEN;

	*rem = rest % DEN;
	return uj > UINT64_MAX ? UINT64_MAX : (uint64_t)uj;
}

/* What keeps two good readings apart; FIRST (0) where nothing does. */
static enum eg_integrate_event break_between(const struct eg_integrator *it,
					     const struct eg_reading *reading, uint64_t awake_ns)
{
	__int128 slept = (__int128)(reading->t_ns - it->t_ns) - ((__int128)awake_ns - it->awake_ns);

	if (slept > SUSPEND_MIN_NS)
		return EG_INTEGRATE_SUSPEND;
	return reading->epoch == it->epoch ? EG_INTEGRATE_FIRST : EG_INTEGRATE_EPOCH;
}

static uint64_t gap_limit_ns(const struct eg_integrate_config *cfg)
{
	uint64_t two = cfg->interval_ns > UINT64_MAX / 2 ? UINT64_MAX : 2 * cfg->interval_ns;

	return EG_MAX(cfg->gap_ns, two);
}

/* Energy of the interval between two readings at different times, both of them power. */
static void good_interval(struct eg_integrator *it, const struct eg_integrate_config *cfg,
			  enum eg_integrate_event broken, struct eg_integrate_step *step)
{
	uint64_t held_ns;

	if (broken) {
		step->event = broken;
		step->gap_ns = step->dt_ns;
	} else if (step->dt_ns <= gap_limit_ns(cfg)) {
		step->event = EG_INTEGRATE_STEP;
		step->uj = trapezoid(step->prev_uw, step->uw, step->dt_ns, &it->rem);
	} else {
		step->event = EG_INTEGRATE_HELD;
		held_ns = EG_MIN(step->dt_ns, cfg->hold_max_ns);
		step->est_uj = trapezoid(step->prev_uw, step->prev_uw, held_ns, &it->est_rem);
		step->gap_ns = step->dt_ns - held_ns;
	}
}

struct eg_integrate_step eg_integrate_update(struct eg_integrator *it, const struct eg_channel *ch,
					     const struct eg_integrate_config *cfg,
					     const struct eg_reading *reading, uint64_t awake_ns)
{
	struct eg_integrate_step step = {.event = EG_INTEGRATE_FIRST};
	bool bad = reading->bad || reading->status != EG_STATUS_OK, ceiling = false;
	uint64_t round = ch->unit_den / 2;

	if (it->started && reading->t_ns < it->t_ns)
		return (struct eg_integrate_step){.event = EG_INTEGRATE_OLD};
	if (!bad) {
		step.uw = eg_scale_carry(reading->raw, ch->unit_num, ch->unit_den, &round);
		ceiling = step.uw > ch->max_uw;
	}
	step.prev_uw = it->started && !it->bad ? it->uw : step.uw;
	if (it->started) {
		step.dt_ns = reading->t_ns - it->t_ns;
		if (step.dt_ns == 0)
			step.event = EG_INTEGRATE_REPLACED;
		else if (!bad && !ceiling && !it->bad)
			good_interval(it, cfg, break_between(it, reading, awake_ns), &step);
		else
			step.event = EG_INTEGRATE_BAD;
	}
	if (ceiling || bad)
		step.event = ceiling ? EG_INTEGRATE_CEILING : EG_INTEGRATE_BAD;
	if (step.event == EG_INTEGRATE_CEILING || step.event == EG_INTEGRATE_BAD)
		step.gap_ns = step.dt_ns;
	it->started = true;
	it->bad = bad || ceiling;
	it->uw = step.uw;
	it->t_ns = reading->t_ns;
	it->awake_ns = awake_ns;
	it->epoch = reading->epoch;
	return step;
}

int eg_integrate_config_check(const struct eg_integrate_config *cfg, const char **ret_why)
{
	const char *why = NULL;

	if (cfg->gap_ns < EG_NSEC_PER_SEC || cfg->gap_ns > CONFIG_MAX_NS)
		why = "gap_interpolate_seconds is 1 to 3600";
	else if (cfg->hold_max_ns > CONFIG_MAX_NS)
		why = "hold_max_seconds is 0 to 3600";
	if (!why)
		return 0;
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

void eg_reading_from_double(struct eg_reading *r, double value, double scale)
{
	double raw = value * scale;

	r->bad = !(raw >= 0 && raw <= 0x1p63); /* false for NaN as well */
	r->status = r->bad ? EG_STATUS_ERROR : EG_STATUS_OK;
	r->raw = r->bad ? 0 : (uint64_t)(raw + 0.5);
}
