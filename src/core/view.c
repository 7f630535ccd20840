/* SPDX-License-Identifier: Apache-2.0 */
/* See view.h. One pass over channels and accounts under the meter's lock; nothing is allocated. */
#include "core/view.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/meter_internal.h"

int eg_view_new(struct eg_meter *m, struct eg_view **ret)
{
	struct eg_view *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	pthread_mutex_lock(&m->lock);
	v->n_channels = m->n;
	v->max_accounts = eg_ledger_count(m->ledger);
	pthread_mutex_unlock(&m->lock);
	v->channel = calloc(v->n_channels + 1, sizeof(*v->channel));
	v->account = calloc(v->max_accounts + 1, sizeof(*v->account));
	if (!v->channel || !v->account) {
		eg_view_free(v);
		return -ENOMEM;
	}
	*ret = v;
	return 0;
}

struct eg_view *eg_view_free(struct eg_view *v)
{
	if (v) {
		free(v->channel);
		free(v->account);
		free(v);
	}
	return NULL;
}

static void take_channel(struct eg_view_channel *c, struct eg_meter *m, const struct window *w,
			 size_t i)
{
	const struct eg_track *t = &m->track[i];
	struct eg_result_channel in_window = {0};

	if (w)
		eg_window_channel(m, w, i, m->last_sample_ns, &in_window);
	*c = (struct eg_view_channel){.ch = t->ch,
				      .driver = t->driver,
				      .name = m->name[i],
				      .role = m->role[i].role,
				      .account = m->account[i],
				      .est_account = m->est_account[i],
				      .status = t->status,
				      .t_ns = t->ok_t_ns,
				      .have_uw = t->have_uw,
				      .uw = t->uw,
				      .uj = t->uj,
				      .est_uj = t->est_uj,
				      .gap_ns = t->gap_ns,
				      .samples = t->samples,
				      .failed = t->failed,
				      .resets = t->resets,
				      .uncertainty_uj = in_window.uncertainty.total_uj,
				      .flags = t->flags,
				      .celsius = t->celsius,
				      .sensor_uw = t->sensor_uw};
}

/* Which accounts have a channel, and which may be shown. */
static void link_accounts(struct eg_view *v)
{
	for (size_t k = 0; k < v->n_accounts; k++) {
		struct eg_view_account *a = &v->account[k];

		a->channel = -1;
		a->held = false;
		a->shown = a->a.last.unix_ns || a->a.uj;
	}
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *c = &v->channel[i];

		if (c->account >= 0) {
			v->account[c->account].channel = (int)i;
			v->account[c->account].shown |= c->samples > 0;
		}
		/* An estimator's own account is no account of held readings. */
		if (c->est_account >= 0 && c->est_account != c->account) {
			v->account[c->est_account].channel = (int)i;
			v->account[c->est_account].held = true;
			v->account[c->est_account].shown = v->account[c->est_account].a.uj > 0;
		}
	}
}

void eg_view_take(struct eg_view *v, struct eg_meter *m)
{
	const struct window *w;

	pthread_mutex_lock(&m->lock);
	v->seq = m->ticket;
	v->t_ns = m->last_sample_ns;
	v->unix_ns = eg_clock_unix_ns(&m->env->clock);
	v->diag_events = m->diags.events;
	v->diags_dropped = m->diags.dropped;
	v->skipped = atomic_load(&m->skipped);
	eg_meter_note_standing(m, v->unix_ns);
	w = eg_window_find(m, EG_METER_SINCE_OPEN);
	for (size_t i = 0; i < v->n_channels; i++)
		take_channel(&v->channel[i], m, w, i);
	v->n_accounts = EG_MIN(eg_ledger_count(m->ledger), v->max_accounts);
	for (size_t k = 0; k < v->n_accounts; k++)
		v->account[k].a = *eg_ledger_get(m->ledger, k);
	pthread_mutex_unlock(&m->lock);
	link_accounts(v);
}
