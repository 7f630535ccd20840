/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTML report: one file that needs nothing else, with the power curve as inline SVG. Colours
 * follow the reader's light or dark setting. Every text from outside is escaped.
 */
#include "codec/report.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "codec/html.h"
#include "codec/number.h"

#define WIDTH	  960.0
#define HEIGHT	  320.0
#define LEFT	  64.0
#define RIGHT	  16.0
#define TOP	  16.0
#define BOTTOM	  36.0
#define LINES_MAX 6 /* channels drawn beside their sum */

static const char style[] =
	":root{color-scheme:light dark;--ink:#1b2430;--soft:#5d6b7a;--line:#d9dfe6;--paper:#fff;"
	"--c0:#0b6e8f;--c1:#c8642b;--c2:#5b8c2a;--c3:#8a4fb0;--c4:#b03a5b;--c5:#9a7b12;--c6:#46618a}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa7b4;--line:#36414d;"
	"--paper:#151b22;--c0:#4db6d6;--c1:#f0955f;--c2:#9bcb67;--c3:#c597e6;--c4:#ec7f9f;"
	"--c5:#dcbc4f;--c6:#93aedb}}"
	"body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
	"max-width:1000px;margin:2rem auto;padding:0 1rem}"
	"h1{font-size:2rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}"
	"code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}"
	".soft{color:var(--soft)}.tag{border:1px solid var(--line);border-radius:1em;"
	"padding:.05em .7em;font-size:.85rem}"
	"table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
	"th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}"
	"th{font-weight:600;color:var(--soft);white-space:nowrap}td.n,th.n{text-align:right}"
	".scroll{overflow-x:auto}svg{width:100%;height:auto}"
	"svg text{fill:var(--soft);font-size:12px}svg .grid{stroke:var(--line)}"
	"svg .line{fill:none;stroke-width:1.5}svg .area{opacity:.14}";

static void put_number(struct eg_strbuf *out, double v, unsigned decimals)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, v, decimals);
	eg_strbuf_puts(out, text);
}

static void put_cell(struct eg_strbuf *out, double v, unsigned decimals)
{
	eg_strbuf_puts(out, "<td class=\"n\">");
	if (isfinite(v))
		put_number(out, v, decimals);
	else
		eg_strbuf_puts(out, "\xe2\x80\x93");
	eg_strbuf_puts(out, "</td>");
}

static void put_text_cell(struct eg_strbuf *out, const char *s)
{
	eg_strbuf_puts(out, "<td>");
	eg_html_text(out, s);
	eg_strbuf_puts(out, "</td>");
}

/* ---- The curve ---- */

struct plot {
	struct eg_strbuf *out;
	const struct eg_curve *curve;
	size_t line[LINES_MAX + 1]; /* series drawn */
	size_t lines;
	double seconds, top_w; /* extent of the axes */
};

static double x_of(const struct plot *p, uint64_t t_ns)
{
	return LEFT +
	       (WIDTH - LEFT - RIGHT) * ((double)(t_ns - p->curve->t0_ns) / 1e9) / p->seconds;
}

static double y_of(const struct plot *p, double w)
{
	return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * w / p->top_w;
}

/* Power of point i: of one series, or of all counted ones (which must all be known). */
static double watts_at(const struct eg_result *r, const struct eg_curve *c, size_t i, size_t series)
{
	double sum = 0;

	if (series != SIZE_MAX) {
		uint64_t uw = c->uw[i * c->series + series];

		return uw == EG_CURVE_UNKNOWN ? NAN : (double)uw / 1e6;
	}
	for (size_t s = 0; s < c->series; s++) {
		uint64_t uw = c->uw[i * c->series + s];

		if (r->channel[s].role != EG_ROLE_TOTAL)
			continue;
		if (uw == EG_CURVE_UNKNOWN)
			return NAN;
		sum += (double)uw / 1e6;
	}
	return sum;
}

/* Step between ticks: 1, 2 or 5 times a power of ten, about five of them. */
static double tick_step(double extent)
{
	double raw = extent / 5, power = pow(10, floor(log10(raw)));
	double f = raw / power;

	return power * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}

static void put_axes(const struct plot *p)
{
	struct eg_strbuf *out = p->out;
	double step = tick_step(p->top_w);
	unsigned decimals = eg_number_decimals(step * 10);

	for (int i = 0; i * step <= p->top_w * 1.0001 && i <= 20; i++) {
		eg_strbuf_puts(out, "<line class=\"grid\" x1=\"64\" x2=\"944\" y1=\"");
		put_number(out, y_of(p, i * step), 1);
		eg_strbuf_puts(out, "\" y2=\"");
		put_number(out, y_of(p, i * step), 1);
		eg_strbuf_puts(out, "\"/><text text-anchor=\"end\" x=\"58\" y=\"");
		put_number(out, y_of(p, i * step) + 4, 1);
		eg_strbuf_puts(out, "\">");
		put_number(out, i * step, decimals);
		eg_strbuf_puts(out, " W</text>\n");
	}
	step = tick_step(p->seconds);
	decimals = eg_number_decimals(step * 10);
	for (int i = 0; i * step <= p->seconds * 1.0001 && i <= 20; i++) {
		eg_strbuf_puts(out, "<text text-anchor=\"middle\" y=\"308\" x=\"");
		put_number(out, LEFT + (WIDTH - LEFT - RIGHT) * i * step / p->seconds, 1);
		eg_strbuf_puts(out, "\">");
		put_number(out, i * step, decimals);
		eg_strbuf_puts(out, " s</text>\n");
	}
}

/* One stepped line; where nothing is known it breaks. area: filled down to zero instead. */
static void put_path(const struct plot *p, const struct eg_result *r, size_t series,
		     unsigned colour, bool area)
{
	const struct eg_curve *c = p->curve;
	struct eg_strbuf *out = p->out;
	bool drawing = false;

	eg_strbuf_printf(out, "<path class=\"%s\" style=\"%s:var(--c%u)\" d=\"",
			 area ? "area" : "line", area ? "fill" : "stroke", colour);
	for (size_t i = 0; i < c->n; i++) {
		double w = watts_at(r, c, i, series);
		uint64_t from = i > 0 ? c->t_ns[i - 1] : c->t0_ns;

		if (!isfinite(w)) {
			if (drawing && area)
				eg_strbuf_puts(out, "V284Z");
			drawing = false;
			continue;
		}
		if (!drawing) {
			eg_strbuf_putc(out, 'M');
			put_number(out, x_of(p, from), 1);
			eg_strbuf_putc(out, ',');
			put_number(out, area ? HEIGHT - BOTTOM : y_of(p, w), 1);
		}
		drawing = true;
		eg_strbuf_putc(out, 'V');
		put_number(out, y_of(p, w), 1);
		eg_strbuf_putc(out, 'H');
		put_number(out, x_of(p, c->t_ns[i]), 1);
	}
	if (drawing && area) {
		eg_strbuf_putc(out, 'V');
		put_number(out, HEIGHT - BOTTOM, 1);
		eg_strbuf_putc(out, 'Z');
	}
	eg_strbuf_puts(out, "\"/>\n");
}

static void put_legend(const struct plot *p, const struct eg_result *r)
{
	eg_strbuf_puts(p->out, "<p class=\"soft\">");
	for (size_t i = 0; i < p->lines; i++) {
		eg_strbuf_printf(p->out, "<span style=\"color:var(--c%zu)\">\xe2\x96\xac</span> ",
				 i);
		if (p->line[i] == SIZE_MAX)
			eg_strbuf_puts(p->out, "total");
		else
			eg_html_text(p->out, r->channel[p->line[i]].name);
		eg_strbuf_puts(p->out, " &nbsp; ");
	}
	eg_strbuf_puts(p->out, "</p>\n");
}

/* Chooses what is drawn: the sum where several are counted, and each of them. */
static bool plan(struct plot *p, const struct eg_result *r)
{
	const struct eg_curve *c = p->curve;
	size_t counted = 0;
	double top = 0;

	if (c == NULL || c->n == 0 || c->series != r->n)
		return false;
	for (size_t s = 0; s < c->series; s++)
		counted += r->channel[s].role == EG_ROLE_TOTAL;
	if (counted != 1)
		p->line[p->lines++] = SIZE_MAX;
	for (size_t s = 0; s < c->series && counted > 0 && p->lines <= LINES_MAX; s++)
		if (r->channel[s].role == EG_ROLE_TOTAL)
			p->line[p->lines++] = s;
	for (size_t l = 0; l < p->lines; l++)
		for (size_t i = 0; i < c->n; i++)
			top = fmax(top, watts_at(r, c, i, p->line[l]));
	p->seconds = (double)(c->t_ns[c->n - 1] - c->t0_ns) / 1e9;
	p->top_w = top * 1.05;
	return counted > 0 && top > 0 && p->seconds > 0;
}

static void put_curve(struct eg_strbuf *out, const struct eg_report *r)
{
	struct plot p = {.out = out, .curve = r->curve};

	eg_strbuf_puts(out, "<h2>Power over time</h2>\n");
	if (!plan(&p, r->result)) {
		eg_strbuf_puts(out,
			       "<p class=\"soft\">No power was known long enough to draw.</p>\n");
		return;
	}
	eg_strbuf_puts(out,
		       "<svg viewBox=\"0 0 960 320\" role=\"img\" aria-label=\"power curve\">\n");
	put_axes(&p);
	put_path(&p, r->result, p.line[0], 0, true);
	for (size_t i = p.lines; i-- > 0;)
		put_path(&p, r->result, p.line[i], (unsigned)i, false);
	eg_strbuf_puts(out, "</svg>\n");
	put_legend(&p, r->result);
}

/* ---- The page ---- */

static void put_time(struct eg_strbuf *out, uint64_t unix_ns)
{
	time_t t = (time_t)(unix_ns / EG_NSEC_PER_SEC);
	struct tm tm;
	char text[40];

	if (gmtime_r(&t, &tm) != NULL && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		eg_strbuf_puts(out, text);
}

static void put_head(struct eg_strbuf *out, const struct eg_report *r)
{
	const struct eg_result *w = r->result;

	eg_strbuf_puts(out,
		       "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		       "<meta name=\"viewport\" content=\"width=device-width\">\n"
		       "<title>Energy of a command</title>\n<style>");
	eg_strbuf_puts(out, style);
	eg_strbuf_puts(out, "</style>\n</head>\n<body>\n<p><code>");
	{
		struct eg_strbuf line = EG_STRBUF_INIT(EG_REPORT_MAX);

		eg_report_command(&line, r->command);
		eg_html_text(out, eg_strbuf_get(&line));
		if (out->error == 0)
			out->error = line.error;
		eg_strbuf_free(&line);
	}
	eg_strbuf_puts(out, "</code></p>\n<h1>");
	if (w->has_total)
		eg_report_energy_text(out, w->total_uj, w->total_uncertainty.total_uj);
	else
		eg_strbuf_puts(out, "No energy was measured");
	eg_strbuf_puts(out, "</h1>\n<p>");
	if (w->has_total)
		eg_strbuf_printf(out, "<span class=\"tag\">%s</span> ",
				 eg_provenance_word(w->total_provenance));
	put_number(out, (double)w->seconds_ns / 1e9, 3);
	eg_strbuf_puts(out, " s");
	if (w->has_total && isfinite(w->total_mean_w)) {
		eg_strbuf_puts(out, ", mean ");
		put_number(out, w->total_mean_w, 2);
		eg_strbuf_puts(out, " W");
	}
	if (w->has_total && isfinite(w->total_max_w)) {
		eg_strbuf_puts(out, ", peak ");
		put_number(out, w->total_max_w, 2);
		eg_strbuf_puts(out, " W");
	}
	eg_strbuf_puts(out,
		       "</p>\n<p class=\"soft\">Scope machine: everything that ran meanwhile is "
		       "included. Began ");
	put_time(out, w->begin_unix_ns);
	eg_strbuf_printf(out, ". Exit status %d. The interval given is the 95 %% one.</p>\n",
			 r->exit);
}

static void put_channels(struct eg_strbuf *out, const struct eg_result *w)
{
	eg_strbuf_puts(out,
		       "<h2>Channels</h2>\n<div class=\"scroll\"><table>\n<tr><th>channel</th>"
		       "<th class=\"n\">joules</th><th class=\"n\">\xc2\xb1 95 %</th>"
		       "<th class=\"n\">mean W</th><th class=\"n\">peak W</th><th>known as</th>"
		       "<th class=\"n\">samples</th><th>role</th></tr>\n");
	for (size_t i = 0; i < w->n; i++) {
		const struct eg_result_channel *c = &w->channel[i];
		double u = (double)c->uncertainty.total_uj / 1e6;
		unsigned decimals = EG_MIN(eg_number_decimals(u), 4u);

		eg_strbuf_puts(out, "<tr>");
		put_text_cell(out, c->name);
		put_cell(out, c->has_value ? (double)(c->uj + c->est_uj) / 1e6 : NAN, decimals);
		put_cell(out, c->has_value ? u : NAN, decimals);
		put_cell(out, c->has_value ? c->mean_w : NAN, 2);
		put_cell(out, c->has_value ? c->max_w : NAN, 2);
		put_text_cell(out, eg_provenance_word(c->provenance));
		put_cell(out, (double)c->samples, 0);
		eg_strbuf_puts(out, "<td>");
		eg_html_text(out, eg_role_word(c->role));
		if (c->of >= 0) {
			eg_strbuf_puts(out, " of ");
			eg_html_text(out, w->channel[c->of].name);
		}
		eg_strbuf_puts(out, "</td></tr>\n");
	}
	eg_strbuf_puts(out, "</table></div>\n");
}

static int put_repeats(struct eg_strbuf *out, const struct eg_report *r)
{
	struct eg_stats j, s;
	int err;

	if (r->repeat == NULL)
		return 0;
	err = eg_report_repeats(r, &j, &s);
	if (err < 0)
		return err;
	eg_strbuf_puts(out, "<h2>Repeats</h2>\n<table>\n<tr><th>run</th><th class=\"n\">joules</th>"
			    "<th class=\"n\">seconds</th><th class=\"n\">exit</th></tr>\n");
	for (size_t i = 0; i < r->n_repeats; i++) {
		const struct eg_repeat *p = &r->repeat[i];

		eg_strbuf_printf(out, "<tr><td>%zu</td>", i + 1);
		put_cell(out, p->has_total ? (double)p->total_uj / 1e6 : NAN, 3);
		put_cell(out, (double)p->seconds_ns / 1e9, 3);
		eg_strbuf_printf(out, "<td class=\"n\">%d</td></tr>\n", p->exit);
	}
	eg_strbuf_puts(out, "<tr><th>mean</th>");
	put_cell(out, j.mean, 3);
	put_cell(out, s.mean, 3);
	eg_strbuf_puts(out, "<td></td></tr>\n<tr><th>standard deviation</th>");
	put_cell(out, j.stddev, 3);
	put_cell(out, s.stddev, 3);
	eg_strbuf_puts(out, "<td></td></tr>\n<tr><th>\xc2\xb1 95 % of the mean</th>");
	put_cell(out, j.ci95, 3);
	put_cell(out, s.ci95, 3);
	eg_strbuf_puts(out, "<td></td></tr>\n</table>\n");
	return 0;
}

static void put_note(struct eg_strbuf *out, const char *subject, const char *detail,
		     const char *cure)
{
	eg_strbuf_puts(out, "<li><span class=\"soft\">");
	eg_html_text(out, subject);
	eg_strbuf_puts(out, "</span> ");
	eg_html_text(out, detail);
	if (cure[0]) {
		eg_strbuf_puts(out, " <em>Cure: ");
		eg_html_text(out, cure);
		eg_strbuf_puts(out, "</em>");
	}
	eg_strbuf_puts(out, "</li>\n");
}

static void put_notes(struct eg_strbuf *out, const struct eg_report *r)
{
	struct eg_strbuf who = EG_STRBUF_INIT(1u << 16);

	eg_strbuf_puts(out, "<h2>Notes</h2>\n<ul>\n");
	for (unsigned f = 0; f < EG_FLAG_COUNT; f++)
		if (r->result->flags & EG_FLAG_BIT(f))
			put_note(out, eg_flag_word((enum eg_flag)f), eg_flag_help((enum eg_flag)f),
				 "");
	for (size_t i = 0; r->diags != NULL && i < r->diags->n; i++) {
		const struct eg_diag *d = &r->diags->items[i];

		eg_strbuf_reset(&who);
		eg_strbuf_printf(&who, "%s%s%s", d->driver,
				 d->driver[0] && d->subject[0] ? " " : "", d->subject);
		put_note(out, eg_strbuf_get(&who), d->detail, d->cure);
	}
	eg_strbuf_puts(out, "</ul>\n");
	eg_strbuf_free(&who);
}

int eg_report_html(const struct eg_report *r, struct eg_strbuf *out)
{
	int err;

	put_head(out, r);
	put_curve(out, r);
	err = put_repeats(out, r);
	if (err < 0)
		return err;
	put_channels(out, r->result);
	put_notes(out, r);
	eg_strbuf_puts(out, "</body>\n</html>\n");
	return eg_strbuf_error(out);
}
