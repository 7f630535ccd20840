/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stable JSON of `ergon run`, schema "ergon.run/1" (docs/json.md). Joules are exact decimals of
 * integer microjoules. What is not known is null or left out, never 0.
 */
#include "codec/report.h"

#include <math.h>
#include <stdio.h>

void eg_report_json_flags(struct eg_json *j, const char *key, uint32_t flags)
{
	eg_json_array(j, key);
	for (unsigned f = 0; f < EG_FLAG_COUNT; f++)
		if (flags & EG_FLAG_BIT(f))
			eg_json_text(j, NULL, eg_flag_word((enum eg_flag)f));
	eg_json_end(j);
}

void eg_report_json_diags(struct eg_json *j, const char *key, const struct eg_diags *diags)
{
	eg_json_array(j, key);
	for (size_t i = 0; diags != NULL && i < diags->n; i++) {
		const struct eg_diag *d = &diags->items[i];

		eg_json_object(j, NULL);
		eg_json_text(j, "code", eg_diag_word(d->code));
		eg_json_text(j, "driver", d->driver);
		eg_json_text(j, "subject", d->subject);
		eg_json_text(j, "detail", d->detail);
		eg_json_text(j, "cure", d->cure);
		eg_json_u64(j, "count", d->count);
		eg_json_end(j);
	}
	eg_json_end(j);
}

static void put_uncertainty(struct eg_json *j, const struct eg_uncertainty *u)
{
	eg_json_object(j, "uncertainty");
	eg_json_micro(j, "resolution_joules", u->resolution_uj);
	eg_json_micro(j, "update_joules", u->update_uj);
	eg_json_micro(j, "sampling_joules", u->sampling_uj);
	eg_json_micro(j, "accuracy_joules", u->accuracy_uj);
	eg_json_micro(j, "held_joules", u->held_uj);
	eg_json_end(j);
}

void eg_report_json_watts(struct eg_json *j, const char *key, double w)
{
	if (isfinite(w) && w >= 0 && w < 1e12)
		eg_json_micro(j, key, (uint64_t)llround(w * 1e6));
	else
		eg_json_null(j, key);
}

void eg_report_json_channel_facts(struct eg_json *j, const struct eg_channel *ch)
{
	eg_json_text(j, "source", eg_source_word(ch->source));
	eg_json_text(j, "component", eg_component_word(ch->component));
	eg_json_text(j, "boundary", eg_boundary_word(ch->boundary));
	eg_json_text(j, "provenance", eg_provenance_word(ch->provenance));
	eg_json_text(j, "quantity", eg_quantity_word(ch->quantity));
	eg_json_text(j, "unit", ch->quantity == EG_QUANTITY_ENERGY ? "joules" : "watts");
	eg_json_text(j, "device", ch->device);
	eg_json_text(j, "label", ch->label);
	eg_json_text(j, "origin", ch->origin);
	if (ch->quantity == EG_QUANTITY_ENERGY)
		eg_json_micro(j, "resolution_joules", ch->resolution_uj);
	if (ch->modulus > 0)
		eg_json_double(j, "wrap_joules",
			       (double)ch->modulus * (double)ch->unit_num / (double)ch->unit_den /
				       1e6);
	else
		eg_json_null(j, "wrap_joules");
	if (ch->update_ns > 0)
		eg_json_nano(j, "update_seconds", ch->update_ns);
	else
		eg_json_null(j, "update_seconds");
	eg_json_micro(j, "plausible_max_watts", ch->max_uw);
	eg_json_object(j, "accuracy");
	eg_json_double(j, "relative", (double)ch->accuracy.rel_ppm / 1e6);
	eg_json_micro(j, "watts", ch->accuracy.abs_uw);
	eg_json_text(j, "citation", ch->accuracy.citation);
	eg_json_end(j);
}

void eg_report_json_total(struct eg_json *j, const struct eg_result *r)
{
	if (!r->has_total) {
		eg_json_null(j, "total");
		return;
	}
	eg_json_object(j, "total");
	eg_json_micro(j, "joules", r->total_uj);
	eg_json_micro(j, "estimated_joules", r->total_est_uj);
	eg_json_micro(j, "uncertainty_joules", r->total_uncertainty.total_uj);
	put_uncertainty(j, &r->total_uncertainty);
	eg_json_text(j, "provenance", eg_provenance_word(r->total_provenance));
	eg_report_json_watts(j, "mean_watts", r->total_mean_w);
	eg_report_json_watts(j, "max_watts", r->total_max_w);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < r->n; i++)
		if (r->channel[i].role == EG_ROLE_TOTAL)
			eg_json_text(j, NULL, r->channel[i].name);
	eg_json_end(j);
	eg_json_end(j);
}

static void put_channel(struct eg_json *j, const struct eg_result *r,
			const struct eg_result_channel *c)
{
	eg_json_object(j, NULL);
	eg_json_text(j, "name", c->name);
	eg_json_text(j, "driver", c->driver->name);
	eg_json_text(j, "source", eg_source_word(c->ch->source));
	eg_json_text(j, "component", eg_component_word(c->ch->component));
	eg_json_text(j, "boundary", eg_boundary_word(c->ch->boundary));
	eg_json_text(j, "provenance", eg_provenance_word(c->provenance));
	eg_json_text(j, "device", c->ch->device);
	eg_json_text(j, "label", c->ch->label);
	eg_json_text(j, "role", eg_role_word(c->role));
	eg_json_text(j, "of", c->of >= 0 ? r->channel[c->of].name : NULL);
	if (c->why != NULL)
		eg_json_text(j, "why", c->why);
	if (c->has_value) {
		eg_json_micro(j, "joules", c->uj);
		eg_json_micro(j, "estimated_joules", c->est_uj);
		eg_json_micro(j, "uncertainty_joules", c->uncertainty.total_uj);
		put_uncertainty(j, &c->uncertainty);
	} else {
		eg_json_null(j, "joules");
		eg_json_null(j, "estimated_joules");
		eg_json_null(j, "uncertainty_joules");
	}
	eg_report_json_watts(j, "mean_watts", c->has_value ? c->mean_w : NAN);
	eg_report_json_watts(j, "max_watts", c->has_value ? c->max_w : NAN);
	eg_json_text(j, "method",
		     c->ch->quantity == EG_QUANTITY_ENERGY ? "counter" : "integrated_power");
	eg_json_u64(j, "samples", c->samples);
	eg_json_u64(j, "bad_samples", c->bad);
	eg_json_nano(j, "gap_seconds", c->gap_ns);
	eg_json_nano(j, "longest_interval_seconds", c->longest_dt_ns);
	eg_json_u64(j, "wraps", c->wraps);
	eg_json_u64(j, "resets", c->resets);
	eg_report_json_flags(j, "flags", c->flags);
	eg_json_end(j);
}

void eg_report_json_channels(struct eg_json *j, const struct eg_result *r)
{
	eg_json_array(j, "channels");
	for (size_t i = 0; i < r->n; i++)
		put_channel(j, r, &r->channel[i]);
	eg_json_end(j);
}

static void put_stats(struct eg_json *j, const char *key, const struct eg_stats *s)
{
	eg_json_object(j, key);
	eg_json_u64(j, "n", s->n);
	eg_json_double(j, "mean", s->mean);
	eg_json_double(j, "stddev", s->stddev);
	eg_json_double(j, "ci95_low", s->mean - s->ci95);
	eg_json_double(j, "ci95_high", s->mean + s->ci95);
	eg_json_end(j);
}

static int put_repeats(struct eg_json *j, const struct eg_report *r)
{
	struct eg_stats joules, seconds;
	int err;

	if (r->repeat == NULL)
		return 0;
	err = eg_report_repeats(r, &joules, &seconds);
	if (err < 0)
		return err;
	eg_json_object(j, "repeats");
	eg_json_u64(j, "count", r->n_repeats);
	put_stats(j, "joules", &joules);
	put_stats(j, "seconds", &seconds);
	eg_json_array(j, "runs");
	for (size_t i = 0; i < r->n_repeats; i++) {
		const struct eg_repeat *p = &r->repeat[i];

		eg_json_object(j, NULL);
		eg_json_nano(j, "seconds", p->seconds_ns);
		if (p->has_total)
			eg_json_micro(j, "joules", p->total_uj);
		else
			eg_json_null(j, "joules");
		eg_json_i64(j, "exit", p->exit);
		eg_json_end(j);
	}
	eg_json_end(j);
	eg_json_end(j);
	return 0;
}

int eg_report_json(const struct eg_report *r, struct eg_strbuf *out)
{
	const struct eg_result *w = r->result;
	struct eg_json j;
	int err;

	eg_json_init(&j, out, true);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.run/1");
	eg_json_array(&j, "command");
	for (const char *const *arg = r->command; *arg; arg++)
		eg_json_text(&j, NULL, *arg);
	eg_json_end(&j);
	eg_json_text(&j, "scope", "machine");
	eg_json_nano(&j, "seconds", w->seconds_ns);
	eg_json_i64(&j, "exit", r->exit);
	if (r->signal > 0)
		eg_json_i64(&j, "signal", r->signal);
	eg_json_u64(&j, "begin_boot_ns", w->begin_ns);
	eg_json_u64(&j, "end_boot_ns", w->end_ns);
	eg_json_nano(&j, "begin_unix_seconds", w->begin_unix_ns);
	eg_json_nano(&j, "end_unix_seconds", w->end_unix_ns);
	eg_json_nano(&j, "interval_seconds", r->interval_ns);
	eg_report_json_total(&j, w);
	err = put_repeats(&j, r);
	if (err < 0)
		return err;
	eg_report_json_channels(&j, w);
	eg_report_json_flags(&j, "flags", w->flags);
	eg_report_json_diags(&j, "diagnostics", r->diags);
	eg_json_end(&j);
	return eg_json_finish(&j);
}
