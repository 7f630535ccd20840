/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     bench-window library ROOT
 *     bench-window page PAGE
 *
 * What a window costs the program that measures itself, through libergon alone: begin, end and free of
 * one that reads the sensors, or begin and end of one over the energy page. Prints the median of the
 * rounds in CPU time, which other programs on the machine disturb least, and in wall time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ergon/ergon.h>
#include <ergon/page_window.h>

enum { ROUNDS = 21, EACH = 200 };

struct way {
	ergon_context *ctx;
	ergon_page *page;
	ergon_page_window *window;
	size_t channels;
};

static double us_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int library_window(struct way *w)
{
	ergon_result *result;
	int r = ergon_window_begin(w->ctx, "w", NULL);

	if (r == 0)
		r = ergon_window_end(w->ctx, "w", &result);
	if (r < 0)
		return r;
	w->channels = ergon_result_get_channel_count(result);
	ergon_result_free(result);
	return 0;
}

static int page_window(struct way *w)
{
	struct ergon_page_used used = ERGON_PAGE_USED_INIT;
	int r = ergon_page_window_begin(w->page, w->window);

	if (r == 0)
		r = ergon_page_window_end(w->page, w->window, &used);
	w->channels = used.accounts;
	return r;
}

static int open_way(struct way *w, const char *kind, const char *place)
{
	struct ergon_options options = ERGON_OPTIONS_INIT;
	int r;

	if (strcmp(kind, "library") == 0) {
		options.root = place;
		options.select = "rapl";
		return ergon_open(&options, &w->ctx);
	}
	r = ergon_page_open(place, &w->page);
	return r < 0 ? r : ergon_page_window_new(w->page, &w->window);
}

int main(int argc, char **argv)
{
	static double cpu_us[ROUNDS], wall_us[ROUNDS];
	struct way w = {0};
	int r;

	if (argc != 3 || (strcmp(argv[1], "library") != 0 && strcmp(argv[1], "page") != 0)) {
		fprintf(stderr, "usage: bench-window library ROOT | page PAGE\n");
		return 2;
	}
	r = open_way(&w, argv[1], argv[2]);
	for (unsigned k = 0; r == 0 && k < ROUNDS; k++) {
		double cpu = us_of(CLOCK_PROCESS_CPUTIME_ID), wall = us_of(CLOCK_MONOTONIC);

		for (unsigned i = 0; r == 0 && i < EACH; i++)
			r = w.ctx ? library_window(&w) : page_window(&w);
		cpu_us[k] = (us_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / EACH;
		wall_us[k] = (us_of(CLOCK_MONOTONIC) - wall) / EACH;
	}
	ergon_page_window_free(w.window);
	ergon_page_close(w.page);
	ergon_close(w.ctx);
	if (r < 0) {
		fprintf(stderr, "bench-window: %s\n", ergon_error_text(r));
		return 1;
	}
	qsort(cpu_us, ROUNDS, sizeof(cpu_us[0]), compare);
	qsort(wall_us, ROUNDS, sizeof(wall_us[0]), compare);
	printf("{\"windows\": %d, \"channels\": %zu, \"cpu_us\": %.3f, \"wall_us\": %.3f}\n",
	       ROUNDS * EACH, w.channels, cpu_us[ROUNDS / 2], wall_us[ROUNDS / 2]);
	return 0;
}
