/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

static uint64_t ns_of(double s)
{
	return (uint64_t)llround(s * 1e9);
}

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	ssize_t n;
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(in >= 0);
	assert_true(out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(n, 0);
	close(in);
	close(out);
}

void rig_script(struct rig *r, const char *script)
{
	FILE *f = fopen(r->script, "we");

	assert_non_null(f);
	fprintf(f, "t0 %llu\ndriver 580.65.06\n%s", (unsigned long long)T0_NS, script);
	assert_int_equal(fclose(f), 0);
}

void rig_start(struct rig *r, const char *lib_variable, const char *script)
{
	const char *tmp = getenv("TMPDIR"), *lib = lib_variable ? getenv(lib_variable) : NULL;
	char path[128];

	*r = (struct rig){0};
	snprintf(r->dir, sizeof(r->dir), "%.40s/ergon-nvml-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	snprintf(path, sizeof(path), "%s/usr", r->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/usr/lib", r->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(r->lib, sizeof(r->lib), "%s/usr/lib/libnvidia-ml.so.1", r->dir);
	if (lib_variable) {
		assert_non_null(lib);
		copy_file(lib, r->lib);
	}
	snprintf(r->script, sizeof(r->script), "%s/script", r->dir);
	snprintf(r->clock, sizeof(r->clock), "%s/clock", r->dir);
	rig_script(r, script);
	assert_int_equal(eg_file_clock_create(r->clock, T0_NS, UNIX_NS + T0_NS, &r->fc), 0);
	setenv("ERGON_FAKE_NVML", r->script, 1);
	setenv("ERGON_FAKE_CLOCK", r->clock, 1);
	assert_int_equal(eg_env_open(&r->env, r->dir), 0);
	r->env.clock = eg_clock_file(r->fc);
	r->inline_driver = eg_driver_nvml;
	r->inline_driver.blocking_ns = 0;
	r->drivers[0] = &r->inline_driver;
}

void rig_end(struct rig *r)
{
	char path[128];

	eg_env_close(&r->env);
	eg_file_clock_close(r->fc);
	unlink(r->lib);
	unlink(r->script);
	unlink(r->clock);
	snprintf(path, sizeof(path), "%s/usr/lib", r->dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/usr", r->dir);
	rmdir(path);
	assert_int_equal(rmdir(r->dir), 0);
}

void rig_at(struct rig *r, double s)
{
	eg_file_clock_set(r->fc, T0_NS + ns_of(s), 0);
}

int rig_open(struct rig *r, struct opened *o)
{
	struct eg_driver_config cfg = {0};
	int rc;

	*o = (struct opened){0};
	assert_int_equal(eg_diags_init(&o->diags, 64), 0);
	cfg.diags = &o->diags;
	rc = eg_driver_nvml.open(&r->env, &cfg, &o->inst);
	if (rc == 0)
		o->n = eg_driver_nvml.describe(o->inst, &o->ch);
	return rc;
}

void rig_close(struct opened *o)
{
	eg_driver_nvml.close(o->inst);
	eg_diags_free(&o->diags);
}

static void collect(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct readings *all = (struct readings *)sink;

	assert_true(all->n < READINGS_MAX);
	all->item[all->n].channel = channel;
	all->item[all->n++].r = *r;
}

void rig_read(struct opened *o, struct readings *ret)
{
	ret->sink.put = collect;
	ret->n = 0;
	eg_driver_nvml.read(o->inst, &ret->sink, &o->diags);
}

const struct eg_diag *find_diag(const struct eg_diags *d, enum eg_diag_code code,
				const char *subject)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].code == code &&
		    (!subject || strcmp(d->items[i].subject, subject) == 0))
			return &d->items[i];
	return NULL;
}

struct eg_meter *rig_meter(struct rig *r, uint64_t interval_ms)
{
	struct eg_meter_config cfg = {.interval_ns = interval_ms * EG_NSEC_PER_MSEC};
	struct eg_meter *m = NULL;
	const char *why = "";

	if (eg_meter_open(&r->env, r->drivers, &cfg, &m, &why) < 0)
		fail_msg("%s", why);
	return m;
}

void rig_run(struct rig *r, struct eg_meter *m, double from_s, double to_s, double interval_s)
{
	for (int k = 1; from_s + k * interval_s < to_s - 1e-9; k++) {
		rig_at(r, from_s + k * interval_s);
		eg_meter_sample(m, true);
	}
	rig_at(r, to_s);
}

struct eg_result *rig_window(struct rig *r, struct eg_meter *m, double a, double b,
			     double interval_s)
{
	struct eg_result *res = NULL;

	rig_at(r, a);
	assert_int_equal(eg_meter_begin(m, "w"), 0);
	rig_run(r, m, a, b, interval_s);
	assert_int_equal(eg_meter_end(m, "w", &res), 0);
	return res;
}

double truth_j(const char *power, double a, double b)
{
	struct eg_power p;
	char why[128];

	assert_int_equal(eg_power_parse(power, &p, why, sizeof(why)), 0);
	return (double)eg_fj_to_joules(eg_power_energy_fj(&p, ns_of(a), ns_of(b)));
}

/* Of the library that is loaded now, as another user of it in this process would find it. */
bool symbol_of(const struct rig *r, const char *name, void *ret_fn, size_t size)
{
	void *lib = dlopen(r->lib, RTLD_NOLOAD | RTLD_LAZY), *p;

	if (!lib)
		return false;
	p = dlsym(lib, name);
	dlclose(lib);
	memcpy(ret_fn, &p, size);
	return p != NULL;
}
