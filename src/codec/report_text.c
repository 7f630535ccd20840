/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon run` for people: the figure first, then where it came from, then what to know about it.
 * Where nothing was measured it says so, with the reason and the cure of each interface.
 */
#include "codec/report.h"

#include <math.h>
#include <string.h>

#include "codec/number.h"
#include "codec/plain.h"

#define NAME_WIDTH_MAX 44

static void put_number(struct eg_strbuf *out, double v, unsigned decimals, int width)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, v, decimals);
	eg_strbuf_printf(out, "%*s", width, text);
}

/* Watts with three significant digits or so. */
static unsigned watt_decimals(double w)
{
	return w >= 99.95 ? 0 : w >= 9.995 ? 1 : w >= 0.9995 ? 2 : 3;
}

static void put_power(struct eg_strbuf *out, const char *what, double w)
{
	if (!isfinite(w))
		return;
	eg_strbuf_printf(out, ", %s ", what);
	put_number(out, w, watt_decimals(w), 0);
	eg_strbuf_puts(out, " W");
}

static void put_seconds(struct eg_strbuf *out, uint64_t ns)
{
	put_number(out, (double)ns / 1e9, ns < 100 * EG_NSEC_PER_SEC ? 3 : 1, 0);
	eg_strbuf_puts(out, " s");
}

static void put_headline(struct eg_strbuf *out, const struct eg_report *r)
{
	const struct eg_result *w = r->result;

	if (!w->has_total) {
		eg_strbuf_puts(out, "ergon: no energy was measured in ");
		put_seconds(out, w->seconds_ns);
		return;
	}
	eg_strbuf_puts(out, "ergon: ");
	eg_report_energy_text(out, w->total_uj, w->total_uncertainty.total_uj);
	eg_strbuf_puts(out, " in ");
	put_seconds(out, w->seconds_ns);
	put_power(out, "mean", w->total_mean_w);
	put_power(out, "peak", w->total_max_w);
	eg_strbuf_printf(out, "  [%s]", eg_provenance_word(w->total_provenance));
}

static int put_repeats(struct eg_strbuf *out, const struct eg_report *r)
{
	struct eg_stats j, s;
	unsigned decimals;
	int err;

	if (r->repeat == NULL)
		return 0;
	err = eg_report_repeats(r, &j, &s);
	if (err < 0)
		return err;
	eg_strbuf_printf(out, "  %zu run%s: ", r->n_repeats, r->n_repeats == 1 ? "" : "s");
	if (j.n > 0) {
		decimals = eg_number_decimals(isfinite(j.ci95) ? j.ci95 : j.mean / 100);
		put_number(out, j.mean, decimals, 0);
		eg_strbuf_puts(out, " J a run");
		if (j.n > 1) {
			eg_strbuf_puts(out, ", standard deviation ");
			put_number(out, j.stddev, decimals, 0);
			eg_strbuf_puts(out, ", 95 % interval ");
			put_number(out, j.mean - j.ci95, decimals, 0);
			eg_strbuf_puts(out, " to ");
			put_number(out, j.mean + j.ci95, decimals, 0);
		}
		eg_strbuf_puts(out, "; ");
	}
	put_number(out, s.mean, 3, 0);
	eg_strbuf_puts(out, " s a run");
	if (s.n > 1) {
		eg_strbuf_puts(out, ", standard deviation ");
		put_number(out, s.stddev, 3, 0);
	}
	eg_strbuf_putc(out, '\n');
	return 0;
}

static void put_role(struct eg_strbuf *out, const struct eg_result *w,
		     const struct eg_result_channel *c)
{
	static const char *const phrase[] = {[EG_ROLE_TOTAL] = "total",
					     [EG_ROLE_PART] = "part of ",
					     [EG_ROLE_CROSSCHECK] = "cross-check of ",
					     [EG_ROLE_OTHER] = "beside the total",
					     [EG_ROLE_UNUSABLE] = "no reading"};

	eg_strbuf_puts(out, phrase[c->role]);
	if (c->role != EG_ROLE_PART && c->role != EG_ROLE_CROSSCHECK)
		return;
	eg_strbuf_puts(out, c->of >= 0 ? w->channel[c->of].name : "another channel");
}

static void put_channels(struct eg_strbuf *out, const struct eg_report *r)
{
	const struct eg_result *w = r->result;
	/* Two bytes, one column. */
	const char *plus_minus = r->ascii ? "+/- 95 %" : "\xc2\xb1 95 %";
	int width = (int)strlen("channel");

	if (w->n == 0)
		return;
	for (size_t i = 0; i < w->n; i++)
		width = EG_MAX(width, (int)strlen(w->channel[i].name));
	width = EG_MIN(width, NAME_WIDTH_MAX);
	eg_strbuf_printf(out, "\n  %-*s %12s %*s %9s %9s  %-9s  %s\n", width, "channel", "joules",
			 r->ascii ? 10 : 11, plus_minus, "mean W", "peak W", "known as", "role");
	for (size_t i = 0; i < w->n; i++) {
		const struct eg_result_channel *c = &w->channel[i];
		double u = (double)c->uncertainty.total_uj / 1e6;
		double j = (double)(c->uj + c->est_uj) / 1e6;
		unsigned decimals = EG_MIN(eg_number_decimals(u), 4u);

		eg_strbuf_printf(out, "  %-*s ", width, c->name);
		put_number(out, c->has_value ? j : NAN, decimals, 12);
		put_number(out, c->has_value ? u : NAN, decimals, 10);
		put_number(out, c->has_value ? c->mean_w : NAN, watt_decimals(c->mean_w), 10);
		put_number(out, c->has_value ? c->max_w : NAN, watt_decimals(c->max_w), 10);
		eg_strbuf_printf(out, "  %-9s  ", eg_provenance_word(c->provenance));
		put_role(out, w, c);
		eg_strbuf_putc(out, '\n');
	}
}

static void put_flags(struct eg_strbuf *out, const struct eg_result *w)
{
	for (unsigned f = 0; f < EG_FLAG_COUNT; f++)
		if (w->flags & EG_FLAG_BIT(f))
			eg_strbuf_printf(out, "  note: %s: %s\n", eg_flag_word((enum eg_flag)f),
					 eg_flag_help((enum eg_flag)f));
}

static void put_diag(struct eg_strbuf *out, const struct eg_diag *d)
{
	eg_strbuf_printf(out, "  %s%s%s: %s", d->driver, d->driver[0] && d->subject[0] ? " " : "",
			 d->subject, d->detail);
	if (d->count > 1)
		eg_strbuf_printf(out, " (%llu times)", (unsigned long long)d->count);
	eg_strbuf_printf(out, " [%s]\n", eg_diag_word(d->code));
	if (d->cure[0])
		eg_strbuf_printf(out, "      cure: %s\n", d->cure);
}

/* With a total, what this machine does not have and what was not asked for is no news. */
static bool is_news(const struct eg_report *r, const struct eg_diag *d)
{
	if (!r->result->has_total)
		return true;
	return d->code != EG_DIAG_SENSOR_ABSENT &&
	       (d->code != EG_DIAG_ESTIMATOR ||
		r->result->total_provenance == EG_PROVENANCE_ESTIMATED);
}

static void put_diags(struct eg_strbuf *out, const struct eg_report *r)
{
	bool first = true;

	for (size_t i = 0; r->diags != NULL && i < r->diags->n; i++) {
		const struct eg_diag *d = &r->diags->items[i];

		if (!is_news(r, d))
			continue;
		if (first && !r->result->has_total)
			eg_strbuf_puts(out, "\n  why, interface by interface:\n");
		else if (first)
			eg_strbuf_putc(out, '\n');
		first = false;
		put_diag(out, d);
	}
}

static int put_body(struct eg_strbuf *out, const struct eg_report *r)
{
	int err = put_repeats(out, r);

	if (err < 0)
		return err;
	if (r->result->has_total) {
		if (r->result->total_provenance == EG_PROVENANCE_ESTIMATED)
			eg_strbuf_puts(out, "  estimated, not measured: a model's figure, or held "
					    "readings\n");
		eg_strbuf_puts(out, "  scope machine: everything that ran meanwhile is included\n");
	} else {
		eg_strbuf_puts(out, "  no channel gave a figure, so none is shown");
		eg_strbuf_puts(out, r->result->n == 0 ?
					    "; --allow-estimates permits a labelled estimate\n" :
					    "\n");
	}
	put_channels(out, r);
	put_flags(out, r->result);
	put_diags(out, r);
	return eg_strbuf_error(out);
}

int eg_report_text(const struct eg_report *r, struct eg_strbuf *out)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_REPORT_MAX);
	size_t head;
	int err;

	put_headline(&text, r);
	head = text.len;
	eg_strbuf_putc(&text, '\n');
	err = put_body(&text, r);
	if (err == 0) {
		if (r->colour)
			eg_strbuf_puts(out, "\033[1m");
		eg_plain_text(out, eg_strbuf_get(&text), head, r->ascii);
		if (r->colour)
			eg_strbuf_puts(out, "\033[0m");
		eg_plain_text(out, eg_strbuf_get(&text) + head, text.len - head, r->ascii);
		err = eg_strbuf_error(out);
	}
	eg_strbuf_free(&text);
	return err;
}
