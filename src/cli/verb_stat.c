/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon stat`: a line an interval. The intervals are windows back to back on shared samples, so
 * their joules sum exactly to the total since the start.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/context.h"
#include "cli/out.h"
#include "cli/wait.h"
#include "codec/csv.h"
#include "codec/number.h"
#include "codec/report.h"

#define LINE_MAX_BYTES (1u << 20)
#define HEADER_EVERY   20

struct stat_run {
	const struct eg_args *args;
	struct eg_signals signals;
	struct eg_context ctx;
	struct eg_strbuf line;
	uint64_t start_ns, interval_ns;
	uint64_t lines;
	bool have_total;
	uint64_t total_uj; /* since the start */
	bool *shown;	   /* channels that are columns: the counted ones of the first line */
	bool ascii;	   /* the terminal knows no more */
	bool gone;	   /* the reader has left */
};

static const char *window_name(uint64_t k)
{
	return k % 2 == 0 ? "even" : "odd";
}

static const char *column_name(const struct stat_run *st, size_t i)
{
	const struct eg_channel *ch = eg_meter_channel(st->ctx.meter, i);

	for (size_t k = 0; k < eg_meter_count(st->ctx.meter); k++)
		if (k != i && st->shown[k] &&
		    strcmp(eg_meter_channel(st->ctx.meter, k)->domain, ch->domain) == 0)
			return eg_meter_channel_name(st->ctx.meter, i);
	return ch->domain;
}

static int column_width(const char *name)
{
	return EG_MAX((int)strlen(name), 8);
}

/* ---- For people ---- */

static void put_fixed(struct eg_strbuf *out, double v, unsigned decimals, int width)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, v, decimals);
	eg_strbuf_printf(out, " %*s", width, text);
}

static void text_header(struct stat_run *st)
{
	eg_strbuf_printf(&st->line, "%10s", "seconds");
	for (size_t i = 0; i < eg_meter_count(st->ctx.meter); i++)
		if (st->shown[i])
			eg_strbuf_printf(&st->line, " %*s", column_width(column_name(st, i)),
					 column_name(st, i));
	eg_strbuf_printf(&st->line, " %9s %14s\n", "total W", "joules");
}

static void text_line(struct stat_run *st, const struct eg_result *r)
{
	if (st->lines == 0 || (st->lines % HEADER_EVERY == 0 && isatty(STDOUT_FILENO)))
		text_header(st);
	put_fixed(&st->line, (double)(r->end_ns - st->start_ns) / 1e9, 3, 9);
	for (size_t i = 0; i < r->n; i++)
		if (st->shown[i])
			put_fixed(&st->line, r->channel[i].has_value ? r->channel[i].mean_w : NAN,
				  2, column_width(column_name(st, i)));
	put_fixed(&st->line, r->has_total ? r->total_mean_w : NAN, 2, 9);
	put_fixed(&st->line, st->have_total ? (double)st->total_uj / 1e6 : NAN, 3, 14);
	eg_strbuf_putc(&st->line, '\n');
}

/* ---- For programs ---- */

static void csv_header(struct stat_run *st)
{
	struct eg_strbuf name = EG_STRBUF_INIT(1024);
	struct eg_csv c;

	eg_csv_init(&c, &st->line);
	eg_csv_text(&c, "unix_seconds");
	eg_csv_text(&c, "seconds");
	for (size_t i = 0; i < eg_meter_count(st->ctx.meter); i++) {
		if (!st->shown[i])
			continue;
		eg_strbuf_reset(&name);
		eg_strbuf_printf(&name, "%s_watts", eg_meter_channel_name(st->ctx.meter, i));
		eg_csv_text(&c, eg_strbuf_get(&name));
	}
	eg_csv_text(&c, "total_watts");
	eg_csv_text(&c, "joules");
	eg_csv_text(&c, "uncertainty_joules");
	eg_csv_text(&c, "provenance");
	eg_csv_text(&c, "total_joules");
	eg_csv_row(&c);
	eg_strbuf_free(&name);
}

static uint64_t micro(double w)
{
	return (uint64_t)llround(w * 1e6);
}

static void csv_watts(struct eg_csv *c, bool known, double w)
{
	if (known && isfinite(w) && w >= 0)
		eg_csv_micro(c, micro(w));
	else
		eg_csv_empty(c);
}

static void csv_line(struct stat_run *st, const struct eg_result *r)
{
	struct eg_csv c;

	if (st->lines == 0)
		csv_header(st);
	eg_csv_init(&c, &st->line);
	eg_csv_nano(&c, r->end_unix_ns);
	eg_csv_nano(&c, r->end_ns - st->start_ns);
	for (size_t i = 0; i < r->n; i++)
		if (st->shown[i])
			csv_watts(&c, r->channel[i].has_value, r->channel[i].mean_w);
	csv_watts(&c, r->has_total, r->total_mean_w);
	if (r->has_total) {
		eg_csv_micro(&c, r->total_uj);
		eg_csv_micro(&c, r->total_uncertainty.total_uj);
		eg_csv_text(&c, eg_provenance_word(r->total_provenance));
	} else {
		eg_csv_empty(&c);
		eg_csv_empty(&c);
		eg_csv_empty(&c);
	}
	if (st->have_total)
		eg_csv_micro(&c, st->total_uj);
	else
		eg_csv_empty(&c);
	eg_csv_row(&c);
}

static void json_watts(struct eg_json *j, bool known, double w)
{
	if (known && isfinite(w) && w >= 0)
		eg_json_micro(j, "watts", micro(w));
	else
		eg_json_null(j, "watts");
}

static void json_line(struct stat_run *st, const struct eg_result *r)
{
	struct eg_json j;

	eg_json_init(&j, &st->line, false);
	eg_json_object(&j, NULL);
	eg_json_text(&j, "schema", "ergon.stat/1");
	eg_json_nano(&j, "unix_seconds", r->end_unix_ns);
	eg_json_nano(&j, "seconds", r->end_ns - st->start_ns);
	eg_json_nano(&j, "interval_seconds", r->seconds_ns);
	json_watts(&j, r->has_total, r->total_mean_w);
	if (r->has_total) {
		eg_json_micro(&j, "joules", r->total_uj);
		eg_json_micro(&j, "uncertainty_joules", r->total_uncertainty.total_uj);
		eg_json_text(&j, "provenance", eg_provenance_word(r->total_provenance));
	} else {
		eg_json_null(&j, "joules");
	}
	if (st->have_total)
		eg_json_micro(&j, "total_joules", st->total_uj);
	else
		eg_json_null(&j, "total_joules");
	eg_json_array(&j, "channels");
	for (size_t i = 0; i < r->n; i++) {
		const struct eg_result_channel *c = &r->channel[i];

		eg_json_object(&j, NULL);
		eg_json_text(&j, "name", c->name);
		eg_json_text(&j, "role", eg_role_word(c->role));
		json_watts(&j, c->has_value, c->mean_w);
		if (c->has_value)
			eg_json_micro(&j, "joules", c->uj + c->est_uj);
		else
			eg_json_null(&j, "joules");
		eg_json_end(&j);
	}
	eg_json_end(&j);
	/* Every interval is short: said here for each line it would say nothing. */
	eg_report_json_flags(&j, "flags", r->flags & ~EG_FLAG_BIT(EG_FLAG_SHORT));
	eg_json_end(&j);
	if (eg_json_finish(&j) < 0 && st->line.error == 0)
		st->line.error = -EINVAL;
}

/* ---- The loop ---- */

static int show(struct stat_run *st, const struct eg_result *r)
{
	int code;

	for (size_t i = 0; st->lines == 0 && i < r->n; i++)
		st->shown[i] = r->channel[i].role == EG_ROLE_TOTAL;
	if (r->has_total) {
		st->have_total = true;
		st->total_uj += r->total_uj;
	}
	eg_strbuf_reset(&st->line);
	if (st->args->json)
		json_line(st, r);
	else if (st->args->csv)
		csv_line(st, r);
	else
		text_line(st, r);
	code = st->args->json || st->args->csv ? eg_out_stdout(&st->line, &st->gone) :
						 eg_out_text(&st->line, st->ascii, &st->gone);
	st->lines++;
	return code;
}

static int loop(struct stat_run *st)
{
	struct eg_result *r;
	int err = eg_meter_begin(st->ctx.meter, window_name(0)), code = 0;
	uint64_t due;

	if (err < 0)
		return err;
	st->start_ns = due = eg_clock_ns(&st->ctx.env.clock);
	for (uint64_t k = 0;
	     code == 0 && !st->gone && (st->args->count == 0 || k < st->args->count); k++) {
		uint64_t now;

		due += st->interval_ns;
		err = eg_context_wait(&st->ctx, &st->signals, due);
		if (err != 0)
			return err < 0 ? err : 0;
		err = eg_meter_next(st->ctx.meter, window_name(k), window_name(k + 1), &r);
		if (err < 0)
			return err;
		if (k == 0)
			st->start_ns = r->begin_ns;
		code = show(st, r);
		eg_result_free(r);
		now = eg_clock_ns(&st->ctx.env.clock);
		if (now >= due + st->interval_ns) /* fell behind: no burst of empty lines */
			due = now;
	}
	return code;
}

static int nothing_here(struct stat_run *st)
{
	struct eg_diags diags;

	eg_say("nothing can be measured here; `ergon doctor` says why and what helps");
	if (eg_meter_diags(st->ctx.meter, &diags) == 0) {
		for (size_t i = 0; i < diags.n; i++)
			eg_say("%s: %s%s%s", diags.items[i].driver, diags.items[i].detail,
			       diags.items[i].cure[0] ? "; cure: " : "", diags.items[i].cure);
		eg_diags_free(&diags);
	}
	return EG_EXIT_FAILURE;
}

int eg_verb_stat(struct eg_args *args)
{
	struct stat_run st = {
		.args = args, .signals = {.fd = -1}, .line = EG_STRBUF_INIT(LINE_MAX_BYTES)};
	int code;

	if (args->json && args->csv) {
		eg_say("--json and --csv exclude each other");
		return EG_EXIT_USAGE;
	}
	st.ascii = eg_locale_is_ascii();
	st.interval_ns = args->interval_ns > 0 ? args->interval_ns : EG_NSEC_PER_SEC;
	code = eg_signals_take(&st.signals);
	if (code < 0) {
		eg_say("cannot wait for signals: %s", eg_errno_text(code));
		return EG_EXIT_FAILURE;
	}
	code = eg_context_open(args, st.interval_ns, &st.ctx);
	if (code == 0) {
		st.shown = calloc(eg_meter_count(st.ctx.meter) + 1, sizeof(*st.shown));
		if (eg_meter_count(st.ctx.meter) == 0)
			code = nothing_here(&st);
		else
			code = st.shown != NULL ? loop(&st) : -ENOMEM;
		if (code < 0) {
			eg_say("cannot measure: %s", eg_errno_text(code));
			code = EG_EXIT_FAILURE;
		}
		free(st.shown);
		eg_context_close(&st.ctx);
	}
	eg_signals_release(&st.signals);
	eg_strbuf_free(&st.line);
	return code;
}
