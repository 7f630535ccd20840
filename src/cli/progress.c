/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line; see progress.h. At most five a second. */
#include "cli/progress.h"

#include <math.h>
#include <string.h>

#include "cli/out.h"
#include "codec/number.h"

#define EVERY_NS (200 * EG_NSEC_PER_MSEC)

static bool smart_terminal(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

bool eg_terminal_colour(int fd)
{
	const char *no = getenv("NO_COLOR");

	return smart_terminal(fd) && (no == NULL || no[0] == '\0');
}

void eg_progress_init(struct eg_progress *p, bool off, const struct eg_clock *clock)
{
	*p = (struct eg_progress){.on = !off && smart_terminal(STDERR_FILENO), .clock = clock};
}

void eg_progress_show(struct eg_progress *p, struct eg_meter *m, const char *window, size_t run,
		      size_t runs)
{
	struct eg_strbuf line = EG_STRBUF_INIT(256);
	struct eg_result *r;
	char text[EG_NUMBER_MAX];
	uint64_t now;

	if (!p->on || tcgetpgrp(STDERR_FILENO) != getpgrp())
		return;
	now = eg_clock_ns(p->clock);
	if (p->shown && now - p->last_ns < EVERY_NS)
		return;
	if (eg_meter_peek(m, window, &r) < 0)
		return;
	eg_strbuf_puts(&line, "\r\033[K");
	if (runs > 1)
		eg_strbuf_printf(&line, "run %zu of %zu  ", run, runs);
	eg_number_fixed(text, (double)r->seconds_ns / 1e9, 1);
	eg_strbuf_printf(&line, "%s s", text);
	if (r->has_total) {
		eg_number_fixed(text, (double)r->total_uj / 1e6, 1);
		eg_strbuf_printf(&line, "  %s J", text);
	}
	if (r->has_total && isfinite(r->total_mean_w)) {
		eg_number_fixed(text, r->total_mean_w, 1);
		eg_strbuf_printf(&line, "  mean %s W", text);
	}
	eg_result_free(r);
	p->shown = true;
	p->last_ns = now;
	(void)!eg_write_all(STDERR_FILENO, eg_strbuf_get(&line), line.len);
	eg_strbuf_free(&line);
}

void eg_progress_clear(struct eg_progress *p)
{
	if (p->shown)
		(void)!eg_write_all(STDERR_FILENO, "\r\033[K", 4);
	p->shown = false;
}
