/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page: own families here, other programs' in metrics_compat.c, attributes in metrics_device.c.
 * Totals come from accounts, so that they go on where the last process ended; what a sensor did comes
 * from its channel.
 */
#include "codec/metrics.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "codec/metrics_private.h"

int eg_metrics_new(const struct eg_view *v, const struct eg_agent_facts *agent,
		   struct eg_metrics **ret)
{
	struct eg_metrics *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->text = EG_STRBUF_INIT(EG_METRICS_TEXT_MAX);
	m->facts = EG_STRBUF_INIT(EG_METRICS_TEXT_MAX);
	(void)eg_copy(m->host, sizeof(m->host), agent->host ? agent->host : "");
	(void)eg_copy(m->version, sizeof(m->version), agent->version ? agent->version : "");
	(void)eg_copy(m->revision, sizeof(m->revision), agent->revision ? agent->revision : "");
	r = eg_metrics_prepare(m, v);
	if (r < 0) {
		eg_metrics_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

struct eg_metrics *eg_metrics_free(struct eg_metrics *m)
{
	if (!m)
		return NULL;
	eg_strbuf_free(&m->text);
	eg_strbuf_free(&m->facts);
	free(m->channel);
	free(m->account);
	free(m->smi);
	free(m->rapl);
	free(m->fact);
	free(m->number);
	free(m->info);
	free(m);
	return NULL;
}

static void put(struct eg_page *p, struct eg_span s, uint64_t v, unsigned digits)
{
	if (s.n)
		eg_expo_scaled(&p->expo, p->m->text.s + s.at, s.n, v, digits);
}

static void put_counter(struct eg_page *p, struct eg_span s, uint64_t v, unsigned digits,
			uint64_t created_unix_ns)
{
	put(p, s, v, digits);
	if (s.n)
		eg_expo_created(&p->expo, p->m->text.s + s.at, s.n, created_unix_ns);
}

/* A ratio to nine places; a text of a double costs a hundred times as much. */
static void put_ratio(struct eg_page *p, struct eg_span s, double v)
{
	if (s.n && v >= 0 && v < 1e9)
		put(p, s, (uint64_t)(v * 1e9 + 0.5), 9);
}

static const struct eg_view_channel *channel_of(const struct eg_page *p,
						const struct eg_view_account *a)
{
	return a->channel >= 0 ? &p->v->channel[a->channel] : NULL;
}

static void write_accounts(struct eg_page *p)
{
	const struct eg_view *v = p->v;
	const struct eg_account_item *item = p->m->account;

	eg_page_family(p, EG_MF_ENERGY);
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].shown)
			put_counter(p, item[i].labels, v->account[i].a.uj, 6,
				    v->account[i].a.created_unix_ns);

	eg_page_family(p, EG_MF_POWER);
	for (size_t i = 0; i < v->n_channels; i++)
		if (v->channel[i].have_uw && v->channel[i].status == EG_STATUS_OK)
			put(p, p->m->channel[i].power, v->channel[i].uw, 6);

	eg_page_family(p, EG_MF_UNCERTAINTY);
	for (size_t i = 0; i < v->n_accounts; i++) {
		const struct eg_view_account *a = &v->account[i];
		const struct eg_view_channel *ch = channel_of(p, a);
		double uj;

		if (!a->shown || !ch)
			continue;
		uj = (double)ch->uj + (double)ch->est_uj;
		if (a->held && ch->est_uj > 0) /* as core/uncertainty.c takes a held reading */
			put_ratio(p, item[i].labels, EG_COVERAGE / sqrt(3));
		else if (!a->held && uj > 0 && ch->uncertainty_uj != UINT64_MAX)
			put_ratio(p, item[i].labels, (double)ch->uncertainty_uj / uj);
	}

	eg_page_family(p, EG_MF_RECOVERED);
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].shown && v->account[i].a.provenance == EG_PROVENANCE_MEASURED)
			put_counter(p, item[i].labels, v->account[i].a.recovered_uj, 6,
				    v->account[i].a.created_unix_ns);
}

/* What a counter of a channel shows and since when: its account remembers more than this process. */
struct sensor_count {
	uint64_t gap_ns, resets, created_unix_ns;
};

/* False before a valid reading. */
static bool count_channel(const struct eg_page *p, size_t i, struct sensor_count *ret)
{
	const struct eg_view_channel *ch = &p->v->channel[i];

	if (ch->account >= 0) {
		const struct eg_view_account *a = &p->v->account[ch->account];

		*ret = (struct sensor_count){a->a.gap_ns, a->a.resets, a->a.created_unix_ns};
		return a->shown;
	}
	*ret = (struct sensor_count){ch->gap_ns, ch->resets, p->agent->start_unix_ns};
	return ch->t_ns > 0;
}

static void write_ages(struct eg_page *p)
{
	const struct eg_view *v = p->v;

	eg_page_family(p, EG_MF_AGE);
	for (size_t i = 0; i < v->n_channels; i++) {
		const struct eg_view_channel *ch = &v->channel[i];

		/* A worker may have read after the page's moment was taken. */
		if (ch->t_ns > 0)
			put(p, p->m->channel[i].sensor,
			    p->now_ns > ch->t_ns ? p->now_ns - ch->t_ns : 0, 9);
	}
	for (size_t i = 0; i < v->n_accounts; i++) {
		uint64_t last = v->account[i].a.last.unix_ns;

		if (v->account[i].shown && last > 0)
			put(p, p->m->account[i].sensor, p->unix_ns > last ? p->unix_ns - last : 0,
			    9);
	}
}

static void write_sensors(struct eg_page *p)
{
	const struct eg_view *v = p->v;
	struct sensor_count c;

	eg_page_family(p, EG_MF_UP);
	for (size_t i = 0; i < v->n_channels; i++)
		put(p, p->m->channel[i].sensor,
		    v->channel[i].status == EG_STATUS_OK && v->channel[i].t_ns > 0, 0);
	write_ages(p);

	eg_page_family(p, EG_MF_GAP);
	for (size_t i = 0; i < v->n_channels; i++)
		if (count_channel(p, i, &c))
			put_counter(p, p->m->channel[i].sensor, c.gap_ns, 9, c.created_unix_ns);
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].shown)
			put_counter(p, p->m->account[i].sensor, v->account[i].a.gap_ns, 9,
				    v->account[i].a.created_unix_ns);

	eg_page_family(p, EG_MF_RESETS);
	for (size_t i = 0; i < v->n_channels; i++)
		if (count_channel(p, i, &c))
			put_counter(p, p->m->channel[i].sensor, c.resets, 0, c.created_unix_ns);
	for (size_t i = 0; i < v->n_accounts; i++)
		if (v->account[i].shown)
			put_counter(p, p->m->account[i].sensor, v->account[i].a.resets, 0,
				    v->account[i].a.created_unix_ns);
}

/* ---- the agent about itself ---- */

enum fact_kind {
	KIND_COUNT,
	KIND_NANO,    /* nanoseconds as seconds */
	KIND_MODELED, /* microjoules, with the label that says so */
	KIND_UNIX,    /* 0: it was never */
	KIND_FLAG,    /* bool */
	KIND_STORE,   /* the rest: only where there is a store, or was a reload */
	KIND_STORE_FLAG,
	KIND_STORE_MICRO,
	KIND_STORE_UNIX,
	KIND_RELOAD_FLAG,
};

static const struct {
	enum eg_metrics_family family;
	enum fact_kind kind;
	size_t at;
} agent_facts[] = {
#define X(id, type, name, unit, help, field, kind) \
	{EG_MF_##id, KIND_##kind, offsetof(struct eg_agent_facts, field)},
	EG_METRICS_AGENT(X)
#undef X
};

/* False where it is not known. */
static bool get_fact(const struct eg_agent_facts *facts, size_t at, enum fact_kind kind,
		     uint64_t *ret_v, unsigned *ret_digits)
{
	const char *field = (const char *)facts + at;
	bool flag = kind == KIND_FLAG || kind == KIND_STORE_FLAG || kind == KIND_RELOAD_FLAG;
	uint64_t v;

	if (kind >= KIND_STORE && kind <= KIND_STORE_UNIX && !facts->store_enabled)
		return false;
	if (kind == KIND_RELOAD_FLAG && facts->config_reload_unix_ns == 0)
		return false;
	if (flag)
		v = *(const bool *)field;
	else
		v = *(const uint64_t *)(const void *)field;
	if (v == UINT64_MAX || ((kind == KIND_UNIX || kind == KIND_STORE_UNIX) && v == 0))
		return false;
	*ret_v = v;
	*ret_digits = kind == KIND_NANO || kind == KIND_UNIX || kind == KIND_STORE_UNIX ? 9 :
		      kind == KIND_MODELED || kind == KIND_STORE_MICRO			? 6 :
											  0;
	return true;
}

static void write_agent(struct eg_page *p)
{
	static const char modeled[] = "{provenance=\"modeled\"}";

	for (size_t i = 0; i < EG_ARRAY_SIZE(agent_facts); i++) {
		size_t n = agent_facts[i].kind == KIND_MODELED ? sizeof(modeled) - 1 : 0;
		unsigned digits;
		uint64_t v;

		if (!get_fact(p->agent, agent_facts[i].at, agent_facts[i].kind, &v, &digits))
			continue;
		eg_page_family(p, agent_facts[i].family);
		eg_expo_scaled(&p->expo, modeled, n, v, digits);
		eg_expo_created(&p->expo, modeled, n, p->agent->start_unix_ns);
	}
	eg_page_family(p, EG_MF_LEFT_OUT);
	eg_expo_scaled(&p->expo, "", 0, p->m->left_out + p->m->facts_left_out, 0);
}

int eg_metrics_write(struct eg_metrics *m, const struct eg_metrics_options *opt,
		     const struct eg_view *v, const struct eg_agent_facts *agent,
		     const struct eg_device_facts *devices, const struct eg_host_facts *host,
		     uint64_t now_ns, struct eg_strbuf *out)
{
	struct eg_page p = {.m = m,
			    .opt = opt,
			    .v = v,
			    .agent = agent,
			    .devices = devices,
			    .host = host,
			    .now_ns = now_ns};
	size_t begin = out->len;
	int r = 0;

	if (!eg_metrics_is_prepared(m, v))
		r = eg_metrics_prepare(m, v);
	if (r == 0)
		r = eg_metrics_take_facts(m, v, devices, host);
	if (r < 0)
		return r;
	p.unix_ns = v->unix_ns + (now_ns > v->t_ns ? now_ns - v->t_ns : 0);
	eg_expo_init(&p.expo, out, opt->format == EG_METRICS_OPENMETRICS);
	eg_page_family(&p, EG_MF_BUILD);
	put(&p, m->build, 1, 0);
	write_accounts(&p);
	write_sensors(&p);
	eg_metrics_write_devices(&p);
	write_agent(&p);
	eg_metrics_write_compat(&p);
	r = eg_expo_end(&p.expo);
	if (r < 0 && out->s) { /* no half page */
		out->len = begin;
		out->s[begin] = '\0';
	}
	return r;
}
