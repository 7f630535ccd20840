/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at everything the meter has; see survey.h. Power comes from core: of a counter the mean
 * over the look, of a gauge what it shows.
 */
#include "cli/survey.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codec/number.h"
#include "codec/report.h"

#define LOOK_NS	    (200 * EG_NSEC_PER_MSEC)
#define LOOK_WINDOW "look"

struct collector {
	struct eg_attribute_sink sink;
	struct eg_survey *survey;
};

static void collect(struct eg_attribute_sink *sink, const struct eg_attribute *attribute)
{
	struct eg_survey *s = ((struct collector *)(void *)sink)->survey;

	if (s->n_attributes < EG_ATTRIBUTES_MAX)
		s->attribute[s->n_attributes++] = *attribute;
	else
		s->attributes_dropped++;
}

static int take_attributes(struct eg_survey *s)
{
	struct collector c = {.sink = {.put = collect}, .survey = s};

	s->attribute = calloc(EG_ATTRIBUTES_MAX, sizeof(*s->attribute));
	if (s->attribute == NULL)
		return -ENOMEM;
	eg_meter_attributes(s->meter, &c.sink);
	return 0;
}

static int look(struct eg_context *ctx, struct eg_survey *s)
{
	int err = eg_meter_begin(s->meter, LOOK_WINDOW);

	if (err < 0)
		return err;
	if (eg_meter_count(s->meter) > 0) {
		uint64_t until = eg_clock_ns(&ctx->env.clock) + LOOK_NS;

		while (eg_clock_ns(&ctx->env.clock) < until)
			if (eg_clock_sleep_until(&ctx->env.clock, until) < 0)
				break;
	}
	return eg_meter_end(s->meter, LOOK_WINDOW, &s->look);
}

int eg_survey_take(struct eg_context *ctx, bool attributes, struct eg_survey *ret)
{
	struct eg_survey s = {.meter = ctx->meter};
	int err = look(ctx, &s);

	if (err == 0 && attributes)
		err = take_attributes(&s);
	if (err == 0)
		err = eg_meter_diags(s.meter, &s.diags);
	if (err < 0) {
		eg_survey_free(&s);
		return err;
	}
	*ret = s;
	return 0;
}

void eg_survey_free(struct eg_survey *s)
{
	eg_result_free(s->look);
	eg_diags_free(&s->diags);
	free(s->attribute);
	*s = (struct eg_survey){0};
}

const struct eg_driver *eg_survey_driver(const char *name)
{
	for (size_t i = 0; eg_drivers[i]; i++)
		if (strcmp(eg_drivers[i]->name, name) == 0)
			return eg_drivers[i];
	return NULL;
}

size_t eg_survey_channels_of(const struct eg_survey *s, const char *driver)
{
	size_t n = 0;

	for (size_t i = 0; i < s->look->n; i++)
		n += strcmp(s->look->channel[i].driver->name, driver) == 0;
	return n;
}

const char *eg_survey_driver_state(const struct eg_survey *s, const struct eg_known_driver *k)
{
	if (!k->built)
		return "not_built";
	if (eg_survey_channels_of(s, k->name) > 0)
		return "ok";
	for (size_t i = 0; i < s->diags.n; i++)
		if (strcmp(s->diags.items[i].driver, k->name) == 0)
			return eg_diag_word(s->diags.items[i].code);
	return "not_selected";
}

const char *eg_survey_interface(const struct eg_env *env, const struct eg_known_driver *k)
{
	const struct eg_driver *d = eg_survey_driver(k->name);
	int r;

	if (d == NULL)
		return NULL;
	r = d->probe(env);
	return r == 0 ? "here" : r == -EACCES || r == -EPERM ? "blocked" : "absent";
}

/* Watts now and over how long they were taken (0: as the sensor shows). NaN unknown. */
static double watts_now(const struct eg_survey *s, size_t i, uint64_t *ret_over_ns)
{
	const struct eg_result_channel *c = &s->look->channel[i];
	const struct eg_snapshot *snap;
	double w = NAN;

	*ret_over_ns = 0;
	if (c->ch->quantity == EG_QUANTITY_ENERGY) {
		*ret_over_ns = s->look->seconds_ns;
		return c->has_value ? c->mean_w : NAN;
	}
	snap = eg_meter_pin(s->meter);
	if (snap != NULL && snap->channel[i].have_uw && snap->channel[i].status == EG_STATUS_OK)
		w = (double)snap->channel[i].uw / 1e6;
	if (snap != NULL)
		eg_meter_unpin(s->meter, snap);
	return w;
}

static enum eg_status status_now(const struct eg_survey *s, size_t i)
{
	const struct eg_snapshot *snap = eg_meter_pin(s->meter);
	enum eg_status status = snap != NULL ? snap->channel[i].status : EG_STATUS_NO_DATA;

	if (snap != NULL)
		eg_meter_unpin(s->meter, snap);
	return status;
}

bool eg_survey_counted(struct eg_strbuf *out, const struct eg_survey *s)
{
	bool any = false;

	for (size_t i = 0; i < s->look->n; i++) {
		if (s->look->channel[i].role != EG_ROLE_TOTAL)
			continue;
		eg_strbuf_printf(out, "%s%s", any ? ", " : "", s->look->channel[i].name);
		any = true;
	}
	return any;
}

/* ---- JSON ---- */

static const char *maturity_word(enum eg_maturity m)
{
	return m == EG_MATURITY_HARDWARE ? "hardware" :
	       m == EG_MATURITY_FAKED	 ? "faked" :
					   "simulated";
}

static void json_options(struct eg_json *j, const struct eg_driver *d)
{
	static const char *const types[] = {[EG_OPTION_BOOL] = "bool",
					    [EG_OPTION_U64] = "integer",
					    [EG_OPTION_DOUBLE] = "number",
					    [EG_OPTION_TEXT] = "text"};

	eg_json_array(j, "options");
	for (const struct eg_option *o = d->options; o && o->name; o++) {
		eg_json_object(j, NULL);
		eg_json_text(j, "name", o->name);
		eg_json_text(j, "type", types[o->type]);
		eg_json_text(j, "default", o->fallback);
		eg_json_text(j, "help", o->help);
		eg_json_end(j);
	}
	eg_json_end(j);
}

void eg_survey_json_drivers(struct eg_json *j, const struct eg_survey *s, const struct eg_env *env)
{
	eg_json_array(j, "drivers");
	for (const struct eg_known_driver *k = eg_known_drivers; k->name; k++) {
		const struct eg_driver *d = eg_survey_driver(k->name);

		eg_json_object(j, NULL);
		eg_json_text(j, "name", k->name);
		eg_json_text(j, "state", eg_survey_driver_state(s, k));
		if (env != NULL)
			eg_json_text(j, "interface", eg_survey_interface(env, k));
		eg_json_bool(j, "built", k->built);
		eg_json_u64(j, "channels", eg_survey_channels_of(s, k->name));
		if (d != NULL) {
			eg_json_text(j, "summary", d->summary);
			eg_json_text(j, "source", eg_source_word(d->source));
			eg_json_bool(j, "estimator", d->estimator);
			eg_json_text(j, "shown_on", maturity_word(d->maturity));
			json_options(j, d);
		}
		eg_json_end(j);
	}
	eg_json_end(j);
}

static void json_channel(struct eg_json *j, const struct eg_survey *s, size_t i)
{
	const struct eg_result_channel *c = &s->look->channel[i];
	uint64_t over_ns;
	double w = watts_now(s, i, &over_ns);

	eg_json_object(j, NULL);
	eg_json_text(j, "name", c->name);
	eg_json_text(j, "driver", c->driver->name);
	eg_report_json_channel_facts(j, c->ch);
	eg_json_text(j, "role", eg_role_word(c->role));
	eg_json_text(j, "of", c->of >= 0 ? s->look->channel[c->of].name : NULL);
	eg_json_text(j, "why", c->why);
	eg_json_text(j, "status", eg_status_word(status_now(s, i)));
	eg_report_json_watts(j, "watts", w);
	if (over_ns > 0)
		eg_json_nano(j, "watts_over_seconds", over_ns);
	else
		eg_json_null(j, "watts_over_seconds");
	eg_report_json_flags(j, "flags", c->flags & ~EG_FLAG_BIT(EG_FLAG_SHORT));
	eg_json_end(j);
}

void eg_survey_json_channels(struct eg_json *j, const struct eg_survey *s)
{
	eg_json_array(j, "channels");
	for (size_t i = 0; i < s->look->n; i++)
		json_channel(j, s, i);
	eg_json_end(j);
}

/* ---- Text ---- */

static void put_number(struct eg_strbuf *out, double v, unsigned decimals)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, v, decimals);
	eg_strbuf_puts(out, text);
}

/* Joules in the unit that shows them best: resolutions go from nanojoules up. */
static void put_step(struct eg_strbuf *out, uint64_t uj)
{
	if (uj < 1000)
		eg_strbuf_printf(out, "%u uJ", (unsigned)uj);
	else if (uj < EG_UJ_PER_J)
		eg_strbuf_printf(out, "%u mJ", (unsigned)(uj / 1000));
	else
		eg_strbuf_printf(out, "%llu J", (unsigned long long)(uj / EG_UJ_PER_J));
}

static void put_now(struct eg_strbuf *out, const struct eg_survey *s, size_t i)
{
	uint64_t over_ns;
	double w = watts_now(s, i, &over_ns);

	if (!isfinite(w)) {
		eg_strbuf_printf(out, "no value now (%s)", eg_status_word(status_now(s, i)));
		return;
	}
	put_number(out, w, w < 10 ? 3 : 1);
	eg_strbuf_puts(out, " W");
	if (over_ns > 0) {
		eg_strbuf_puts(out, " over ");
		put_number(out, (double)over_ns / 1e9, 1);
		eg_strbuf_puts(out, " s");
	}
}

static void put_details(struct eg_strbuf *out, const struct eg_channel *ch)
{
	if (ch->label[0])
		eg_strbuf_printf(out, "      label      %s\n", ch->label);
	eg_strbuf_printf(out, "      device     %s\n      origin     %s\n", ch->device, ch->origin);
	if (ch->modulus > 0) {
		eg_strbuf_puts(out, "      wraps at   ");
		put_number(out,
			   (double)ch->modulus * (double)ch->unit_num / (double)ch->unit_den / 1e6,
			   3);
		eg_strbuf_puts(out, " J\n");
	}
	if (ch->update_ns > 0) {
		eg_strbuf_puts(out, "      renewed    every ");
		put_number(out, (double)ch->update_ns / 1e6, 3);
		eg_strbuf_puts(out, " ms\n");
	}
	eg_strbuf_puts(out, "      plausible  up to ");
	put_number(out, (double)ch->max_uw / 1e6, 0);
	eg_strbuf_puts(out, " W\n      accuracy   ");
	put_number(out, (double)ch->accuracy.rel_ppm / 1e4, 1);
	eg_strbuf_puts(out, " %");
	if (ch->accuracy.abs_uw > 0) {
		eg_strbuf_puts(out, " or ");
		put_number(out, (double)ch->accuracy.abs_uw / 1e6, 1);
		eg_strbuf_puts(out, " W, the larger");
	}
	if (ch->accuracy.citation != NULL)
		eg_strbuf_printf(out, " (%s)", ch->accuracy.citation);
	eg_strbuf_putc(out, '\n');
}

static void put_attributes(struct eg_strbuf *out, const struct eg_survey *s, const char *device)
{
	for (size_t i = 0; i < s->n_attributes; i++) {
		const struct eg_attribute *a = &s->attribute[i];
		char text[EG_NUMBER_MAX];

		if (strcmp(a->device, device) != 0)
			continue;
		eg_number_double(text, a->value);
		eg_strbuf_printf(out, "      %-26s %s\n", a->name, a->is_text ? a->text : text);
	}
}

/* Attributes are shown once, with the first channel of their device. */
static bool first_of_device(const struct eg_survey *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(s->look->channel[k].ch->device, s->look->channel[i].ch->device) == 0)
			return false;
	return true;
}

static void put_channel(struct eg_strbuf *out, const struct eg_survey *s, size_t i, int width,
			bool all)
{
	const struct eg_result_channel *c = &s->look->channel[i];
	struct eg_strbuf now = EG_STRBUF_INIT(256), kind = EG_STRBUF_INIT(256);

	put_now(&now, s, i);
	if (c->ch->quantity == EG_QUANTITY_ENERGY) {
		eg_strbuf_puts(&kind, "energy counter, step ");
		put_step(&kind, c->ch->resolution_uj);
	} else {
		eg_strbuf_puts(&kind, "power in watts");
	}
	eg_strbuf_printf(out, "    %-*s %-10s %-28s %-9s %-9s %-20s %s", width, c->ch->domain,
			 eg_component_word(c->ch->component), eg_strbuf_get(&kind),
			 eg_boundary_word(c->ch->boundary), eg_provenance_word(c->ch->provenance),
			 eg_strbuf_get(&now), eg_role_word(c->role));
	if (c->of >= 0)
		eg_strbuf_printf(out, " of %s", s->look->channel[c->of].name);
	eg_strbuf_putc(out, '\n');
	if (all) {
		put_details(out, c->ch);
		if (first_of_device(s, i))
			put_attributes(out, s, c->ch->device);
	}
	eg_strbuf_free(&now);
	eg_strbuf_free(&kind);
}

void eg_survey_text_diags(struct eg_strbuf *out, const struct eg_survey *s, const char *driver)
{
	for (size_t i = 0; i < s->diags.n; i++) {
		const struct eg_diag *d = &s->diags.items[i];

		if (strcmp(d->driver, driver) != 0)
			continue;
		eg_strbuf_printf(out, "    %s%s%s [%s]\n", d->subject, d->subject[0] ? ": " : "",
				 d->detail, eg_diag_word(d->code));
		if (d->cure[0])
			eg_strbuf_printf(out, "      cure: %s\n", d->cure);
	}
}

void eg_survey_text_driver(struct eg_strbuf *out, const struct eg_survey *s,
			   const struct eg_known_driver *k, bool all)
{
	const struct eg_driver *d = eg_survey_driver(k->name);
	size_t n = eg_survey_channels_of(s, k->name);
	int width = 12;

	if (n > 0)
		eg_strbuf_printf(out, "%-13s %zu channel%s", k->name, n, n == 1 ? "" : "s");
	else
		eg_strbuf_printf(out, "%-13s %s", k->name, eg_survey_driver_state(s, k));
	eg_strbuf_printf(out, "  (%s)\n", d != NULL ? d->summary : "left out of this build");
	for (size_t i = 0; i < s->look->n; i++)
		if (strcmp(s->look->channel[i].driver->name, k->name) == 0)
			width = EG_MAX(width, (int)strlen(s->look->channel[i].ch->domain));
	for (size_t i = 0; i < s->look->n; i++)
		if (strcmp(s->look->channel[i].driver->name, k->name) == 0)
			put_channel(out, s, i, EG_MIN(width, 40), all);
	eg_survey_text_diags(out, s, k->name);
}
