/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does a piece of a program use, told by the agent of this machine? Reads the energy page: no root, no
 * sensor of one's own, no system call while it measures. Waits for two ticks of the agent, so that the
 * work lies between values that were written after and before it.
 *
 *	cc page.c $(pkg-config --cflags --libs libergon) -o page && ./page [PAGE]
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include <ergon/ergon.h>

static int fail(const char *what, int error)
{
	fprintf(stderr, "page: %s: %s\n", what, ergon_error_text(error));
	return 1;
}

static void work(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000),
			      .tv_nsec = (long)(ns % 1000000000)};

	nanosleep(&ts, NULL);
}

static void print_accounts(const ergon_page *page)
{
	for (size_t i = 0; i < ergon_page_count(page); i++) {
		struct ergon_page_info info = ERGON_PAGE_INFO_INIT;
		struct ergon_page_reading now = ERGON_PAGE_READING_INIT;

		if (ergon_page_account(page, i, &info) < 0 || ergon_page_read(page, i, &now) < 0)
			continue; /* no reading has been there yet */
		printf("  %-8s %-10s %14.6f J  %s%s\n", info.device, info.component,
		       (double)now.total_uj / 1e6, info.provenance,
		       info.counted ? ", counted" : "");
	}
}

int main(int argc, char **argv)
{
	struct ergon_page_delta used = ERGON_PAGE_DELTA_INIT;
	ergon_page_mark *mark;
	ergon_page *page;
	int r = ergon_page_open(argc > 1 ? argv[1] : NULL, &page);

	if (r < 0)
		return fail("no energy page (is `ergon agent` running, are you in group ergon?)",
			    r);
	if (ergon_page_state(page) != ERGON_PAGE_LIVE)
		fprintf(stderr,
			"page: the agent does not write to it any more; these are its last values\n");
	print_accounts(page);
	r = ergon_page_mark_new(page, &mark);
	if (r < 0)
		return fail("cannot note the totals", r);
	work(3 * ergon_page_interval_ns(page));
	r = ergon_page_since(page, mark, &used);
	if (r == 0)
		printf("used %.6f J (%s) in %.3f s%s\n", (double)used.uj / 1e6, used.provenance,
		       (double)used.duration_ns / 1e9, used.flags ? ", at least" : "");
	ergon_page_mark_free(mark);
	ergon_page_close(page);
	return r < 0 ? fail("cannot tell what was used", r) : 0;
}
