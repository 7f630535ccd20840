/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of a program's life with libergon failing in turn: the call answers -ENOMEM with
 * its outputs untouched, goes well when it is tried again, and nothing is left in the end. The
 * allocator is replaced by the linker (--wrap), in the library's own objects only.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <ergon/ergon.h>

#include "core/meter.h"
#include "sim/machine.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static atomic_long held, calls, fail_at;

static bool fails(void)
{
	return atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at);
}

static void *counted(void *p)
{
	if (p)
		atomic_fetch_add(&held, 1);
	return p;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
	if (fails())
		return NULL;
	return p ? __real_realloc(p, n) : counted(__real_realloc(NULL, n));
}

char *__wrap_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = __wrap_malloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}

void __wrap_free(void *p)
{
	if (p)
		atomic_fetch_sub(&held, 1);
	__real_free(p);
}

/* ---- a machine at rest ---- */

static char root[64];

static int setup(void **state)
{
	struct eg_scenario *sc = NULL;
	struct eg_sim *sim = NULL;

	strcpy(root, "/tmp/ergon-memory-XXXXXX");
	assert_non_null(mkdtemp(root));
	assert_int_equal(eg_scenario_named("perf-power", &sc), 0);
	assert_int_equal(eg_sim_open(sc, root, EG_NSEC_PER_SEC, &sim), 0);
	eg_sim_close(sim);
	eg_scenario_free(sc);
	return 0;
}

static int teardown(void **state)
{
	pid_t pid = fork();

	if (pid == 0)
		execlp("rm", "rm", "-rf", root, (char *)NULL);
	waitpid(pid, NULL, 0);
	return 0;
}

/*
 * Calls something with an output: on -ENOMEM the output still is what it was and the same call goes
 * well the second time.
 */
#define TWICE(out, mark, call)                                         \
	do {                                                           \
		int r_;                                                \
                                                                       \
		memset(&(out), (mark), sizeof(out));                   \
		r_ = (call);                                           \
		if (r_ == -ENOMEM) {                                   \
			assert_untouched(&(out), (mark), sizeof(out)); \
			r_ = (call);                                   \
		}                                                      \
		assert_int_equal(r_, 0);                               \
	} while (0)

static void assert_untouched(const void *p, int mark, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(((const unsigned char *)p)[i], (unsigned char)mark);
}

static void no_joules(ergon_result *r)
{
	uint64_t uj;

	assert_true(ergon_result_has_total(r));
	assert_int_equal(ergon_result_get_total_uj(r), 0);
	for (size_t i = 0; i < ergon_result_get_channel_count(r); i++)
		if (ergon_result_get_channel_uj(r, i, &uj) == 0)
			assert_int_equal(uj, 0);
	ergon_result_free(r);
}

static void windows(ergon_context *ctx)
{
	ergon_window *w;
	ergon_result *r;

	TWICE(w, 0x5a, ergon_window_begin(ctx, "a", &w));
	assert_int_equal(ergon_window_add_units(w, "records", 3), 0);
	TWICE(r, 0x5a, ergon_window_peek(w, &r));
	no_joules(r);
	TWICE(r, 0x5a, ergon_window_next(ctx, "a", "b", &r));
	no_joules(r);
	TWICE(r, 0x5a, ergon_window_end(ctx, "b", &r));
	no_joules(r);
	TWICE(r, 0x5a, ergon_totals(ctx, &r));
	no_joules(r);
}

static void backends(ergon_context *ctx)
{
	struct ergon_crosscheck check;
	struct ergon_metrics metrics;
	ergon_validation *v;
	ergon_tracking *t;
	int r;

	TWICE(t, 0x5a, ergon_tracking_start(ctx, "rapl", &t));
	memset(&metrics, 0x5a, sizeof(metrics));
	r = ergon_tracking_stop(t, &metrics); /* ends it, also on failure */
	if (r == -ENOMEM)
		assert_untouched(&metrics, 0x5a, sizeof(metrics));
	else
		assert_int_equal(metrics.total_uj, 0);
	TWICE(v, 0x5a, ergon_validation_start(ctx, "rapl", "perf_rapl", &v));
	memset(&check, 0x5a, sizeof(check));
	r = ergon_validation_stop(v, &check);
	if (r == -ENOMEM)
		assert_untouched(&check, 0x5a, sizeof(check));
	else
		assert_int_equal(check.agree, 1);
}

static void life(void)
{
	struct ergon_options o = ERGON_OPTIONS_INIT;
	ergon_diagnostic_list *diags;
	ergon_channel_list *list;
	ergon_reading *reading;
	ergon_context *ctx;

	o.root = root;
	TWICE(ctx, 0x5a, ergon_open(&o, &ctx));
	TWICE(list, 0x5a, ergon_channels(ctx, &list));
	assert_int_equal(ergon_channel_list_get_size(list), 8);
	ergon_channel_list_free(list);
	TWICE(reading, 0x5a, ergon_channel_read(ctx, "rapl/package-0", &reading));
	assert_int_equal(ergon_reading_get_uj(reading), 0);
	ergon_reading_free(reading);
	windows(ctx);
	backends(ctx);
	TWICE(diags, 0x5a, ergon_diagnostics(ctx, &diags));
	ergon_diagnostic_list_free(diags);
	ergon_close(ctx);
}

static void each_allocation_fails(void **state)
{
	long runs = 0, most = 0;

	for (long n = 0;; n++) {
		long before = atomic_load(&held);

		atomic_store(&calls, 0);
		atomic_store(&fail_at, n);
		life();
		atomic_store(&fail_at, 0);
		if (atomic_load(&held) != before)
			fail_msg("allocation %ld failing leaves %ld blocks", n,
				 atomic_load(&held) - before);
		most = EG_MAX(most, atomic_load(&calls));
		if (n > atomic_load(&calls))
			break;
		runs++;
	}
	print_message("# %ld runs, each with one failing allocation of at most %ld\n", runs - 1,
		      most);
	assert_true(runs > 100);
}

static void sampling_allocates_nothing(void **state)
{
	struct eg_meter_config cfg = {.interval_ns = EG_NSEC_PER_SEC};
	struct eg_meter *m;
	struct eg_env env;

	assert_int_equal(eg_env_open(&env, root), 0);
	assert_int_equal(eg_meter_open(&env, eg_drivers, &cfg, &m, NULL), 0);
	assert_int_equal(eg_meter_begin(m, "w"), 0);
	atomic_store(&calls, 0);
	for (int i = 0; i < 1000; i++)
		eg_meter_sample(m, true);
	assert_int_equal(atomic_load(&calls), 0);
	assert_null(eg_meter_close(m));
	eg_env_close(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_fails),
		cmocka_unit_test(sampling_allocates_nothing),
	};

	return cmocka_run_group_tests_name("fault-memory", tests, setup, teardown);
}
