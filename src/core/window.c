/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: what lies between two samples, for each channel and in total. A window notes the totals
 * at its begin and takes the difference at its end, so windows are independent of each other, and
 * windows that share their edges sum exactly.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/meter_internal.h"

#define SHORT_NS      (10 * EG_NSEC_PER_SEC)
#define FEW_SAMPLES   10
#define DRIFT_CELSIUS 10.0
#define ENOUGH_STEPS  8 /* of a gauge, to tell how its samples hang together */

/* FNV-1a; only to find a name among thousands without comparing each. */
static uint64_t hash_name(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h;
}

static struct window **find_window(struct eg_meter *m, const char *name)
{
	uint64_t h = hash_name(name);
	struct window **w = &m->windows;

	while (*w && ((*w)->hash != h || strcmp((*w)->name, name) != 0))
		w = &(*w)->next;
	return w;
}

struct window *eg_window_find(struct eg_meter *m, const char *name)
{
	return *find_window(m, name);
}

/* How old a reading may be and still stand for a window's edge. */
static uint64_t edge_slack_ns(const struct eg_channel *ch)
{
	return 2 * ch->update_ns + 10 * EG_NSEC_PER_MSEC;
}

static void set_mark(struct mark *k, const struct eg_track *t, uint64_t begin_ns)
{
	*k = (struct mark){.uj = t->uj,
			   .est_uj = t->est_uj,
			   .gap_ns = t->gap_ns,
			   .samples = t->samples,
			   .bad = t->bad,
			   .wraps = t->wraps,
			   .resets = t->resets,
			   .suspends = t->suspends,
			   .ceilings = t->ceilings,
			   .step2_j2 = t->step2_j2,
			   .d1_w2 = t->d1_w2,
			   .d2_w2 = t->d2_w2,
			   .n_d1 = t->n_d1,
			   .n_d2 = t->n_d2,
			   .p2s = t->p2s,
			   .p_ns = t->p_ns,
			   .based = t->samples && t->ok_t_ns + edge_slack_ns(t->ch) >= begin_ns,
			   .ok_ns = t->ok_t_ns,
			   .uw = t->uw,
			   .have_uw = t->have_uw,
			   .celsius = t->celsius,
			   .flags = t->flags};
}

/* Power over a stretch that began before the window is not its own. */
static bool power_is_inside(const struct eg_track *t, const struct window *w)
{
	return t->have_uw && t->uw_from_ns >= w->begin_ns;
}

static void watch_channel(const struct window *w, const struct eg_track *t, struct mark *k)
{
	k->flags |= t->flags;
	if (t->samples == k->samples)
		return;
	if (!k->based) {
		uint32_t flags = k->flags;

		/* What was read before the window and came late is no base either. */
		set_mark(k, t, w->begin_ns);
		k->flags = flags;
		k->first_ok_ns = k->based ? t->ok_t_ns : 0;
		return;
	}
	k->longest_dt_ns = EG_MAX(k->longest_dt_ns, t->longest_dt_ns);
	if (power_is_inside(t, w)) {
		k->max_uw = EG_MAX(k->max_uw, t->uw);
		k->have_max = true;
	}
}

/* The sum of the powers of the channels that make the total, where all of them are known now. */
static void watch_total(const struct eg_meter *m, struct window *w)
{
	uint64_t total = 0;
	bool any = false;

	for (size_t i = 0; i < m->n; i++) {
		const struct eg_track *t = &m->track[i];

		if (m->role[i].role != EG_ROLE_TOTAL)
			continue;
		if (t->status != EG_STATUS_OK || !power_is_inside(t, w))
			return;
		total = eg_add_sat(total, t->uw);
		any = true;
	}
	if (!any)
		return;
	w->max_total_uw = EG_MAX(w->max_total_uw, total);
	w->have_max_total = true;
}

void eg_windows_watch(struct eg_meter *m)
{
	for (struct window *w = m->windows; w; w = w->next) {
		for (size_t i = 0; i < m->n; i++)
			watch_channel(w, &m->track[i], &w->mark[i]);
		watch_total(m, w);
	}
	for (size_t i = 0; i < m->n; i++)
		m->track[i].longest_dt_ns = 0;
}

/* Unix time of the last sample. */
static uint64_t last_unix_ns(const struct eg_meter *m)
{
	uint64_t now = eg_clock_unix_ns(&m->env->clock);
	uint64_t since = eg_clock_ns(&m->env->clock) - m->last_sample_ns;

	return now - EG_MIN(now, since);
}

/* Puts a new window at the head of the list, on the sample just taken. */
static int window_new(struct eg_meter *m, const char *name, uint64_t t_ns)
{
	struct window *w = calloc(1, sizeof(*w) + m->n * sizeof(w->mark[0]));

	if (!w)
		return -ENOMEM;
	memcpy(w->name, name, strlen(name) + 1);
	w->hash = hash_name(name);
	w->begin_ns = t_ns;
	w->begin_unix_ns = last_unix_ns(m);
	for (size_t i = 0; i < m->n; i++)
		set_mark(&w->mark[i], &m->track[i], t_ns);
	w->next = m->windows;
	m->windows = w;
	m->n_windows++;
	return 0;
}

static int check_new(struct eg_meter *m, const char *name)
{
	if (!name || !*name)
		return -EINVAL;
	if (strlen(name) >= EG_WINDOW_NAME_MAX)
		return -ENAMETOOLONG;
	if (*find_window(m, name))
		return -EEXIST;
	return m->n_windows >= EG_WINDOWS_MAX ? -ENOSPC : 0;
}

int eg_meter_begin(struct eg_meter *m, const char *name)
{
	int r;

	pthread_mutex_lock(&m->lock);
	r = check_new(m, name);
	if (r == 0) {
		eg_meter_sample_locked(m, true);
		/* Waiting for workers lets others in: the name may be taken now. */
		r = check_new(m, name);
	}
	if (r == 0)
		r = window_new(m, name, m->last_sample_ns);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int eg_meter_begin_last(struct eg_meter *m, const char *name)
{
	int r;

	pthread_mutex_lock(&m->lock);
	r = check_new(m, name);
	if (r == 0 && m->last_sample_ns == 0)
		r = -ENODATA;
	if (r == 0)
		r = window_new(m, name, m->last_sample_ns);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int eg_meter_begin_running(struct eg_meter *m, const char *name)
{
	int r = eg_meter_begin(m, name);

	pthread_mutex_lock(&m->lock);
	if (r == 0 && *find_window(m, name))
		(*find_window(m, name))->running = true;
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* ---- results ---- */

/* Time at the edges without a reading: what the counters of gaps cannot know yet. */
static uint64_t open_edges_ns(const struct eg_track *t, const struct mark *k, uint64_t begin_ns,
			      uint64_t end_ns)
{
	uint64_t gap = 0;

	if (k->first_ok_ns > begin_ns)
		gap += k->first_ok_ns - begin_ns;
	if (t->ok_t_ns + edge_slack_ns(t->ch) < end_ns)
		gap += end_ns - EG_MAX(t->ok_t_ns, begin_ns);
	return gap;
}

static uint32_t channel_flags(const struct eg_track *t, const struct mark *k,
			      const struct eg_result_channel *c, uint64_t seconds_ns, bool lost)
{
	bool gauge = t->ch->quantity == EG_QUANTITY_POWER;
	uint32_t f = k->flags;

	if (seconds_ns < t->ch->update_ns)
		f |= EG_FLAG_BIT(EG_FLAG_BELOW_PERIOD);
	if (gauge && c->samples < FEW_SAMPLES)
		f |= EG_FLAG_BIT(t->ch->source == EG_SOURCE_NVML ? EG_FLAG_NVML_FEW :
								   EG_FLAG_FEW_SAMPLES);
	if (c->gap_ns)
		f |= EG_FLAG_BIT(EG_FLAG_GAP);
	if (c->resets)
		f |= EG_FLAG_BIT(EG_FLAG_RESET);
	if (lost)
		f |= EG_FLAG_BIT(EG_FLAG_LOST);
	if (t->suspends != k->suspends)
		f |= EG_FLAG_BIT(EG_FLAG_SUSPEND);
	if (t->ceilings != k->ceilings)
		f |= EG_FLAG_BIT(EG_FLAG_CEILING);
	else if (c->bad)
		f |= EG_FLAG_BIT(EG_FLAG_BAD_SAMPLES);
	if (c->est_uj)
		f |= EG_FLAG_BIT(EG_FLAG_HELD);
	if (fabs(t->celsius - k->celsius) > DRIFT_CELSIUS) /* false for NaN */
		f |= EG_FLAG_BIT(EG_FLAG_THERMAL);
	return f;
}

/*
 * The power that may have been flowing at the edges, for the uncertainty of a counter's update
 * period. Long windows know it from their own energy; short ones from before; where nothing is
 * known, the most the channel can show.
 */
static double edge_watts(const struct eg_track *t, const struct mark *k, double mean_w,
			 uint64_t seconds_ns)
{
	uint64_t p_ns = t->p_ns - k->p_ns;
	double w = 0;

	if (seconds_ns >= 10 * t->ch->update_ns)
		w = mean_w;
	else if (!k->have_uw)
		return (double)t->ch->max_uw / 1e6;
	if (k->have_uw)
		w = fmax(w, (double)k->uw / 1e6);
	if (p_ns)
		w = fmax(w, sqrt((t->p2s - k->p2s) / ((double)p_ns / 1e9)));
	return w;
}

/*
 * Variance of the trapezoid over samples, from how the samples differ. Take the power between them
 * for a process whose correlation falls by x from one sample to the next. Its differences over two
 * samples are then 1 + x times those over one, which tells x; and the long-run variance of the error
 * per sample is ((1 + x) / (1 - x) - 2 / a) / (2 (1 - x)) times the mean squared step, a = -ln x:
 * 1/12 where samples follow the power (x to 1: a step at an unknown moment), 1/2 where they are
 * strangers to each other (x = 0: each sample stands alone). What is faster than the samples
 * and never met by one cannot be known from them.
 */
static double sampling_variance_j2(const struct eg_track *t, const struct mark *k, double seconds)
{
	double d1 = t->d1_w2 - k->d1_w2, d2 = t->d2_w2 - k->d2_w2, x = 0, a;
	uint64_t n1 = t->n_d1 - k->n_d1, n2 = t->n_d2 - k->n_d2;
	double step2 = t->step2_j2 - k->step2_j2;

	if (n2 < ENOUGH_STEPS) { /* too few to tell: as the channel was since it was opened */
		d1 = t->d1_w2;
		d2 = t->d2_w2;
		if (n1)
			step2 = fmax(step2, d1 / (double)t->n_d1 * seconds * seconds / (double)n1);
		n1 = t->n_d1;
		n2 = t->n_d2;
	}
	if (n2 >= ENOUGH_STEPS && d1 > 0)
		x = d2 / (double)n2 / (d1 / (double)n1) - 1;
	if (x >= 0.99)
		return step2 / 12;
	x = fmax(x, 1e-3);
	a = -log(x);
	return step2 * ((1 + x) / (1 - x) - 2 / a) / (2 * (1 - x));
}

void eg_window_channel(const struct eg_meter *m, const struct window *w, size_t i, uint64_t end_ns,
		       struct eg_result_channel *c)
{
	const struct eg_track *t = &m->track[i];
	const struct mark *k = &w->mark[i];
	uint64_t seconds_ns = end_ns - w->begin_ns, edges, inner_gap = t->gap_ns - k->gap_ns;
	uint64_t span, covered; /* between its first and its last reading, and of that known */
	struct eg_window_facts facts;
	double mean_w;

	*c = (struct eg_result_channel){.ch = t->ch,
					.driver = t->driver,
					.name = m->name[i],
					.of = -1,
					.part_of = t->part_of,
					.provenance = t->ch->provenance,
					.mean_w = NAN,
					.max_w = NAN,
					.uj = t->uj - k->uj,
					.est_uj = t->est_uj - k->est_uj,
					.samples = t->samples - k->samples,
					.wraps = t->wraps - k->wraps,
					.resets = t->resets - k->resets,
					.bad = t->bad - k->bad,
					.longest_dt_ns = k->longest_dt_ns};
	c->has_value = k->based && c->samples > 0;
	edges = open_edges_ns(t, k, w->begin_ns, end_ns);
	c->gap_ns = EG_MIN(inner_gap + edges, seconds_ns);
	c->flags = channel_flags(t, k, c, seconds_ns, edges && t->status != EG_STATUS_OK);
	/* Readings that leave the whole window unknown (a reset, nonsense) are no value. */
	c->has_value = c->has_value && (c->uj || c->est_uj || c->gap_ns < seconds_ns || !c->gap_ns);
	if (!c->has_value)
		return;
	if (c->est_uj)
		c->provenance = EG_PROVENANCE_ESTIMATED;
	/* The energy is that between its readings, which lie a little off the window's edges. */
	span = t->ok_t_ns - k->ok_ns;
	covered = span - EG_MIN(span, inner_gap);
	mean_w = covered ? (double)(c->uj + c->est_uj) * 1e3 / (double)covered : 0;
	if (covered)
		c->mean_w = mean_w;
	c->max_w = k->have_max ? fmax((double)k->max_uw / 1e6, mean_w) : c->mean_w;
	facts = (struct eg_window_facts){
		.uj = c->uj,
		.est_uj = c->est_uj,
		.seconds_ns = seconds_ns,
		.gap_ns = c->gap_ns,
		.samples = c->samples,
		.step_var_j2 = sampling_variance_j2(t, k, (double)covered / 1e9),
		.edge_w = edge_watts(t, k, mean_w, seconds_ns),
		.edge_step_w =
			k->have_uw && t->have_uw ? fabs((double)t->uw - (double)k->uw) / 1e6 : 0};
	facts.skew_j = facts.edge_w * fabs((double)span + (double)edges - (double)seconds_ns) / 1e9;
	eg_uncertainty_channel(t->ch, &facts, &c->uncertainty);
}

/* Wide channels stand for everything inside: only one without a hole may. */
static bool is_wide(enum eg_component c)
{
	return c == EG_COMPONENT_CHASSIS || c == EG_COMPONENT_PSU || c == EG_COMPONENT_PSYS ||
	       c == EG_COMPONENT_BATTERY || c == EG_COMPONENT_OUTLET || c == EG_COMPONENT_METER;
}

static int reduce(const struct eg_meter *m, const struct window *w, struct eg_result *res)
{
	eg_autofree struct eg_boundary_in *in = NULL;
	eg_autofree struct eg_boundary_out *out = NULL;
	bool all_well = true;

	/* With every channel whole the roles are those found at open. */
	for (size_t i = 0; i < res->n; i++) {
		res->channel[i].role = m->role[i].role;
		res->channel[i].of = m->role[i].of;
		res->channel[i].why = m->role[i].why;
		all_well &= res->channel[i].has_value && !res->channel[i].gap_ns;
	}
	if (all_well || w->running)
		return 0;
	in = calloc(res->n + 1, sizeof(*in));
	out = calloc(res->n + 1, sizeof(*out));
	if (!in || !out)
		return -ENOMEM;
	for (size_t i = 0; i < res->n; i++) {
		const struct eg_result_channel *c = &res->channel[i];
		bool hole = c->gap_ns > 0;

		in[i] = (struct eg_boundary_in){.ch = c->ch,
						.rank = m->track[i].rank + (hole ? 1000 : 0),
						.usable = c->has_value &&
							  !(hole && is_wide(c->ch->component)),
						.part_of = c->part_of};
	}
	eg_boundary_reduce(in, res->n, out);
	/* A hole in the only channel there is: it is the total all the same, and flagged. */
	for (size_t i = 0; i < res->n; i++)
		res->has_total |= out[i].role == EG_ROLE_TOTAL;
	if (!res->has_total) {
		for (size_t i = 0; i < res->n; i++)
			in[i].usable = res->channel[i].has_value;
		eg_boundary_reduce(in, res->n, out);
	}
	for (size_t i = 0; i < res->n; i++) {
		res->channel[i].role = out[i].role;
		res->channel[i].of = out[i].of;
		res->channel[i].why = out[i].why;
	}
	return 0;
}

/* Two interfaces on one account: apart by more than both uncertainties is worth knowing (M18). */
static void cross_check(struct eg_meter *m, struct eg_result *res)
{
	for (size_t i = 0; i < res->n; i++) {
		struct eg_result_channel *c = &res->channel[i], *p;
		uint64_t diff, joint;

		if (c->role != EG_ROLE_CROSSCHECK || c->of < 0 || !c->has_value)
			continue;
		p = &res->channel[c->of];
		if (!p->has_value || p->gap_ns || c->gap_ns)
			continue;
		diff = c->uj > p->uj ? c->uj - p->uj : p->uj - c->uj;
		joint = c->uncertainty.total_uj + p->uncertainty.total_uj;
		if (diff <= joint)
			continue;
		c->flags |= EG_FLAG_BIT(EG_FLAG_DISAGREE);
		p->flags |= EG_FLAG_BIT(EG_FLAG_DISAGREE);
		eg_diag_add(&m->diags, EG_DIAG_CROSSCHECK, c->driver->name, c->ch->domain,
			    "find out which is right before you rely on either",
			    "%s says %.3f J, %s says %.3f J; joint uncertainty %.3f J", c->name,
			    (double)c->uj / 1e6, p->name, (double)p->uj / 1e6, (double)joint / 1e6);
	}
}

/* A channel that should be counted but could not be read, and no other reads the same thing. */
static bool leaves_hole(const struct eg_meter *m, const struct eg_result *res, size_t i)
{
	const struct eg_result_channel *c = &res->channel[i];

	if (c->role != EG_ROLE_UNUSABLE || m->role[i].role != EG_ROLE_TOTAL)
		return false;
	for (size_t k = 0; k < res->n; k++)
		if (res->channel[k].role == EG_ROLE_TOTAL && m->role[k].of == (int32_t)i &&
		    m->role[k].role == EG_ROLE_CROSSCHECK)
			return false;
	return true;
}

static int fill_total(struct eg_meter *m, const struct window *w, struct eg_result *res)
{
	eg_autofree const struct eg_channel **ch = calloc(res->n + 1, sizeof(*ch));
	eg_autofree struct eg_uncertainty *items = calloc(res->n + 1, sizeof(*items));
	bool as_planned = true;
	size_t n = 0;

	if (!ch || !items)
		return -ENOMEM;
	res->has_total = false;
	res->total_mean_w = 0;
	res->total_provenance = EG_PROVENANCE_MEASURED;
	for (size_t i = 0; i < res->n; i++) {
		const struct eg_result_channel *c = &res->channel[i];

		as_planned &= (c->role == EG_ROLE_TOTAL) == (m->role[i].role == EG_ROLE_TOTAL);
		if (leaves_hole(m, res, i))
			res->flags |= c->flags;
		if (c->role != EG_ROLE_TOTAL)
			continue;
		ch[n] = c->ch;
		items[n++] = c->uncertainty;
		res->has_total |= c->has_value;
		res->total_uj = eg_add_sat(res->total_uj, eg_add_sat(c->uj, c->est_uj));
		res->total_est_uj = eg_add_sat(res->total_est_uj, c->est_uj);
		res->total_mean_w += c->mean_w;
		res->total_provenance = EG_MAX(res->total_provenance, c->provenance);
		res->flags |= c->flags;
	}
	if (!res->has_total)
		res->total_mean_w = NAN;
	eg_uncertainty_total(ch, items, n, &res->total_uncertainty);
	res->total_max_w = NAN;
	if (res->has_total && as_planned)
		res->total_max_w = w->have_max_total ?
					   fmax((double)w->max_total_uw / 1e6, res->total_mean_w) :
					   res->total_mean_w;
	return 0;
}

static int make_result(struct eg_meter *m, const struct window *w, struct eg_result **ret)
{
	struct eg_result *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return -ENOMEM;
	made->channel = calloc(m->n + 1, sizeof(*made->channel));
	if (!made->channel) {
		free(made);
		return -ENOMEM;
	}
	made->n = m->n;
	memcpy(made->name, w->name, sizeof(made->name));
	made->begin_ns = w->begin_ns;
	made->end_ns = m->last_sample_ns;
	made->begin_unix_ns = w->begin_unix_ns;
	made->end_unix_ns = last_unix_ns(m);
	made->seconds_ns = made->end_ns - made->begin_ns;
	made->n_units = w->n_units;
	memcpy(made->units, w->units, sizeof(made->units));
	for (size_t i = 0; i < m->n; i++)
		eg_window_channel(m, w, i, made->end_ns, &made->channel[i]);
	r = reduce(m, w, made);
	if (r == 0) {
		cross_check(m, made);
		r = fill_total(m, w, made);
	}
	if (r < 0) {
		eg_result_free(made);
		return r;
	}
	if (made->seconds_ns < SHORT_NS)
		made->flags |= EG_FLAG_BIT(EG_FLAG_SHORT);
	*ret = made;
	return 0;
}

static void unlink_window(struct eg_meter *m, struct window **at)
{
	struct window *w = *at;

	*at = w->next;
	m->n_windows--;
	free(w);
}

/* The value of a window, on a fresh sample or on the last one; ends it where that is asked for. */
static int look(struct eg_meter *m, const char *name, bool sample, bool end, struct eg_result **ret)
{
	struct window **w;
	int r = -ENOENT;

	pthread_mutex_lock(&m->lock);
	if (*find_window(m, name)) {
		if (sample)
			eg_meter_sample_locked(m, true);
		w = find_window(m, name); /* waiting for workers lets others in */
		if (*w)
			r = make_result(m, *w, ret);
		if (r == 0 && end)
			unlink_window(m, w);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

int eg_meter_end(struct eg_meter *m, const char *name, struct eg_result **ret)
{
	return look(m, name, true, true, ret);
}

int eg_meter_end_last(struct eg_meter *m, const char *name, struct eg_result **ret)
{
	return look(m, name, false, true, ret);
}

int eg_meter_peek(struct eg_meter *m, const char *name, struct eg_result **ret)
{
	return look(m, name, true, false, ret);
}

int eg_meter_peek_last(struct eg_meter *m, const char *name, struct eg_result **ret)
{
	return look(m, name, false, false, ret);
}

int eg_meter_next(struct eg_meter *m, const char *name, const char *next, struct eg_result **ret)
{
	struct eg_result *res = NULL;
	struct window **w;
	int r;

	pthread_mutex_lock(&m->lock);
	r = strcmp(name, next) == 0 ? 0 : check_new(m, next);
	if (r == 0 && !*find_window(m, name))
		r = -ENOENT;
	if (r == 0) {
		eg_meter_sample_locked(m, true);
		/* Waiting for workers lets others in: either name may be another's now. */
		if (strcmp(name, next) != 0)
			r = check_new(m, next);
		w = find_window(m, name);
		if (r == 0)
			r = *w ? make_result(m, *w, &res) : -ENOENT;
	}
	if (r == 0) {
		r = window_new(m, next, m->last_sample_ns);
		if (r < 0) {
			eg_result_free(res);
		} else {
			/* The new one stands at the head; the old one, maybe of the same name,
			 * behind it. */
			w = &m->windows->next;
			while (strcmp((*w)->name, name) != 0)
				w = &(*w)->next;
			unlink_window(m, w);
			*ret = res;
		}
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

int eg_meter_cancel(struct eg_meter *m, const char *name)
{
	struct window **w;
	int r = -ENOENT;

	pthread_mutex_lock(&m->lock);
	w = find_window(m, name);
	if (*w) {
		unlink_window(m, w);
		r = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int add_units(struct window *w, const char *unit, uint64_t count)
{
	struct eg_result_units *u = NULL;

	for (size_t i = 0; i < w->n_units; i++)
		if (strcmp(w->units[i].name, unit) == 0)
			u = &w->units[i];
	if (!u && w->n_units == EG_UNITS_MAX)
		return -ENOSPC;
	if (!u) {
		u = &w->units[w->n_units++];
		*u = (struct eg_result_units){0};
		memcpy(u->name, unit, strlen(unit) + 1);
	}
	if (u->count > UINT64_MAX - count)
		return -EOVERFLOW;
	u->count += count;
	return 0;
}

int eg_meter_add_units(struct eg_meter *m, const char *name, const char *unit, uint64_t count)
{
	struct window **w;
	int r = -ENOENT;

	if (!unit || !*unit)
		return -EINVAL;
	if (strlen(unit) >= sizeof(((struct eg_result_units *)0)->name))
		return -ENAMETOOLONG;
	pthread_mutex_lock(&m->lock);
	w = find_window(m, name);
	if (*w)
		r = add_units(*w, unit, count);
	pthread_mutex_unlock(&m->lock);
	return r;
}

struct eg_result *eg_result_free(struct eg_result *r)
{
	if (r) {
		free(r->channel);
		free(r);
	}
	return NULL;
}

void eg_windows_free(struct eg_meter *m)
{
	while (m->windows)
		unlink_window(m, &m->windows);
}
