/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a meter is opened (meter.h): drivers, what of them is used, accounts.
 *
 * Drivers are opened by a thread with a deadline, and whenever it has been at one for a while another
 * thread goes on with the rest, so that one hanging library or bus delays nobody: what hangs is
 * abandoned, with its memory, and named.
 */
#include "core/meter.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "base/thread.h"
#include "core/meter_internal.h"

#define PATIENCE_NS (5 * EG_NSEC_PER_MSEC) /* with one opening before another thread goes on */

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

void eg_meter_merge_diags(struct eg_meter *m, const struct eg_diags *from)
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
	s->slow = o->drv->blocking_ns > EG_METER_FAST_NS ||
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
		eg_meter_merge_diags(m, &o->diags);
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
			r = eg_thread_start(&s->thread, eg_meter_worker, s);
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
