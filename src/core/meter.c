/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See meter.h. Opening, sampling, workers and snapshots; windows are in window.c.
 *
 * Drivers are opened by a thread with a deadline, and whenever it has been at one for a while another
 * thread goes on with the rest, so that one hanging library or bus delays nobody: what hangs is
 * abandoned, with its memory, and named. A driver that may block keeps a worker; it reads into a
 * batch that is fed in under the lock.
 */
#include "core/meter.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "base/thread.h"
#include "core/meter_internal.h"

#define FAST_NS	    (5 * EG_NSEC_PER_MSEC)
#define PAUSE_NS    (50 * 1000)		   /* of the sampling thread, at least */
#define PATIENCE_NS (5 * EG_NSEC_PER_MSEC) /* with one opening before another thread goes on */

/* ---- opening ---- */

struct opening {
	const struct eg_driver *drv;
	struct eg_driver_config cfg;
	struct eg_diags diags;
	bool done;
	int result;
	struct eg_instance *inst;
};

struct opener {
	struct openings *all;
	pthread_t thread;
	bool idle; /* has ended, or is about to */
};

/* All openings of one meter; left behind as a whole when one of them hangs. */
struct openings {
	const struct eg_env *env;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	size_t n, next, n_done, n_openers;
	struct opener *opener; /* n of them */
	struct opening item[];
};

static void *open_in_turn(void *arg)
{
	struct opener *me = arg;
	struct openings *all = me->all;

	pthread_mutex_lock(&all->lock);
	while (all->next < all->n) {
		struct opening *o = &all->item[all->next++];
		struct eg_instance *inst = NULL;
		int r;

		pthread_mutex_unlock(&all->lock);
		r = o->drv->open(all->env, &o->cfg, &inst);
		pthread_mutex_lock(&all->lock);
		o->result = r;
		o->inst = inst;
		o->done = true;
		all->n_done++;
	}
	me->idle = true;
	pthread_cond_broadcast(&all->cond);
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

static void merge_diags(struct eg_meter *m, const struct eg_diags *from)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct eg_diag *d = &from->items[i];

		eg_diag_add(&m->diags, d->code, d->driver, d->subject, d->cure, "%s", d->detail);
	}
}

static void explain_failure(struct eg_meter *m, const struct opening *o)
{
	if (o->result == 0)
		return;
	for (size_t i = 0; i < o->diags.n; i++)
		if (strcmp(o->diags.items[i].driver, o->drv->name) == 0)
			return;
	eg_diag_add(&m->diags, eg_diag_code_of(o->result), o->drv->name, "", "",
		    "cannot be opened: %s", eg_errno_text(o->result));
}

static int adopt(struct eg_meter *m, struct opening *o, unsigned rank)
{
	struct slot *s = &m->slot[m->n_slots];
	const struct eg_channel *ch;

	*s = (struct slot){.m = m, .drv = o->drv, .inst = o->inst, .rank = rank};
	m->n_slots++;
	s->n = o->drv->describe(o->inst, &ch);
	s->track = calloc(s->n + 1, sizeof(*s->track));
	s->flags = calloc(s->n + 1, sizeof(*s->flags));
	s->celsius = calloc(s->n + 1, sizeof(*s->celsius));
	s->sensor_uw = calloc(s->n + 1, sizeof(*s->sensor_uw));
	if (!s->track || !s->flags || !s->celsius || !s->sensor_uw)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		s->celsius[i] = NAN;
		s->sensor_uw[i] = UINT64_MAX;
	}
	s->slow = o->drv->blocking_ns > FAST_NS ||
		  (o->drv->may_block && o->drv->may_block(o->inst));
	return 0;
}

/* Notes an opening for every driver that the configuration wants. */
static int plan_openings(struct eg_meter *m, const struct eg_driver *const *drivers,
			 struct openings *all)
{
	for (size_t i = 0; drivers[i]; i++) {
		struct opening *o = &all->item[all->n];

		if (!eg_select_driver(&m->select, drivers[i]->name))
			continue;
		if (drivers[i]->estimator && !m->cfg.allow_estimates) {
			eg_diag_add(&m->diags, EG_DIAG_ESTIMATOR, drivers[i]->name, "",
				    "allow it with --allow-estimates",
				    "not used: it estimates, and estimates are not allowed");
			continue;
		}
		*o = (struct opening){.drv = drivers[i], .result = -EAGAIN};
		if (eg_diags_init(&o->diags, 64) < 0)
			return -ENOMEM;
		o->cfg = (struct eg_driver_config){.allow_estimates = m->cfg.allow_estimates,
						   .settings = m->cfg.settings,
						   .n_settings = m->cfg.n_settings,
						   .diags = &o->diags};
		all->n++;
	}
	return 0;
}

static int add_opener(struct openings *all)
{
	struct opener *o = &all->opener[all->n_openers];
	int r;

	o->all = all;
	r = eg_thread_start(&o->thread, open_in_turn, o);
	if (r == 0)
		all->n_openers++;
	return r;
}

/* Opens until all is done or the deadline has passed; true when all is done. */
static bool run_openings(struct eg_meter *m, struct openings *all)
{
	struct timespec until = eg_clock_deadline(m->cfg.open_deadline_ns);
	bool timeout = false, complete;
	int r = 0;

	pthread_mutex_lock(&all->lock);
	while (all->n_done < all->n && !timeout) {
		bool rest = r == 0 && all->next < all->n && all->n_openers < all->n;
		struct timespec turn = eg_clock_deadline(PATIENCE_NS);

		if (rest)
			r = add_opener(all);
		if (all->n_openers == 0) { /* no thread at all */
			for (; all->n_done < all->n; all->n_done++) {
				all->item[all->n_done].result = r;
				all->item[all->n_done].done = true;
			}
			break;
		}
		timeout = pthread_cond_timedwait(&all->cond, &all->lock, rest ? &turn : &until) !=
				  0 &&
			  !rest;
	}
	all->next = all->n; /* what comes back late takes no other */
	complete = all->n_done == all->n;
	for (size_t i = 0; i < all->n_openers; i++) {
		struct opener *o = &all->opener[i];

		if (!complete && !o->idle) {
			pthread_detach(o->thread);
			continue;
		}
		pthread_mutex_unlock(&all->lock);
		pthread_join(o->thread, NULL);
		pthread_mutex_lock(&all->lock);
	}
	pthread_mutex_unlock(&all->lock);
	return complete;
}

static unsigned rank_of(const struct eg_driver *const *drivers, const struct eg_driver *drv)
{
	unsigned i = 0;

	while (drivers[i] != drv)
		i++;
	return i;
}

static int open_drivers(struct eg_meter *m, const struct eg_driver *const *drivers)
{
	size_t n = 0;
	struct openings *all;
	struct opener *opener;
	bool complete;
	int r = 0;

	while (drivers[n])
		n++;
	all = calloc(1, sizeof(*all) + n * sizeof(all->item[0]));
	opener = calloc(n + 1, sizeof(*opener));
	m->slot = calloc(n + 1, sizeof(*m->slot));
	if (!all || !opener || !m->slot) {
		free(opener);
		free(all);
		return -ENOMEM;
	}
	all->env = m->env;
	all->opener = opener;
	pthread_mutex_init(&all->lock, NULL);
	r = eg_cond_init(&all->cond);
	if (r == 0)
		r = plan_openings(m, drivers, all);
	complete = run_openings(m, all);
	m->abandoned = !complete;
	m->left_behind = complete ? NULL : all;
	for (size_t i = 0; i < all->n; i++) {
		struct opening *o = &all->item[i];
		bool done;

		pthread_mutex_lock(&all->lock);
		done = o->done;
		pthread_mutex_unlock(&all->lock);
		if (!done) {
			eg_diag_add(&m->diags, EG_DIAG_SENSOR_TIMEOUT, o->drv->name, "",
				    "see whether its device or library hangs; leave it out with "
				    "--select",
				    "opening it did not end within %.1f s",
				    (double)m->cfg.open_deadline_ns / 1e9);
			continue;
		}
		merge_diags(m, &o->diags);
		explain_failure(m, o);
		if (o->result == 0 && r == 0) {
			int a = adopt(m, o, rank_of(drivers, o->drv));

			r = a < 0 ? a : r;
		} else if (o->result == 0) {
			o->drv->close(o->inst);
		} else if (o->result == -ENOMEM) {
			r = -ENOMEM;
		}
		eg_diags_free(&o->diags);
	}
	if (complete) {
		pthread_cond_destroy(&all->cond);
		pthread_mutex_destroy(&all->lock);
		free(opener);
		free(all);
	}
	return r;
}

/* A channel that was named, of a driver that is known, and is not there. */
static void name_misses(struct eg_meter *m)
{
	for (unsigned i = 0; i < m->select.n; i++)
		if (!m->select.item[i].hit && strchr(m->select.item[i].text, '/'))
			eg_diag_add(&m->diags, EG_DIAG_CONFIG, "", m->select.item[i].text,
				    "see the names that `ergon sensors` lists",
				    "no channel here matches it");
}

/* Tracks for the selected channels, in slot order. */
static int make_tracks(struct eg_meter *m)
{
	size_t total = 0;

	for (size_t i = 0; i < m->n_slots; i++)
		total += m->slot[i].n;
	total = EG_MIN(total, EG_CHANNELS_MAX);
	m->track = calloc(total + 1, sizeof(*m->track));
	m->name = calloc(total + 1, sizeof(*m->name));
	if (!m->track || !m->name)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];
		const struct eg_channel *ch;

		/* A driver that has more by now than when it was opened keeps them to itself. */
		s->n = EG_MIN(s->n, s->drv->describe(s->inst, &ch));
		for (size_t c = 0; c < s->n; c++) {
			s->track[c] = -1;
			if (!eg_select_channel(&m->select, s->drv->name, ch[c].domain,
					       ch[c].component))
				continue;
			if (m->n == total) {
				eg_diag_add(&m->diags, EG_DIAG_CONFIG, s->drv->name, "",
					    "choose channels with --select",
					    "more than %d channels; the rest is left out",
					    EG_CHANNELS_MAX);
				continue;
			}
			snprintf(m->name[m->n], sizeof(m->name[0]), "%s/%s", s->drv->name,
				 ch[c].domain);
			eg_track_init(&m->track[m->n], &ch[c], s->drv, s->rank);
			s->track[c] = (int32_t)m->n++;
		}
		for (size_t c = 0; c < s->n; c++)
			if (s->track[c] >= 0 && ch[c].part_of >= 0 && (size_t)ch[c].part_of < s->n)
				m->track[s->track[c]].part_of = s->track[ch[c].part_of];
	}
	name_misses(m);
	return 0;
}

/* Of two tracks that measure one account only the better one feeds it. */
static void leave_one_feeder(struct eg_meter *m, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		bool gauge = m->track[k].ch->quantity == EG_QUANTITY_POWER &&
			     m->track[i].ch->quantity == EG_QUANTITY_ENERGY;
		size_t worse = gauge ? k : i;

		if (m->account[i] >= 0 && m->account[k] == m->account[i])
			m->account[worse] = m->est_account[worse] = -1;
	}
}

static void name_feeder(struct eg_meter *m, size_t i, int account)
{
	struct eg_account *a = account >= 0 ? eg_ledger_edit(m->ledger, (size_t)account) : NULL;

	if (!a)
		return;
	memcpy(a->channel, m->name[i], sizeof(a->channel));
	a->source = m->track[i].ch->source;
	a->boundary = m->track[i].ch->boundary;
	a->created_unix_ns = eg_clock_unix_ns(&m->env->clock);
}

/*
 * An estimate of what a sensor measures has no account: it would stand beside the measured one under the
 * same component, and who sums a component (all packages) would count the same joules twice.
 */
static bool is_measured_anyway(const struct eg_meter *m, size_t i)
{
	const struct eg_channel *ch = m->track[i].ch;

	for (size_t k = 0; ch->provenance == EG_PROVENANCE_ESTIMATED && k < m->n; k++)
		if (m->track[k].ch->component == ch->component &&
		    m->track[k].ch->provenance < ch->provenance)
			return true;
	return false;
}

/* Who makes the total while all is well, and which ledger accounts the tracks feed. */
static int make_accounts(struct eg_meter *m)
{
	eg_autofree struct eg_boundary_in *in = calloc(m->n + 1, sizeof(*in));
	int r;

	m->role = calloc(m->n + 1, sizeof(*m->role));
	m->account = calloc(m->n + 1, sizeof(*m->account));
	m->est_account = calloc(m->n + 1, sizeof(*m->est_account));
	if (!in || !m->role || !m->account || !m->est_account)
		return -ENOMEM;
	r = eg_ledger_new(EG_MAX(m->cfg.max_accounts, 2 * m->n + 1), &m->ledger);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->n; i++)
		in[i] = (struct eg_boundary_in){.ch = m->track[i].ch,
						.rank = m->track[i].rank,
						.usable = true,
						.part_of = m->track[i].part_of};
	eg_boundary_reduce(in, m->n, m->role);
	for (size_t i = 0; i < m->n; i++) {
		const struct eg_channel *ch = m->track[i].ch;

		m->account[i] = m->est_account[i] = -1;
		/* Rails of one device overlap as they like: they have no account. */
		if (m->role[i].role == EG_ROLE_CROSSCHECK || ch->component == EG_COMPONENT_RAIL ||
		    is_measured_anyway(m, i))
			continue;
		m->account[i] =
			eg_ledger_account(m->ledger, ch->device, ch->component, ch->provenance);
		m->est_account[i] = eg_ledger_account(m->ledger, ch->device, ch->component,
						      EG_PROVENANCE_ESTIMATED);
		if (m->account[i] < 0 || m->est_account[i] < 0)
			return -ENOMEM;
		leave_one_feeder(m, i);
	}
	for (size_t i = 0; i < m->n; i++) {
		name_feeder(m, i, m->account[i]);
		name_feeder(m, i, m->est_account[i]);
	}
	return 0;
}

static int make_snapshots(struct eg_meter *m)
{
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		m->snapshot[i].n = m->n;
		m->snapshot[i].channel = calloc(m->n + 1, sizeof(*m->snapshot[i].channel));
		if (!m->snapshot[i].channel)
			return -ENOMEM;
	}
	return 0;
}

static void *worker(void *arg);

static int start_workers(struct eg_meter *m)
{
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];
		int r;

		if (!s->slow)
			continue;
		s->batch = calloc(BATCH_MAX, sizeof(*s->batch));
		if (!s->batch)
			return -ENOMEM;
		r = eg_diags_init(&s->diags, WORKER_DIAGS);
		if (r == 0)
			r = eg_cond_init(&s->wake);
		if (r == 0)
			r = eg_thread_start(&s->thread, worker, s);
		if (r < 0)
			return r;
		s->has_thread = true;
	}
	return 0;
}

static int apply_defaults(struct eg_meter *m)
{
	const struct eg_integrate_config def = EG_INTEGRATE_DEFAULTS;
	struct eg_meter_config *c = &m->cfg;
	const char *why;
	int r;

	if (!c->interval_ns)
		c->interval_ns = EG_NSEC_PER_SEC;
	c->interval_ns = EG_MIN(c->interval_ns, EG_INTERVAL_MAX_NS);
	if (!c->integrate.gap_ns) /* all of it: to hold nothing is a choice too */
		c->integrate = def;
	c->integrate.interval_ns = c->interval_ns;
	if (!c->open_deadline_ns)
		c->open_deadline_ns = 5 * EG_NSEC_PER_SEC;
	if (!c->read_deadline_ns)
		c->read_deadline_ns = EG_NSEC_PER_SEC;
	r = eg_integrate_config_check(&c->integrate, &why);
	if (r < 0)
		eg_copy(m->why, sizeof(m->why), why);
	else if ((r = eg_select_parse(c->select, &m->select)) < 0)
		eg_copy(m->why, sizeof(m->why), "the selection has an empty or over-long pattern");
	return r;
}

static const struct eg_option *find_option(const struct eg_driver *d, const char *name)
{
	for (const struct eg_option *o = d->options; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

static int check_settings(struct eg_meter *m, const struct eg_driver *const *drivers)
{
	for (size_t i = 0; i < m->cfg.n_settings; i++) {
		const struct eg_setting *s = &m->cfg.settings[i];
		const struct eg_driver *d = NULL;

		for (size_t k = 0; drivers[k]; k++)
			if (strcmp(drivers[k]->name, s->driver) == 0)
				d = drivers[k];
		if (!d || !find_option(d, s->name)) {
			snprintf(m->why, sizeof(m->why), "no driver option %.60s.%.60s", s->driver,
				 s->name);
			return -EINVAL;
		}
	}
	return 0;
}

/* The driver or component whose name is nearest to a word that is none; "" where none is near. */
static const char *nearest_name(const struct eg_driver *const *drivers, const char *word)
{
	const char *best = "";
	unsigned least = 3;

	for (size_t i = 0; drivers[i]; i++)
		if (eg_edit_distance(word, drivers[i]->name) < least) {
			best = drivers[i]->name;
			least = eg_edit_distance(word, best);
		}
	for (int c = 0; c < EG_COMPONENT_COUNT; c++)
		if (eg_edit_distance(word, eg_component_word((enum eg_component)c)) < least) {
			best = eg_component_word((enum eg_component)c);
			least = eg_edit_distance(word, best);
		}
	return best;
}

static int check_selection(struct eg_meter *m, const struct eg_driver *const *drivers)
{
	const char *unused, *near;

	/* A driver that is not here can still be named. */
	for (size_t i = 0; drivers[i]; i++)
		eg_select_driver(&m->select, drivers[i]->name);
	unused = eg_select_unused(&m->select);
	if (!unused)
		return 0;
	near = nearest_name(drivers, unused);
	snprintf(m->why, sizeof(m->why), "no driver or component matches '%s'%s%s", unused,
		 *near ? "; did you mean " : "", near);
	return -EINVAL;
}

int eg_meter_open(const struct eg_env *env, const struct eg_driver *const *drivers,
		  const struct eg_meter_config *cfg, struct eg_meter **ret, const char **ret_why)
{
	static const char *const no_memory = "out of memory";
	static _Thread_local char why[192];
	struct eg_meter *m = calloc(1, sizeof(*m));
	int r;

	if (ret_why)
		*ret_why = no_memory;
	if (!m)
		return -ENOMEM;
	m->env = env;
	m->cfg = *cfg;
	m->guard_ns = UINT64_MAX;
	atomic_init(&m->newest, -1);
	pthread_mutex_init(&m->lock, NULL);
	r = eg_cond_init(&m->done);
	if (r == 0)
		r = eg_diags_init(&m->diags, EG_DIAGS_MAX);
	if (r == 0)
		r = apply_defaults(m);
	if (r == 0)
		r = check_settings(m, drivers);
	if (r == 0) /* before anything is opened: what hangs then would still use env */
		r = check_selection(m, drivers);
	if (r == 0)
		r = open_drivers(m, drivers);
	if (r == 0)
		r = make_tracks(m);
	if (r == 0)
		r = make_accounts(m);
	if (r == 0)
		r = make_snapshots(m);
	if (r == 0)
		r = start_workers(m);
	for (size_t i = 0; r == 0 && i < m->n; i++)
		m->guard_ns = EG_MIN(m->guard_ns, eg_counter_guard_ns(m->track[i].ch));
	m->cfg.select = NULL;
	m->cfg.settings = NULL;
	m->cfg.n_settings = 0;
	if (r < 0) {
		if (ret_why && m->why[0]) {
			eg_copy(why, sizeof(why), m->why);
			*ret_why = why;
		} else if (ret_why) {
			*ret_why = eg_errno_text(r);
		}
		eg_meter_close(m);
		return r;
	}
	*ret = m;
	return 0;
}

/* ---- closing ---- */

/* Ends a worker; false when its driver hangs and it has to be left behind. */
static bool stop_worker(struct eg_meter *m, struct slot *s)
{
	struct timespec until = eg_clock_deadline(m->cfg.read_deadline_ns);
	bool stuck = false;

	if (!s->has_thread)
		return true;
	pthread_mutex_lock(&m->lock);
	s->quit = true;
	pthread_cond_signal(&s->wake);
	while (s->busy && !stuck)
		stuck = s->late || pthread_cond_timedwait(&m->done, &m->lock, &until) != 0;
	stuck = s->busy;
	pthread_mutex_unlock(&m->lock);
	if (stuck) {
		pthread_detach(s->thread);
		return false;
	}
	pthread_join(s->thread, NULL);
	return true;
}

static void free_slot(struct eg_meter *m, struct slot *s)
{
	if (!stop_worker(m, s)) {
		m->abandoned = true;
		return;
	}
	if (s->has_thread)
		pthread_cond_destroy(&s->wake);
	s->drv->close(s->inst);
	eg_diags_free(&s->diags);
	free(s->batch);
	free(s->track);
	free(s->flags);
	free(s->celsius);
	free(s->sensor_uw);
}

struct eg_meter *eg_meter_close(struct eg_meter *m)
{
	if (!m)
		return NULL;
	if (m->has_sampler) {
		pthread_mutex_lock(&m->lock);
		m->quit = true;
		pthread_cond_broadcast(&m->done);
		pthread_mutex_unlock(&m->lock);
		pthread_join(m->sampler, NULL);
	}
	for (size_t i = 0; i < m->n_slots; i++)
		free_slot(m, &m->slot[i]);
	/* A thread that hangs in a driver may still look at the meter: it is left behind. */
	if (m->abandoned)
		return m;
	eg_windows_free(m);
	for (size_t i = 0; i < SNAPSHOTS; i++)
		free(m->snapshot[i].channel);
	eg_ledger_free(m->ledger);
	eg_diags_free(&m->diags);
	free(m->slot);
	free(m->track);
	free(m->name);
	free(m->role);
	free(m->account);
	free(m->est_account);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	free(m);
	return NULL;
}

/* ---- sampling ---- */

/* Feeds one reading and carries what it added to the ledger. */
static void feed(struct eg_meter *m, int32_t index, const struct eg_reading *r,
		 uint64_t suspended_ns)
{
	struct eg_track *t = &m->track[index];
	uint64_t uj = t->uj, est = t->est_uj, gap = t->gap_ns, resets = t->resets;
	uint64_t recovered = t->recovered_uj, away = t->away_ns;
	uint64_t awake = r->t_ns > suspended_ns ? r->t_ns - suspended_ns : 0;

	eg_track_feed(t, &m->cfg.integrate, r, awake, &m->diags);
	if (m->account[index] < 0)
		return;
	recovered = t->recovered_uj - recovered;
	eg_ledger_add(m->ledger, m->account[index], t->uj - uj + recovered,
		      t->gap_ns - gap + t->away_ns - away, t->resets != resets);
	if (recovered) {
		struct eg_account *a = eg_ledger_edit(m->ledger, (size_t)m->account[index]);

		a->recovered_uj = eg_add_sat(a->recovered_uj, recovered);
	}
	if (t->est_uj != est)
		eg_ledger_add(m->ledger, m->est_account[index], t->est_uj - est, 0, false);
}

struct inline_sink {
	struct eg_sink sink;
	struct slot *slot;
	uint64_t suspended_ns;
};

static void inline_put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct inline_sink *is = (struct inline_sink *)sink;
	int32_t index = channel < is->slot->n ? is->slot->track[channel] : -1;

	if (index >= 0)
		feed(is->slot->m, index, r, is->suspended_ns);
}

struct batch_sink {
	struct eg_sink sink;
	struct slot *slot;
};

static void batch_put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct slot *s = ((struct batch_sink *)sink)->slot;

	if (channel >= s->n)
		return;
	if (s->n_batch == BATCH_MAX) {
		s->batch_lost++;
		return;
	}
	s->batch[s->n_batch++] = (struct batch_item){(uint32_t)channel, *r};
}

/* What a driver says beside its readings. The caller is the one thread that reads it. */
static void note_state(struct slot *s)
{
	for (size_t c = 0; c < s->n; c++) {
		if (s->drv->flags)
			s->flags[c] = s->drv->flags(s->inst, c);
		if (s->drv->temperature && s->drv->temperature(s->inst, c, &s->celsius[c]) < 0)
			s->celsius[c] = NAN;
		if (s->drv->power && s->drv->power(s->inst, c, &s->sensor_uw[c]) < 0)
			s->sensor_uw[c] = UINT64_MAX;
	}
}

static void spread_state(struct eg_meter *m, const struct slot *s)
{
	if (!s->drv->flags && !s->drv->temperature && !s->drv->power)
		return;
	for (size_t c = 0; c < s->n; c++)
		if (s->track[c] >= 0) {
			m->track[s->track[c]].flags = s->flags[c];
			m->track[s->track[c]].celsius = s->celsius[c];
			m->track[s->track[c]].sensor_uw = s->sensor_uw[c];
		}
}

/*
 * How long the machine has slept so far, and the time now. Two clocks are read one after the other:
 * a thread that is put off in between (a throttled container) would see a sleep that never was. So
 * where they are further apart than the last time they are read again.
 */
static uint64_t suspended_ns(struct eg_meter *m, uint64_t *ret_now_ns)
{
	const struct eg_clock *clock = &m->env->clock;
	uint64_t before = eg_clock_awake_ns(clock), boot = eg_clock_ns(clock), awake;

	for (int tries = 0;
	     tries < 10 && boot > before && boot - before >= m->slept_ns + EG_NSEC_PER_MSEC;
	     tries++) {
		awake = eg_clock_awake_ns(clock);
		if (awake - before < EG_NSEC_PER_MSEC) {
			m->slept_ns = boot - before;
			break;
		}
		before = awake;
		boot = eg_clock_ns(clock);
	}
	*ret_now_ns = boot;
	return boot > before ? boot - before : 0;
}

/* A read without a single value: the next one waits longer; one with a value: no pause. */
static void back_off(struct eg_meter *m, struct slot *s, uint64_t now_ns)
{
	bool any = false;

	for (size_t i = 0; i < s->n_batch; i++)
		any |= s->batch[i].reading.status == EG_STATUS_OK;
	if (any || !m->cfg.backoff_max_ns) {
		s->pause_ns = s->retry_ns = 0;
		return;
	}
	s->pause_ns = s->pause_ns ? 2 * s->pause_ns : m->cfg.interval_ns;
	s->pause_ns = EG_MIN(s->pause_ns, m->cfg.backoff_max_ns);
	s->retry_ns = now_ns + s->pause_ns;
}

static void take_batch(struct eg_meter *m, struct slot *s)
{
	uint64_t now, suspended = suspended_ns(m, &now);

	back_off(m, s, now);

	for (size_t i = 0; i < s->n_batch; i++) {
		int32_t index = s->track[s->batch[i].channel];

		if (index >= 0)
			feed(m, index, &s->batch[i].reading, suspended);
	}
	if (s->batch_lost)
		eg_diag_add(&m->diags, EG_DIAG_SENSOR_ERROR, s->drv->name, "", "",
			    "more than %d readings at once; the rest was dropped", BATCH_MAX);
	merge_diags(m, &s->diags);
	s->diags.n = 0;
	s->n_batch = s->batch_lost = 0;
	spread_state(m, s);
}

static void *worker(void *arg)
{
	struct slot *s = arg;
	struct eg_meter *m = s->m;
	struct batch_sink sink = {.sink.put = batch_put, .slot = s};

	pthread_mutex_lock(&m->lock);
	while (!s->quit) {
		uint64_t ticket = s->asked;

		if (s->answered == ticket || s->busy) { /* busy: its attributes are being read */
			pthread_cond_wait(&s->wake, &m->lock);
			continue;
		}
		s->busy = true;
		s->busy_since_ns = eg_clock_real_ns();
		pthread_mutex_unlock(&m->lock);
		s->drv->read(s->inst, &sink.sink, &s->diags);
		note_state(s);
		pthread_mutex_lock(&m->lock);
		take_batch(m, s);
		s->answered = ticket;
		s->took_ns = eg_clock_real_ns() - s->busy_since_ns;
		s->busy = s->late = false;
		pthread_cond_broadcast(&m->done);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/*
 * Has a worker yet to answer this sample, and may it do so in time? One that answered and is busy
 * for somebody else's sample is not waited for.
 */
static bool is_pending(const struct slot *s, uint64_t ticket)
{
	return s->slow && !s->late && s->asked >= ticket && s->answered < ticket;
}

/* most_ns: of those alone whose last read took no longer. */
static bool workers_pending(const struct eg_meter *m, uint64_t ticket, uint64_t most_ns)
{
	for (size_t i = 0; i < m->n_slots; i++)
		if (is_pending(&m->slot[i], ticket) && m->slot[i].took_ns <= most_ns)
			return true;
	return false;
}

static void call_late(struct eg_meter *m, struct slot *s)
{
	s->late = true;
	for (size_t c = 0; c < s->n; c++)
		if (s->track[c] >= 0)
			m->track[s->track[c]].status = EG_STATUS_ERROR;
	eg_diag_add(&m->diags, EG_DIAG_SENSOR_TIMEOUT, s->drv->name, "",
		    "see whether its device hangs; leave it out with --select",
		    "a read did not end within %.3f s", (double)m->cfg.read_deadline_ns / 1e9);
}

/* A late worker is not waited for again until it comes back: that is its back-off. */
static void give_up_waiting(struct eg_meter *m, uint64_t ticket)
{
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];

		if (is_pending(s, ticket))
			call_late(m, s);
	}
}

static void publish(struct eg_meter *m)
{
	int newest = atomic_load(&m->newest), i;
	struct eg_snapshot *s;

	for (i = 0; i < SNAPSHOTS; i++)
		if (i != newest && atomic_load(&m->pins[i]) == 0)
			break;
	if (i == SNAPSHOTS) {
		atomic_fetch_add(&m->skipped, 1);
		return;
	}
	s = &m->snapshot[i];
	s->seq = ++m->seq;
	s->t_ns = m->last_sample_ns;
	for (size_t k = 0; k < m->n; k++) {
		const struct eg_track *t = &m->track[k];

		s->channel[k] = (struct eg_snapshot_channel){.uj = t->uj,
							     .est_uj = t->est_uj,
							     .gap_ns = t->gap_ns,
							     .samples = t->samples,
							     .t_ns = t->ok_t_ns,
							     .uw = t->uw,
							     .have_uw = t->have_uw,
							     .status = t->status};
	}
	atomic_store(&m->newest, i);
}

/*
 * An edge of a window waits until the deadline. Any other sample waits for those workers that are about
 * as fast as a driver without one, at most a quarter of the time since the sample before: else a value
 * would be a race's, now of this sample and now of the one before.
 */
static void wait_for_workers(struct eg_meter *m, uint64_t ticket, bool edge, uint64_t since_ns)
{
	uint64_t most_ns = edge ? UINT64_MAX : EG_MIN(FAST_NS, since_ns / 4);
	struct timespec until = eg_clock_deadline(edge ? m->cfg.read_deadline_ns : most_ns);

	while (workers_pending(m, ticket, most_ns))
		if (pthread_cond_timedwait(&m->done, &m->lock, &until) == ETIMEDOUT) {
			if (edge)
				give_up_waiting(m, ticket);
			break;
		}
}

/* Without an edge that waits for it, a read that hangs is noticed by the next samples. */
static void notice_hang(struct eg_meter *m, struct slot *s)
{
	if (s->busy && !s->late && eg_clock_real_ns() - s->busy_since_ns > m->cfg.read_deadline_ns)
		call_late(m, s);
}

void eg_meter_sample_locked(struct eg_meter *m, bool wait)
{
	struct inline_sink sink = {.sink.put = inline_put};
	uint64_t ticket = ++m->ticket, before_ns = m->last_sample_ns;
	bool slow = false;

	sink.suspended_ns = suspended_ns(m, &m->last_sample_ns);
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];

		if (!s->slow)
			continue;
		slow = true;
		notice_hang(m, s);
		if (!wait && m->last_sample_ns < s->retry_ns)
			continue;
		/* At an edge a read already under way does not count: its values are older. */
		if (!s->busy || (wait && !s->late)) {
			s->asked = ticket;
			pthread_cond_signal(&s->wake);
		}
	}
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];

		if (s->slow)
			continue;
		sink.slot = s;
		s->drv->read(s->inst, &sink.sink, &m->diags);
		if (s->drv->flags || s->drv->temperature || s->drv->power) {
			note_state(s);
			spread_state(m, s);
		}
	}
	if (slow)
		wait_for_workers(m, ticket, wait, m->last_sample_ns - before_ns);
	eg_windows_watch(m);
	publish(m);
}

void eg_meter_sample(struct eg_meter *m, bool wait)
{
	pthread_mutex_lock(&m->lock);
	eg_meter_sample_locked(m, wait);
	pthread_mutex_unlock(&m->lock);
}

uint64_t eg_meter_guard_ns(const struct eg_meter *m)
{
	return m->guard_ns;
}

uint64_t eg_meter_next_due(const struct eg_meter *m, uint64_t now_ns)
{
	return now_ns + EG_MIN(m->cfg.interval_ns, m->guard_ns);
}

bool eg_meter_awaits_first(struct eg_meter *m)
{
	bool waits = false;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_slots; i++)
		waits |= m->slot[i].slow && m->slot[i].asked && !m->slot[i].answered;
	pthread_mutex_unlock(&m->lock);
	return waits;
}

bool eg_meter_has_slow(const struct eg_meter *m)
{
	for (size_t i = 0; i < m->n_slots; i++)
		if (m->slot[i].slow)
			return true;
	return false;
}

bool eg_meter_needs_sampling(const struct eg_meter *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->track[i].ch->quantity == EG_QUANTITY_POWER)
			return true;
	return m->guard_ns != UINT64_MAX;
}

static bool has_gauge(const struct eg_meter *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->track[i].ch->quantity == EG_QUANTITY_POWER)
			return true;
	return false;
}

static void *sampling_thread(void *arg)
{
	struct eg_meter *m = arg;
	/* Counters need their guard reads alone; gauges the whole rate. */
	uint64_t step = has_gauge(m) ? EG_MIN(m->cfg.interval_ns, m->guard_ns) : m->guard_ns;

	pthread_mutex_lock(&m->lock);
	while (!m->quit) {
		uint64_t now = eg_clock_ns(&m->env->clock);
		struct timespec until;

		/* A window's edge is a sample too: it puts the next one off. */
		if (m->last_sample_ns == 0 || now >= m->last_sample_ns + step) {
			eg_meter_sample_locked(m, false);
			now = eg_clock_ns(&m->env->clock);
		}
		/* Also where a sample takes longer than the interval, others get their turn. */
		until = eg_clock_deadline(now + PAUSE_NS < m->last_sample_ns + step ?
						  m->last_sample_ns + step - now :
						  PAUSE_NS);
		pthread_cond_timedwait(&m->done, &m->lock, &until);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int eg_meter_start(struct eg_meter *m)
{
	int r;

	if (m->has_sampler || !eg_meter_needs_sampling(m))
		return 0;
	r = eg_thread_start(&m->sampler, sampling_thread, m);
	m->has_sampler = r == 0;
	return r;
}

/* ---- readers ---- */

const struct eg_snapshot *eg_meter_pin(struct eg_meter *m)
{
	for (;;) {
		int i = atomic_load(&m->newest);

		if (i < 0)
			return NULL;
		atomic_fetch_add(&m->pins[i], 1);
		/* Still the newest: the sampler does not write to it while it is. */
		if (atomic_load(&m->newest) == i)
			return &m->snapshot[i];
		atomic_fetch_sub(&m->pins[i], 1);
	}
}

void eg_meter_unpin(struct eg_meter *m, const struct eg_snapshot *s)
{
	if (s)
		atomic_fetch_sub(&m->pins[s - m->snapshot], 1);
}

uint64_t eg_meter_skipped(const struct eg_meter *m)
{
	return atomic_load(&((struct eg_meter *)(uintptr_t)m)->skipped);
}

size_t eg_meter_count(const struct eg_meter *m)
{
	return m->n;
}

const struct eg_channel *eg_meter_channel(const struct eg_meter *m, size_t i)
{
	return m->track[i].ch;
}

const struct eg_driver *eg_meter_driver(const struct eg_meter *m, size_t i)
{
	return m->track[i].driver;
}

const char *eg_meter_channel_name(const struct eg_meter *m, size_t i)
{
	return m->name[i];
}

int32_t eg_meter_part_of(const struct eg_meter *m, size_t i)
{
	return m->track[i].part_of;
}

int eg_meter_diags(struct eg_meter *m, struct eg_diags *ret)
{
	struct eg_diags d;
	int r;

	pthread_mutex_lock(&m->lock);
	r = eg_diags_init(&d, EG_MAX(m->diags.n, 1));
	if (r == 0) {
		memcpy(d.items, m->diags.items, m->diags.n * sizeof(*d.items));
		d.n = m->diags.n;
		d.dropped = m->diags.dropped;
		*ret = d;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

void eg_meter_diagnose(struct eg_meter *m, enum eg_diag_code code, const char *driver,
		       const char *subject, const char *cure, const char *detail)
{
	pthread_mutex_lock(&m->lock);
	eg_diag_add(&m->diags, code, driver, subject, cure, "%s", detail);
	pthread_mutex_unlock(&m->lock);
}

void eg_meter_attributes(struct eg_meter *m, struct eg_attribute_sink *sink)
{
	for (size_t i = 0; i < m->n_slots; i++) {
		struct slot *s = &m->slot[i];
		struct timespec until = eg_clock_deadline(m->cfg.read_deadline_ns);

		if (!s->drv->attributes)
			continue;
		pthread_mutex_lock(&m->lock);
		while (s->busy && pthread_cond_timedwait(&m->done, &m->lock, &until) == 0)
			;
		if (!s->busy) {
			/* Marked busy, so that its worker stays away; other drivers go on. */
			s->busy = s->slow;
			if (s->slow)
				pthread_mutex_unlock(&m->lock);
			s->drv->attributes(s->inst, sink);
			if (s->slow)
				pthread_mutex_lock(&m->lock);
			s->busy = false;
			pthread_cond_broadcast(&m->done);
			if (s->slow)
				pthread_cond_signal(&s->wake);
		}
		pthread_mutex_unlock(&m->lock);
	}
}

int eg_meter_accounts(struct eg_meter *m, struct eg_account **ret, size_t *ret_n)
{
	size_t n = eg_ledger_count(m->ledger);
	struct eg_account *copy = calloc(n + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < n; i++)
		copy[i] = *eg_ledger_get(m->ledger, i);
	pthread_mutex_unlock(&m->lock);
	*ret = copy;
	*ret_n = n;
	return 0;
}
