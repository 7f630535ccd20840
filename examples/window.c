/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many joules does a piece of a program use? Measures a loop, in two nested windows, with units
 * of work; prints each channel with how it is known. Needs no root where the sensors are readable.
 *
 *	cc window.c $(pkg-config --cflags --libs libergon) -o window && ./window [ROOT]
 */
#include <inttypes.h>
#include <stdio.h>

#include <ergon/ergon.h>

static int fail(const char *what, int error)
{
	fprintf(stderr, "window: %s: %s\n", what, ergon_error_text(error));
	return 1;
}

static double work(unsigned rounds)
{
	volatile double x = 1;

	for (unsigned i = 0; i < rounds; i++)
		x = x * 1.0000001 + 1e-9;
	return x;
}

static void print_reasons(ergon_context *ctx)
{
	ergon_diagnostic_list *list;

	if (ergon_diagnostics(ctx, &list) < 0)
		return;
	for (size_t i = 0; i < ergon_diagnostic_list_get_size(list); i++) {
		const ergon_diagnostic *d = ergon_diagnostic_list_get(list, i);

		printf("  %s: %s; %s\n", ergon_diagnostic_get_driver(d),
		       ergon_diagnostic_get_detail(d), ergon_diagnostic_get_cure(d));
	}
	ergon_diagnostic_list_free(list);
}

static void print_result(const ergon_result *r)
{
	double uj_each;

	for (size_t i = 0; i < ergon_result_get_channel_count(r); i++) {
		uint64_t uj;

		if (ergon_result_get_channel_uj(r, i, &uj) == 0)
			printf("  %-24s %12.6f J  %s, %s\n", ergon_result_get_channel_name(r, i),
			       (double)uj / 1e6, ergon_result_get_channel_provenance(r, i),
			       ergon_result_get_channel_role(r, i));
	}
	printf("total %.6f J +- %.6f J (%s) in %.3f s\n",
	       (double)ergon_result_get_total_uj(r) / 1e6,
	       (double)ergon_result_get_total_uncertainty_uj(r) / 1e6,
	       ergon_result_get_total_provenance(r), (double)ergon_result_get_duration_ns(r) / 1e9);
	if (ergon_result_get_uj_per_unit(r, "rounds", &uj_each) == 0)
		printf("%.9f J a round\n", uj_each / 1e6);
}

int main(int argc, char **argv)
{
	struct ergon_options options = ERGON_OPTIONS_INIT;
	ergon_context *ctx;
	ergon_window *window;
	ergon_result *outer, *inner;
	int r;

	options.root = argc > 1 ? argv[1] : NULL;
	r = ergon_open(&options, &ctx);
	if (r < 0)
		return fail("cannot open the sensors", r);
	r = ergon_window_begin(ctx, "outer", &window);
	if (r == 0)
		r = ergon_window_begin(ctx, "inner", NULL);
	if (r < 0)
		return fail("cannot begin", r);
	work(20000000);
	r = ergon_window_end(ctx, "inner", &inner);
	if (r < 0)
		return fail("cannot end", r);
	work(20000000);
	ergon_window_add_units(window, "rounds", 40000000);
	r = ergon_window_end(ctx, "outer", &outer);
	if (r < 0)
		return fail("cannot end", r);
	if (ergon_result_has_total(outer)) {
		print_result(outer);
		printf("of it in the first half: %.6f J\n",
		       (double)ergon_result_get_total_uj(inner) / 1e6);
	} else {
		printf("nothing here can be measured:\n");
		print_reasons(ctx);
	}
	ergon_result_free(inner);
	ergon_result_free(outer);
	ergon_close(ctx);
	return 0;
}
