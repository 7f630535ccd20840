/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tick: sample, view, checkpoint, page, in this order, so that nothing is ever shown that a kill at
 * the next instruction could take back.
 */
#include "agent/internal.h"

const struct eg_account *eg_agent_accounts(struct agent *a, size_t *ret_n)
{
	for (size_t i = 0; i < a->fine->n_accounts; i++)
		a->scratch[i] = a->fine->account[i].a;
	*ret_n = a->fine->n_accounts;
	return a->scratch;
}

static void take_view(struct agent *a, struct eg_view *v)
{
	eg_view_take(v, a->meter);
	for (size_t k = 0; a->kept && k < v->n_accounts; k++)
		v->account[k].shown &= a->kept[k];
}

void eg_agent_publish(struct agent *a)
{
	size_t n;

	take_view(a, a->fine);
	if (a->store) {
		const struct eg_account *accounts = eg_agent_accounts(a, &n);

		eg_store_checkpoint(a->store, accounts, n, a->fine->t_ns, a->fine->unix_ns);
	}
	a->have_view = true;
	if (a->page)
		eg_page_write(a->page, a->fine);
}

/*
 * At most one an interval in the long run; who asks on the interval may come an eighth early, or each
 * scrape that a timer lets slip by a millisecond would see the value before.
 */
static uint64_t coarse_slack_ns(const struct agent *a)
{
	return a->cfg->access.coarse_interval_ns / 8;
}

static void renew_coarse(struct agent *a)
{
	take_view(a, a->coarse);
	a->have_coarse = a->coarse_is_new = true;
	a->coarse_next_ns =
		EG_MAX(a->coarse_next_ns, a->coarse->t_ns) + a->cfg->access.coarse_interval_ns;
}

int eg_agent_first_sample(struct agent *a)
{
	/* The window that uncertainties are taken from begins with the first sample. */
	int r = eg_meter_begin_running(a->meter, EG_METER_SINCE_OPEN);

	if (r < 0)
		return r;
	eg_agent_publish(a);
	return 0;
}

/* From when on the view for coarse readers may be renewed; at once where a reload made that sooner. */
static uint64_t coarse_due_ns(const struct agent *a)
{
	uint64_t slack = coarse_slack_ns(a), next;

	if (!a->have_coarse)
		return 0;
	next = EG_MIN(a->coarse_next_ns,
		      a->coarse->t_ns + a->cfg->access.coarse_interval_ns + slack);
	return next - slack;
}

static bool coarse_is_due(const struct agent *a)
{
	return eg_clock_ns(&a->env.clock) >= coarse_due_ns(a);
}

uint64_t eg_agent_coarse_due_ns(const struct agent *a)
{
	return eg_api_waits_coarse(a->api) || eg_agent_grpc_wants_coarse(a) ? coarse_due_ns(a) :
									      UINT64_MAX;
}

static void sample(struct agent *a)
{
	/* A steered clock stands still until we sleep: it would run away from a slow driver. */
	eg_meter_sample(a->meter, a->steered != NULL);
	eg_agent_publish(a);
}

void eg_agent_tick(struct agent *a)
{
	sample(a);
	a->facts.ticks++;
	/* Somebody waits for it; else it is renewed when it is asked for, and then is newest. */
	if ((eg_api_wants_coarse(a->api) || eg_agent_grpc_wants_coarse(a) ||
	     eg_agent_zeusd_wants_coarse(a)) &&
	    coarse_is_due(a))
		renew_coarse(a);
	eg_watch_look(a->watch, a->fine, a->meter);
	eg_watch_store(a->watch, a->store);
	eg_agent_tell_api(a);
}

void eg_agent_tell_api(struct agent *a)
{
	eg_api_tick(a->api, a->fine, a->coarse_is_new ? a->coarse : NULL);
	if (a->coarse_is_new)
		eg_agent_grpc_coarse(a);
	eg_agent_zeusd_tick(a);
	a->coarse_is_new = false;
}

/*
 * What a reader of this access may see. Coarse readers get a sample of their own, so that a scrape is not
 * a whole interval old, but never more often than the policy says.
 */
const struct eg_view *eg_agent_view(void *arg, enum eg_access access, bool fresh)
{
	struct agent *a = arg;

	if (!a->have_view || access == EG_ACCESS_NONE)
		return NULL;
	if (access == EG_ACCESS_FULL) {
		if (fresh)
			sample(a);
		return a->fine;
	}
	if (coarse_is_due(a)) {
		sample(a);
		renew_coarse(a);
	}
	return a->coarse;
}

void eg_agent_flush(struct agent *a)
{
	const struct eg_account *accounts;
	size_t n;

	if (!a->store)
		return;
	accounts = eg_agent_accounts(a, &n);
	(void)eg_store_flush(a->store, accounts, n, a->fine->unix_ns);
}
