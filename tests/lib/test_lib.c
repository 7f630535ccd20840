/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libergon as a program sees it, on a simulated machine: channels, windows, units, totals, backends
 * (one of the test's own among them), threads, fork, and a user without rights.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <ergon/ergon.h>

/* ---- a machine of plain files, whose counters the test moves itself ---- */

static char root[64];

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void zone(const char *id, const char *name, unsigned long long uj)
{
	char path[128], text[64];

	snprintf(path, sizeof(path), "sys/class/powercap/%s/name", id);
	snprintf(text, sizeof(text), "%s\n", name);
	put(path, text);
	snprintf(path, sizeof(path), "sys/class/powercap/%s/max_energy_range_uj", id);
	put(path, "262143328850\n");
	snprintf(path, sizeof(path), "sys/class/powercap/%s/energy_uj", id);
	snprintf(text, sizeof(text), "%llu\n", uj);
	put(path, text);
}

static void move_counters(unsigned long long package, unsigned long long dram)
{
	zone("intel-rapl:0", "package-0", 1000000 + package);
	zone("intel-rapl:0:0", "dram", 2000000 + dram);
}

static int setup(void **state)
{
	strcpy(root, "/tmp/ergon-lib-XXXXXX");
	assert_non_null(mkdtemp(root));
	assert_int_equal(chmod(root, 0755), 0);
	move_counters(0, 0);
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

static ergon_context *open_root(void)
{
	struct ergon_options o = ERGON_OPTIONS_INIT;
	ergon_context *ctx = NULL;

	o.root = root;
	assert_int_equal(ergon_open(&o, &ctx), 0);
	return ctx;
}

/* Time has to pass, or no power could have moved the counters. */
static void pass_time(void)
{
	usleep(60000);
}

/* ---- tests ---- */

static void lists_channels(void **state)
{
	ergon_context *ctx = open_root();
	ergon_channel_list *list;
	const ergon_channel *ch;
	uint64_t v = 0;

	assert_int_equal(ergon_channels(ctx, &list), 0);
	assert_int_equal(ergon_channel_list_get_size(list), 2);
	assert_null(ergon_channel_list_get(list, 2));
	ch = ergon_channel_list_get(list, 0);
	assert_string_equal(ergon_channel_get_name(ch), "rapl/package-0");
	assert_string_equal(ergon_channel_get_driver(ch), "rapl");
	assert_string_equal(ergon_channel_get_component(ch), "package");
	assert_string_equal(ergon_channel_get_source(ch), "rapl");
	assert_string_equal(ergon_channel_get_boundary(ch), "component");
	assert_string_equal(ergon_channel_get_provenance(ch), "measured");
	assert_string_equal(ergon_channel_get_quantity(ch), "energy");
	assert_string_equal(ergon_channel_get_device(ch), "cpu-0");
	assert_non_null(strstr(ergon_channel_get_origin(ch), "intel-rapl:0"));
	assert_int_equal(ergon_channel_get_resolution_uj(ch, &v), 0);
	assert_int_equal(v, 62);
	assert_int_equal(ergon_channel_get_accuracy_ppm(ch), 50000);
	/* A list outlives its context. */
	ergon_close(ctx);
	assert_string_equal(ergon_channel_get_name(ch), "rapl/package-0");
	ergon_channel_list_free(list);
	ergon_channel_list_free(NULL);
}

static void windows(void **state)
{
	ergon_context *ctx = open_root();
	ergon_result *res = NULL, *totals;
	ergon_window *w, *found;
	uint64_t v = 0;
	double each;

	assert_int_equal(ergon_window_begin(ctx, "a", &w), 0);
	assert_int_equal(ergon_window_begin(ctx, "a", NULL), -EEXIST);
	assert_int_equal(ergon_window_begin(ctx, "", NULL), -EINVAL);
	assert_int_equal(ergon_window_begin(ctx, "\x01totals", NULL), -EINVAL);
	assert_int_equal(ergon_window_find(ctx, "a", &found), 0);
	assert_ptr_equal(found, w);
	assert_int_equal(ergon_window_end(ctx, "b", &res), -ENOENT);
	assert_int_equal(ergon_window_end(ctx, "\x01totals", &res), -ENOENT);
	assert_null(res);
	pass_time();
	move_counters(3000000, 500000);
	assert_int_equal(ergon_window_begin(ctx, "inner", NULL), 0);
	pass_time();
	move_counters(5000000, 700000);
	assert_int_equal(ergon_window_add_units(w, "records", 400), 0);
	assert_int_equal(ergon_window_add_units(w, "records", 100), 0);
	assert_int_equal(ergon_window_peek(w, &res), 0);
	assert_int_equal(ergon_result_get_total_uj(res), 5700000);
	ergon_result_free(res);
	assert_int_equal(ergon_window_end(ctx, "inner", &res), 0);
	assert_int_equal(ergon_result_get_total_uj(res), 2200000);
	ergon_result_free(res);
	assert_int_equal(ergon_window_end(ctx, "a", &res), 0);
	assert_int_equal(ergon_window_find(ctx, "a", &found), -ENOENT);
	assert_true(ergon_result_has_total(res));
	assert_int_equal(ergon_result_get_total_uj(res), 5700000);
	assert_int_equal(ergon_result_get_total_estimated_uj(res), 0);
	assert_string_equal(ergon_result_get_total_provenance(res), "measured");
	/* 5 % of 5.7 J and the edges; not less */
	assert_true(ergon_result_get_total_uncertainty_uj(res) >= 285000);
	assert_int_equal(ergon_result_get_units(res, "records", &v), 0);
	assert_int_equal(v, 500);
	assert_int_equal(ergon_result_get_uj_per_unit(res, "records", &each), 0);
	assert_true(each == 11400);
	assert_int_equal(ergon_result_get_uj_per_unit(res, "tokens", &each), -ENOENT);
	assert_int_equal(ergon_result_get_channel_count(res), 2);
	assert_int_equal(ergon_result_get_channel_uj(res, 1, &v), 0);
	assert_int_equal(v, 700000);
	assert_string_equal(ergon_result_get_channel_name(res, 1), "rapl/dram-0");
	assert_string_equal(ergon_result_get_channel_role(res, 1), "total");
	assert_string_equal(ergon_result_get_flag(res, 0), "short_measurement_duration");
	assert_null(ergon_result_get_flag(res, 1));
	assert_true(ergon_result_get_end_unix_ns(res) > ergon_result_get_begin_unix_ns(res));
	assert_int_equal(ergon_totals(ctx, &totals), 0);
	assert_int_equal(ergon_result_get_total_uj(totals), 5700000);
	ergon_result_free(totals);
	ergon_close(ctx);
	/* A result outlives its context. */
	assert_string_equal(ergon_result_get_channel_name(res, 0), "rapl/package-0");
	ergon_result_free(res);
	ergon_result_free(NULL);
	ergon_close(NULL);
}

static void reading(void **state)
{
	ergon_context *ctx = open_root();
	ergon_reading *r = NULL;
	uint64_t uw;

	assert_int_equal(ergon_channel_read(ctx, "rapl/nothing", &r), -ENOENT);
	assert_null(r);
	pass_time();
	move_counters(3000000, 0);
	assert_int_equal(ergon_channel_read(ctx, "rapl/package-0", &r), 0);
	assert_int_equal(ergon_reading_get_uj(r), 3000000);
	assert_string_equal(ergon_reading_get_status(r), "ok");
	assert_int_equal(ergon_reading_get_power_uw(r, &uw), 0);
	assert_true(uw > 1000000 && uw < 60000000); /* 3 J in 60 ms or somewhat more */
	assert_int_equal(ergon_reading_get_gap_ns(r), 0);
	assert_true(ergon_reading_get_time_ns(r) > 0);
	ergon_reading_free(r);
	ergon_close(ctx);
}

static void wrap(void **state)
{
	ergon_context *ctx;
	ergon_result *res;

	zone("intel-rapl:0", "package-0", 262143000000ULL);
	ctx = open_root();
	assert_int_equal(ergon_window_begin(ctx, "w", NULL), 0);
	pass_time();
	zone("intel-rapl:0", "package-0", 921089ULL); /* 1.25 J later, over the end */
	assert_int_equal(ergon_window_end(ctx, "w", &res), 0);
	assert_int_equal(ergon_result_get_total_uj(res), 1250000);
	ergon_result_free(res);
	ergon_close(ctx);
}

static void nothing_here(void **state)
{
	struct ergon_options o = ERGON_OPTIONS_INIT;
	ergon_diagnostic_list *diags;
	ergon_context *ctx = NULL;
	ergon_result *res;
	const char *why;
	char empty[] = "/tmp/ergon-empty-XXXXXX";

	assert_non_null(mkdtemp(empty));
	o.root = empty;
	assert_int_equal(ergon_open(&o, &ctx), 0);
	assert_int_equal(ergon_window_begin(ctx, "w", NULL), 0);
	assert_int_equal(ergon_window_end(ctx, "w", &res), 0);
	assert_false(ergon_result_has_total(res));
	assert_int_equal(ergon_result_get_channel_count(res), 0);
	ergon_result_free(res);
	assert_int_equal(ergon_diagnostics(ctx, &diags), 0);
	assert_true(ergon_diagnostic_list_get_size(diags) >= 5);
	for (size_t i = 0; i < ergon_diagnostic_list_get_size(diags); i++) {
		const ergon_diagnostic *d = ergon_diagnostic_list_get(diags, i);

		assert_true(*ergon_diagnostic_get_driver(d));
		assert_true(*ergon_diagnostic_get_detail(d));
		assert_true(*ergon_diagnostic_get_code(d));
		assert_true(ergon_diagnostic_get_count(d) >= 1);
	}
	ergon_diagnostic_list_free(diags);
	assert_string_equal(ergon_backend_get_selected(ctx, &why), "null");
	assert_int_equal(ergon_backend_select(ctx, "rapl"), -ENODEV);
	ergon_close(ctx);
	o.backend = "rapl";
	ctx = NULL;
	assert_int_equal(ergon_open(&o, &ctx), -ENODEV);
	o.backend = "nonsense";
	assert_int_equal(ergon_open(&o, &ctx), -EINVAL);
	o.backend = NULL;
	o.select = "nonsense";
	assert_int_equal(ergon_open(&o, &ctx), -EINVAL);
	o.root = "/nonexistent-root";
	assert_int_equal(ergon_open(&o, &ctx), -ENOENT);
	assert_null(ctx);
	rmdir(empty);
}

/* ---- backends ---- */

struct my_meter {
	uint64_t uj;
	int running, available;
};

static int my_available(void *user)
{
	return ((struct my_meter *)user)->available;
}

static int my_info(void *user, struct ergon_backend_info *ret)
{
	ret->version = "7";
	ret->hardware = "a wall meter";
	ret->capabilities = ERGON_CAP_CPU_ENERGY;
	ret->method = ERGON_METHOD_HARDWARE_COUNTER;
	ret->accuracy_percent = 1;
	return 0;
}

static int my_start(void *user, void **handle)
{
	((struct my_meter *)user)->running++;
	*handle = user;
	return 0;
}

static int my_stop(void *user, void *handle, struct ergon_metrics *ret)
{
	struct my_meter *m = user;

	m->running--;
	if (handle != user)
		return -EPROTO;
	if (ret) {
		ret->present = ERGON_METRIC_TOTAL | ERGON_METRIC_UNCERTAINTY;
		ret->total_uj = m->uj;
		ret->uncertainty_uj = m->uj / 100;
		ret->method = ERGON_METHOD_HARDWARE_COUNTER;
	}
	return 0;
}

static const struct ergon_backend_ops my_ops = {sizeof(my_ops), my_available, my_info, my_start,
						my_stop};

/* A backend of the program's own stands beside the built-in ones; none of them was touched. */
static void third_party_backend(void **state)
{
	ergon_context *ctx = open_root();
	struct my_meter meter = {.uj = 5000000, .available = 1};
	struct ergon_backend_info info;
	struct ergon_metrics m;
	ergon_tracking *t;
	const char *why;
	int seen = 0;

	assert_int_equal(ergon_backend_register(ctx, "rapl", &my_ops, &meter), -EEXIST);
	assert_int_equal(ergon_backend_register(ctx, "auto", &my_ops, &meter), -EINVAL);
	assert_int_equal(ergon_backend_register(ctx, "", &my_ops, &meter), -EINVAL);
	assert_int_equal(ergon_backend_register(ctx, "wall", &my_ops, &meter), 0);
	for (size_t i = 0; ergon_backend_get_name(ctx, i); i++)
		seen += strcmp(ergon_backend_get_name(ctx, i), "wall") == 0;
	assert_int_equal(seen, 1);
	assert_int_equal(ergon_backend_is_available(ctx, "wall"), 1);
	assert_int_equal(ergon_backend_is_available(ctx, "null"), 1);
	assert_int_equal(ergon_backend_is_available(ctx, "nvml"), 0);
	assert_int_equal(ergon_backend_is_available(ctx, "other"), -ENOENT);
	assert_int_equal(ergon_backend_get_info(ctx, "wall", &info), 0);
	assert_string_equal(info.name, "wall");
	assert_string_equal(info.version, "7");
	assert_int_equal(ergon_backend_get_info(ctx, "native", &info), 0);
	assert_true(info.capabilities & ERGON_CAP_CPU_ENERGY);
	assert_true(info.capabilities & ERGON_CAP_DRAM_ENERGY);
	assert_false(info.capabilities & ERGON_CAP_GPU_ENERGY);
	assert_int_equal(info.method, ERGON_METHOD_HARDWARE_COUNTER);
	assert_true(info.accuracy_percent == 5);
	/* native first */
	assert_string_equal(ergon_backend_get_selected(ctx, &why), "native");
	assert_non_null(strstr(why, "auto"));
	assert_int_equal(ergon_backend_select(ctx, "wall"), 0);
	assert_int_equal(ergon_tracking_start(ctx, NULL, &t), 0);
	assert_int_equal(meter.running, 1);
	assert_int_equal(ergon_tracking_stop(t, &m), 0);
	assert_int_equal(meter.running, 0);
	assert_int_equal(m.total_uj, 5000000);
	/* null: nothing, and no 0 either */
	assert_int_equal(ergon_tracking_start(ctx, "null", &t), 0);
	assert_int_equal(ergon_tracking_stop(t, &m), 0);
	assert_int_equal(m.present, 0);
	assert_int_equal(m.method, ERGON_METHOD_NONE);
	assert_null(m.provenance);
	/* a built-in driver alone */
	assert_int_equal(ergon_tracking_start(ctx, "rapl", &t), 0);
	pass_time();
	move_counters(2000000, 100000);
	assert_int_equal(ergon_tracking_stop(t, &m), 0);
	assert_int_equal(m.present, ERGON_METRIC_TOTAL | ERGON_METRIC_CPU | ERGON_METRIC_DRAM |
					    ERGON_METRIC_UNCERTAINTY);
	assert_int_equal(m.total_uj, 2100000);
	assert_int_equal(m.cpu_uj, 2000000);
	assert_string_equal(m.provenance, "measured");
	assert_int_equal(m.estimated_uj, 0);
	assert_int_equal(m.gap_ns, 0);
	assert_int_equal(m.dram_uj, 100000);
	meter.available = 0;
	assert_int_equal(ergon_tracking_start(ctx, "wall", &t), -ENODEV);
	ergon_close(ctx);
}

/* M18: two at once on one interval. */
static void validation(void **state)
{
	ergon_context *ctx = open_root();
	struct my_meter meter = {.uj = 2050000, .available = 1};
	struct ergon_crosscheck c;
	ergon_diagnostic_list *diags;
	ergon_validation *v;
	int said = 0;

	assert_int_equal(ergon_backend_register(ctx, "wall", &my_ops, &meter), 0);
	assert_int_equal(ergon_validation_start(ctx, "rapl", "rapl", &v), -EINVAL);
	assert_int_equal(ergon_validation_start(ctx, "rapl", "wall", &v), 0);
	pass_time();
	move_counters(2000000, 0);
	assert_int_equal(ergon_validation_stop(v, &c), 0);
	assert_true(c.has_difference);
	assert_true(c.agree);
	assert_true(c.difference_percent > 2.4 && c.difference_percent < 2.6);
	assert_int_equal(c.primary.total_uj, 2000000);
	assert_true(c.primary_overhead_ns > 0);
	meter.uj = 4000000; /* twice as much: somebody is wrong */
	assert_int_equal(ergon_validation_start(ctx, "rapl", "wall", &v), 0);
	pass_time();
	move_counters(4000000, 0);
	assert_int_equal(ergon_validation_stop(v, &c), 0);
	assert_false(c.agree);
	assert_int_equal(ergon_diagnostics(ctx, &diags), 0);
	for (size_t i = 0; i < ergon_diagnostic_list_get_size(diags); i++)
		said += strcmp(ergon_diagnostic_get_code(ergon_diagnostic_list_get(diags, i)),
			       "crosscheck") == 0;
	assert_int_equal(said, 1);
	ergon_diagnostic_list_free(diags);
	/* null beside rapl: no difference can be told, and none is */
	assert_int_equal(ergon_validation_start(ctx, "rapl", "null", &v), 0);
	assert_int_equal(ergon_validation_stop(v, &c), 0);
	assert_false(c.has_difference);
	ergon_close(ctx);
}

/* ---- threads and processes ---- */

static ergon_context *shared_ctx;

static void *many_windows(void *arg)
{
	char name[32];

	for (int i = 0; i < 300; i++) {
		ergon_result *res = NULL;
		ergon_window *w;

		snprintf(name, sizeof(name), "%d-%d", (int)(intptr_t)arg, i);
		if (ergon_window_begin(shared_ctx, name, &w) < 0 ||
		    ergon_window_add_units(w, "records", 1) < 0 ||
		    ergon_window_end(shared_ctx, name, &res) < 0)
			return (void *)1;
		if (!ergon_result_has_total(res))
			return (void *)2;
		ergon_result_free(res);
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];

	shared_ctx = open_root();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_windows, (void *)(intptr_t)i), 0);
	for (int i = 0; i < 4; i++) {
		void *r;

		pthread_join(t[i], &r);
		assert_null(r);
	}
	ergon_close(shared_ctx);
}

/* Several threads that share one name: who begins it owns its handle until he ends it. */
static void *one_name(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		ergon_result *res = NULL;
		ergon_window *w, *found;
		int r;

		do
			r = ergon_window_begin(shared_ctx, "shared", &w);
		while (r == -EEXIST);
		if (r < 0 || ergon_window_add_units(w, "records", 1) < 0)
			return (void *)1;
		if (ergon_window_find(shared_ctx, "shared", &found) < 0 || found != w)
			return (void *)2;
		if (i % 3 == 0) {
			if (ergon_window_cancel(shared_ctx, "shared") < 0)
				return (void *)3;
			continue;
		}
		if (i % 3 == 1 && (ergon_window_next(shared_ctx, "shared", "shared", &res) < 0 ||
				   ergon_window_find(shared_ctx, "shared", &found) < 0))
			return (void *)4;
		ergon_result_free(res);
		res = NULL;
		if (ergon_window_end(shared_ctx, "shared", &res) < 0)
			return (void *)5;
		ergon_result_free(res);
	}
	return NULL;
}

static atomic_int registered;

static void *choose_backends(void *arg)
{
	static struct my_meter meter = {.available = 1};
	const char *why;
	char name[16];

	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "b%d", i % 8);
		registered += ergon_backend_register(shared_ctx, name, &my_ops, &meter) == 0;
		if (ergon_backend_select(shared_ctx, i % 2 ? "native" : "null") < 0 ||
		    !ergon_backend_get_selected(shared_ctx, &why) || !*why)
			return (void *)1;
	}
	return NULL;
}

static void in_threads(void *(*what)(void *))
{
	pthread_t t[4];

	shared_ctx = open_root();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, what, NULL), 0);
	for (int i = 0; i < 4; i++) {
		void *r;

		pthread_join(t[i], &r);
		assert_null(r);
	}
	ergon_close(shared_ctx);
}

static void threads_on_one_name(void **state)
{
	in_threads(one_name);
}

/* Each name is registered once, whoever comes first. */
static void threads_on_backends(void **state)
{
	registered = 0;
	in_threads(choose_backends);
	assert_int_equal(registered, 8);
}

static void no_names(void **state)
{
	struct ergon_backend_info info;
	ergon_context *ctx = open_root();
	ergon_reading *r = NULL;
	ergon_result *res = NULL;

	assert_int_equal(ergon_channel_read(ctx, NULL, &r), -ENOENT);
	assert_int_equal(ergon_backend_is_available(ctx, NULL), -ENOENT);
	assert_int_equal(ergon_backend_get_info(ctx, NULL, &info), -ENOENT);
	assert_int_equal(ergon_window_begin(ctx, NULL, NULL), -EINVAL);
	assert_int_equal(ergon_window_begin(NULL, "w", NULL), -EINVAL);
	assert_int_equal(ergon_window_end(ctx, NULL, &res), -ENOENT);
	assert_int_equal(ergon_window_next(ctx, NULL, NULL, &res), -ENOENT);
	assert_int_equal(ergon_window_peek(NULL, &res), -EINVAL);
	assert_int_equal(ergon_window_add_units(NULL, "x", 1), -EINVAL);
	assert_null(r);
	assert_null(res);
	ergon_close(ctx);
}

static int in_child(ergon_context *ctx, ergon_window *w)
{
	ergon_channel_list *channels;
	ergon_diagnostic_list *diags;
	ergon_tracking *t;
	ergon_result *res;
	ergon_reading *r;
	ergon_context *fresh;

	if (ergon_window_begin(ctx, "c", NULL) != -ESTALE ||
	    ergon_window_end(ctx, "w", &res) != -ESTALE || ergon_totals(ctx, &res) != -ESTALE ||
	    ergon_window_add_units(w, "x", 1) != -ESTALE || ergon_window_peek(w, &res) != -ESTALE ||
	    ergon_channels(ctx, &channels) != -ESTALE ||
	    ergon_diagnostics(ctx, &diags) != -ESTALE ||
	    ergon_channel_read(ctx, "rapl/package-0", &r) != -ESTALE ||
	    ergon_tracking_start(ctx, NULL, &t) != -ESTALE ||
	    ergon_backend_select(ctx, "auto") != -ESTALE)
		return 1;
	ergon_close(ctx); /* releases nothing of the parent's */
	fresh = open_root();
	if (ergon_window_begin(fresh, "w", NULL) < 0 || ergon_window_end(fresh, "w", &res) < 0 ||
	    !ergon_result_has_total(res))
		return 2;
	ergon_result_free(res);
	ergon_close(fresh);
	return 0;
}

/* The thread sanitizer ends a child that starts threads after a fork from a threaded parent. */
static void skip_under_tsan(void)
{
#ifdef __SANITIZE_THREAD__
	print_message("the thread sanitizer knows no threads after fork\n");
	skip();
#endif
}

static void forked(void **state)
{
	ergon_context *ctx;
	ergon_window *w;
	ergon_result *res;
	int status;
	pid_t pid;

	skip_under_tsan();
	ctx = open_root();
	assert_int_equal(ergon_window_begin(ctx, "w", &w), 0);
	pid = fork();
	if (pid == 0)
		_exit(in_child(ctx, w));
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	pass_time();
	move_counters(1000000, 0);
	assert_int_equal(ergon_window_end(ctx, "w", &res), 0);
	assert_int_equal(ergon_result_get_total_uj(res), 1000000);
	ergon_result_free(res);
	ergon_close(ctx);
}

/* Readable sensors need no root; unreadable ones are named with the cure. */
static int as_nobody(int readable)
{
	ergon_diagnostic_list *diags;
	ergon_context *ctx;
	ergon_result *res;
	int blocked = 0;

	if (setgid(65534) || setuid(65534))
		return 10;
	ctx = open_root();
	if (ergon_window_begin(ctx, "w", NULL) < 0 || ergon_window_end(ctx, "w", &res) < 0)
		return 1;
	if (ergon_result_has_total(res) != readable)
		return 2;
	ergon_result_free(res);
	if (ergon_diagnostics(ctx, &diags) < 0)
		return 3;
	for (size_t i = 0; i < ergon_diagnostic_list_get_size(diags); i++) {
		const ergon_diagnostic *d = ergon_diagnostic_list_get(diags, i);

		if (strcmp(ergon_diagnostic_get_code(d), "sensor_blocked") == 0 &&
		    strcmp(ergon_diagnostic_get_driver(d), "rapl") == 0 &&
		    *ergon_diagnostic_get_cure(d))
			blocked++;
	}
	ergon_diagnostic_list_free(diags);
	ergon_close(ctx);
	return (blocked > 0) == !readable ? 0 : 4;
}

static void without_root(void **state)
{
	char path[128];
	int status;

	skip_under_tsan();
	if (getuid() != 0) {
		print_message("not root: cannot become another user\n");
		skip();
	}
	for (int readable = 1; readable >= 0; readable--) {
		pid_t pid;

		if (!readable) {
			snprintf(path, sizeof(path), "%s/sys/class/powercap/intel-rapl:0/energy_uj",
				 root);
			assert_int_equal(chmod(path, 0400), 0);
			snprintf(path, sizeof(path),
				 "%s/sys/class/powercap/intel-rapl:0:0/energy_uj", root);
			assert_int_equal(chmod(path, 0400), 0);
		}
		pid = fork();
		if (pid == 0)
			_exit(as_nobody(readable));
		waitpid(pid, &status, 0);
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void versions(void **state)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d.%d", ERGON_VERSION_MAJOR, ERGON_VERSION_MINOR,
		 ERGON_VERSION_PATCH);
	assert_string_equal(ergon_version(), text);
	assert_non_null(strstr(ergon_error_text(-EACCES), "ermission"));
	assert_non_null(strstr(ergon_error_text(-ESTALE), "fork"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(lists_channels),
		T(windows),
		T(reading),
		T(wrap),
		T(nothing_here),
		T(third_party_backend),
		T(validation),
		T(threads),
		T(threads_on_one_name),
		T(threads_on_backends),
		T(no_names),
		T(forked),
		T(without_root),
		cmocka_unit_test(versions),
	};

	return cmocka_run_group_tests_name("lib", tests, NULL, NULL);
}
