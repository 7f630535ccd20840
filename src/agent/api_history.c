/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last minutes: a ring of energy and power of every channel, at least access.coarse_interval apart
 * (less an eighth, for what timers let slip). All of it is allocated at the start: 16 bytes a channel
 * and 32 an entry, EG_API_HISTORY_BYTES at most. Where the time asked for does not fit, entries lie
 * further apart.
 *
 * Entries are made by ticks, and by renewals of the coarse view at moments that its readers choose. Who sees
 * coarsely must not get two values closer together than his interval, wherever they come from; so a
 * renewal takes the place of a tick's entry just before it, a tick just after one makes none, and a
 * tick's entry is shown to him only when no renewal can come so close any more.
 */
#include <errno.h>
#include <string.h>

#include "agent/api_internal.h"

#define SLACK 8 /* of an interval, for a timer that slips; as in tick.c */

struct moment {
	uint64_t seq, t_ns, unix_ns;
	bool coarse; /* of the view that coarse readers see */
};
struct cell {
	uint64_t uj, uw; /* UINT64_MAX: not known */
};

struct eg_api_ring {
	uint64_t step_ns; /* between two entries, at least, less what a timer may slip */
	uint64_t slack_ns;
	uint64_t coarse_ns; /* of the last renewal; 0 none */
	size_t size, n, next;
	struct moment *moment;
	struct cell *cell; /* size x channels */
};

int eg_api_history_new(struct eg_api *api)
{
	const struct eg_config *cfg = api->host.config(api->host.arg);
	size_t entry = sizeof(struct moment) + api->n * sizeof(struct cell);
	uint64_t most = EG_MAX(EG_API_HISTORY_BYTES / entry, 1), size;
	struct eg_api_ring *ring;

	if (cfg->agent.history_ns == 0)
		return 0;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	api->ring = ring;
	ring->step_ns = EG_MAX(cfg->access.coarse_interval_ns, EG_NSEC_PER_SEC);
	ring->slack_ns = ring->step_ns / SLACK;
	size = EG_MAX(cfg->agent.history_ns / ring->step_ns, 1);
	if (size > most) {
		size = most;
		ring->step_ns = (cfg->agent.history_ns + size - 1) / size;
	}
	ring->size = (size_t)size;
	ring->moment = calloc(ring->size, sizeof(*ring->moment));
	ring->cell = calloc(ring->size * api->n + 1, sizeof(*ring->cell));
	return ring->moment && ring->cell ? 0 : -ENOMEM;
}

void eg_api_history_free(struct eg_api *api)
{
	if (!api->ring)
		return;
	free(api->ring->moment);
	free(api->ring->cell);
	free(api->ring);
	api->ring = NULL;
}

/* Index in the ring of the entry that is the k-th, oldest first. */
static size_t at(const struct eg_api_ring *ring, size_t k)
{
	return (ring->next + ring->size - ring->n + k) % ring->size;
}

/* Too close for a coarse value at both moments? */
static bool is_close(uint64_t t_ns, uint64_t since_ns, uint64_t interval_ns)
{
	return t_ns + interval_ns / SLACK < since_ns + interval_ns;
}

/* What entries that lie an interval apart may slip. */
static uint64_t slack_ns(const struct eg_api_ring *ring, uint64_t interval_ns)
{
	return EG_MAX(ring->slack_ns, interval_ns / SLACK);
}

/* Is an entry at t, after one at `last`, step_ns later? */
static bool is_next(uint64_t t_ns, uint64_t last_ns, uint64_t step_ns, uint64_t slack)
{
	return t_ns + slack >= eg_add_sat(last_ns, step_ns);
}

/* Does the sample become an entry? It may take the place of the last one. */
static bool is_wanted(struct eg_api_ring *ring, const struct eg_view *v, bool coarse,
		      uint64_t interval_ns)
{
	const struct moment *last = ring->n ? &ring->moment[at(ring, ring->n - 1)] : NULL;
	uint64_t renewed_ns = ring->coarse_ns;

	if (last && v->t_ns <= last->t_ns)
		return false;
	if (coarse)
		ring->coarse_ns = v->t_ns;
	else if (renewed_ns && is_close(v->t_ns, renewed_ns, interval_ns))
		return false;
	if (coarse && last && !last->coarse && is_close(v->t_ns, last->t_ns, interval_ns)) {
		ring->next = at(ring, ring->n - 1);
		ring->n--;
		return true;
	}
	/* A reload may have made the interval longer than the ring's step. */
	return !last || is_next(v->t_ns, last->t_ns, EG_MAX(ring->step_ns, interval_ns),
				coarse ? slack_ns(ring, interval_ns) : ring->slack_ns);
}

void eg_api_history_put(struct eg_api *api, const struct eg_view *v, bool coarse)
{
	const struct eg_config *cfg = api->host.config(api->host.arg);
	struct eg_api_ring *ring = api->ring;
	struct cell *cell;

	if (!ring || !is_wanted(ring, v, coarse, cfg->access.coarse_interval_ns))
		return;
	ring->moment[ring->next] = (struct moment){v->seq, v->t_ns, v->unix_ns, coarse};
	cell = &ring->cell[ring->next * api->n];
	for (size_t i = 0; i < v->n_channels && i < api->n; i++)
		cell[i] = (struct cell){eg_api_channel_uj(v, &v->channel[i]),
					eg_api_channel_uw(&v->channel[i])};
	ring->next = (ring->next + 1) % ring->size;
	ring->n = EG_MIN(ring->n + 1, ring->size);
}

static void put_entry(struct eg_json *j, const struct eg_api *api, const struct eg_view *v,
		      size_t index)
{
	const struct moment *m = &api->ring->moment[index];
	const struct cell *cell = &api->ring->cell[index * api->n];
	const size_t stride = sizeof(*cell) / sizeof(uint64_t);

	eg_json_object(j, NULL);
	eg_json_u64(j, "seq", m->seq);
	eg_json_nano(j, "unix_seconds", m->unix_ns);
	eg_json_u64(j, "boot_ns", m->t_ns);
	eg_api_put_micro(j, "total_joules", eg_api_total_of(v, &cell->uj, stride));
	eg_api_put_micro(j, "total_watts", eg_api_total_of(v, &cell->uw, stride));
	eg_json_array(j, "joules");
	for (size_t i = 0; i < api->n; i++)
		eg_api_put_micro(j, NULL, cell[i].uj);
	eg_json_end(j);
	eg_json_array(j, "watts");
	for (size_t i = 0; i < api->n; i++)
		eg_api_put_micro(j, NULL, cell[i].uw);
	eg_json_end(j);
	eg_json_end(j);
}

/* May a coarse reader see it yet? Only the last entry can still be taken back. */
static bool is_settled(const struct eg_api_call *c, const struct moment *m)
{
	return m->coarse || eg_api_now_ns(c->api) >= m->t_ns + c->cfg->access.coarse_interval_ns;
}

/* Entries from `from` on, step_ns apart. */
static void put_entries(struct eg_json *j, const struct eg_api_call *c, const struct eg_view *v,
			uint64_t from_ns, uint64_t step_ns)
{
	const struct eg_api *api = c->api;
	const struct eg_api_ring *ring = api->ring;
	bool full = c->access == EG_ACCESS_FULL;
	uint64_t last_ns = 0,
		 slack = full ? ring->slack_ns : slack_ns(ring, c->cfg->access.coarse_interval_ns);

	eg_json_array(j, "entries");
	for (size_t k = 0; k < ring->n; k++) {
		const struct moment *m = &ring->moment[at(ring, k)];
		uint64_t t_ns = m->t_ns;

		if (t_ns < from_ns || (!full && !is_settled(c, m)) ||
		    (last_ns && !is_next(t_ns, last_ns, step_ns, slack)))
			continue;
		put_entry(j, api, v, at(ring, k));
		last_ns = t_ns;
	}
	eg_json_end(j);
}

void eg_api_get_history(struct eg_api_call *c)
{
	const struct eg_api_ring *ring = c->api->ring;
	uint64_t span_ns = UINT64_MAX, step_ns = 0, now_ns = eg_api_now_ns(c->api), thin_ns;
	const struct eg_view *v;
	struct eg_api_doc d;

	if (!eg_api_query_duration(c, "minutes", 60 * EG_NSEC_PER_SEC, &span_ns) ||
	    !eg_api_query_duration(c, "step", EG_NSEC_PER_SEC, &step_ns))
		return;
	if (!ring) {
		eg_api_fail(c->req,
			    &(struct eg_api_problem){404, "no_history",
						     "have agent.history set, for example to 10m"},
			    "this agent keeps no history");
		return;
	}
	v = eg_api_view(c, false);
	if (!v)
		return;
	step_ns = EG_MAX(step_ns, ring->step_ns);
	if (c->access != EG_ACCESS_FULL) /* older entries may lie closer than the policy is now */
		step_ns = EG_MAX(step_ns, c->cfg->access.coarse_interval_ns);
	span_ns = EG_MIN(span_ns, now_ns);
	/* An answer has a ceiling too. */
	thin_ns = (ring->n * c->api->n / EG_API_HISTORY_CELLS + 1) * ring->step_ns;
	if (ring->n * c->api->n > EG_API_HISTORY_CELLS)
		step_ns = EG_MAX(step_ns, thin_ns);
	eg_api_doc_open(&d, "ergon.history/1");
	eg_json_text(&d.json, "access", eg_api_granularity(c->access));
	eg_json_nano(&d.json, "step_seconds", step_ns);
	eg_json_nano(&d.json, "kept_seconds", (uint64_t)ring->size * ring->step_ns);
	eg_json_array(&d.json, "channels");
	for (size_t i = 0; i < c->api->n; i++)
		eg_json_text(&d.json, NULL, eg_meter_channel_name(c->api->host.meter, i));
	eg_json_end(&d.json);
	put_entries(&d.json, c, v, now_ns - span_ns, step_ns);
	eg_api_doc_send(&d, c->req, 200);
}
