/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The perf_rapl driver on generated machines, whose counters are 8-byte files (see env.h), and on
 * the kernel this test runs on, whatever it has.
 */
#include "../rapl/tree.h"

#include <sys/syscall.h>

#include "core/counter.h"

#define PMU   "sys/bus/event_source/devices/power"
#define CORES "sys/bus/event_source/devices/power_core"
#define SCALE "2.3283064365386962890625e-10\n"
extern const struct eg_driver eg_driver_perf_rapl;

static struct tree *machine(void)
{
	return tree_new(&eg_driver_perf_rapl, "2-0");
}

static void pmu(struct tree *t, const char *dir, const char *cpumask)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/type", dir);
	tree_put(t, path, "9\n");
	snprintf(path, sizeof(path), "%s/cpumask", dir);
	tree_put(t, path, "%s\n", cpumask);
	snprintf(path, sizeof(path), "%s/events/.keep", dir);
	tree_put(t, path, "\n");
}

static void event(struct tree *t, const char *dir, const char *name, unsigned config)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/events/%s", dir, name);
	tree_put(t, path, "event=0x%02x\n", config);
	snprintf(path, sizeof(path), "%s/events/%s.unit", dir, name);
	tree_put(t, path, "Joules\n");
	snprintf(path, sizeof(path), "%s/events/%s.scale", dir, name);
	tree_put(t, path, SCALE);
}

static void cpu(struct tree *t, unsigned n, unsigned package, int die)
{
	char path[256];

	snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/physical_package_id",
		 n);
	tree_put(t, path, "%u\n", package);
	snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/die_id", n);
	if (die >= 0)
		tree_put(t, path, "%d\n", die);
}

static void count(struct tree *t, const char *name, unsigned config, unsigned on, uint64_t raw)
{
	char path[256];

	snprintf(path, sizeof(path), "dev/ergon-perf/%s/%x-%u", name, config, on);
	tree_put_bytes(t, path, &raw, sizeof(raw));
}

/* Two sockets with everything a server and a laptop have. */
static void two_sockets(struct tree *t)
{
	static const char *const events[] = {"energy-cores", "energy-pkg", "energy-ram",
					     "energy-gpu", "energy-psys"};

	pmu(t, PMU, "0,18");
	cpu(t, 0, 0, 0);
	cpu(t, 18, 3, 0);
	for (unsigned i = 0; i < 5; i++) {
		event(t, PMU, events[i], i + 1);
		count(t, "power", i + 1, 0, 100 + i);
		count(t, "power", i + 1, 18, 200 + i);
	}
}

static void whole_list(void **state)
{
	static const uint64_t raw[] = {101, 201, 100, 200, 103, 203, 102, 202, 104, 204};
	static const uint64_t max_w[] = {500, 500, 500, 500, 200, 200, 200, 200, 1000, 1000};
	static const char *const device[] = {"cpu-0", "cpu-3", "cpu-0", "cpu-3", "cpu-0",
					     "cpu-3", "cpu-0", "cpu-3", "node",	 "psys-3"};
	struct tree *t = machine();

	two_sockets(t);
	assert_int_equal(eg_driver_perf_rapl.probe(&t->env), 0);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 package-3 core-0 core-3 uncore-0 uncore-3 dram-0 dram-3 psys "
		       "psys-3");
	tree_read(t);
	assert_int_equal(t->n_readings, 10);
	for (size_t i = 0; i < t->n; i++) {
		const struct eg_channel *ch = &t->ch[i];

		assert_string_equal(ch->device, device[i]);
		assert_int_equal(ch->boundary, i >= 8 ? EG_BOUNDARY_NODE : EG_BOUNDARY_COMPONENT);
		assert_int_equal(ch->source, EG_SOURCE_RAPL);
		assert_int_equal(ch->quantity, EG_QUANTITY_ENERGY);
		assert_int_equal(ch->provenance, EG_PROVENANCE_MEASURED);
		assert_true(ch->unit_num == 15625 && ch->unit_den == 67108864);
		assert_true(ch->modulus == 0 && ch->zero_based);
		assert_true(ch->resolution_uj == 62 && ch->update_ns == EG_NSEC_PER_MSEC);
		assert_true(ch->max_uw == max_w[i] * 1000000);
		assert_true(ch->guard_ns == 30 * EG_NSEC_PER_SEC);
		assert_int_equal(ch->accuracy.rel_ppm, 50000);
		assert_int_equal(t->reading[i].status, EG_STATUS_OK);
		assert_true(t->reading[i].raw == raw[i]);
		assert_true(t->reading[i].t_ns == t->clock.boot_ns);
	}
	assert_int_equal(t->ch[0].component, EG_COMPONENT_PACKAGE);
	assert_int_equal(t->ch[2].component, EG_COMPONENT_CORE);
	assert_int_equal(t->ch[4].component, EG_COMPONENT_UNCORE);
	assert_int_equal(t->ch[6].component, EG_COMPONENT_DRAM);
	assert_int_equal(t->ch[8].component, EG_COMPONENT_PSYS);
	assert_int_equal(t->diags.n, 0);
	assert_true(eg_driver_perf_rapl.may_block(t->inst)); /* replaced operations */
	tree_free(t);
}

/* The first reading is the baseline; 350 W for an hour then sum up to the microjoule. */
static void energy_is_exact(void **state)
{
	struct tree *t = machine();
	struct eg_counter c = {0};
	uint64_t raw = 123456789012345, uj = 0;

	pmu(t, PMU, "0");
	cpu(t, 0, 0, -1);
	event(t, PMU, "energy-pkg", 2);
	count(t, "power", 2, 0, raw);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	for (unsigned i = 0; i <= 120; i++) {
		tree_read(t);
		uj += eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns).uj;
		raw += 10500ULL << 32; /* 30 s */
		count(t, "power", 2, 0, raw);
		t->clock.boot_ns += 30 * EG_NSEC_PER_SEC;
	}
	assert_true(uj == 1260000000000);
	tree_free(t);
}

static void dies(void **state)
{
	struct tree *t = machine();

	/* Two dies in one package: two counters, named as powercap names them. */
	two_sockets(t);
	cpu(t, 18, 0, 1);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0-die-0 package-0-die-1 core-0-die-0 core-0-die-1 uncore-0-die-0 "
		       "uncore-0-die-1 dram-0-die-0 dram-0-die-1 psys");
	assert_string_equal(t->ch[1].device, "cpu-0-die-1");
	tree_shut(t);
	/* AMD counts in the package, whatever the mask says (D4). */
	tree_put(t, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n\n");
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 uncore-0 dram-0 psys");
	assert_string_equal(t->ch[0].device, "cpu-0");
	assert_int_equal(t->ch[0].accuracy.rel_ppm, 100000);
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "repeats"));
	tree_shut(t);
	/* Two CPUs of one die are one counter on any machine. */
	tree_put(t, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n\n");
	cpu(t, 18, 0, 0);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 uncore-0 dram-0 psys");
	tree_free(t);
}

static void each_core_of_amd(void **state)
{
	static const struct eg_setting on = {"perf_rapl", "each_core", "true"};
	struct tree *t = machine();

	tree_put(t, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\n\n");
	pmu(t, PMU, "0");
	event(t, PMU, "energy-pkg", 2);
	count(t, "power", 2, 0, 1);
	pmu(t, CORES, "0-1,9");
	event(t, CORES, "energy-core", 1);
	cpu(t, 0, 0, 0);
	cpu(t, 1, 0, 0);
	cpu(t, 9, 1, 0); /* no package counter holds it: nothing keeps it out of a total */
	count(t, "power_core", 1, 0, 5);
	count(t, "power_core", 1, 1, 6);
	count(t, "power_core", 1, 9, 7);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	tree_shut(t);
	assert_int_equal(tree_open_with(t, &on, 1), 0);
	tree_expect(t, "package-0 core-0-cpu-0 core-0-cpu-1");
	assert_int_equal(t->ch[0].part_of, -1);
	assert_int_equal(t->ch[1].part_of, 0);
	assert_int_equal(t->ch[2].part_of, 0);
	assert_string_not_equal(t->ch[1].device, t->ch[2].device);
	tree_read(t);
	assert_true(t->reading[1].raw == 5 && t->reading[2].raw == 6);
	tree_free(t);
}

static void platform_of_sapphire_rapids(void **state)
{
	struct tree *t = machine();

	two_sockets(t);
	tree_put(t, "proc/cpuinfo",
		 "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n"
		 "model\t\t: 143\nmodel name\t: Intel(R) Xeon(R)\nstepping\t: 8\n\n");
	assert_int_equal(tree_open(t), 0);
	assert_true(t->ch[tree_find(t, "psys")].resolution_uj == 1000000);
	assert_true(t->ch[tree_find(t, "package-0")].resolution_uj == 62);
	tree_free(t);
}

/* A virtual machine may list an event that never counts: no data, not 0 J; one that counts is read. */
static void guest(void **state)
{
	struct tree *t = machine();
	size_t psys;

	two_sockets(t);
	tree_put(t, "proc/cpuinfo",
		 "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor avx\n\n");
	count(t, "power", 5, 0, 0);
	assert_int_equal(tree_open(t), 0);
	psys = tree_find(t, "psys");
	tree_read(t);
	assert_int_equal(t->reading[psys].status, EG_STATUS_NO_DATA);
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_UNSUPPORTED, "counts nothing"));
	count(t, "power", 5, 0, 7ULL << 32);
	tree_read(t);
	assert_int_equal(t->reading[psys].status, EG_STATUS_OK);
	tree_free(t);
}

static void absent(void **state)
{
	struct tree *t = machine();

	assert_int_equal(tree_open(t), -ENOENT);
	assert_int_equal(t->diags.n, 1);
	assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_ABSENT);
	assert_true(t->diags.items[0].cure[0]);
	tree_put(t, "sys/bus/event_source/devices/cpu/type", "4\n");
	assert_int_equal(eg_driver_perf_rapl.probe(&t->env), -ENODEV);
	assert_int_equal(tree_open(t), -ENODEV);
	tree_free(t);
}

static void no_events(void **state)
{
	struct tree *t = machine();

	pmu(t, PMU, "0");
	cpu(t, 0, 0, 0);
	assert_int_equal(eg_driver_perf_rapl.probe(&t->env), 0);
	assert_int_equal(tree_open(t), -ENOTSUP);
	assert_int_equal(t->diags.n, 1);
	assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_UNSUPPORTED);
	assert_non_null(strstr(t->diags.items[0].detail, "lists no energy event"));
	tree_remove(t, PMU "/events");
	assert_int_equal(tree_open(t), -ENOTSUP);
	tree_free(t);
}

static int refusal;
static int refuse(const struct eg_env *env, const char *name, uint32_t type, uint64_t config,
		  int on)
{
	return refusal;
}

static void refused(void **state)
{
	static const struct {
		int err;
		enum eg_diag_code code;
		const char *cure;
	} r[] = {
		{-EINVAL, EG_DIAG_SENSOR_UNSUPPORTED, "virtual machine"},
		{-EOPNOTSUPP, EG_DIAG_SENSOR_UNSUPPORTED, "virtual machine"},
		{-EACCES, EG_DIAG_SENSOR_BLOCKED, "CAP_PERFMON"},
		{-EPERM, EG_DIAG_SENSOR_BLOCKED, "kernel.perf_event_paranoid=0"},
		{-EMFILE, EG_DIAG_SENSOR_ERROR, ""},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(r); i++) {
		struct tree *t = machine();

		two_sockets(t);
		refusal = r[i].err;
		t->env.perf_open = refuse;
		assert_int_equal(tree_open(t), r[i].err);
		assert_int_equal(t->diags.n, 10);
		for (size_t j = 0; j < t->diags.n; j++) {
			assert_int_equal(t->diags.items[j].code, r[i].code);
			assert_non_null(strstr(t->diags.items[j].cure, r[i].cure));
		}
		tree_free(t);
	}
}

static void bad_definitions(void **state)
{
	static const struct {
		const char *file, *text;
	} bad[] = {
		{"events/energy-pkg", "umask=2\n"},
		{"events/energy-pkg", ""},
		{"events/energy-pkg.unit", "Watts\n"},
		{"events/energy-pkg.scale", "many\n"},
		{"events/energy-pkg.scale", "0\n"},
		{"events/energy-pkg.scale", NULL},
		{"events/energy-pkg.unit", NULL},
		{"type", "software\n"},
		{"type", "99999999999\n"},
		{"type", ""},
		{"cpumask", "0-\n"},
		{"cpumask", NULL},
		{"cpumask", "5\n"}, /* no topology: its package is unknown */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct tree *t = machine();
		char path[256];

		pmu(t, PMU, "0");
		cpu(t, 0, 0, 0);
		event(t, PMU, "energy-pkg", 2);
		count(t, "power", 2, 0, 9);
		count(t, "power", 2, 5, 9);
		snprintf(path, sizeof(path), PMU "/%s", bad[i].file);
		if (bad[i].text)
			tree_put_bytes(t, path, bad[i].text, strlen(bad[i].text));
		else
			tree_remove(t, path);
		assert_true(tree_open(t) < 0);
		assert_int_equal(t->diags.n, 1);
		tree_free(t);
	}
}

/* A counter that fails is opened again and starts from 0: another epoch, never energy twice. */
static void fails_and_returns(void **state)
{
	struct tree *t = machine();
	struct eg_counter c = {0};
	struct eg_counter_step s;
	uint32_t epoch;

	pmu(t, PMU, "0");
	cpu(t, 0, 0, -1);
	event(t, PMU, "energy-pkg", 2);
	count(t, "power", 2, 0, 1000ULL << 32);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	epoch = t->reading[0].epoch;
	eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);
	t->fail_pread = -EIO;
	t->clock.boot_ns += EG_NSEC_PER_SEC;
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_ERROR);
	assert_true(t->reading[0].raw == 0 && t->open_fds == 0);
	t->fail_pread = 0;
	t->fail_open = -ENODEV;
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_NO_DATA);
	t->fail_open = -EACCES;
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_DENIED);
	t->fail_open = 0;
	count(t, "power", 2, 0, 3ULL << 32);
	t->clock.boot_ns += EG_NSEC_PER_SEC;
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_OK);
	assert_int_not_equal(t->reading[0].epoch, epoch);
	s = eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);
	assert_int_equal(s.event, EG_COUNTER_RESET);
	assert_true(s.uj == 3000000);
	/* An event in error state reads as end of file. */
	tree_put_bytes(t, "dev/ergon-perf/power/2-0", "abc", 3);
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_ERROR);
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ERROR, "no count"));
	tree_free(t);
}

static void options(void **state)
{
	static const struct eg_setting set[] = {{"perf_rapl", "package_max_watts", "700"},
						{"perf_rapl", "dram_max_watts", "0"},
						{"rapl", "psys_max_watts", "5"}};
	struct tree *t = machine();

	two_sockets(t);
	assert_int_equal(tree_open_with(t, set, EG_ARRAY_SIZE(set)), 0);
	assert_true(t->ch[tree_find(t, "package-0")].max_uw == 700000000);
	assert_true(t->ch[tree_find(t, "core-3")].max_uw == 700000000);
	assert_true(t->ch[tree_find(t, "dram-0")].max_uw == 200000000);
	assert_true(t->ch[tree_find(t, "psys")].max_uw == 1000000000);
	assert_non_null(tree_diag(t, EG_DIAG_CONFIG, "dram_max_watts"));
	tree_free(t);
}

static void more_than_the_ceiling(void **state)
{
	struct tree *t = machine();

	pmu(t, PMU, "0-599");
	event(t, PMU, "energy-pkg", 2);
	for (unsigned i = 0; i < 600; i++) {
		cpu(t, i, i, -1);
		count(t, "power", 2, i, i);
	}
	assert_int_equal(tree_open(t), 0);
	assert_int_equal(t->n, EG_CHANNELS_MAX);
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "more than"));
	tree_free(t);
}

static void every_call_fails(void **state)
{
	struct tree *t = machine();
	unsigned total, whole = 0;

	two_sockets(t);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	total = t->calls;
	tree_shut(t);
	assert_true(total > 50);
	for (unsigned i = 1; i <= total; i++) {
		t->calls = 0;
		t->fail_nth = i;
		if (tree_open(t) == 0) {
			whole += t->n == 10;
			tree_read(t);
			assert_int_equal(t->n_readings, t->n);
			for (size_t j = 0; j < t->n; j++)
				assert_true(t->reading[j].status != EG_STATUS_OK ||
					    t->reading[j].raw >= 100);
		}
		tree_shut(t);
		assert_int_equal(t->open_fds, 0);
	}
	assert_true(whole > 0 && whole < total);
	t->fail_nth = 0;
	tree_free(t);
}

/* A perf descriptor of this kernel (its CPU clock), which has no offset to read from. */
static int kernel_counter(const struct eg_env *env, const char *name, uint32_t type,
			  uint64_t config, int on)
{
	static const uint32_t attr[28] = {1 /* PERF_TYPE_SOFTWARE */, sizeof(attr)};
	long fd = syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);

	return fd < 0 ? -errno : (int)fd;
}

static void descriptor_without_offset(void **state)
{
	struct tree *t = machine();
	int fds[2], fd = kernel_counter(NULL, "", 0, 0, 0);
	uint64_t first;

	pmu(t, PMU, "0");
	cpu(t, 0, 0, -1);
	event(t, PMU, "energy-pkg", 2);
	count(t, "power", 2, 0, 1);
	if (fd >= 0) {
		close(fd);
		t->env.perf_open = kernel_counter;
		assert_int_equal(tree_open(t), 0);
		tree_read(t);
		assert_int_equal(t->reading[0].status, EG_STATUS_OK);
		first = t->reading[0].raw;
		tree_read(t);
		assert_true(t->reading[0].raw > first); /* time passed in between */
		tree_shut(t);
	}
	/* The same with a pipe, where the kernel allows no perf at all. */
	assert_int_equal(pipe(fds), 0);
	first = 4711;
	assert_int_equal(write(fds[1], &first, sizeof(first)), sizeof(first));
	refusal = fds[0];
	t->env.perf_open = refuse;
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_OK);
	assert_true(t->reading[0].raw == 4711);
	close(fds[1]);
	tree_free(t);
}

/* The machine under the test: counters that go on, or a reason with a cure. Never neither. */
static void this_machine(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));
	uint64_t before[EG_CHANNELS_MAX];
	int r;

	assert_non_null(t);
	assert_int_equal(eg_env_open(&t->env, "/"), 0);
	t->driver = &eg_driver_perf_rapl;
	assert_int_equal(eg_diags_init(&t->diags, EG_DIAGS_MAX), 0);
	t->sink.put = tree_sink_put;
	r = tree_open(t);
	print_message("# perf_rapl here: %s\n", r < 0 ? t->diags.items[0].detail : "counters");
	if (r < 0) {
		assert_true(t->diags.n > 0);
		assert_true(t->diags.items[0].detail[0]);
		assert_int_equal(t->n, 0);
	} else {
		assert_false(eg_driver_perf_rapl.may_block(t->inst));
		tree_read(t);
		for (size_t i = 0; i < t->n; i++) {
			assert_int_equal(t->reading[i].status, EG_STATUS_OK);
			before[i] = t->reading[i].raw;
		}
		tree_read(t);
		for (size_t i = 0; i < t->n; i++)
			assert_true(t->reading[i].raw >= before[i]);
	}
	tree_free(t);
}

static void captures(void **state)
{
	static const char *const name[] = {"kepler", "node_exporter", "procfs-lib", "kepler-bad"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(name); i++) {
		struct tree *t = tree_capture(&eg_driver_perf_rapl, name[i]);

		/* None of these machines was captured with its PMUs. */
		assert_int_equal(tree_open(t), -ENOENT);
		assert_int_equal(t->diags.n, 1);
		assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_ABSENT);
		tree_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_list),
		cmocka_unit_test(energy_is_exact),
		cmocka_unit_test(dies),
		cmocka_unit_test(each_core_of_amd),
		cmocka_unit_test(platform_of_sapphire_rapids),
		cmocka_unit_test(guest),
		cmocka_unit_test(absent),
		cmocka_unit_test(no_events),
		cmocka_unit_test(refused),
		cmocka_unit_test(bad_definitions),
		cmocka_unit_test(fails_and_returns),
		cmocka_unit_test(options),
		cmocka_unit_test(more_than_the_ceiling),
		cmocka_unit_test(every_call_fails),
		cmocka_unit_test(descriptor_without_offset),
		cmocka_unit_test(this_machine),
		cmocka_unit_test(captures),
	};

	return cmocka_run_group_tests_name("perf_rapl-driver", tests, NULL, NULL);
}
