/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See meter.h. Sampling, workers, snapshots and the end; it is opened in open.c, windows are in window.c.
 *
 * A driver that may block keeps a worker; it reads into a batch that is fed in under the lock.
 */
#include "core/meter.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "core/meter_internal.h"

#define PAUSE_NS (50 * 1000) /* of the sampling thread, at least */

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
	eg_meter_merge_diags(m, &s->diags);
	s->diags.n = 0;
	s->n_batch = s->batch_lost = 0;
	spread_state(m, s);
}

void *eg_meter_worker(void *arg)
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
	uint64_t most_ns = edge ? UINT64_MAX : EG_MIN(EG_METER_FAST_NS, since_ns / 4);
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
