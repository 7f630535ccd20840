/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a window costs the program that measures itself: begin, end, free, through libergon alone, in
 * CPU time, which other programs on the machine disturb least. Prints the median of the rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <ergon/ergon.h>

enum { ROUNDS = 101, EACH = 200 };

static double cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int one_window(ergon_context *ctx, size_t *ret_channels)
{
	ergon_result *result;
	int r = ergon_window_begin(ctx, "w", NULL);

	if (r == 0)
		r = ergon_window_end(ctx, "w", &result);
	if (r < 0)
		return r;
	*ret_channels = ergon_result_get_channel_count(result);
	ergon_result_free(result);
	return 0;
}

int main(int argc, char **argv)
{
	struct ergon_options options = ERGON_OPTIONS_INIT;
	static double us[ROUNDS];
	size_t channels = 0;
	ergon_context *ctx;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: bench-window ROOT\n");
		return 2;
	}
	options.root = argv[1];
	options.select = "rapl";
	r = ergon_open(&options, &ctx);
	for (unsigned k = 0; r == 0 && k < ROUNDS; k++) {
		double begin = cpu_us();

		for (unsigned i = 0; r == 0 && i < EACH; i++)
			r = one_window(ctx, &channels);
		us[k] = (cpu_us() - begin) / EACH;
	}
	if (r < 0) {
		fprintf(stderr, "bench-window: %s\n", ergon_error_text(r));
		return 1;
	}
	ergon_close(ctx);
	qsort(us, ROUNDS, sizeof(us[0]), compare);
	printf("{\"channels\": %zu, \"window_us\": %.3f, \"fastest_us\": %.3f}\n", channels,
	       us[ROUNDS / 2], us[0]);
	return 0;
}
