/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ergon run`: a window around a command. The meter is open before the command is let go, the
 * window begins right before its exec and ends right after it is reaped; in between the channels
 * are sampled at the interval and whenever a counter must be read to stay unambiguous.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "cli/child.h"
#include "cli/context.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/wait.h"
#include "codec/report.h"

#define DEFAULT_INTERVAL_NS EG_NSEC_PER_SEC
#define REPORT_INTERVAL_NS  (100 * EG_NSEC_PER_MSEC)
#define JOIN_NAP_NS	    EG_NSEC_PER_MSEC
#define JOIN_NAPS	    1000
#define WINDOW_ALL	    "all repeats"
#define WINDOW_ONE	    "run"

struct run {
	const struct eg_args *args;
	uint64_t interval_ns;
	struct eg_signals signals;
	struct eg_context ctx;
	struct eg_out_file output, html; /* fd -1: not asked for */
	struct eg_curve curve;
	uint64_t *curve_point; /* one value a channel */
	uint64_t curve_seq;
	struct eg_progress progress;
	struct eg_repeat *repeat;
	size_t repeats, done;
	bool interrupted; /* a signal that ends programs came, to us or to the command */
	int exit, signal; /* of the first run that failed, else of the last */
};

/* ---- Sampling ---- */

static void note_curve(struct run *run)
{
	const struct eg_snapshot *s;

	if (run->curve_point == NULL)
		return;
	s = eg_meter_pin(run->ctx.meter);
	if (s == NULL)
		return;
	if (s->seq != run->curve_seq) {
		for (size_t i = 0; i < s->n; i++)
			run->curve_point[i] = s->channel[i].have_uw ? s->channel[i].uw :
								      EG_CURVE_UNKNOWN;
		eg_curve_add(&run->curve, s->t_ns, run->curve_point);
		run->curve_seq = s->seq;
	}
	eg_meter_unpin(run->ctx.meter, s);
}

/* The curve begins with the first window, whose opening sample is just behind us. */
static void begin_curve(struct run *run)
{
	const struct eg_snapshot *s = run->curve_point != NULL ? eg_meter_pin(run->ctx.meter) :
								 NULL;

	if (s == NULL)
		return;
	run->curve.t0_ns = s->t_ns;
	run->curve_seq = s->seq;
	eg_meter_unpin(run->ctx.meter, s);
}

static int make_curve(struct run *run)
{
	size_t n = eg_meter_count(run->ctx.meter);
	int err;

	if (run->html.fd < 0)
		return 0;
	err = eg_curve_init(&run->curve, n, 0);
	if (err < 0)
		return err;
	run->curve_point = calloc(n + 1, sizeof(*run->curve_point));
	return run->curve_point != NULL ? 0 : -ENOMEM;
}

static void sample(struct run *run)
{
	/* A steered clock stands still until we sleep: it would run away from a slow driver. */
	eg_meter_sample(run->ctx.meter, run->ctx.file_clock != NULL);
	note_curve(run);
	eg_progress_show(&run->progress, run->ctx.meter, run->repeats > 1 ? WINDOW_ALL : WINDOW_ONE,
			 run->done + 1, run->repeats);
}

/*
 * A signal for us goes on to the command. One from the terminal (sent by the kernel) has reached
 * the whole foreground group already and is not sent twice.
 */
static void handle_signal(struct run *run, const struct eg_child *child,
			  const struct signalfd_siginfo *info)
{
	if (info->ssi_signo == SIGCHLD)
		return;
	if (info->ssi_signo != SIGUSR1 && info->ssi_signo != SIGUSR2)
		run->interrupted = true;
	if (info->ssi_code != SI_KERNEL)
		kill(child->pid, (int)info->ssi_signo);
}

/*
 * A shared clock stands still while this program is awake. A command that shares it needs a moment to
 * join; one that does not is waited for in vain, but not long.
 */
static bool await_joining(struct run *run, const struct eg_child *child, int *ret_status)
{
	unsigned before = eg_file_clock_programs(run->ctx.file_clock);
	struct timespec nap = {.tv_nsec = JOIN_NAP_NS};
	bool ended = false;

	for (int i = 0; i < JOIN_NAPS && !ended; i++) {
		if (eg_file_clock_programs(run->ctx.file_clock) > before)
			break;
		nanosleep(&nap, NULL);
		ended = eg_child_ended(child, ret_status);
	}
	return ended;
}

static int watch(struct run *run, const struct eg_child *child, int *ret_status)
{
	const struct eg_clock *clock = &run->ctx.env.clock;
	uint64_t due = eg_meter_next_due(run->ctx.meter, eg_clock_ns(clock));
	bool ended = eg_child_ended(child, ret_status);
	struct signalfd_siginfo info;

	if (!ended && run->ctx.file_clock)
		ended = await_joining(run, child, ret_status);
	while (!ended) {
		int r = eg_wait_until(&run->signals, clock, run->ctx.file_clock, due, &info);

		if (r < 0)
			return r;
		if (r > 0)
			handle_signal(run, child, &info);
		ended = eg_child_ended(child, ret_status);
		if (r > 0 || ended)
			continue;
		sample(run);
		due = eg_meter_next_due(run->ctx.meter, eg_clock_ns(clock));
	}
	return 0;
}

/* ---- One run of the command ---- */

static int exec_failed(const char *command, int err)
{
	eg_say("cannot run '%s': %s", command, eg_errno_text(err));
	return err == -ENOENT ? 127 : 126;
}

static void note_end(struct run *run, int status)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	int code = signal > 0 ? 128 + signal : WEXITSTATUS(status);

	if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT)
		run->interrupted = true;
	run->repeat[run->done].exit = code;
	if (run->exit == 0) {
		run->exit = code;
		run->signal = signal;
	}
}

/* Keeps what a repeat needs; the result itself is handed on. */
static int end_one(struct run *run, struct eg_result **ret)
{
	struct eg_result *r;
	int err = eg_meter_end(run->ctx.meter, WINDOW_ONE, &r);

	if (err < 0)
		return err;
	note_curve(run);
	run->repeat[run->done].seconds_ns = r->seconds_ns;
	run->repeat[run->done].has_total = r->has_total;
	run->repeat[run->done].total_uj = r->total_uj;
	run->done++;
	*ret = r;
	return 0;
}

/*
 * 0, a positive exit status when the command could not be started (said), or negative errno. The
 * caller frees *ret_result.
 */
static int run_once(struct run *run, struct eg_result **ret_result)
{
	char **argv = run->args->rest;
	struct eg_child child;
	int status, err = eg_child_prepare(argv, &run->signals, &child);

	if (err < 0)
		return err;
	if (run->repeats > 1 && run->done == 0)
		err = eg_meter_begin(run->ctx.meter, WINDOW_ALL);
	if (err == 0)
		err = eg_meter_begin(run->ctx.meter, WINDOW_ONE);
	if (err < 0) {
		eg_child_drop(&child);
		return err;
	}
	if (run->done == 0)
		begin_curve(run);
	else
		note_curve(run);
	err = eg_child_go(&child);
	if (err < 0)
		return exec_failed(argv[0], err);
	err = watch(run, &child, &status);
	if (err < 0) {
		kill(child.pid, SIGTERM);
		return err;
	}
	note_end(run, status);
	return end_one(run, ret_result);
}

/* An interrupt that came while no command ran: nothing is started any more. */
static int pending_interrupt(struct run *run)
{
	struct signalfd_siginfo info;

	while (eg_wait_until(&run->signals, &run->ctx.env.clock, false, 0, &info) > 0)
		if (info.ssi_signo != SIGCHLD)
			return 128 + (int)info.ssi_signo;
	return 0;
}

static int run_all(struct run *run, struct eg_result **ret)
{
	struct eg_result *result = NULL;
	int err = pending_interrupt(run);

	while (run->done < run->repeats && !run->interrupted && err == 0) {
		eg_result_free(result);
		result = NULL;
		err = run_once(run, &result);
	}
	if (err == 0 && run->repeats > 1) {
		eg_result_free(result);
		result = NULL;
		err = eg_meter_end(run->ctx.meter, WINDOW_ALL, &result);
	}
	if (err != 0) {
		eg_result_free(result);
		return err;
	}
	*ret = result;
	return 0;
}

/* ---- The report ---- */

static int write_report(const struct run *run, const struct eg_report *report)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_REPORT_MAX);
	int err = run->args->json ? eg_report_json(report, &text) :
		  run->args->csv  ? eg_report_csv(report, &text) :
				    eg_report_text(report, &text);

	if (err == 0 && run->output.fd >= 0)
		err = eg_out_commit((struct eg_out_file *)&run->output, &text);
	else if (err == 0)
		err = eg_write_all(STDERR_FILENO, eg_strbuf_get(&text), text.len);
	if (err < 0)
		eg_say("cannot write the report%s%s: %s", run->output.path ? " to " : "",
		       run->output.path ? run->output.path : "", eg_errno_text(err));
	eg_strbuf_free(&text);
	return err;
}

static int write_html(const struct run *run, const struct eg_report *report)
{
	struct eg_strbuf text = EG_STRBUF_INIT(EG_REPORT_MAX);
	int err;

	if (run->html.fd < 0)
		return 0;
	err = eg_report_html(report, &text);
	if (err == 0)
		err = eg_out_commit((struct eg_out_file *)&run->html, &text);
	if (err < 0)
		eg_say("cannot write the report to %s: %s", run->html.path, eg_errno_text(err));
	eg_strbuf_free(&text);
	return err;
}

static int report_all(struct run *run, const struct eg_result *result)
{
	struct eg_diags diags;
	struct eg_report report = {
		.command = (const char *const *)run->args->rest,
		.result = result,
		.exit = run->exit,
		.signal = run->signal,
		.interval_ns = run->interval_ns,
		.diags = &diags,
		.repeat = run->repeats > 1 ? run->repeat : NULL,
		.n_repeats = run->done,
		.curve = run->curve_point != NULL ? &run->curve : NULL,
		.colour = run->output.fd < 0 && eg_terminal_colour(STDERR_FILENO),
		.ascii = eg_locale_is_ascii(),
	};
	int err = eg_meter_diags(run->ctx.meter, &diags), html_err;

	if (err < 0) {
		eg_say("cannot write the report: %s", eg_errno_text(err));
		return err;
	}
	err = write_report(run, &report);
	html_err = write_html(run, &report);
	eg_diags_free(&diags);
	return err < 0 ? err : html_err;
}

/* ---- The verb ---- */

static int open_file(const char *path, struct eg_out_file *f)
{
	int err;

	if (path == NULL)
		return 0;
	err = eg_out_open(path, f);
	if (err == 0)
		return 0;
	eg_say("cannot write %s: %s", path, eg_errno_text(err));
	return EG_EXIT_FAILURE;
}

/* Sampling faster than a sensor renews its value shows the same value several times. */
static void warn_interval(const struct run *run)
{
	char detail[128];

	for (size_t i = 0; i < eg_meter_count(run->ctx.meter); i++) {
		const struct eg_channel *ch = eg_meter_channel(run->ctx.meter, i);

		if (run->args->interval_ns == 0 || ch->update_ns <= run->interval_ns)
			continue;
		snprintf(detail, sizeof(detail),
			 "sampled every %g ms, but it renews its value every %g ms",
			 (double)run->interval_ns / 1e6, (double)ch->update_ns / 1e6);
		eg_meter_diagnose(run->ctx.meter, EG_DIAG_CONFIG,
				  eg_meter_driver(run->ctx.meter, i)->name, ch->domain,
				  "sample no faster: -i", detail);
	}
}

static int set_up(struct run *run)
{
	const struct eg_args *args = run->args;
	int err = open_file(args->output, &run->output);

	if (err == 0)
		err = open_file(args->report, &run->html);
	if (err != 0)
		return err;
	if (args->output != NULL && args->report != NULL && eg_out_same(&run->output, &run->html)) {
		eg_say("-o and --report name the same file: %s", run->html.path);
		return EG_EXIT_USAGE;
	}
	err = eg_signals_take(&run->signals);
	if (err < 0) {
		eg_say("cannot wait for signals: %s", eg_errno_text(err));
		return EG_EXIT_FAILURE;
	}
	err = eg_context_open(args, run->interval_ns, &run->ctx);
	if (err != 0)
		return err;
	run->repeat = calloc(run->repeats, sizeof(*run->repeat));
	if (run->repeat == NULL || make_curve(run) < 0) {
		eg_say("out of memory");
		return EG_EXIT_FAILURE;
	}
	warn_interval(run);
	eg_progress_init(&run->progress, args->no_progress, &run->ctx.env.clock);
	return 0;
}

static void tear_down(struct run *run)
{
	free(run->repeat);
	free(run->curve_point);
	eg_curve_free(&run->curve);
	if (run->ctx.meter != NULL)
		eg_context_close(&run->ctx);
	eg_signals_release(&run->signals);
	eg_out_close(&run->html);
	eg_out_close(&run->output);
}

static int check(const struct eg_args *args)
{
	if (args->n_rest == 0)
		eg_say("no command given; for example: ergon run -- make");
	else if (args->json && args->csv)
		eg_say("--json and --csv exclude each other");
	else
		return 0;
	return EG_EXIT_USAGE;
}

int eg_verb_run(struct eg_args *args)
{
	struct run run = {.args = args,
			  .repeats = args->repeats > 0 ? args->repeats : 1,
			  .output = {.fd = -1},
			  .html = {.fd = -1},
			  .signals = {.fd = -1}};
	struct eg_result *result = NULL;
	int code = check(args);

	if (code != 0)
		return code;
	run.interval_ns = args->interval_ns > 0 ? args->interval_ns :
			  args->report		? REPORT_INTERVAL_NS :
						  DEFAULT_INTERVAL_NS;
	code = set_up(&run);
	if (code == 0) {
		int err = run_all(&run, &result);

		eg_progress_clear(&run.progress);
		if (err < 0) {
			eg_say("cannot measure: %s", eg_errno_text(err));
			code = EG_EXIT_FAILURE;
		} else if (err > 0) {
			code = err;
		} else {
			err = report_all(&run, result);
			code = run.exit == 0 && err < 0 ? EG_EXIT_FAILURE : run.exit;
		}
		eg_result_free(result);
	}
	tear_down(&run);
	return code;
}
