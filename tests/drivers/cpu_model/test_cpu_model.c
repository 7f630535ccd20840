/* SPDX-License-Identifier: Apache-2.0 */
/* The estimator on made-up machines: which model is chosen, and that its integral is exact. */
#include "../../host/tree.h"

#include <errno.h>
#include <math.h>
#include <sys/wait.h>

#include "base/strbuf.h"
#include "core/driver.h"
#include "drivers/cpu_model/model.h"

extern const struct eg_driver eg_driver_cpu_model;
#define DRIVER (&eg_driver_cpu_model)

struct last_sink {
	struct eg_sink sink;
	struct eg_reading r;
	unsigned n;
};

static void put(struct eg_sink *sink, size_t channel, const struct eg_reading *r)
{
	struct last_sink *s = (struct last_sink *)sink;

	assert_int_equal(channel, 0);
	s->r = *r;
	s->n++;
}

static struct eg_reading read_once(struct eg_instance *inst, struct eg_diags *diags)
{
	struct last_sink s = {.sink.put = put};

	DRIVER->read(inst, &s.sink, diags);
	assert_int_equal(s.n, 1);
	return s.r;
}

/* A machine: two Cascade Lake sockets of 56 threads, TDP 205 W each by name. */
static void put_machine(const struct tree *t, const char *model_name, const char *flags)
{
	struct eg_strbuf b = EG_STRBUF_INIT(1 << 20);

	for (int i = 0; i < 112; i++)
		eg_strbuf_printf(&b,
				 "processor : %d\nvendor_id : GenuineIntel\ncpu family : 6\n"
				 "model : 85\nmodel name : %s\nstepping : 7\nphysical id : %d\n"
				 "core id : %d\nflags : fpu %s\n\n",
				 i, model_name, i & 1, i / 4, flags);
	assert_int_equal(eg_strbuf_error(&b), 0);
	tree_write(t, "proc/cpuinfo", eg_strbuf_get(&b));
	eg_strbuf_free(&b);
}

static void put_stat(const struct tree *t, uint64_t busy, uint64_t idle)
{
	char text[160];

	/* Fixed width and in place, so that a kept descriptor sees it, as of procfs. */
	snprintf(text, sizeof(text), "cpu  %020llu 0 0 %020llu 0 0 0 0 0 0\n",
		 (unsigned long long)busy, (unsigned long long)idle);
	tree_write(t, "proc/stat", text);
}

static int try_open(const struct tree *t, const struct eg_setting *s, size_t n,
		    struct eg_diags *diags, struct eg_instance **ret)
{
	struct eg_driver_config cfg = {true, s, n, diags};

	return DRIVER->open(&t->env, &cfg, ret);
}

static const struct eg_channel *channel(const struct eg_instance *inst)
{
	const struct eg_channel *ch = NULL;

	assert_int_equal(DRIVER->describe(inst, &ch), 1);
	assert_int_equal(ch->provenance, EG_PROVENANCE_ESTIMATED);
	assert_int_equal(ch->quantity, EG_QUANTITY_ENERGY);
	assert_true(ch->accuracy.rel_ppm >= 250000 && ch->accuracy.citation);
	assert_true(ch->max_uw > 0 && ch->zero_based);
	return ch;
}

static bool has_diag(const struct eg_diags *d, enum eg_diag_code code, const char *text)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].code == code && strstr(d->items[i].detail, text))
			return true;
	return false;
}

static void curve(void **state)
{
	static const double g[11] = {0, .173, .234, .298, .363, .426, .503, .599, .723, .863, 1};
	struct eg_cpu cpu = {.threads = 4, .sockets = 1, .uarch = EG_UARCH_SKYLAKE};
	struct eg_cpu_model_inputs in = {&cpu, false, 100, 300, -1};
	struct eg_cpu_model m;
	const char *why;
	double before = 0;

	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	for (int i = 0; i <= 10; i++)
		assert_true(fabs(eg_cpu_model_watts(&m, i / 10.0) - (100 + 200 * g[i])) < 1e-9);
	assert_true(fabs(eg_cpu_model_watts(&m, .05) - (100 + 200 * .0865)) < 1e-9);
	assert_true(eg_cpu_model_watts(&m, -1) == 100);
	assert_true(eg_cpu_model_watts(&m, 2) == 300);
	assert_true(eg_cpu_model_watts(&m, NAN) == 100);
	/* Every curve rises from end to end. */
	for (int u = 0; u < EG_UARCH_COUNT; u++) {
		before = 0;
		for (double x = 0; x <= 1 && eg_cpu_model_per_tdp((enum eg_uarch)u, 0) > 0;
		     x += .01) {
			double p = eg_cpu_model_per_tdp((enum eg_uarch)u, x);

			assert_true(p > before && p < 1.5);
			before = p;
		}
	}
	assert_true(fabs(eg_cpu_model_per_tdp(EG_UARCH_EPYC2, .3) - .59) < 1e-9);
	assert_true(eg_cpu_model_per_tdp(EG_UARCH_ZEN5, .3) < 0);
}

static void tdp_names(void **state)
{
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz"),
			 205);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) CPU E5-2660 0 @ 2.20GHz"), 95);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) CPU E5-2660 v3 @ 2.60GHz"), 105);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) CPU E5-2660 v9"), 0);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) Gold 6248R CPU"), 205);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) Gold 6348H CPU"), 0);
	assert_int_equal(eg_cpu_model_tdp_watts("Intel(R) Xeon(R) Platinum 8480+"), 350);
	assert_int_equal(eg_cpu_model_tdp_watts("AMD EPYC 7702P 64-Core Processor"), 200);
	assert_int_equal(eg_cpu_model_tdp_watts("AMD EPYC"), 0);
	assert_int_equal(eg_cpu_model_tdp_watts(""), 0);
}

static void preference(void **state)
{
	struct eg_cpu cpu = {.threads = 112, .sockets = 2, .uarch = EG_UARCH_CASCADELAKE};
	struct eg_cpu_model_inputs in = {&cpu, false, -1, -1, -1};
	struct eg_cpu_model m = {.n = 99};
	const char *why;

	eg_copy(cpu.model_name, sizeof(cpu.model_name), "Intel(R) Xeon(R) Platinum 8280 CPU");
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_int_equal(m.kind, EG_CPU_MODEL_UARCH);
	assert_true(fabs(eg_cpu_model_watts(&m, 1) - 1.06 * 410) < 1e-9);
	in.tdp_watts = 100;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_true(fabs(eg_cpu_model_watts(&m, 0) - .15 * 200) < 1e-9);
	/* A microarchitecture without a curve, but with a TDP. */
	cpu.uarch = EG_UARCH_SAPPHIRERAPIDS;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_int_equal(m.kind, EG_CPU_MODEL_TDP);
	assert_int_equal(m.rel_ppm, 750000);
	/* In a guest a TDP says nothing; calibration does. */
	in.guest = true;
	cpu.uarch = EG_UARCH_CASCADELAKE;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_int_equal(m.kind, EG_CPU_MODEL_THREAD);
	assert_true(fabs(eg_cpu_model_watts(&m, .5) - 112 * (.64 + 3.97) / 2) < 1e-9);
	cpu.uarch = EG_UARCH_UNKNOWN;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_int_equal(m.kind, EG_CPU_MODEL_VCPU);
	assert_true(m.rel_ppm >= 500000);
	assert_true(fabs(eg_cpu_model_watts(&m, 1) - 112 * 3.5) < 1e-9);
	in.idle_watts = 90;
	in.full_watts = 410;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), 0);
	assert_int_equal(m.kind, EG_CPU_MODEL_CALIBRATED);

	/* Nothing known; nonsense. The output stays as it is. */
	in = (struct eg_cpu_model_inputs){&cpu, false, -1, -1, -1};
	cpu = (struct eg_cpu){0};
	m.n = 99;
	assert_int_equal(eg_cpu_model_choose(&in, &m, &why), -ENODATA);
	static const double bad[][3] = {{10, -1, -1},  {-1, 10, -1}, {0, 10, -1},  {20, 10, -1},
					{10, 1e9, -1}, {-1, -1, 0},  {-1, -1, 1e9}};
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		why = NULL;
		in = (struct eg_cpu_model_inputs){&cpu, false, bad[i][0], bad[i][1], bad[i][2]};
		assert_int_equal(eg_cpu_model_choose(&in, &m, &why), -EINVAL);
		assert_non_null(why);
	}
	assert_int_equal(m.n, 99);
}

/*
 * A load in steps, read at odd times: the counter is the integral of P(u of each interval), to the
 * microjoule per interval, and never falls.
 */
static void integral(void **state)
{
	const struct eg_setting s[] = {{"cpu_model", "idle_watts", "100"},
				       {"cpu_model", "full_watts", "300"}};
	struct eg_instance *inst = NULL;
	struct eg_diags diags;
	struct tree t;
	double truth_uj = 0;
	uint64_t busy = 1000, idle = 5000, before = 0;

	tree_open(&t);
	put_machine(&t, "Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", "");
	put_stat(&t, busy, idle);
	assert_int_equal(DRIVER->probe(&t.env), 0);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	assert_int_equal(try_open(&t, s, 2, &diags, &inst), 0);
	const struct eg_channel *ch = channel(inst);

	assert_int_equal(ch->component, EG_COMPONENT_CHASSIS);
	assert_int_equal(ch->boundary, EG_BOUNDARY_NODE);
	assert_string_equal(ch->device, "node-model");
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "100 W idle"));
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "25 %"));
	assert_int_equal(read_once(inst, &diags).raw, 0);
	for (unsigned i = 1; i <= 1000; i++) {
		uint64_t dt_ns = 20000000 + i * 7777777ULL;
		uint64_t ticks = dt_ns * 112 / 10000000, b = ticks * (i % 11) / 10;
		double u = (double)b / (double)ticks;
		double k = u * 10;
		static const double g[12] = {0,	   .173, .234, .298, .363, .426,
					     .503, .599, .723, .863, 1,	   1};
		int j = (int)k;

		truth_uj +=
			(100 + 200 * (g[j] + (g[j + 1] - g[j]) * (k - j))) * (double)dt_ns / 1e3;
		busy += b;
		idle += ticks - b;
		t.clock.boot_ns += dt_ns;
		put_stat(&t, busy, idle);
		struct eg_reading r = read_once(inst, &diags);

		assert_int_equal(r.status, EG_STATUS_OK);
		assert_int_equal(r.t_ns, t.clock.boot_ns);
		assert_true(r.raw >= before);
		assert_true(fabs((double)r.raw - truth_uj) <= 1 + truth_uj * 1e-12);
		before = r.raw;
	}
	DRIVER->close(inst);
	eg_diags_free(&diags);
	tree_close(&t);
}

static void short_and_stale(void **state)
{
	struct eg_instance *inst = NULL;
	struct eg_diags diags;
	struct tree t;
	struct eg_reading r;

	tree_open(&t);
	put_machine(&t, "Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", "");
	put_stat(&t, 1000, 1000);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), 0);
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "cascadelake curve"));
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "50 %"));
	/* Below a tick nothing is charged yet, and nothing is lost: the next charge has it. */
	t.clock.boot_ns += 9000000;
	put_stat(&t, 1050, 1050);
	r = read_once(inst, &diags);
	assert_int_equal(r.status, EG_STATUS_OK);
	assert_int_equal(r.raw, 0);
	t.clock.boot_ns += 991000000;
	put_stat(&t, 6600, 6600);
	r = read_once(inst, &diags);
	assert_int_equal(r.raw, (uint64_t)(.53 * 410 * 1e6 + .5)); /* 1 s at one half */
	/* A file that stands still is no idle machine. */
	t.clock.boot_ns += 1000000000;
	r = read_once(inst, &diags);
	assert_int_equal(r.status, EG_STATUS_STALE);
	assert_true(has_diag(&diags, EG_DIAG_SENSOR_ERROR, "stands still"));
	/* Ticks again: the whole time since the last charge, at its utilisation. */
	t.clock.boot_ns += 1000000000;
	put_stat(&t, 6600, 6600 + 22400);
	r = read_once(inst, &diags);
	assert_int_equal(r.status, EG_STATUS_OK);
	assert_true(llabs((long long)r.raw - (long long)((.53 + 2 * .15) * 410 * 1e6)) <= 2);
	/* Suspend is not charged: only the time awake is. */
	uint64_t before = r.raw;

	t.clock.boot_ns += 3600000000000;
	t.clock.suspended_ns += 3599000000000;
	put_stat(&t, 6600, 6600 + 22400 + 11200);
	r = read_once(inst, &diags);
	assert_true(llabs((long long)(r.raw - before) - (long long)(.15 * 410 * 1e6)) <= 2);
	/* Counters that begin again: a new epoch from zero. */
	t.clock.boot_ns += 1000000000;
	put_stat(&t, 5, 5);
	uint32_t epoch = r.epoch;

	r = read_once(inst, &diags);
	assert_int_equal(r.status, EG_STATUS_OK);
	assert_int_not_equal(r.epoch, epoch);
	assert_int_equal(r.raw, 0);
	DRIVER->close(inst);
	eg_diags_free(&diags);
	tree_close(&t);
}

static void guest_and_unknown(void **state)
{
	const struct eg_setting tdp = {"cpu_model", "tdp_watts", "300"};
	struct eg_instance *inst = NULL;
	struct eg_diags diags;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	put_machine(&t, "Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", "hypervisor");
	put_stat(&t, 1, 1);
	assert_int_equal(try_open(&t, &tdp, 1, &diags, &inst), 0);
	assert_string_equal(channel(inst)->device, "cpu-model");
	assert_int_equal(channel(inst)->component, EG_COMPONENT_PACKAGE);
	assert_true(channel(inst)->accuracy.rel_ppm >= 500000);
	assert_true(has_diag(&diags, EG_DIAG_CONFIG, "virtual machine"));
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "112 virtual CPUs"));
	DRIVER->close(inst);
	/* No cpuinfo at all, but sysfs counts: the mean vCPU, with its error. */
	tree_unlink(&t, "proc/cpuinfo");
	tree_write(&t, "sys/devices/system/cpu/online", "0-3\n");
	assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), 0);
	assert_true(channel(inst)->accuracy.rel_ppm >= 500000);
	assert_true(channel(inst)->max_uw >= 4 * 3500000);
	DRIVER->close(inst);
	/* Not even that. */
	tree_unlink(&t, "sys/devices/system/cpu/online");
	inst = (void *)&t;
	assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), -ENODATA);
	assert_ptr_equal(inst, &t);
	assert_true(has_diag(&diags, EG_DIAG_SENSOR_UNSUPPORTED, "number of CPUs"));
	eg_diags_free(&diags);
	tree_close(&t);
}

static void refused(void **state)
{
	static const char *const stats[] = {
		"", "garbage\n", "cpu\n", "cpu  1 2 3\n", "cpu  1 2 3 x\n", "\0\0\0"};
	static const struct eg_setting bad[] = {
		{"cpu_model", "idle_watts", "10"},   {"cpu_model", "idle_watts", "nan"},
		{"cpu_model", "tdp_watts", "-5"},    {"cpu_model", "tdp_watts", "lots"},
		{"cpu_model", "full_watts", "1e99"},
	};
	struct eg_instance *inst = NULL;
	struct eg_driver_config cfg = {0};
	struct eg_diags diags;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	assert_int_equal(DRIVER->probe(&t.env), -ENOENT);
	assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), -ENOENT);
	assert_int_equal(diags.n, 1);
	assert_true(strlen(diags.items[0].cure) > 0);
	put_machine(&t, "x", "");
	for (size_t i = 0; i < EG_ARRAY_SIZE(stats); i++) {
		tree_write(&t, "proc/stat", stats[i]);
		assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), -EPROTO);
	}
	put_stat(&t, 1, 1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(try_open(&t, &bad[i], 1, &diags, &inst), -EINVAL);
	assert_true(has_diag(&diags, EG_DIAG_CONFIG, "go together"));
	cfg.diags = &diags;
	assert_int_equal(DRIVER->open(&t.env, &cfg, &inst), -EPERM);
	assert_true(has_diag(&diags, EG_DIAG_ESTIMATOR, "not allowed"));
	assert_null(inst);
	DRIVER->close(NULL);
	eg_diags_free(&diags);
	tree_close(&t);
}

static int failing_errno;

static ssize_t failing_pread(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	return failing_errno ? -failing_errno : eg_fs_kernel_ops.pread(ctx, fd, buf, n, off);
}

static void read_fails(void **state)
{
	struct eg_fs_ops ops = eg_fs_kernel_ops;
	struct eg_instance *inst = NULL;
	struct eg_diags diags;
	struct tree t;

	tree_open(&t);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	ops.pread = failing_pread;
	failing_errno = 0;
	t.env.fs.ops = &ops;
	put_machine(&t, "x", "");
	put_stat(&t, 100, 100);
	assert_int_equal(try_open(&t, NULL, 0, &diags, &inst), 0);
	t.clock.boot_ns += 1000000000;
	failing_errno = EIO;
	assert_int_equal(read_once(inst, &diags).status, EG_STATUS_ERROR);
	assert_true(has_diag(&diags, EG_DIAG_SENSOR_ERROR, "cannot be read"));
	failing_errno = EACCES;
	assert_int_equal(read_once(inst, NULL).status, EG_STATUS_DENIED);
	failing_errno = 0;
	/* Gone, then back: the file is opened again, and the time in between is charged. */
	tree_unlink(&t, "proc/stat");
	assert_int_equal(read_once(inst, &diags).status, EG_STATUS_ERROR);
	put_stat(&t, 100, 300);
	t.clock.boot_ns += 1000000000;
	struct eg_reading r = read_once(inst, &diags);

	assert_int_equal(r.status, EG_STATUS_OK);
	assert_int_equal(r.raw, 2 * 112 * 640000); /* 2 s idle, Cascade Lake threads */
	DRIVER->close(inst);
	eg_diags_free(&diags);
	tree_close(&t);
}

static void denied(void **state)
{
	struct tree t;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("# skip: needs root to become another user\n");
		skip();
	}
	tree_open(&t);
	put_machine(&t, "x", "");
	put_stat(&t, 1, 1);
	char full[512];

	tree_path(&t, "proc/stat", full, sizeof(full));
	assert_int_equal(chmod(full, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct eg_instance *inst;
		struct eg_diags diags;

		if (setuid(65534) || eg_diags_init(&diags, 4))
			_exit(9);
		if (try_open(&t, NULL, 0, &diags, &inst) != -EACCES)
			_exit(1);
		_exit(diags.n == 1 && diags.items[0].code == EG_DIAG_SENSOR_BLOCKED ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	tree_close(&t);
}

static void put_attribute(struct eg_attribute_sink *sink, const struct eg_attribute *a)
{
	(void)sink;
	print_message("# %s %s %s %g\n", a->device, a->name, a->is_text ? a->text : "", a->value);
	assert_string_not_equal(a->name, "");
}

static void this_machine(void **state)
{
	struct eg_attribute_sink sink = {put_attribute};
	struct eg_instance *inst = NULL;
	struct eg_diags diags;
	struct eg_env env;
	uint64_t a;

	assert_int_equal(eg_env_open(&env, NULL), 0);
	assert_int_equal(eg_diags_init(&diags, 16), 0);
	struct eg_driver_config cfg = {true, NULL, 0, &diags};

	assert_int_equal(DRIVER->open(&env, &cfg, &inst), 0);
	a = read_once(inst, &diags).raw;
	assert_int_equal(eg_clock_sleep_until(&env.clock, eg_clock_ns(&env.clock) + 100000000), 0);
	assert_true(read_once(inst, &diags).raw > a);
	DRIVER->attributes(inst, &sink);
	for (size_t i = 0; i < diags.n; i++)
		print_message("# %s\n", diags.items[i].detail);
	DRIVER->close(inst);
	eg_diags_free(&diags);
	eg_env_close(&env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(curve),	   cmocka_unit_test(tdp_names),
		cmocka_unit_test(preference),	   cmocka_unit_test(integral),
		cmocka_unit_test(short_and_stale), cmocka_unit_test(guest_and_unknown),
		cmocka_unit_test(refused),	   cmocka_unit_test(read_fails),
		cmocka_unit_test(denied),	   cmocka_unit_test(this_machine),
	};

	return cmocka_run_group_tests_name("cpu_model", tests, NULL, NULL);
}
