/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon validate`: the interfaces that see the same joules, side by side over one window. core/compare
 * says which they are and how far apart they may be. The window is also cut into parts: their
 * differences tell a bias from scatter, and where one interface was silent the parts in which both
 * spoke are what is compared.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/version.h"
#include "cli/context.h"
#include "cli/out.h"
#include "cli/survey.h"
#include "cli/wait.h"
#include "codec/number.h"
#include "codec/report.h"
#include "codec/stats.h"
#include "core/compare.h"

#define DEFAULT_DURATION_NS (10 * EG_NSEC_PER_SEC)
#define DEFAULT_INTERVAL_NS (100 * EG_NSEC_PER_MSEC)
#define PARTS_MAX	    10
#define WHOLE		    "whole"
#define COST_READS	    20			    /* of a driver, to see what one costs */
#define COST_MAX_NS	    (50 * EG_NSEC_PER_MSEC) /* of its time */
#define DRIVERS_MAX	    64
#define TEXT_MAX	    (4u << 20)

enum verdict { AGREE, DISAGREE, INCOMPLETE, UNSEEN };

struct pair {
	enum verdict verdict;
	struct eg_compare_sum sum;
	uint64_t joint_uj;
	double difference_j, percent;
	struct eg_stats bias; /* of the parts, W */
};

/* What a driver costs by itself, all its channels; 0 not known. */
struct cost {
	uint64_t open_ns, read_ns; /* elapsed */
	uint64_t cpu_ns;	   /* of one read */
};

struct validate {
	const struct eg_args *args;
	uint64_t duration_ns, interval_ns;
	struct eg_signals signals;
	struct eg_context ctx;
	struct eg_compare cmp;
	size_t n_parts, parts;
	struct eg_result *whole, *part[PARTS_MAX];
	uint64_t cpu_ns; /* of this process in the window */
	struct cost cost[DRIVERS_MAX];
	size_t tally[4]; /* pairs by verdict */
};

static const char *const verdict_words[] = {[AGREE] = "agree",
					    [DISAGREE] = "disagree",
					    [INCOMPLETE] = "incomplete",
					    [UNSEEN] = "unseen"};

/* ---- measuring ---- */

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * EG_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static const char *part_name(size_t k)
{
	return k % 2 ? "odd" : "even";
}

/* The window and its parts, all edges on shared samples. An interrupt ends it early. */
static int measure(struct validate *v)
{
	struct eg_meter *m = v->ctx.meter;
	uint64_t begin_ns, cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
	int r = eg_meter_begin(m, WHOLE), stop = 0;

	if (r == 0)
		r = eg_meter_begin_last(m, part_name(0));
	if (r < 0)
		return r;
	begin_ns = eg_clock_ns(&v->ctx.env.clock);
	for (size_t k = 0; r == 0 && !stop && k < v->n_parts; k++) {
		bool last = k + 1 == v->n_parts;

		stop = eg_context_wait(&v->ctx, &v->signals,
				       begin_ns + v->duration_ns * (k + 1) / v->n_parts);
		if (stop < 0)
			return stop;
		r = last || stop ? eg_meter_end(m, part_name(k), &v->part[k]) :
				   eg_meter_next(m, part_name(k), part_name(k + 1), &v->part[k]);
		v->parts += r == 0;
	}
	if (r == 0)
		r = eg_meter_end_last(m, WHOLE, &v->whole);
	v->cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	return r;
}

static void ignore_reading(struct eg_sink *sink, size_t channel, const struct eg_reading *reading)
{
}

/*
 * What a driver costs, alone and without the meter around it: in an instance of its own. 0 where it does
 * not open once more. Only for drivers that answered all the time: one that hangs would hang here.
 */
static struct cost cost_of(struct validate *v, const struct eg_driver *driver)
{
	struct eg_sink sink = {.put = ignore_reading};
	struct eg_driver_config cfg = {.allow_estimates = v->args->allow_estimates,
				       .settings = v->args->setting,
				       .n_settings = v->args->n_settings};
	struct cost cost = {0};
	struct eg_instance *in = NULL;
	struct eg_diags diags;
	uint64_t begin, cpu, n = 0;

	if (eg_diags_init(&diags, EG_DIAGS_MAX) < 0)
		return cost;
	cfg.diags = &diags;
	begin = cpu_ns(CLOCK_MONOTONIC);
	if (driver->open(&v->ctx.env, &cfg, &in) == 0) {
		cost.open_ns = EG_MAX(cpu_ns(CLOCK_MONOTONIC) - begin, (uint64_t)1);
		driver->read(in, &sink, &diags); /* the first one is dearer */
		begin = cpu_ns(CLOCK_MONOTONIC);
		cpu = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
		do {
			driver->read(in, &sink, &diags);
			n++;
		} while (n < COST_READS && cpu_ns(CLOCK_MONOTONIC) - begin < COST_MAX_NS);
		cost.cpu_ns = EG_MAX((cpu_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / n, (uint64_t)1);
		cost.read_ns = EG_MAX((cpu_ns(CLOCK_MONOTONIC) - begin) / n, (uint64_t)1);
		driver->close(in);
	}
	eg_diags_free(&diags);
	return cost;
}

static size_t driver_index(const struct eg_driver *driver)
{
	size_t i = 0;

	while (eg_drivers[i] && eg_drivers[i] != driver)
		i++;
	return i;
}

/* Of the drivers that are compared. */
static void find_costs(struct validate *v)
{
	bool compared[DRIVERS_MAX] = {false}, well[DRIVERS_MAX];

	memset(well, true, sizeof(well));
	for (size_t i = 0; i < v->whole->n; i++) {
		const struct eg_result_channel *c = &v->whole->channel[i];
		size_t d = driver_index(c->driver);

		if (d < DRIVERS_MAX && (!c->has_value || c->gap_ns))
			well[d] = false;
	}
	for (size_t g = 0; g < v->cmp.n_groups; g++)
		for (size_t s = 0; s < v->cmp.group[g].n; s++) {
			size_t side = v->cmp.group[g].first + s;
			size_t channel = v->cmp.member[v->cmp.side[side].first];
			size_t d = driver_index(v->whole->channel[channel].driver);

			if (d < DRIVERS_MAX)
				compared[d] = true;
		}
	for (size_t d = 0; d < DRIVERS_MAX && eg_drivers[d]; d++)
		if (compared[d] && well[d])
			v->cost[d] = cost_of(v, eg_drivers[d]);
}

/* ---- judging ---- */

static void find_bias(const struct validate *v, size_t a, size_t b, struct pair *p)
{
	double w[PARTS_MAX];
	size_t n = 0;

	for (size_t k = 0; k < v->parts; k++) {
		struct eg_compare_sum sum = {0};

		if (v->part[k]->seconds_ns && eg_compare_add(&v->cmp, a, b, v->part[k], &sum))
			w[n++] = ((double)sum.b_uj - (double)sum.a_uj) * 1e3 / (double)sum.ns;
	}
	eg_stats_of(w, n, &p->bias);
}

static struct pair judge(const struct validate *v, size_t a, size_t b)
{
	struct pair p = {.difference_j = NAN, .percent = NAN};
	struct eg_compare_value va, vb;
	bool whole = eg_compare_add(&v->cmp, a, b, v->whole, &p.sum);

	eg_compare_value(&v->cmp, a, v->whole, &va);
	eg_compare_value(&v->cmp, b, v->whole, &vb);
	for (size_t k = 0; !whole && k < v->parts; k++)
		(void)eg_compare_add(&v->cmp, a, b, v->part[k], &p.sum);
	find_bias(v, a, b, &p);
	if (p.sum.windows) {
		p.joint_uj = eg_compare_joint_uj(&p.sum);
		p.difference_j = ((double)p.sum.b_uj - (double)p.sum.a_uj) / 1e6;
		if (p.sum.a_uj)
			p.percent = p.difference_j * 1e8 / (double)p.sum.a_uj;
	}
	if (!p.sum.windows)
		p.verdict = va.seen && vb.seen ? INCOMPLETE : UNSEEN;
	else if (fabs(p.difference_j) * 1e6 > (double)p.joint_uj)
		p.verdict = DISAGREE;
	else
		p.verdict = whole ? AGREE : INCOMPLETE;
	return p;
}

/* "rapl/package-0", or "rapl/package-0-die-0 + rapl/package-0-die-1". */
static void side_name(const struct validate *v, size_t side, struct eg_strbuf *out)
{
	const struct eg_compare_side *s = &v->cmp.side[side];

	for (size_t i = 0; i < s->n; i++)
		eg_strbuf_printf(out, "%s%s", i ? " + " : "",
				 eg_meter_channel_name(v->ctx.meter, v->cmp.member[s->first + i]));
}

static const struct eg_result_channel *first_channel(const struct validate *v, size_t side)
{
	return &v->whole->channel[v->cmp.member[v->cmp.side[side].first]];
}

/* As the windows of the meter do for whole windows, by what validate allows. */
static void diagnose(struct validate *v, size_t a, size_t b, const struct pair *p)
{
	struct eg_strbuf text = EG_STRBUF_INIT(8192);
	const struct eg_result_channel *c = first_channel(v, b);

	side_name(v, b, &text);
	eg_strbuf_printf(&text, " says %.3f J, ", (double)p->sum.b_uj / 1e6);
	side_name(v, a, &text);
	eg_strbuf_printf(&text, " %.3f J; %s %.3f J", (double)p->sum.a_uj / 1e6,
			 p->sum.one_sensor ? "one sensor, which allows" : "joint uncertainty",
			 (double)p->joint_uj / 1e6);
	eg_meter_diagnose(v->ctx.meter, EG_DIAG_CROSSCHECK, c->driver->name, c->ch->domain,
			  "find out which is right before you rely on either",
			  eg_strbuf_get(&text));
	eg_strbuf_free(&text);
}

static const char *method(const struct eg_channel *ch)
{
	if (ch->provenance == EG_PROVENANCE_ESTIMATED)
		return "estimation";
	return ch->quantity == EG_QUANTITY_ENERGY ? "counter" : "integrated_power";
}

/* ---- for programs ---- */

static void json_nano_known(struct eg_json *j, const char *key, uint64_t ns)
{
	if (ns)
		eg_json_nano(j, key, ns);
	else
		eg_json_null(j, key);
}

static void json_cost(struct eg_json *j, struct cost cost)
{
	eg_json_object(j, "overhead");
	json_nano_known(j, "setup_seconds", cost.open_ns);
	json_nano_known(j, "read_seconds", cost.read_ns);
	json_nano_known(j, "read_cpu_seconds", cost.cpu_ns);
	eg_json_end(j);
}

static void json_side(struct eg_json *j, const struct validate *v, size_t side, bool reference)
{
	const struct eg_compare_side *s = &v->cmp.side[side];
	const struct eg_result_channel *c = first_channel(v, side);
	size_t d = driver_index(c->driver);
	struct eg_compare_value x;

	eg_compare_value(&v->cmp, side, v->whole, &x);
	eg_json_object(j, NULL);
	eg_json_text(j, "backend", "ergon");
	eg_json_text(j, "version", EG_VERSION);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < s->n; i++)
		eg_json_text(j, NULL,
			     eg_meter_channel_name(v->ctx.meter, v->cmp.member[s->first + i]));
	eg_json_end(j);
	eg_json_text(j, "driver", c->driver->name);
	eg_json_text(j, "source", eg_source_word(c->ch->source));
	eg_json_bool(j, "reference", reference);
	eg_json_text(j, "method", method(c->ch));
	eg_json_text(j, "provenance", eg_provenance_word(x.provenance));
	if (x.seen) {
		eg_json_micro(j, "joules", x.uj);
		eg_json_micro(j, "estimated_joules", x.est_uj);
		eg_json_micro(j, "uncertainty_joules", x.uncertainty.total_uj);
	} else {
		eg_json_null(j, "joules");
		eg_json_null(j, "estimated_joules");
		eg_json_null(j, "uncertainty_joules");
	}
	eg_json_nano(j, "gap_seconds", x.gap_ns);
	eg_json_object(j, "accuracy");
	eg_json_double(j, "relative", (double)c->ch->accuracy.rel_ppm / 1e6);
	eg_json_micro(j, "watts", c->ch->accuracy.abs_uw);
	eg_json_text(j, "citation", c->ch->accuracy.citation);
	eg_json_end(j);
	json_cost(j, d < DRIVERS_MAX ? v->cost[d] : (struct cost){0});
	eg_json_end(j);
}

static void json_pair(struct eg_json *j, const struct validate *v, const struct pair *p, size_t b)
{
	const struct eg_compare_side *s = &v->cmp.side[b];

	eg_json_object(j, NULL);
	eg_json_array(j, "channels");
	for (size_t i = 0; i < s->n; i++)
		eg_json_text(j, NULL,
			     eg_meter_channel_name(v->ctx.meter, v->cmp.member[s->first + i]));
	eg_json_end(j);
	eg_json_text(j, "verdict", verdict_words[p->verdict]);
	eg_json_nano(j, "compared_seconds", p->sum.ns);
	eg_json_double(j, "difference_joules", p->difference_j);
	eg_json_double(j, "difference_percent", p->percent);
	if (p->sum.windows)
		eg_json_micro(j, "joint_uncertainty_joules", p->joint_uj);
	else
		eg_json_null(j, "joint_uncertainty_joules");
	eg_json_bool(j, "one_sensor", p->sum.one_sensor);
	eg_json_object(j, "bias");
	eg_json_u64(j, "parts", p->bias.n);
	eg_json_double(j, "watts", p->bias.n ? p->bias.mean : NAN);
	eg_json_double(j, "ci95_low", p->bias.n ? p->bias.mean - p->bias.ci95 : NAN);
	eg_json_double(j, "ci95_high", p->bias.n ? p->bias.mean + p->bias.ci95 : NAN);
	eg_json_end(j);
	eg_json_end(j);
}

static void put_json(struct eg_json *j, struct validate *v, const struct pair *pair,
		     const struct eg_diags *diags)
{
	eg_json_object(j, NULL);
	eg_json_text(j, "schema", "ergon.crosscheck/1");
	eg_json_text(j, "root", v->ctx.env.root);
	if (v->whole) {
		eg_json_nano(j, "seconds", v->whole->seconds_ns);
		eg_json_nano(j, "begin_unix_seconds", v->whole->begin_unix_ns);
		eg_json_nano(j, "end_unix_seconds", v->whole->end_unix_ns);
		eg_json_nano(j, "cpu_seconds", v->cpu_ns);
	} else {
		eg_json_nano(j, "seconds", 0);
		eg_json_null(j, "begin_unix_seconds");
		eg_json_null(j, "end_unix_seconds");
		eg_json_null(j, "cpu_seconds");
	}
	eg_json_nano(j, "interval_seconds", v->interval_ns);
	if (v->tally[AGREE] || v->tally[DISAGREE] || v->tally[INCOMPLETE])
		eg_json_bool(j, "agree", !v->tally[DISAGREE] && !v->tally[INCOMPLETE]);
	else
		eg_json_null(j, "agree"); /* nothing was compared */
	eg_json_array(j, "comparisons");
	for (size_t g = 0; v->whole && g < v->cmp.n_groups; g++) {
		const struct eg_compare_group *group = &v->cmp.group[g];

		eg_json_object(j, NULL);
		eg_json_text(j, "component", group->what);
		eg_json_text(j, "device", group->device);
		eg_json_array(j, "interfaces");
		for (size_t s = 0; s < group->n; s++)
			json_side(j, v, group->first + s, s == 0);
		eg_json_end(j);
		eg_json_array(j, "pairs");
		for (size_t s = 1; s < group->n; s++)
			json_pair(j, v, &pair[group->first + s], group->first + s);
		eg_json_end(j);
		eg_json_end(j);
	}
	eg_json_end(j);
	if (v->whole) {
		eg_report_json_channels(j, v->whole);
	} else {
		eg_json_array(j, "channels");
		eg_json_end(j);
	}
	eg_report_json_diags(j, "diagnostics", diags);
	eg_json_end(j);
}

/* ---- for people ---- */

static void put_number(struct eg_strbuf *out, double value, unsigned decimals)
{
	char text[EG_NUMBER_MAX];

	eg_number_fixed(text, value, decimals);
	eg_strbuf_puts(out, text);
}

static void text_side(struct eg_strbuf *out, const struct validate *v, size_t side)
{
	const struct eg_channel *ch = first_channel(v, side)->ch;
	size_t d = driver_index(first_channel(v, side)->driver);
	struct eg_compare_value x;

	eg_compare_value(&v->cmp, side, v->whole, &x);
	eg_strbuf_puts(out, "  ");
	side_name(v, side, out);
	eg_strbuf_puts(out, ": ");
	if (x.seen)
		eg_report_energy_text(out, eg_add_sat(x.uj, x.est_uj), x.uncertainty.total_uj);
	else
		eg_strbuf_puts(out, "no reading");
	eg_strbuf_printf(out, "\n      %s, %s", eg_provenance_word(x.provenance),
			 ch->quantity == EG_QUANTITY_ENERGY ? "counter" : "integrated power");
	if (ch->accuracy.rel_ppm || ch->accuracy.abs_uw) {
		eg_strbuf_puts(out, ", accuracy class ");
		put_number(out, (double)ch->accuracy.rel_ppm / 1e4, 1);
		eg_strbuf_puts(out, " %");
		if (ch->accuracy.abs_uw) {
			eg_strbuf_puts(out, " or ");
			put_number(out, (double)ch->accuracy.abs_uw / 1e6, 1);
			eg_strbuf_puts(out, " W");
		}
	}
	if (d < DRIVERS_MAX && v->cost[d].cpu_ns) {
		eg_strbuf_puts(out, ", ");
		put_number(out, (double)v->cost[d].cpu_ns / 1e3, 1);
		eg_strbuf_puts(out, " us CPU a read");
	}
	if (x.gap_ns) {
		eg_strbuf_puts(out, ", silent for ");
		put_number(out, (double)x.gap_ns / 1e9, 1);
		eg_strbuf_puts(out, " s");
	}
	eg_strbuf_putc(out, '\n');
}

static void text_pair(struct eg_strbuf *out, const struct validate *v, const struct pair *p,
		      size_t b)
{
	double joint_j = (double)p->joint_uj / 1e6;
	unsigned decimals = eg_number_decimals(joint_j);

	eg_strbuf_printf(out, "  %s: ",
			 p->verdict == AGREE	  ? "agree" :
			 p->verdict == DISAGREE	  ? "DISAGREE" :
			 p->verdict == INCOMPLETE ? "INCOMPLETE" :
						    "not compared");
	side_name(v, b, out);
	if (!p->sum.windows) {
		eg_strbuf_puts(out, p->verdict == UNSEEN ?
					    " or its reference had nothing to read\n" :
					    " and its reference were never both there\n");
		return;
	}
	eg_strbuf_puts(out, " is ");
	put_number(out, fabs(p->difference_j), decimals);
	eg_strbuf_printf(out, " J %s (", p->difference_j < 0 ? "below" : "above");
	put_number(out, p->percent, 2);
	eg_strbuf_puts(out, " %); ");
	put_number(out, joint_j, decimals);
	eg_strbuf_printf(out, " J allowed%s", p->sum.one_sensor ? ", as both read one sensor" : "");
	if (p->sum.ns < v->whole->seconds_ns) {
		eg_strbuf_puts(out, "; over ");
		put_number(out, (double)p->sum.ns / 1e9, 1);
		eg_strbuf_puts(out, " s in which both spoke");
	}
	if (p->bias.n > 1) {
		unsigned d = eg_number_decimals(p->bias.ci95);

		eg_strbuf_puts(out, "; bias ");
		put_number(out, p->bias.mean, d);
		eg_strbuf_puts(out, " W ± ");
		put_number(out, p->bias.ci95, d);
	}
	eg_strbuf_putc(out, '\n');
}

static void text_end(struct eg_strbuf *out, const struct validate *v)
{
	size_t n = v->tally[AGREE] + v->tally[DISAGREE] + v->tally[INCOMPLETE];

	eg_strbuf_printf(out, "\n%zu compared: %zu agree, %zu disagree, %zu incomplete", n,
			 v->tally[AGREE], v->tally[DISAGREE], v->tally[INCOMPLETE]);
	if (v->tally[UNSEEN])
		eg_strbuf_printf(out, "; %zu had nothing to read", v->tally[UNSEEN]);
	eg_strbuf_puts(out, ". This took ");
	put_number(out, (double)v->cpu_ns / 1e6, 1);
	eg_strbuf_puts(out, " ms of CPU time in ");
	put_number(out, (double)v->whole->seconds_ns / 1e9, 1);
	eg_strbuf_puts(out, " s.\n");
}

static void put_text(struct eg_strbuf *out, const struct validate *v, const struct pair *pair)
{
	if (!v->cmp.n_groups) {
		if (eg_meter_count(v->ctx.meter) == 0)
			eg_strbuf_puts(out, "Nothing can be measured here, so there is nothing to "
					    "compare; `ergon doctor` says why.\n");
		else
			eg_strbuf_puts(out, "Nothing to compare: no component of this machine is "
					    "seen by two interfaces. `ergon sensors` lists what "
					    "there is.\n");
		return;
	}
	for (size_t g = 0; g < v->cmp.n_groups; g++) {
		const struct eg_compare_group *group = &v->cmp.group[g];

		eg_strbuf_printf(out, "%s%s %s\n", g ? "\n" : "", group->device, group->what);
		for (size_t s = 0; s < group->n; s++)
			text_side(out, v, group->first + s);
		for (size_t s = 1; s < group->n; s++)
			text_pair(out, v, &pair[group->first + s], group->first + s);
	}
	text_end(out, v);
}

/* ---- the verb ---- */

/* Judges every pair; the result has one a side, the references' unused. */
static struct pair *judge_all(struct validate *v)
{
	struct pair *pair = calloc(v->cmp.n_sides + 1, sizeof(*pair));

	for (size_t g = 0; pair && g < v->cmp.n_groups; g++) {
		const struct eg_compare_group *group = &v->cmp.group[g];

		for (size_t s = 1; s < group->n; s++) {
			struct pair *p = &pair[group->first + s];

			*p = judge(v, group->first, group->first + s);
			v->tally[p->verdict]++;
			if (p->verdict == DISAGREE)
				diagnose(v, group->first, group->first + s, p);
		}
	}
	return pair;
}

static int report(struct validate *v)
{
	struct eg_strbuf out = EG_STRBUF_INIT(TEXT_MAX);
	eg_autofree struct pair *pair = judge_all(v);
	struct eg_diags diags = {0};
	struct eg_json j;
	int r = pair ? eg_meter_diags(v->ctx.meter, &diags) : -ENOMEM, code;

	if (r == 0 && v->args->json) {
		eg_json_init(&j, &out, true);
		put_json(&j, v, pair, &diags);
		r = eg_json_finish(&j);
	} else if (r == 0) {
		put_text(&out, v, pair);
	}
	eg_diags_free(&diags);
	if (r < 0)
		code = r;
	else
		code = v->args->json ? eg_out_stdout(&out, NULL) :
				       eg_out_text(&out, eg_locale_is_ascii(), NULL);
	eg_strbuf_free(&out);
	if (code == 0 && (v->tally[DISAGREE] || v->tally[INCOMPLETE]))
		code = EG_EXIT_FAILURE;
	return code;
}

static int find_groups(struct validate *v)
{
	size_t n = eg_meter_count(v->ctx.meter);
	eg_autofree struct eg_compare_in *in = calloc(n + 1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		in[i] = (struct eg_compare_in){eg_meter_channel(v->ctx.meter, i),
					       eg_meter_driver(v->ctx.meter, i)};
	eg_compare_find(in, n, &v->cmp);
	return 0;
}

/* A counter of a GPU is compared with its power, which costs a second call: on here alone. */
static void ask_for_checks(struct eg_args *args)
{
	for (size_t i = 0; i < args->n_settings; i++)
		if (strcmp(args->setting[i].driver, "nvml") == 0 &&
		    strcmp(args->setting[i].name, "power_check") == 0)
			return;
	if (eg_survey_driver("nvml") && args->n_settings < EG_SETTINGS_MAX)
		args->setting[args->n_settings++] =
			(struct eg_setting){"nvml", "power_check", "true"};
}

static int validate(struct validate *v)
{
	int r = find_groups(v);

	if (r == 0 && v->cmp.n_groups)
		r = measure(v);
	if (r == 0 && v->whole)
		find_costs(v);
	if (r == 0)
		r = report(v);
	eg_result_free(v->whole);
	for (size_t k = 0; k < v->parts; k++)
		eg_result_free(v->part[k]);
	return r;
}

int eg_verb_validate(struct eg_args *args)
{
	struct validate *v = calloc(1, sizeof(*v));
	int code;

	if (!v) {
		eg_say("cannot validate: %s", eg_errno_text(-ENOMEM));
		return EG_EXIT_FAILURE;
	}
	v->args = args;
	v->duration_ns = args->duration_ns ? args->duration_ns : DEFAULT_DURATION_NS;
	v->interval_ns = args->interval_ns ? args->interval_ns : DEFAULT_INTERVAL_NS;
	v->n_parts = (size_t)EG_MIN((uint64_t)PARTS_MAX, v->duration_ns / v->interval_ns);
	v->n_parts = EG_MAX(v->n_parts, (size_t)1);
	v->signals.fd = -1;
	ask_for_checks(args);
	code = eg_signals_take(&v->signals);
	if (code < 0) {
		eg_say("cannot wait for signals: %s", eg_errno_text(code));
		free(v);
		return EG_EXIT_FAILURE;
	}
	code = eg_context_open(args, v->interval_ns, &v->ctx);
	if (code == 0) {
		code = validate(v);
		if (code < 0) {
			eg_say("cannot validate: %s", eg_errno_text(code));
			code = EG_EXIT_FAILURE;
		}
		eg_context_close(&v->ctx);
	}
	eg_signals_release(&v->signals);
	free(v);
	return code;
}
