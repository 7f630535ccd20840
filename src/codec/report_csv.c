/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV of `ergon run`: one header, then a row for the total, for each channel and for each repeat;
 * the first column says which. Empty means not known.
 */
#include "codec/csv.h"
#include "codec/report.h"

#include <math.h>

static void put_flags(struct eg_csv *c, uint32_t flags)
{
	struct eg_strbuf words = EG_STRBUF_INIT(1024);

	for (unsigned f = 0; f < EG_FLAG_COUNT; f++)
		if (flags & EG_FLAG_BIT(f))
			eg_strbuf_printf(&words, "%s%s", words.len > 0 ? " " : "",
					 eg_flag_word((enum eg_flag)f));
	eg_csv_text(c, eg_strbuf_get(&words));
	eg_strbuf_free(&words);
}

static void put_watts(struct eg_csv *c, double w)
{
	if (isfinite(w) && w >= 0 && w < 1e12)
		eg_csv_micro(c, (uint64_t)llround(w * 1e6));
	else
		eg_csv_empty(c);
}

static void put_energy(struct eg_csv *c, bool known, uint64_t uj, uint64_t est_uj,
		       const struct eg_uncertainty *u, double mean_w, double max_w)
{
	if (!known) {
		for (int i = 0; i < 5; i++)
			eg_csv_empty(c);
		return;
	}
	eg_csv_micro(c, uj);
	eg_csv_micro(c, est_uj);
	eg_csv_micro(c, u->total_uj);
	put_watts(c, mean_w);
	put_watts(c, max_w);
}

static void put_header(struct eg_csv *c)
{
	static const char *const names[] = {"record",
					    "name",
					    "driver",
					    "source",
					    "component",
					    "boundary",
					    "provenance",
					    "role",
					    "joules",
					    "estimated_joules",
					    "uncertainty_joules",
					    "mean_watts",
					    "max_watts",
					    "samples",
					    "gap_seconds",
					    "seconds",
					    "exit",
					    "flags"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		eg_csv_text(c, names[i]);
	eg_csv_row(c);
}

static void put_total(struct eg_csv *c, const struct eg_report *r)
{
	const struct eg_result *w = r->result;

	eg_csv_text(c, "total");
	eg_csv_text(c, "total");
	for (int i = 0; i < 4; i++)
		eg_csv_empty(c);
	eg_csv_text(c, w->has_total ? eg_provenance_word(w->total_provenance) : NULL);
	eg_csv_empty(c);
	put_energy(c, w->has_total, w->total_uj, w->total_est_uj, &w->total_uncertainty,
		   w->total_mean_w, w->total_max_w);
	eg_csv_empty(c);
	eg_csv_empty(c);
	eg_csv_nano(c, w->seconds_ns);
	eg_csv_u64(c, (uint64_t)r->exit);
	put_flags(c, w->flags);
	eg_csv_row(c);
}

static void put_channel(struct eg_csv *c, const struct eg_result_channel *ch)
{
	eg_csv_text(c, "channel");
	eg_csv_text(c, ch->name);
	eg_csv_text(c, ch->driver->name);
	eg_csv_text(c, eg_source_word(ch->ch->source));
	eg_csv_text(c, eg_component_word(ch->ch->component));
	eg_csv_text(c, eg_boundary_word(ch->ch->boundary));
	eg_csv_text(c, eg_provenance_word(ch->provenance));
	eg_csv_text(c, eg_role_word(ch->role));
	put_energy(c, ch->has_value, ch->uj, ch->est_uj, &ch->uncertainty, ch->mean_w, ch->max_w);
	eg_csv_u64(c, ch->samples);
	eg_csv_nano(c, ch->gap_ns);
	eg_csv_empty(c);
	eg_csv_empty(c);
	put_flags(c, ch->flags);
	eg_csv_row(c);
}

static void put_repeat(struct eg_csv *c, const struct eg_repeat *p, size_t number)
{
	eg_csv_text(c, "repeat");
	eg_csv_u64(c, number);
	for (int i = 0; i < 6; i++)
		eg_csv_empty(c);
	if (p->has_total)
		eg_csv_micro(c, p->total_uj);
	else
		eg_csv_empty(c);
	for (int i = 0; i < 6; i++)
		eg_csv_empty(c);
	eg_csv_nano(c, p->seconds_ns);
	eg_csv_u64(c, (uint64_t)p->exit);
	eg_csv_empty(c);
	eg_csv_row(c);
}

int eg_report_csv(const struct eg_report *r, struct eg_strbuf *out)
{
	struct eg_csv c;

	eg_csv_init(&c, out);
	put_header(&c);
	put_total(&c, r);
	for (size_t i = 0; i < r->result->n; i++)
		put_channel(&c, &r->result->channel[i]);
	for (size_t i = 0; r->repeat != NULL && i < r->n_repeats; i++)
		put_repeat(&c, &r->repeat[i], i + 1);
	return eg_strbuf_error(out);
}
