/* SPDX-License-Identifier: Apache-2.0 */
/* See track.h. What each event of a counter or an integrator means for the totals of a channel. */
#include "core/track.h"

#include <math.h>

void eg_track_init(struct eg_track *t, const struct eg_channel *ch, const struct eg_driver *driver,
		   unsigned rank)
{
	*t = (struct eg_track){.ch = ch,
			       .driver = driver,
			       .rank = rank,
			       .part_of = -1,
			       .status = EG_STATUS_NO_DATA,
			       .celsius = NAN,
			       .sensor_uw = UINT64_MAX};
}

uint64_t eg_track_anchor_ns(const struct eg_channel *ch)
{
	return EG_MAX(10 * ch->update_ns, 10 * EG_NSEC_PER_MSEC);
}

static void good_reading(struct eg_track *t, const struct eg_reading *r, uint64_t dt_ns)
{
	t->samples++;
	t->ok_t_ns = r->t_ns;
	t->longest_dt_ns = EG_MAX(t->longest_dt_ns, dt_ns);
}

/* Power of a counter: its difference over a stretch long enough that one step is no spike. */
static bool derive_power(struct eg_track *t, uint64_t t_ns, bool broken)
{
	uint64_t dt;
	double w;

	if (!t->anchored || broken) {
		t->anchored = true;
		t->anchor_uj = t->uj;
		t->anchor_t_ns = t_ns;
		return false;
	}
	dt = t_ns - t->anchor_t_ns;
	if (dt < eg_track_anchor_ns(t->ch))
		return false;
	t->uw = (uint64_t)((unsigned __int128)(t->uj - t->anchor_uj) * EG_NSEC_PER_SEC / dt);
	t->uw_from_ns = t->anchor_t_ns;
	t->have_uw = true;
	w = (double)t->uw / 1e6;
	t->p2s += w * w * (double)dt / 1e9;
	t->p_ns += dt;
	t->anchor_uj = t->uj;
	t->anchor_t_ns = t_ns;
	return true;
}

static void counter_diag(const struct eg_track *t, const struct eg_counter_step *s,
			 struct eg_diags *diags)
{
	const char *drv = t->driver->name, *domain = t->ch->domain;
	double seconds = (double)s->gap_ns / 1e9, max_w = (double)t->ch->max_uw / 1e6;

	switch (s->event) {
	case EG_COUNTER_RESET:
		eg_diag_add(diags, EG_DIAG_COUNTER_RESET, drv, domain, "",
			    "the counter was reset; %.3f s before it are not counted", seconds);
		break;
	case EG_COUNTER_AMBIGUOUS:
		eg_diag_add(diags, EG_DIAG_COUNTER_GAP, drv, domain,
			    "sample more often, or see why reads failed",
			    "%.3f s without a reading: the counter may have wrapped more than once",
			    seconds);
		break;
	case EG_COUNTER_IMPLAUSIBLE:
		eg_diag_add(diags, EG_DIAG_COUNTER_GAP, drv, domain,
			    "if the device can really draw more, raise its maximum with --set",
			    "the counter moved further in %.3f s than %.0f W allow; not counted",
			    seconds, max_w);
		break;
	default:
		break;
	}
}

void eg_track_resume(struct eg_track *t, const struct eg_counter *last, int64_t away_from_ns)
{
	t->resumes = true;
	t->resumes_counter = last != NULL;
	t->away_from_ns = away_from_ns;
	if (last)
		t->counter = *last;
}

/* The first good reading after an earlier process. */
static void end_resume(struct eg_track *t, const struct eg_reading *r,
		       const struct eg_counter_step *s, struct eg_diags *diags)
{
	int64_t away = (int64_t)r->t_ns - t->away_from_ns;

	t->resumes = false;
	if (s) {
		t->recovered_uj = s->uj;
		t->away_ns = s->gap_ns;
		t->wraps += s->event == EG_COUNTER_WRAP;
		t->resets += s->event == EG_COUNTER_RESET;
	} else if (away > 0) {
		t->away_ns = (uint64_t)away;
	}
	if (t->away_ns)
		eg_diag_add(diags, EG_DIAG_COUNTER_GAP, t->driver->name, t->ch->domain, "",
			    "%.3f s before this start are not measured", (double)t->away_ns / 1e9);
}

static bool feed_counter(struct eg_track *t, const struct eg_reading *r, uint64_t awake_ns,
			 struct eg_diags *diags)
{
	struct eg_counter_step s;
	bool broken = false;

	if (t->resumes && t->resumes_counter)
		t->counter.epoch = r->epoch; /* epochs are of one process */
	s = eg_counter_update(&t->counter, t->ch, r, awake_ns);
	if (s.event == EG_COUNTER_OLD)
		return false;
	if (t->resumes) {
		end_resume(t, r, t->resumes_counter ? &s : NULL, diags);
		good_reading(t, r, 0);
		return derive_power(t, r->t_ns, true);
	}
	t->uj = eg_add_sat(t->uj, s.uj);
	t->gap_ns = eg_add_sat(t->gap_ns, s.gap_ns);
	switch (s.event) {
	case EG_COUNTER_WRAP:
		t->wraps++;
		break;
	case EG_COUNTER_RESET:
		t->resets++;
		broken = true;
		break;
	case EG_COUNTER_AMBIGUOUS:
	case EG_COUNTER_IMPLAUSIBLE:
		t->gaps++;
		broken = true;
		break;
	default:
		break;
	}
	if (s.gap_ns && !broken) {
		t->suspends++;
		broken = true;
	}
	counter_diag(t, &s, diags);
	good_reading(t, r, s.dt_ns);
	return derive_power(t, r->t_ns, broken);
}

static void integrate_diag(const struct eg_track *t, const struct eg_integrate_step *s,
			   struct eg_diags *diags)
{
	const char *drv = t->driver->name, *domain = t->ch->domain;

	if (s->event == EG_INTEGRATE_CEILING)
		eg_diag_add(diags, EG_DIAG_VALUE_REJECTED, drv, domain,
			    "if the device can really draw more, raise its maximum with --set",
			    "a reading above %.0f W was left out, with the time around it",
			    (double)t->ch->max_uw / 1e6);
	else if (s->event == EG_INTEGRATE_BAD)
		eg_diag_add(diags, EG_DIAG_VALUE_REJECTED, drv, domain, "",
			    "a reading that is no power (negative or not a number) was left out, "
			    "with the time around it");
	else if (s->event == EG_INTEGRATE_HELD)
		eg_diag_add(diags, EG_DIAG_COUNTER_GAP, drv, domain, "",
			    s->gap_ns < s->dt_ns ?
				    "%.3f s without a reading: the last one is held, as "
				    "estimated energy" :
				    "%.3f s without a reading",
			    (double)s->dt_ns / 1e9);
}

/* Sums from which a window tells how well its samples follow the power. */
static void note_steps(struct eg_track *t, double p0, double p1, double dt)
{
	double d1 = p1 - p0, d2 = p1 - (double)t->before_uw / 1e6;

	t->step2_j2 += d1 * d1 * dt * dt;
	t->d1_w2 += d1 * d1;
	t->n_d1++;
	if (t->have_before) {
		t->d2_w2 += d2 * d2;
		t->n_d2++;
	}
	t->before_uw = (uint64_t)(p0 * 1e6 + 0.5);
	t->have_before = true;
}

static bool feed_gauge(struct eg_track *t, const struct eg_integrate_config *cfg,
		       const struct eg_reading *r, uint64_t awake_ns, struct eg_diags *diags)
{
	struct eg_integrate_step s = eg_integrate_update(&t->integrator, t->ch, cfg, r, awake_ns);
	double dt = (double)s.dt_ns / 1e9, p0 = (double)s.prev_uw / 1e6, p1 = (double)s.uw / 1e6;

	if (s.event == EG_INTEGRATE_OLD)
		return false;
	t->uj = eg_add_sat(t->uj, s.uj);
	t->est_uj = eg_add_sat(t->est_uj, s.est_uj);
	t->gap_ns = eg_add_sat(t->gap_ns, s.gap_ns);
	integrate_diag(t, &s, diags);
	t->suspends += s.event == EG_INTEGRATE_SUSPEND;
	t->held += s.event == EG_INTEGRATE_HELD;
	t->ceilings += s.event == EG_INTEGRATE_CEILING;
	if (s.event != EG_INTEGRATE_STEP && s.event != EG_INTEGRATE_REPLACED)
		t->have_before = false;
	if (r->bad || s.event == EG_INTEGRATE_CEILING) {
		t->bad++;
		return false;
	}
	if (s.event == EG_INTEGRATE_STEP) {
		note_steps(t, p0, p1, dt);
		t->p2s += (p0 * p0 + p0 * p1 + p1 * p1) / 3 * dt;
		t->p_ns += s.dt_ns;
	}
	if (t->resumes)
		end_resume(t, r, NULL, diags);
	good_reading(t, r, s.dt_ns);
	t->uw = s.uw;
	t->uw_from_ns = r->t_ns;
	t->have_uw = true;
	return true;
}

bool eg_track_feed(struct eg_track *t, const struct eg_integrate_config *cfg,
		   const struct eg_reading *r, uint64_t awake_ns, struct eg_diags *diags)
{
	bool gauge = t->ch->quantity == EG_QUANTITY_POWER;

	t->t_ns = r->t_ns;
	t->status = r->status;
	if (r->status != EG_STATUS_OK && !(gauge && r->status == EG_STATUS_ERROR && r->bad)) {
		t->failed++;
		return false;
	}
	return gauge ? feed_gauge(t, cfg, r, awake_ns, diags) : feed_counter(t, r, awake_ns, diags);
}
