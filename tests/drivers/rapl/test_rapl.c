/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rapl driver on generated machines: which zones become channels, which are left out and why,
 * and what a reading says when a zone fails, vanishes or comes back. The numbers D1-D13 are the
 * defects of contracts/measurement.md Part 3.
 */
#include "tree.h"

#include <sys/wait.h>

#include "core/counter.h"

#define PC  "sys/class/powercap"
#define R14 262143328850u /* max_energy_range_uj of 2^-14 J */
#define M14 262143328911u
#define R16 65532610987u
extern const struct eg_driver eg_driver_rapl;

static struct tree *machine(void)
{
	return tree_new(&eg_driver_rapl, "energy_uj");
}

static void zone_at(struct tree *t, const char *base, const char *id, const char *name,
		    uint64_t range, uint64_t uj)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/name", base, id);
	tree_put(t, path, "%s\n", name);
	snprintf(path, sizeof(path), "%s/%s/energy_uj", base, id);
	tree_put(t, path, "%" PRIu64 "\n", uj);
	snprintf(path, sizeof(path), "%s/%s/max_energy_range_uj", base, id);
	tree_put(t, path, "%" PRIu64 "\n", range);
}

static void zone(struct tree *t, const char *id, const char *name, uint64_t range, uint64_t uj)
{
	zone_at(t, PC, id, name, range, uj);
}

static void energy(struct tree *t, const char *id, uint64_t uj)
{
	char path[256];

	snprintf(path, sizeof(path), PC "/%s/energy_uj", id);
	tree_put(t, path, "%" PRIu64 "\n", uj);
}

static void server(struct tree *t)
{
	/* The numbers of zones say nothing: package 1 comes first, psys in between. */
	zone(t, "intel-rapl:0", "package-1", R14, 1000);
	zone(t, "intel-rapl:0:0", "dram", 65712999613, 1001);
	zone(t, "intel-rapl:1", "psys", 4294967295000000, 5000000);
	zone(t, "intel-rapl:2", "package-0", R14, 2000);
	zone(t, "intel-rapl:2:0", "dram", 65712999613, 2001);
	zone(t, "intel-rapl:2:1", "core", R14, 2002);
	tree_put(t, PC "/intel-rapl/enabled", "1\n");
	tree_put(t, "proc/sys/kernel/random/boot_id", "0b7c7ea1-1111-2222-3333-444455556666\n");
	tree_put(t, "proc/cpuinfo",
		 "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n"
		 "model\t\t: 143\n\n");
}

static void check_channel(const struct tree *t, size_t i, const char *device,
			  enum eg_component component, uint64_t modulus, uint64_t resolution,
			  uint64_t max_w)
{
	const struct eg_channel *ch = &t->ch[i];

	assert_string_equal(ch->device, device);
	assert_int_equal(ch->component, component);
	assert_int_equal(ch->boundary,
			 component == EG_COMPONENT_PSYS ? EG_BOUNDARY_NODE : EG_BOUNDARY_COMPONENT);
	assert_int_equal(ch->source, EG_SOURCE_RAPL);
	assert_int_equal(ch->provenance, EG_PROVENANCE_MEASURED);
	assert_int_equal(ch->quantity, EG_QUANTITY_ENERGY);
	assert_true(ch->unit_num == 1 && ch->unit_den == 1000);
	assert_in_range(ch->modulus / 1000, modulus ? modulus - 1 : 0, modulus ? modulus + 1 : 0);
	assert_true(ch->resolution_uj == resolution);
	assert_true(ch->max_uw == max_w * 1000000);
	assert_true(ch->guard_ns == 30 * EG_NSEC_PER_SEC);
	assert_true(ch->update_ns == EG_NSEC_PER_MSEC);
	assert_int_equal(ch->part_of, -1);
	assert_false(ch->zero_based);
	assert_int_equal(ch->accuracy.rel_ppm, 50000);
}

static void a_server(void **state)
{
	struct tree *t = machine();
	static const uint64_t values[] = {2000, 2002, 2001, 1000, 1001, 5000000};

	server(t);
	assert_int_equal(eg_driver_rapl.probe(&t->env), 0);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 dram-0 package-1 dram-1 psys");
	check_channel(t, 0, "cpu-0", EG_COMPONENT_PACKAGE, M14, 62, 500);
	check_channel(t, 1, "cpu-0", EG_COMPONENT_CORE, M14, 62, 500);
	check_channel(t, 2, "cpu-0", EG_COMPONENT_DRAM, 65712999628, 16, 200);
	check_channel(t, 3, "cpu-1", EG_COMPONENT_PACKAGE, M14, 62, 500);
	check_channel(t, 4, "cpu-1", EG_COMPONENT_DRAM, 65712999628, 16, 200);
	check_channel(t, 5, "node", EG_COMPONENT_PSYS, 4294967296000000, 1000000, 1000);
	assert_string_equal(t->ch[2].origin, PC "/intel-rapl:2:0/energy_uj");
	tree_read(t);
	assert_int_equal(t->n_readings, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(t->reading[i].status, EG_STATUS_OK);
		assert_true(t->reading[i].raw / 1000 == values[i]);
		assert_true(t->reading[i].t_ns == t->clock.boot_ns);
		assert_int_equal(t->reading[i].epoch, t->reading[0].epoch);
	}
	assert_int_equal(t->diags.n, 0);
	tree_free(t);
}

static void another_boot_is_another_epoch(void **state)
{
	struct tree *t = machine();
	uint32_t first;

	server(t);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	first = t->reading[0].epoch;
	tree_shut(t);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	assert_int_equal(t->reading[0].epoch, first);
	tree_shut(t);
	tree_put(t, "proc/sys/kernel/random/boot_id", "1b7c7ea1-1111-2222-3333-444455556666\n");
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	assert_int_not_equal(t->reading[0].epoch, first);
	tree_free(t);
}

/* D5: twelve packages, hexadecimal numbers of zones, package numbers with holes. */
static void hex_and_sparse(void **state)
{
	static const unsigned package[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 100};
	struct tree *t = machine();
	char id[32], name[32];

	for (unsigned i = 0; i < 12; i++) {
		snprintf(id, sizeof(id), "intel-rapl:%x", i);
		snprintf(name, sizeof(name), "package-%u", package[11 - i]);
		zone(t, id, name, R14, 1000 + package[11 - i]);
		snprintf(id, sizeof(id), "intel-rapl:%x:0", i);
		zone(t, id, "dram", R16, 5000 + package[11 - i]);
	}
	assert_int_equal(tree_open(t), 0);
	assert_int_equal(t->n, 24);
	tree_read(t);
	for (size_t i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "package-%u", package[i]);
		assert_true(t->reading[tree_find(t, name)].raw / 1000 == 1000 + package[i]);
		snprintf(name, sizeof(name), "dram-%u", package[i]);
		assert_true(t->reading[tree_find(t, name)].raw / 1000 == 5000 + package[i]);
	}
	assert_int_equal(t->diags.n, 0);
	tree_free(t);
}

static void dies_and_platforms(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0-die-0", R14, 100);
	zone(t, "intel-rapl:0:0", "dram", R16, 101);
	zone(t, "intel-rapl:1", "package-0-die-1", R14, 90000);
	zone(t, "intel-rapl:1:0", "dram", R16, 103);
	zone(t, "intel-rapl:2", "psys", R14, 7);
	zone(t, "intel-rapl:3", "psys-1", R14, 8);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0-die-0 dram-0-die-0 package-0-die-1 dram-0-die-1 psys psys-1");
	assert_string_equal(t->ch[0].device, "cpu-0-die-0");
	assert_string_equal(t->ch[3].device, "cpu-0-die-1");
	/* Two platforms are two things: as one account, one of them would pass for the machine. */
	assert_string_equal(t->ch[4].device, "node");
	assert_string_equal(t->ch[5].device, "psys-1");
	assert_int_equal(t->diags.n, 0);
	tree_free(t);
}

static void mmio_twin(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0", R14, 100);
	zone(t, "intel-rapl:0:0", "core", R14, 50);
	zone(t, "intel-rapl-mmio:0", "package-0", R14, 100);
	zone(t, "intel-rapl-mmio:0:0", "dram", R16, 9);
	assert_int_equal(tree_open(t), 0);
	/* The memory that only MMIO shows is a channel; the package it repeats is not. */
	tree_expect(t, "package-0 core-0 dram-0");
	assert_string_equal(t->ch[0].origin, PC "/intel-rapl:0/energy_uj");
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "intel-rapl-mmio:0"));
	tree_free(t);

	t = machine();
	zone(t, "intel-rapl-mmio:0", "package-0", R14, 100);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	assert_int_equal(t->diags.n, 0);
	tree_free(t);

	/* The first of both that can be read is taken. */
	t = machine();
	zone(t, "intel-rapl:0", "package-0", R14, 100);
	tree_put(t, PC "/intel-rapl:0/energy_uj", "soon\n");
	zone(t, "intel-rapl-mmio:0", "package-0", R14, 100);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	assert_string_equal(t->ch[0].origin, PC "/intel-rapl-mmio:0/energy_uj");
	tree_free(t);
}

/* D13: the memory zone lies inside the package's folder only. */
static void nested_only(void **state)
{
	struct tree *t = machine();
	struct stat st;

	zone(t, "intel-rapl:0", "package-0", R14, 400000000);
	zone_at(t, PC "/intel-rapl:0", "intel-rapl:0:0", "dram", R16, 80000000);
	zone_at(t, PC "/intel-rapl:0/intel-rapl:0:0", "intel-rapl:0:0:0", "uncore", R16, 7);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 uncore-0 dram-0");
	tree_read(t);
	assert_true(t->reading[0].raw / 1000 + t->reading[2].raw / 1000 == 480000000);
	tree_free(t);

	/* The kernel's layout: zones in zones below the control type, links in the class folder. */
	t = machine();
	zone_at(t, "sys/devices/virtual/powercap/intel-rapl", "intel-rapl:0", "package-0", R14, 1);
	zone_at(t, "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0", "intel-rapl:0:0", "core",
		R14, 2);
	{
		char path[512], other[512];

		tree_put(t, PC "/.keep", "\n");
		tree_path(t, PC "/intel-rapl", path, sizeof(path));
		assert_int_equal(symlink("../../devices/virtual/powercap/intel-rapl", path), 0);
		tree_path(t, PC "/intel-rapl:0", path, sizeof(path));
		assert_int_equal(
			symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0", path), 0);
		tree_path(t, PC "/intel-rapl:0:0", other, sizeof(other));
		assert_int_equal(symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0/"
					 "intel-rapl:0:0",
					 other),
				 0);
		assert_int_equal(stat(other, &st), 0);
	}
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0");
	assert_string_equal(t->ch[1].origin, PC "/intel-rapl:0:0/energy_uj");
	tree_free(t);

	/* The folder that containers mount for tools built on Zeus. */
	t = machine();
	zone_at(t, "zeus_sys/class/powercap/intel-rapl", "intel-rapl:0", "package-0", R14, 1);
	zone_at(t, "zeus_sys/class/powercap/intel-rapl/intel-rapl:0", "intel-rapl:0:0", "dram", R16,
		2);
	assert_int_equal(eg_driver_rapl.probe(&t->env), 0);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 dram-0");
	tree_free(t);
}

static void two_dies(struct tree *t, const char *vendor, uint64_t a, uint64_t b)
{
	tree_put(t, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: %s\n\n", vendor);
	zone(t, "intel-rapl:0", "package-0-die-0", R16, a);
	zone(t, "intel-rapl:0:0", "core", R16, a / 2);
	zone(t, "intel-rapl:1", "package-0-die-1", R16, b);
	zone(t, "intel-rapl:1:0", "core", R16, b / 3);
}

/* D4: 68 W for 2 s on a CPU that shows its package once a die. */
static void mirrored_dies(void **state)
{
	static const uint64_t start = R16 - 10; /* the counter wraps while it is tested */
	struct tree *t = machine();
	struct eg_counter c = {0};
	uint64_t uj = 0;

	two_dies(t, "AuthenticAMD", start, start);
	t->creep = 1;
	assert_int_equal(tree_open(t), 0);
	t->creep = 0;
	tree_expect(t, "package-0 core-0");
	assert_string_equal(t->ch[0].device, "cpu-0");
	assert_string_equal(t->ch[1].device, "cpu-0");
	assert_int_equal(t->ch[0].accuracy.rel_ppm, 100000);
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "package-0-die-1"));
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "intel-rapl:1:0"));
	for (uint64_t i = 0; i <= 20; i++) {
		uint64_t now = (start + i * 6800000) % (R16 + 15);

		energy(t, "intel-rapl:0", now);
		energy(t, "intel-rapl:1", now);
		tree_read(t);
		uj += eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns).uj;
		t->clock.boot_ns += 100 * EG_NSEC_PER_MSEC;
	}
	assert_true(uj == 136000000);
	tree_free(t);
}

static void independent_dies(void **state)
{
	static const struct {
		const char *vendor;
		uint64_t a, b, creep;
		const char *domains;
	} t[] = {
		{"AuthenticAMD", 1000000, 1000500, 1,
		 "package-0-die-0 core-0-die-0 package-0-die-1 core-0-die-1"},
		{"AuthenticAMD", 1000500, 1000000, 1,
		 "package-0-die-0 core-0-die-0 package-0-die-1 core-0-die-1"},
		{"GenuineIntel", 0, 0, 0,
		 "package-0-die-0 core-0-die-0 package-0-die-1 core-0-die-1"},
		{"AuthenticAMD", 0, 0, 0, "package-0 core-0"},
		{"HygonGenuine", 77, 77, 0, "package-0 core-0"},
		{"GenuineIntel", 77, 77, 0, "package-0 core-0"},
		{"GenuineIntel", 77, 78, 0,
		 "package-0-die-0 core-0-die-0 package-0-die-1 core-0-die-1"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		struct tree *m = machine();

		two_dies(m, t[i].vendor, t[i].a, t[i].b);
		m->creep = t[i].creep;
		assert_int_equal(tree_open(m), 0);
		tree_expect(m, t[i].domains);
		tree_free(m);
	}
}

/* Four dies, two counters: nothing stands for the whole package, so the dies keep their names. */
static void half_mirrored(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0-die-0", R16, 5000);
	zone(t, "intel-rapl:1", "package-0-die-1", R16, 5000);
	zone(t, "intel-rapl:2", "package-0-die-2", R16, 9000);
	zone(t, "intel-rapl:3", "package-0-die-3", R16, 9000);
	zone(t, "intel-rapl:4", "package-1", R16, 5000); /* another package is no mirror */
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0-die-0 package-0-die-2 package-1");
	tree_free(t);
}

/* D12: without a range a step back is a reset, never negative energy. */
static void no_range(void **state)
{
	static const char *const text[] = {"0\n",
					   "lots\n",
					   "",
					   "-5\n",
					   "18446744073709551615\n",
					   "99\n" /* below the value shown */,
					   NULL};

	for (size_t i = 0; i < EG_ARRAY_SIZE(text); i++) {
		struct tree *t = machine();
		struct eg_counter c = {0};

		zone(t, "intel-rapl:0", "package-0", R14, 100000000);
		if (text[i])
			tree_put(t, PC "/intel-rapl:0/max_energy_range_uj", "%s", text[i]);
		else
			tree_remove(t, PC "/intel-rapl:0/max_energy_range_uj");
		assert_int_equal(tree_open(t), 0);
		assert_true(t->ch[0].modulus == 0 && t->ch[0].resolution_uj == 1);
		assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ERROR, "max_energy_range_uj"));
		tree_read(t);
		eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);
		energy(t, "intel-rapl:0", 7000000);
		t->clock.boot_ns += EG_NSEC_PER_SEC;
		tree_read(t);
		{
			struct eg_counter_step s =
				eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);

			assert_int_equal(s.event, EG_COUNTER_RESET);
			assert_true(s.uj == 0 && s.gap_ns == EG_NSEC_PER_SEC);
		}
		tree_free(t);
	}
}

/* D1, D2: 350 W in windows of 100 ms over the wraps of a counter that starts near its end. */
static void windows_over_wraps(void **state)
{
	struct tree *t = machine();
	struct eg_counter c = {0};
	const uint64_t step = 35000000, start = R14 - 3 * step / 2;
	unsigned wraps = 0;

	zone(t, "intel-rapl:0", "package-0", R14, start);
	assert_int_equal(tree_open(t), 0);
	for (uint64_t i = 0; i < 23000; i++) {
		energy(t, "intel-rapl:0", (start + i * step) % M14);
		tree_read(t);
		{
			struct eg_counter_step s =
				eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);

			/* 35 J each, 0 for the first; the register ends 0.36 uJ after M14 */
			assert_in_range(s.uj, i ? step : 0, i ? step + 1 : 0);
			wraps += s.event == EG_COUNTER_WRAP;
		}
		t->clock.boot_ns += 100 * EG_NSEC_PER_MSEC;
	}
	assert_int_equal(wraps, 4);
	tree_free(t);
}

/* D3: a laptop, package 20 W and platform 35 W for 2 s: the platform is no second CPU. */
static void laptop(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0", R14, 0);
	zone(t, "intel-rapl:0:0", "core", R14, 0);
	zone(t, "intel-rapl:0:1", "uncore", R14, 0);
	zone(t, "intel-rapl:1", "psys", R14, 0);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 uncore-0 psys");
	energy(t, "intel-rapl:0", 40000000);
	energy(t, "intel-rapl:1", 70000000);
	tree_read(t);
	for (size_t i = 0, packages = 0; i < t->n; i++)
		if (t->ch[i].component == EG_COMPONENT_PACKAGE) {
			assert_int_equal(++packages, 1);
			assert_true(t->reading[i].raw / 1000 == 40000000);
		}
	assert_int_equal(t->ch[3].boundary, EG_BOUNDARY_NODE);
	assert_true(t->reading[3].raw / 1000 == 70000000);
	tree_free(t);
}

/* D11: one failed read is no value, and the next one goes on. */
static void one_failed_read(void **state)
{
	static const struct {
		int err;
		enum eg_status status;
		enum eg_diag_code code;
	} e[] = {
		{-EIO, EG_STATUS_ERROR, EG_DIAG_SENSOR_ERROR},
		{-EACCES, EG_STATUS_DENIED, EG_DIAG_SENSOR_BLOCKED},
		{-ENODATA, EG_STATUS_NO_DATA, EG_DIAG_CODE_COUNT},
		{-ENODEV, EG_STATUS_NO_DATA, EG_DIAG_CODE_COUNT},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(e); i++) {
		struct tree *t = machine();
		struct eg_counter c = {0};

		zone(t, "intel-rapl:0", "package-0", R14, 266644000000 % R14);
		assert_int_equal(tree_open(t), 0);
		tree_read(t);
		eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns);
		t->clock.boot_ns += 5 * EG_NSEC_PER_SEC;
		t->fail_pread = e[i].err;
		tree_read(t);
		assert_int_equal(t->n_readings, 1);
		assert_int_equal(t->reading[0].status, e[i].status);
		assert_true(t->reading[0].raw / 1000 == 0);
		assert_int_equal(t->open_fds, 0);
		assert_int_equal(t->diags.n, 1);
		if (e[i].code != EG_DIAG_CODE_COUNT)
			assert_int_equal(t->diags.items[0].code, e[i].code);
		t->driver->read(t->inst, &t->sink, NULL); /* no collector: still fine */
		t->fail_pread = 0;
		energy(t, "intel-rapl:0", 266644000000 % R14 + 4500000000);
		t->clock.boot_ns += 10 * EG_NSEC_PER_SEC;
		tree_read(t);
		assert_int_equal(t->reading[0].status, EG_STATUS_OK);
		assert_true(eg_counter_update(&c, &t->ch[0], &t->reading[0], t->clock.boot_ns).uj ==
			    4500000000);
		tree_free(t);
	}
}

static void garbage_value(void **state)
{
	static const char *const text[] = {
		"",	  "\n",	  "abc\n", "12abc\n", "-1\n", "1.5\n", "18446744073709551616\n",
		"0x10\n", "nan\n"};
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0", R14, 5);
	assert_int_equal(tree_open(t), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(text); i++) {
		tree_put(t, PC "/intel-rapl:0/energy_uj", "%s", text[i]);
		tree_read(t);
		assert_int_equal(t->reading[0].status, EG_STATUS_ERROR);
		assert_true(t->reading[0].raw / 1000 == 0);
	}
	energy(t, "intel-rapl:0", 17);
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_OK);
	assert_true(t->reading[0].raw / 1000 == 17);
	assert_int_equal(t->diags.n, 1);
	assert_int_equal(t->diags.items[0].count, EG_ARRAY_SIZE(text));
	tree_shut(t);
	for (size_t i = 0; i < EG_ARRAY_SIZE(text); i++) {
		tree_put(t, PC "/intel-rapl:0/energy_uj", "%s", text[i]);
		assert_int_equal(tree_open(t), -EIO);
		assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ERROR, "no number"));
	}
	tree_free(t);
}

/* A zone goes with its module and comes back: the same zone goes on, another one is no value. */
static void vanish_and_return(void **state)
{
	struct tree *t = machine();
	uint32_t epoch;

	server(t);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	epoch = t->reading[2].epoch;
	/* sysfs answers ENODEV on the kept descriptor of a zone that is gone. */
	tree_remove(t, PC "/intel-rapl:2:0");
	t->fail_pread = -ENODEV;
	tree_read(t);
	t->fail_pread = 0;
	for (unsigned i = 0; i < 3; i++) {
		tree_read(t);
		assert_int_equal(t->n_readings, 6);
		assert_int_equal(t->reading[0].status, EG_STATUS_OK);
		assert_int_equal(t->reading[2].status, EG_STATUS_NO_DATA);
	}
	zone(t, "intel-rapl:2:0", "uncore", R16, 3);
	tree_read(t);
	assert_int_equal(t->reading[2].status, EG_STATUS_NO_DATA);
	zone(t, "intel-rapl:2:0", "dram", R16, 2100);
	tree_read(t);
	assert_int_equal(t->reading[2].status, EG_STATUS_OK);
	assert_true(t->reading[2].raw / 1000 == 2100);
	assert_int_equal(t->reading[2].epoch, epoch);
	/* The numbers were given out anew: this memory belongs to another package now. */
	t->fail_pread = -EIO;
	tree_read(t);
	t->fail_pread = 0;
	zone(t, "intel-rapl:2", "package-3", R14, 2000);
	tree_read(t);
	assert_int_equal(t->reading[0].status, EG_STATUS_NO_DATA);
	assert_int_equal(t->reading[2].status, EG_STATUS_NO_DATA);
	assert_int_equal(t->reading[3].status, EG_STATUS_OK);
	tree_free(t);
}

static void gone_between_list_and_open(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0", R14, 5);
	zone(t, "intel-rapl:1", "package-1", R14, 5);
	tree_remove(t, PC "/intel-rapl:1/energy_uj");
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ABSENT, "package-1"));
	tree_free(t);
}

static void absent(void **state)
{
	struct tree *t = machine();
	char path[512];

	assert_int_equal(eg_driver_rapl.probe(&t->env), -ENOENT);
	assert_int_equal(tree_open(t), -ENOENT);
	assert_int_equal(t->diags.n, 1);
	assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_ABSENT);
	assert_non_null(strstr(t->diags.items[0].cure, "modprobe intel_rapl_common"));
	tree_free(t);

	t = machine();
	tree_put(t, PC "/dtpm/enabled", "1\n");
	assert_int_equal(eg_driver_rapl.probe(&t->env), -ENODEV);
	assert_int_equal(tree_open(t), -ENODEV);
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ABSENT, "no RAPL zone"));
	tree_free(t);

	/* A container whose runtime hides the folder behind the links. */
	t = machine();
	tree_put(t, PC "/.keep", "\n");
	tree_path(t, PC "/intel-rapl:0", path, sizeof(path));
	assert_int_equal(symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0", path),
			 0);
	assert_int_equal(tree_open(t), -ENOENT);
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_BLOCKED, "intel-rapl:0"));
	assert_non_null(strstr(t->diags.items[0].cure, "container"));
	tree_free(t);
}

static void odd_zones(void **state)
{
	struct tree *t = machine();

	zone(t, "intel-rapl:0", "package-0", R14, 5);
	zone(t, "intel-rapl:0:0", "gpu-tile", R14, 5);
	zone(t, "intel-rapl:7:0", "dram", R14, 5); /* no zone above it */
	tree_put(t, PC "/intel-rapl:5", "a file, not a folder\n");
	tree_put(t, PC "/intel-rapl:6/name", "package-%0200d\n", 6);
	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0");
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_UNSUPPORTED, "gpu-tile"));
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ERROR, "package is unknown"));
	assert_non_null(tree_diag(t, EG_DIAG_SENSOR_ERROR, "intel-rapl:6"));
	tree_free(t);
}

static int open_as_nobody(struct tree *t)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int r;

		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(99);
		r = tree_open(t);
		if (r == 0 && t->n == 1 && t->diags.n == 1 &&
		    t->diags.items[0].code == EG_DIAG_SENSOR_BLOCKED)
			_exit(1);
		if (r == -EACCES && t->diags.n == 2 &&
		    t->diags.items[0].code == EG_DIAG_SENSOR_BLOCKED &&
		    strstr(t->diags.items[0].cure, "chgrp") &&
		    strstr(t->diags.items[0].detail, "package-0"))
			_exit(2);
		_exit(98);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void blocked(void **state)
{
	struct tree *t = machine();
	char a[512], b[512];

	zone(t, "intel-rapl:0", "package-0", R14, 5);
	zone(t, "intel-rapl:0:0", "dram", R14, 5);
	tree_path(t, PC "/intel-rapl:0/energy_uj", a, sizeof(a));
	tree_path(t, PC "/intel-rapl:0:0/energy_uj", b, sizeof(b));
	if (geteuid() == 0) {
		assert_int_equal(chmod(a, 0400), 0);
		assert_int_equal(open_as_nobody(t), 1);
		assert_int_equal(chmod(b, 0400), 0);
		assert_int_equal(open_as_nobody(t), 2);
	}
	t->fail_open = -EACCES;
	assert_int_equal(tree_open(t), -EACCES);
	assert_int_equal(t->diags.n, 2);
	assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_BLOCKED);
	t->fail_open = 0;
	assert_int_equal(tree_open(t), 0);
	tree_free(t);
}

static void constraint(struct tree *t, const char *id, unsigned i, const char *what, const char *v)
{
	char path[256];

	snprintf(path, sizeof(path), PC "/%s/constraint_%u_%s", id, i, what);
	tree_put(t, path, "%s\n", v);
}

static void ceilings(void **state)
{
	static const struct eg_setting set[] = {{"rapl", "package_max_watts", "800"},
						{"rapl", "dram_max_watts", "many"},
						{"nvml", "psys_max_watts", "5"}};
	struct tree *t = machine();

	server(t);
	/* A laptop that declares 15 W and is allowed 64 W for a moment. */
	constraint(t, "intel-rapl:0", 0, "max_power_uw", "15000000");
	constraint(t, "intel-rapl:0", 0, "power_limit_uw", "25000000");
	constraint(t, "intel-rapl:0", 1, "max_power_uw", "0");
	constraint(t, "intel-rapl:0", 1, "power_limit_uw", "64000000");
	/* No limit in force: what is declared is not the ceiling. */
	constraint(t, "intel-rapl:2", 0, "max_power_uw", "95000000");
	constraint(t, "intel-rapl:2", 0, "power_limit_uw", "4090000000");
	constraint(t, "intel-rapl:2:0", 0, "max_power_uw", "");
	constraint(t, "intel-rapl:2:0", 0, "power_limit_uw", "0");
	constraint(t, "intel-rapl:0:0", 0, "max_power_uw", "41250000");
	constraint(t, "intel-rapl:1", 2, "power_limit_uw", "1200000000");
	/* A limit that is switched off holds nothing back. */
	constraint(t, "intel-rapl:2:1", 0, "power_limit_uw", "20000000");
	tree_put(t, PC "/intel-rapl:2:1/enabled", "0\n");
	assert_int_equal(tree_open(t), 0);
	assert_true(t->ch[tree_find(t, "package-1")].max_uw == 96000000);
	assert_true(t->ch[tree_find(t, "package-0")].max_uw == 500000000);
	assert_true(t->ch[tree_find(t, "core-0")].max_uw == 500000000);
	assert_true(t->ch[tree_find(t, "dram-0")].max_uw == 200000000);
	assert_true(t->ch[tree_find(t, "dram-1")].max_uw == 61875000);
	assert_true(t->ch[tree_find(t, "psys")].max_uw == 1800000000);
	tree_shut(t);
	assert_int_equal(tree_open_with(t, set, EG_ARRAY_SIZE(set)), 0);
	assert_true(t->ch[tree_find(t, "package-1")].max_uw == 800000000);
	assert_true(t->ch[tree_find(t, "core-0")].max_uw == 800000000);
	assert_true(t->ch[tree_find(t, "dram-1")].max_uw == 61875000);
	assert_true(t->ch[tree_find(t, "psys")].max_uw == 1800000000);
	assert_non_null(tree_diag(t, EG_DIAG_CONFIG, "many"));
	tree_free(t);
}

static void more_than_the_ceiling(void **state)
{
	struct tree *t = machine();
	char id[32], name[32];

	for (unsigned i = 0; i < EG_CHANNELS_MAX + 20; i++) {
		snprintf(id, sizeof(id), "intel-rapl:%x", i);
		snprintf(name, sizeof(name), "package-%u", i);
		zone(t, id, name, R14, i);
	}
	assert_int_equal(tree_open(t), 0);
	assert_int_equal(t->n, EG_CHANNELS_MAX);
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "more than"));
	tree_read(t);
	assert_int_equal(t->n_readings, EG_CHANNELS_MAX);
	tree_free(t);
}

/* Each open and each read fails in turn: no crash, no descriptor left, no value made up. */
static void every_call_fails(void **state)
{
	struct tree *t = machine();
	unsigned total, whole = 0;

	server(t);
	assert_int_equal(tree_open(t), 0);
	tree_read(t);
	total = t->calls;
	tree_shut(t);
	assert_true(total > 50);
	for (unsigned i = 1; i <= total; i++) {
		t->calls = 0;
		t->fail_nth = i;
		if (tree_open(t) == 0) {
			whole += t->n == 6;
			tree_read(t);
			assert_int_equal(t->n_readings, t->n);
			for (size_t j = 0; j < t->n; j++)
				assert_true(t->reading[j].status != EG_STATUS_OK ||
					    t->reading[j].raw >= 1000);
		}
		tree_shut(t);
		assert_int_equal(t->open_fds, 0);
	}
	assert_true(whole > 0 && whole < total);
	t->fail_nth = 0;
	tree_free(t);
}

static void files_that_may_block(void **state)
{
	struct tree *t = machine();

	server(t);
	assert_int_equal(tree_open(t), 0);
	/* Replaced operations may hang, so the meter must be told. */
	assert_true(eg_driver_rapl.may_block(t->inst));
	tree_free(t);
}

static void capture_kepler(void **state)
{
	struct tree *t = tree_capture(&eg_driver_rapl, "kepler");

	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 package-10");
	check_channel(t, 0, "cpu-0", EG_COMPONENT_PACKAGE, M14, 62, 500);
	check_channel(t, 1, "cpu-0", EG_COMPONENT_CORE, M14, 62, 500);
	check_channel(t, 2, "cpu-10", EG_COMPONENT_PACKAGE, M14, 62, 500);
	assert_int_equal(t->diags.n, 1);
	assert_non_null(tree_diag(t, EG_DIAG_NOT_COUNTED, "intel-rapl-mmio:0"));
	tree_read(t);
	assert_true(t->reading[0].raw / 1000 == 240422366267);
	assert_true(t->reading[1].raw / 1000 == 118821284256);
	assert_true(t->reading[2].raw / 1000 == 240422366267);
	tree_free(t);
}

static void capture_node_exporter(void **state)
{
	struct tree *t = tree_capture(&eg_driver_rapl, "node_exporter");

	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0");
	check_channel(t, 0, "cpu-0", EG_COMPONENT_PACKAGE, M14, 62, 500);
	check_channel(t, 1, "cpu-0", EG_COMPONENT_CORE, M14, 62, 500);
	assert_int_equal(t->diags.n, 0);
	tree_free(t);
}

static void capture_procfs(void **state)
{
	struct tree *t = tree_capture(&eg_driver_rapl, "procfs-lib");

	assert_int_equal(tree_open(t), 0);
	tree_expect(t, "package-0 core-0 package-10");
	check_channel(t, 2, "cpu-10", EG_COMPONENT_PACKAGE, M14, 62, 500);
	assert_int_equal(t->diags.n, 0);
	tree_free(t);
}

static void capture_without_powercap(void **state)
{
	struct tree *t = tree_capture(&eg_driver_rapl, "kepler-bad");

	assert_int_equal(tree_open(t), -ENOENT);
	assert_int_equal(t->diags.n, 1);
	assert_int_equal(t->diags.items[0].code, EG_DIAG_SENSOR_ABSENT);
	tree_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server),
		cmocka_unit_test(another_boot_is_another_epoch),
		cmocka_unit_test(hex_and_sparse),
		cmocka_unit_test(dies_and_platforms),
		cmocka_unit_test(mmio_twin),
		cmocka_unit_test(nested_only),
		cmocka_unit_test(mirrored_dies),
		cmocka_unit_test(independent_dies),
		cmocka_unit_test(half_mirrored),
		cmocka_unit_test(no_range),
		cmocka_unit_test(windows_over_wraps),
		cmocka_unit_test(laptop),
		cmocka_unit_test(one_failed_read),
		cmocka_unit_test(garbage_value),
		cmocka_unit_test(vanish_and_return),
		cmocka_unit_test(gone_between_list_and_open),
		cmocka_unit_test(absent),
		cmocka_unit_test(odd_zones),
		cmocka_unit_test(blocked),
		cmocka_unit_test(ceilings),
		cmocka_unit_test(more_than_the_ceiling),
		cmocka_unit_test(every_call_fails),
		cmocka_unit_test(files_that_may_block),
		cmocka_unit_test(capture_kepler),
		cmocka_unit_test(capture_node_exporter),
		cmocka_unit_test(capture_procfs),
		cmocka_unit_test(capture_without_powercap),
	};

	return cmocka_run_group_tests_name("rapl-driver", tests, NULL, NULL);
}
