/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Totals across processes: what an account carries out of one meter (where it stands) and into the next
 * (eg_meter_restore). The energy of the time in between is not invented here: the first reading is
 * taken as any other after the last one, by the rules of core/counter.h.
 */
#include <string.h>

#include "core/meter_internal.h"

/* The reading that a counter's total stands on, where this channel goes on from it. */
static bool counter_goes_on(const struct eg_account *a, const struct eg_track *t, uint64_t now_ns)
{
	const struct eg_channel *ch = t->ch;

	return a->last.counter && ch->quantity == EG_QUANTITY_ENERGY && !ch->own_count &&
	       a->last.t_ns && a->last.t_ns <= now_ns && a->last.unit_num == ch->unit_num &&
	       a->last.unit_den == ch->unit_den && a->last.modulus == ch->modulus &&
	       a->last.rem < ch->unit_den;
}

static void resume_track(struct eg_meter *m, size_t i, const struct eg_account *a, bool same_boot)
{
	struct eg_track *t = &m->track[i];
	uint64_t now = eg_clock_ns(&m->env->clock), unix_now = eg_clock_unix_ns(&m->env->clock);
	struct eg_counter c = {.raw = a->last.raw,
			       .t_ns = a->last.t_ns,
			       .awake_ns = a->last.awake_ns,
			       .rem = a->last.rem,
			       .started = true};
	int64_t away_from = (int64_t)now;

	same_boot = same_boot && a->last.t_ns <= now;
	if (same_boot && a->last.t_ns)
		away_from = (int64_t)a->last.t_ns;
	else if (a->last.unix_ns && a->last.unix_ns < unix_now)
		away_from = (int64_t)now - (int64_t)(unix_now - a->last.unix_ns);
	else if (!a->last.unix_ns)
		return; /* it never had a reading: nothing is missing */
	eg_track_resume(t,
			same_boot && counter_goes_on(a, t, now) &&
					strcmp(a->channel, m->name[i]) == 0 ?
				&c :
				NULL,
			away_from);
}

static bool restore_one(struct eg_meter *m, const struct eg_account *from, bool same_boot)
{
	size_t before = eg_ledger_count(m->ledger);
	int k = eg_ledger_account(m->ledger, from->device, from->component, from->provenance);
	struct eg_account *a;

	if (k < 0)
		return false;
	a = eg_ledger_edit(m->ledger, (size_t)k);
	if ((size_t)k == before) { /* its device is not here */
		*a = *from;
		return true;
	}
	a->created_unix_ns = from->created_unix_ns;
	a->uj = eg_add_sat(a->uj, from->uj);
	a->recovered_uj = eg_add_sat(a->recovered_uj, from->recovered_uj);
	a->gap_ns = eg_add_sat(a->gap_ns, from->gap_ns);
	a->resets = eg_add_sat(a->resets, from->resets);
	a->last = from->last;
	for (size_t i = 0; i < m->n; i++)
		if (m->account[i] == k)
			resume_track(m, i, from, same_boot);
	return true;
}

size_t eg_meter_restore(struct eg_meter *m, const struct eg_account *a, size_t n, bool same_boot)
{
	size_t refused = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < n; i++)
		refused += !restore_one(m, &a[i], same_boot);
	pthread_mutex_unlock(&m->lock);
	return refused;
}

void eg_meter_note_standing(struct eg_meter *m, uint64_t unix_ns)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct eg_track *t = &m->track[i];
		const struct eg_channel *ch = t->ch;
		struct eg_account *a = m->account[i] >= 0 ?
					       eg_ledger_edit(m->ledger, (size_t)m->account[i]) :
					       NULL;
		bool counter = ch->quantity == EG_QUANTITY_ENERGY;
		uint64_t now = m->last_sample_ns, age = now - EG_MIN(now, t->ok_t_ns);

		if (!a || !t->samples)
			continue;
		a->last = (struct eg_standing){.t_ns = t->ok_t_ns,
					       .unix_ns = unix_ns - EG_MIN(unix_ns, age),
					       .unit_num = ch->unit_num,
					       .unit_den = ch->unit_den,
					       .modulus = ch->modulus,
					       .counter = counter && !ch->own_count,
					       .raw = counter ? t->counter.raw : 0,
					       .rem = counter ? t->counter.rem : 0,
					       .awake_ns = counter ? t->counter.awake_ns :
								     t->integrator.awake_ns};
	}
}
