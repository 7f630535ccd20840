/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the local API tells of the present: sensors, totals and power, out of a view.
 *
 * The node's total is that of the channels which make it (core/boundary.h), with what was held for
 * them; it names them. Accounts whose device is not here now are listed and not in it, for nobody
 * knows what else they contain. Where the largest consumers are asked for, they are chosen among parts of
 * the machine that do not overlap, whatever measures the whole, and what is left of their sum is
 * `other`, to the microjoule.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "agent/api_internal.h"
#include "codec/money.h"
#include "codec/report.h"

/* ---- who contains whom ---- */

/* A figure for more than one part of the machine. */
static bool is_wide(const struct eg_channel *ch)
{
	return ch->boundary != EG_BOUNDARY_COMPONENT || ch->component == EG_COMPONENT_CHASSIS ||
	       ch->component == EG_COMPONENT_PSU || ch->component == EG_COMPONENT_PSYS ||
	       ch->component == EG_COMPONENT_BATTERY;
}

static bool any_total(const struct eg_boundary_out *role, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (role[i].role == EG_ROLE_TOTAL)
			return true;
	return false;
}

int eg_api_read_new(struct eg_api *api)
{
	eg_autofree struct eg_boundary_in *in = calloc(api->n + 1, sizeof(*in));
	const struct eg_meter *m = api->host.meter;
	unsigned rank = 0;

	api->role = calloc(api->n + 1, sizeof(*api->role));
	api->part = calloc(api->n + 1, sizeof(*api->part));
	if (!in || !api->role || !api->part)
		return -ENOMEM;
	for (size_t i = 0; i < api->n; i++) {
		rank += i > 0 && eg_meter_driver(m, i) != eg_meter_driver(m, i - 1);
		in[i] = (struct eg_boundary_in){.ch = eg_meter_channel(m, i),
						.rank = rank,
						.usable = true,
						.part_of = eg_meter_part_of(m, i)};
	}
	eg_boundary_reduce(in, api->n, api->role);
	for (size_t i = 0; i < api->n; i++)
		in[i].usable = !is_wide(in[i].ch);
	eg_boundary_reduce(in, api->n, api->part);
	if (!any_total(api->part, api->n)) /* only the whole is measured: it is the one consumer */
		memcpy(api->part, api->role, api->n * sizeof(*api->part));
	return 0;
}

void eg_api_read_free(struct eg_api *api)
{
	free(api->role);
	free(api->part);
}

/* ---- numbers of a view ---- */

uint64_t eg_api_channel_uj(const struct eg_view *v, const struct eg_view_channel *ch)
{
	uint64_t uj = 0;

	if (ch->account < 0) /* it feeds none: what it read itself */
		return ch->samples ? eg_add_sat(ch->uj, ch->est_uj) : UINT64_MAX;
	if (!v->account[ch->account].shown)
		return UINT64_MAX;
	uj = v->account[ch->account].a.uj;
	if (ch->est_account >= 0 && ch->est_account != ch->account)
		uj = eg_add_sat(uj, v->account[ch->est_account].a.uj);
	return uj;
}

static uint64_t held_uj(const struct eg_view *v, const struct eg_view_channel *ch)
{
	return ch->est_account >= 0 && ch->est_account != ch->account ?
		       v->account[ch->est_account].a.uj :
		       0;
}

uint64_t eg_api_channel_uw(const struct eg_view_channel *ch)
{
	return ch->have_uw && ch->status == EG_STATUS_OK ? ch->uw : UINT64_MAX;
}

uint64_t eg_api_total_of(const struct eg_view *v, const uint64_t *value, size_t stride)
{
	uint64_t total = 0;
	bool any = false;

	for (size_t i = 0; i < v->n_channels; i++) {
		if (v->channel[i].role != EG_ROLE_TOTAL)
			continue;
		total = eg_add_sat(total, value[i * stride]); /* what is not known stays so */
		any = true;
	}
	return any ? total : UINT64_MAX;
}

/* Since a moment of the interval clock; null: there was none. */
static void put_age(struct eg_json *j, const char *key, uint64_t now_ns, uint64_t t_ns)
{
	if (t_ns == 0)
		eg_json_null(j, key);
	else
		eg_json_nano(j, key, now_ns - EG_MIN(now_ns, t_ns));
}

static void put_moment(struct eg_json *j, const struct eg_api_call *c, const struct eg_view *v)
{
	eg_json_text(j, "access", eg_api_granularity(c->access));
	eg_json_u64(j, "seq", v->seq);
	eg_json_nano(j, "unix_seconds", v->unix_ns);
	eg_json_u64(j, "boot_ns", v->t_ns);
	put_age(j, "age_seconds", eg_api_now_ns(c->api), v->t_ns);
}

/* ---- sensors ---- */

/* May hold joules of somebody's window, or say how often he looked. */
static bool tells_readings(enum eg_diag_code code)
{
	return code == EG_DIAG_CROSSCHECK || code == EG_DIAG_VALUE_REJECTED ||
	       code == EG_DIAG_COUNTER_GAP || code == EG_DIAG_COUNTER_RESET;
}

static void blur(struct eg_diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		struct eg_diag *d = &diags->items[i];

		d->count = 1;
		if (tells_readings(d->code))
			eg_copy(d->detail, sizeof(d->detail), eg_diag_help(d->code));
	}
}

static size_t channels_of(const struct eg_view *v, const char *driver)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n_channels; i++)
		n += strcmp(v->channel[i].driver->name, driver) == 0;
	return n;
}

/* NULL: it is not in this build. */
static const struct eg_driver *built_driver(const char *name)
{
	for (const struct eg_driver *const *d = eg_drivers; *d; d++)
		if (strcmp((*d)->name, name) == 0)
			return *d;
	return NULL;
}

static void put_drivers(struct eg_json *j, const struct eg_view *v, const struct eg_diags *diags)
{
	eg_json_array(j, "drivers");
	for (const struct eg_known_driver *k = eg_known_drivers; k->name; k++) {
		const struct eg_driver *built = built_driver(k->name);
		size_t n = channels_of(v, k->name);
		const struct eg_diag *d = NULL;

		for (size_t i = diags->n; n == 0 && i-- > 0;)
			if (strcmp(diags->items[i].driver, k->name) == 0)
				d = &diags->items[i]; /* the first one counts */
		eg_json_object(j, NULL);
		eg_json_text(j, "name", k->name);
		eg_json_text(j, "state",
			     !k->built ? "not_built" :
			     n	       ? "ok" :
			     d	       ? eg_diag_word(d->code) :
					 "not_selected");
		eg_json_bool(j, "built", k->built);
		eg_json_u64(j, "channels", n);
		if (built)
			eg_json_text(j, "summary", built->summary);
		if (d) {
			eg_json_text(j, "reason", d->detail);
			eg_json_text(j, "cure", d->cure);
		}
		eg_json_end(j);
	}
	eg_json_end(j);
}

static void put_sensor(struct eg_json *j, const struct eg_api *api, const struct eg_view *v,
		       size_t i, uint64_t now_ns)
{
	const struct eg_view_channel *ch = &v->channel[i];

	eg_json_object(j, NULL);
	eg_json_text(j, "name", ch->name);
	eg_json_text(j, "driver", ch->driver->name);
	eg_report_json_channel_facts(j, ch->ch);
	eg_json_text(j, "role", eg_role_word(ch->role));
	eg_json_text(j, "of", api->role[i].of >= 0 ? v->channel[api->role[i].of].name : NULL);
	eg_json_text(j, "why", api->role[i].why);
	eg_json_text(j, "status", eg_status_word(ch->status));
	eg_api_put_micro(j, "watts", eg_api_channel_uw(ch));
	put_age(j, "age_seconds", now_ns, ch->t_ns);
	eg_json_u64(j, "samples", ch->samples);
	eg_json_u64(j, "failed", ch->failed);
	eg_report_json_flags(j, "flags", ch->flags);
	eg_json_end(j);
}

void eg_api_get_sensors(struct eg_api_call *c)
{
	const struct eg_view *v = eg_api_view(c, false);
	uint64_t now_ns = eg_api_now_ns(c->api);
	struct eg_diags diags;
	struct eg_api_doc d;

	if (!v)
		return;
	if (eg_meter_diags(c->api->host.meter, &diags) < 0) {
		eg_api_fail_memory(c->req);
		return;
	}
	if (c->access != EG_ACCESS_FULL)
		blur(&diags);
	eg_api_doc_open(&d, "ergon.api-sensors/1");
	put_moment(&d.json, c, v);
	put_drivers(&d.json, v, &diags);
	eg_json_array(&d.json, "channels");
	for (size_t i = 0; i < v->n_channels; i++)
		put_sensor(&d.json, c->api, v, i, now_ns);
	eg_json_end(&d.json);
	eg_report_json_diags(&d.json, "diagnostics", &diags);
	eg_diags_free(&diags);
	eg_api_doc_send(&d, c->req, 200);
}

/* ---- totals ---- */

/*
 * Half-width of the 95 % interval of an account. What was there before this process is taken to be
 * as good as what came since.
 */
static uint64_t uncertainty_uj(const struct eg_view *v, const struct eg_view_account *a)
{
	const struct eg_view_channel *ch;
	double ratio, uj = (double)a->a.uj;

	if (a->held)
		return (uint64_t)ceil(EG_COVERAGE * uj / sqrt(3));
	if (a->channel < 0)
		return UINT64_MAX;
	ch = &v->channel[a->channel];
	if (eg_add_sat(ch->uj, ch->est_uj) == 0)
		return a->a.uj ? UINT64_MAX : ch->uncertainty_uj;
	ratio = (double)ch->uncertainty_uj / (double)eg_add_sat(ch->uj, ch->est_uj);
	return ratio * uj < 0x1p63 ? (uint64_t)ceil(ratio * uj) : UINT64_MAX;
}

static void put_account(struct eg_json *j, const struct eg_api_call *c, const struct eg_view *v,
			const struct eg_view_account *a)
{
	const struct eg_view_channel *ch = a->channel >= 0 ? &v->channel[a->channel] : NULL;

	eg_json_object(j, NULL);
	eg_json_text(j, "device", a->a.device);
	eg_json_text(j, "component", eg_component_word(a->a.component));
	eg_json_text(j, "provenance", eg_provenance_word(a->a.provenance));
	eg_json_text(j, "source", eg_source_word(a->a.source));
	eg_json_text(j, "boundary", eg_boundary_word(a->a.boundary));
	eg_json_text(j, "channel", ch ? ch->name : a->a.channel[0] ? a->a.channel : NULL);
	eg_json_text(j, "role", ch ? eg_role_word(ch->role) : "absent");
	eg_json_text(j, "status", ch ? eg_status_word(ch->status) : NULL);
	eg_json_bool(j, "held", a->held);
	eg_json_micro(j, "joules", a->a.uj);
	eg_json_micro(j, "recovered_joules", a->a.recovered_uj);
	eg_api_put_micro(j, "uncertainty_joules", uncertainty_uj(v, a));
	eg_json_nano(j, "gap_seconds", a->a.gap_ns);
	eg_json_u64(j, "resets", a->a.resets);
	if (a->a.created_unix_ns)
		eg_json_nano(j, "since_unix_seconds", a->a.created_unix_ns);
	else
		eg_json_null(j, "since_unix_seconds");
	if (ch && ch->t_ns)
		put_age(j, "age_seconds", eg_api_now_ns(c->api), ch->t_ns);
	else
		put_age(j, "age_seconds", eg_clock_unix_ns(&c->api->host.env->clock),
			a->a.last.unix_ns);
	eg_api_put_money(j, c->cfg, a->a.uj);
	eg_json_end(j);
}

/* Is the account part of the node's total? */
static bool is_counted(const struct eg_view *v, const struct eg_view_account *a)
{
	return a->shown && a->channel >= 0 && v->channel[a->channel].role == EG_ROLE_TOTAL;
}

struct node_total {
	uint64_t uj, est_uj, since_unix_ns;
	enum eg_provenance provenance;
	size_t n, n_since;
	bool boundary[EG_BOUNDARY_COUNT];
	struct eg_uncertainty uncertainty;
	bool uncertain; /* somewhere the uncertainty is not known */
};

/* Gain errors of one interface are shared: their half-widths add up. */
static int sum_up(const struct eg_view *v, struct node_total *t)
{
	eg_autofree const struct eg_channel **ch = calloc(v->n_accounts + 1, sizeof(*ch));
	eg_autofree struct eg_uncertainty *item = calloc(v->n_accounts + 1, sizeof(*item));

	if (!ch || !item)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_accounts; i++) {
		const struct eg_view_account *a = &v->account[i];
		uint64_t half = uncertainty_uj(v, a);

		if (!is_counted(v, a))
			continue;
		t->uj = eg_add_sat(t->uj, a->a.uj);
		if (a->a.provenance == EG_PROVENANCE_ESTIMATED)
			t->est_uj = eg_add_sat(t->est_uj, a->a.uj);
		t->provenance = EG_MAX(t->provenance, a->a.provenance);
		/* What was held has no beginning of its own. */
		t->n_since += a->a.created_unix_ns || a->held;
		if (!a->held)
			t->since_unix_ns = EG_MAX(t->since_unix_ns, a->a.created_unix_ns);
		t->boundary[v->channel[a->channel].ch->boundary] = true;
		t->uncertain |= half == UINT64_MAX;
		ch[t->n] = v->channel[a->channel].ch;
		item[t->n].accuracy_uj = a->held ? 0 : half;
		item[t->n++].held_uj = a->held ? half : 0;
	}
	eg_uncertainty_total(ch, item, t->n, &t->uncertainty);
	return 0;
}

static const char *boundary_of(const struct node_total *t)
{
	const char *word = NULL;

	for (unsigned b = 0; b < EG_BOUNDARY_COUNT; b++)
		if (t->boundary[b])
			word = word ? "mixed" : eg_boundary_word((enum eg_boundary)b);
	return word;
}

static int put_node(struct eg_json *j, const struct eg_api_call *c, const struct eg_view *v)
{
	struct node_total t = {.provenance = EG_PROVENANCE_MEASURED};
	int r = sum_up(v, &t);

	if (r < 0)
		return r;
	if (t.n == 0) {
		eg_json_null(j, "total");
		return 0;
	}
	eg_json_object(j, "total");
	eg_json_micro(j, "joules", t.uj);
	eg_json_micro(j, "estimated_joules", t.est_uj);
	eg_api_put_micro(j, "uncertainty_joules",
			 t.uncertain ? UINT64_MAX : t.uncertainty.total_uj);
	eg_json_text(j, "provenance", eg_provenance_word(t.provenance));
	eg_json_text(j, "boundary", boundary_of(&t));
	if (t.n_since == t.n)
		eg_json_nano(j, "since_unix_seconds", t.since_unix_ns);
	else
		eg_json_null(j, "since_unix_seconds");
	eg_api_put_money(j, c->cfg, t.uj);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < v->n_channels; i++)
		if (v->channel[i].role == EG_ROLE_TOTAL &&
		    eg_api_channel_uj(v, &v->channel[i]) != UINT64_MAX)
			eg_json_text(j, NULL, v->channel[i].name);
	eg_json_end(j);
	eg_json_end(j);
	return 0;
}

struct ranked {
	size_t channel;
	uint64_t uj;
};

static int by_energy(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->uj != y->uj)
		return x->uj < y->uj ? 1 : -1;
	return x->channel < y->channel ? -1 : x->channel > y->channel;
}

static int put_top(struct eg_json *j, const struct eg_api_call *c, const struct eg_view *v,
		   uint64_t top)
{
	eg_autofree struct ranked *list = calloc(v->n_channels + 1, sizeof(*list));
	uint64_t of_uj = 0, other_uj = 0;
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_channels; i++) {
		uint64_t uj = eg_api_channel_uj(v, &v->channel[i]);

		if (c->api->part[i].role != EG_ROLE_TOTAL || uj == UINT64_MAX)
			continue;
		list[n++] = (struct ranked){i, uj};
		of_uj = eg_add_sat(of_uj, uj);
	}
	qsort(list, n, sizeof(*list), by_energy);
	eg_json_object(j, "top");
	eg_json_micro(j, "of_joules", of_uj);
	eg_json_array(j, "channels");
	for (size_t k = 0; k < n; k++) {
		const struct eg_view_channel *ch = &v->channel[list[k].channel];

		if (k >= top) {
			other_uj = eg_add_sat(other_uj, list[k].uj);
			continue;
		}
		eg_json_object(j, NULL);
		eg_json_text(j, "name", ch->name);
		eg_json_text(j, "device", ch->ch->device);
		eg_json_text(j, "component", eg_component_word(ch->ch->component));
		eg_json_micro(j, "joules", list[k].uj);
		eg_json_micro(j, "estimated_joules", held_uj(v, ch));
		eg_api_put_money(j, c->cfg, list[k].uj);
		eg_json_end(j);
	}
	eg_json_end(j);
	eg_json_object(j, "other");
	eg_json_u64(j, "channels", n > top ? n - top : 0);
	eg_json_micro(j, "joules", other_uj);
	eg_json_end(j);
	eg_json_end(j);
	return 0;
}

static void answer_totals(struct eg_api_call *c, bool fresh)
{
	const struct eg_view *v;
	struct eg_api_doc d;
	struct eg_json *j = &d.json;
	uint64_t top = 0;
	int r;

	if (!eg_api_query_count(c, "top", EG_API_TOP_MAX, &top))
		return;
	fresh = fresh && c->access == EG_ACCESS_FULL;
	v = eg_api_view(c, fresh);
	if (!v)
		return;
	eg_api_doc_open(&d, "ergon.totals/1");
	put_moment(j, c, v);
	eg_json_bool(j, "fresh", fresh);
	if (eg_api_shows_cost(c->cfg)) {
		eg_json_object(j, "price");
		eg_json_double(j, "per_kwh", c->cfg->energy.price_per_kwh);
		eg_json_text(j, "currency", c->cfg->energy.currency);
		eg_json_u64(j, "decimals", eg_money_decimals(c->cfg->energy.currency));
		eg_json_end(j);
	}
	r = put_node(j, c, v);
	if (r == 0 && top)
		r = put_top(j, c, v, top);
	eg_json_array(j, "accounts");
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].shown)
			put_account(j, c, v, &v->account[i]);
	eg_json_end(j);
	if (r < 0) {
		eg_strbuf_free(&d.out);
		eg_api_fail_memory(c->req);
		return;
	}
	eg_api_doc_send(&d, c->req, 200);
}

void eg_api_get_totals(struct eg_api_call *c)
{
	bool fresh = false;

	if (eg_api_query_bool(c, "fresh", &fresh))
		answer_totals(c, fresh);
}

void eg_api_post_sample(struct eg_api_call *c)
{
	if (eg_api_body(c, NULL, 0))
		answer_totals(c, true);
}

/* ---- power ---- */

static void put_total_power(struct eg_json *j, const struct eg_view *v, uint64_t now_ns)
{
	uint64_t uw = 0, oldest_ns = UINT64_MAX;
	bool any = false;

	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *ch = &v->channel[i];

		if (ch->role != EG_ROLE_TOTAL)
			continue;
		any = true;
		uw = eg_add_sat(uw, eg_api_channel_uw(ch));
		oldest_ns = EG_MIN(oldest_ns, ch->t_ns);
	}
	if (!any) {
		eg_json_null(j, "total");
		return;
	}
	eg_json_object(j, "total");
	eg_api_put_micro(j, "watts", uw);
	put_age(j, "age_seconds", now_ns, oldest_ns);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < v->n_channels; i++)
		if (v->channel[i].role == EG_ROLE_TOTAL)
			eg_json_text(j, NULL, v->channel[i].name);
	eg_json_end(j);
	eg_json_end(j);
}

void eg_api_get_power(struct eg_api_call *c)
{
	const struct eg_view *v = eg_api_view(c, false);
	uint64_t now_ns = eg_api_now_ns(c->api);
	struct eg_api_doc d;
	struct eg_json *j = &d.json;

	if (!v)
		return;
	eg_api_doc_open(&d, "ergon.power/1");
	put_moment(j, c, v);
	put_total_power(j, v, now_ns);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *ch = &v->channel[i];

		eg_json_object(j, NULL);
		eg_json_text(j, "name", ch->name);
		eg_json_text(j, "device", ch->ch->device);
		eg_json_text(j, "component", eg_component_word(ch->ch->component));
		eg_json_text(j, "source", eg_source_word(ch->ch->source));
		eg_json_text(j, "boundary", eg_boundary_word(ch->ch->boundary));
		eg_json_text(j, "provenance", eg_provenance_word(ch->ch->provenance));
		eg_json_text(j, "role", eg_role_word(ch->role));
		eg_json_text(j, "status", eg_status_word(ch->status));
		eg_api_put_micro(j, "watts", eg_api_channel_uw(ch));
		put_age(j, "age_seconds", now_ns, ch->t_ns);
		eg_json_end(j);
	}
	eg_json_end(j);
	eg_api_doc_send(&d, c->req, 200);
}
