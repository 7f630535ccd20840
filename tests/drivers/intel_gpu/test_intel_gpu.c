/* SPDX-License-Identifier: Apache-2.0 */
/* The intel_gpu driver over generated trees: cards, tiles, package, and a driver loaded again. */
#include "../hwmon/tree.h"

extern const struct eg_driver eg_driver_intel_gpu;

#define HW "sys/class/hwmon/"

static void set(struct rig *r, const char *entry, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), HW "%s/%s", entry, file);
	rig_write(r, path, text);
}

static void chip(struct rig *r, const char *entry, const char *name, const char *bdf)
{
	char path[256], target[256];

	set(r, entry, "name", name);
	if (!bdf)
		return;
	snprintf(path, sizeof(path), HW "%s/device", entry);
	snprintf(target, sizeof(target), "../../../%s", bdf);
	rig_link(r, path, target);
}

static struct rig *fresh(void)
{
	return rig_new(&eg_driver_intel_gpu);
}

static void test_absent(void **state)
{
	struct rig *r = fresh();

	assert_int_equal(eg_driver_intel_gpu.probe(&r->env), -ENODEV);
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, NULL));
	chip(r, "hwmon0", "coretemp", NULL);
	set(r, "hwmon0", "energy1_input", "1");
	chip(r, "hwmon1", "i915", "0000:03:00.0"); /* before 6.2: no counter */
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, "hwmon1"));
	rig_free(r);
}

static void test_i915_tiles(void **state)
{
	struct rig *r = fresh();

	/* Two cards; the tiles of the first come before its card. */
	chip(r, "hwmon1", "i915_gt0", "0000:03:00.0");
	set(r, "hwmon1", "energy1_input", "400");
	chip(r, "hwmon2", "i915_gt1", "0000:03:00.0");
	set(r, "hwmon2", "energy1_input", "500");
	chip(r, "hwmon3", "i915", "0000:03:00.0");
	set(r, "hwmon3", "energy1_input", "1000");
	set(r, "hwmon3", "power1_max", "190000000");
	set(r, "hwmon3", "power1_crit", "300000000");
	chip(r, "hwmon4", "i915", "0000:83:00.0");
	set(r, "hwmon4", "energy1_input", "77");
	set(r, "hwmon4", "power1_max", "0"); /* a limit switched off */
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0-gt0 pci-0000:03:00.0-gt0 gpu component energy 400\n"
			   "gpu-0-gt1 pci-0000:03:00.0-gt1 gpu component energy 500\n"
			   "gpu-0 pci-0000:03:00.0 gpu component energy 1000\n"
			   "gpu-1 pci-0000:83:00.0 gpu component energy 77\n");
	assert_int_equal(r->ch[0].part_of, 2);
	assert_int_equal(r->ch[1].part_of, 2);
	assert_int_equal(r->ch[2].part_of, -1);
	assert_int_equal(r->ch[2].max_uw, 450000000);
	assert_int_equal(r->ch[3].max_uw, 1000000000);
	for (size_t i = 0; i < r->n; i++) {
		assert_int_equal(r->ch[i].guard_ns, 30 * EG_NSEC_PER_SEC);
		assert_int_equal(r->ch[i].modulus, 0);
		assert_false(r->ch[i].integrated_gpu);
	}
	rig_free(r);
}

static void test_xe(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon5", "xe", "0000:03:00.0");
	set(r, "hwmon5", "energy1_input", "9000");
	set(r, "hwmon5", "energy1_label", "card");
	set(r, "hwmon5", "energy2_input", "7000");
	set(r, "hwmon5", "energy2_label", "pkg");
	chip(r, "hwmon6", "xe", "0000:04:00.0"); /* no labels: by index */
	set(r, "hwmon6", "energy1_input", "1");
	set(r, "hwmon6", "energy2_input", "2");
	chip(r, "hwmon7", "xe", "0000:05:00.0"); /* package only */
	set(r, "hwmon7", "energy2_input", "3");
	set(r, "hwmon7", "energy2_label", "pkg");
	chip(r, "hwmon8", "xe", NULL); /* no device link; a label of tomorrow */
	set(r, "hwmon8", "energy1_input", "4");
	set(r, "hwmon8", "energy3_input", "5");
	set(r, "hwmon8", "energy3_label", "vram");
	set(r, "hwmon8", "energy4_input", "6"); /* the same label twice */
	set(r, "hwmon8", "energy4_label", "card");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "gpu-0 pci-0000:03:00.0 gpu component energy 9000\n"
			   "gpu-0-package pci-0000:03:00.0-package gpu component energy 7000\n"
			   "gpu-1 pci-0000:04:00.0 gpu component energy 1\n"
			   "gpu-1-package pci-0000:04:00.0-package gpu component energy 2\n"
			   "gpu-2-package pci-0000:05:00.0-package gpu component energy 3\n"
			   "gpu-3 gpu-hwmon8 gpu component energy 4\n"
			   "gpu-3-xe-energy3 gpu-hwmon8-xe-energy3 gpu component energy 5\n"
			   "gpu-3-xe-energy4 gpu-hwmon8-xe-energy4 gpu component energy 6\n");
	assert_int_equal(r->ch[1].part_of, 0);
	assert_int_equal(r->ch[3].part_of, 2);
	assert_int_equal(r->ch[4].part_of, -1);
	assert_int_equal(r->ch[6].part_of, 5);
	assert_int_equal(r->ch[7].part_of, 5);
	rig_free(r);
}

static void test_errors(void **state)
{
	static const char *const bad[] = {"", "abc", "-1", "1 2", "18446744073709551616"};
	struct rig *r = fresh();

	chip(r, "hwmon0", "xe", "0000:03:00.0");
	set(r, "hwmon0", "energy1_input", "18446744073709551615");
	assert_int_equal(rig_open(r), 0);
	rig_read(r);
	assert_true(r->reading[0].raw == UINT64_MAX);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		set(r, "hwmon0", "energy1_input", bad[i]);
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	}
	set(r, "hwmon0", "energy1_input", "6");
	r->fault_file = "energy1_input";
	r->fault_pread = EIO;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	r->fault_pread = EAGAIN;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	r->fault_pread = 0;
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 6);
	assert_int_equal(r->reading[0].epoch, 0);
	rig_free(r);
}

static void test_gone_and_back(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "xe", "0000:03:00.0");
	set(r, "hwmon0", "energy1_input", "5000");
	assert_int_equal(rig_open(r), 0);
	rig_read(r);
	r->fault_file = "energy1_input";
	r->fault_pread = ENODEV;
	rig_rename(r, HW "hwmon0", "gone");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	assert_int_equal(eg_driver_intel_gpu.flags(r->inst, 0), EG_FLAG_BIT(EG_FLAG_LOST));
	rig_read(r);
	r->fault_pread = 0;
	rig_rename(r, "gone", HW "hwmon9");
	chip(r, "hwmon0", "xe", "0000:04:00.0"); /* its number is another card's now */
	set(r, "hwmon0", "energy1_input", "123456");
	set(r, "hwmon9", "energy1_input", "10");
	for (int i = 0; i < 6; i++)
		rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 10);
	assert_int_equal(r->reading[0].epoch, 1);
	assert_int_equal(eg_driver_intel_gpu.flags(r->inst, 0), 0);
	rig_free(r);
}

static void test_attributes(void **state)
{
	struct rig *r = fresh();
	double celsius = -1;

	chip(r, "hwmon0", "xe", "0000:03:00.0");
	set(r, "hwmon0", "energy1_input", "5000");
	set(r, "hwmon0", "temp2_input", "-1500");
	set(r, "hwmon0", "temp3_input", "80000"); /* of the memory */
	chip(r, "hwmon1", "i915", "\033[31m");
	set(r, "hwmon1", "energy1_input", "5000");
	set(r, "hwmon1", "temp1_input", "61000");
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), -ENODATA); /* not read yet */
	rig_read(r);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), 0);
	assert_true(celsius == -1.5);
	assert_int_equal(r->driver->temperature(r->inst, 1, &celsius), 0);
	assert_true(celsius == 61);
	/* What is no PCI address names no device. */
	rig_assert_attributes(r, "pci-0000:03:00.0 pci_id 0000:03:00.0\n"
				 "pci-0000:03:00.0 temperature_celsius -1.5\n"
				 "gpu-hwmon1 temperature_celsius 61\n");
	r->fault_file = "temp2_input";
	r->fault_pread = EIO;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->driver->temperature(r->inst, 0, &celsius), -ENODATA);
	rig_free(r);
}

static int open_blocked(struct rig *r)
{
	const struct eg_diag *d;

	if (rig_open(r) != -EACCES)
		return 1;
	d = rig_diag(r, EG_DIAG_SENSOR_BLOCKED, NULL);
	return d && d->cure[0] ? 0 : 2;
}

static void test_denied(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "xe", "0000:03:00.0");
	set(r, "hwmon0", "energy1_input", "1");
	rig_chmod(r, HW "hwmon0/energy1_input", 0);
	assert_int_equal(rig_as_nobody(open_blocked, r), 0);
	rig_free(r);
}

static void test_each_open_fails(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "xe", "0000:03:00.0");
	set(r, "hwmon0", "energy1_input", "5");
	set(r, "hwmon0", "energy1_label", "card");
	for (r->fail_open_at = 1; r->fail_open_at < 2000; r->fail_open_at++) {
		r->opens = 0;
		if (rig_open(r) == 0) {
			assert_int_equal(r->n, 1);
			rig_read(r);
			assert_int_equal(r->reading[0].raw, 5);
			rig_close(r);
			if (r->opens < r->fail_open_at)
				break;
		}
		assert_int_equal(rig_count_fds(), r->open_fds);
	}
	assert_true(r->fail_open_at > 5 && r->fail_open_at < 2000);
	rig_free(r);
}

static void test_ceiling(void **state)
{
	struct rig *r = fresh();
	char entry[24], bdf[32];

	for (int i = 0; i < 70; i++) {
		snprintf(entry, sizeof(entry), "hwmon%d", i);
		snprintf(bdf, sizeof(bdf), "0000:%02x:00.0", i);
		chip(r, entry, "xe", bdf);
		set(r, entry, "energy1_input", "1");
	}
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->n, 64);
	assert_string_equal(r->ch[63].domain, "gpu-63");
	assert_non_null(rig_diag(r, EG_DIAG_CONFIG, "hwmon64"));
	rig_free(r);
}

/* A captured i915 laptop: integrated graphics have no counter. */
static void test_capture(void **state)
{
	struct rig *r = rig_new_capture(&eg_driver_intel_gpu, "sysfs/procfs-lib");

	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
	r = rig_new_capture(&eg_driver_intel_gpu, "sysfs/kepler");
	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_i915_tiles),
		cmocka_unit_test(test_xe),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_gone_and_back),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_each_open_fails),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_attributes),
	};

	return cmocka_run_group_tests_name("intel_gpu driver", tests, NULL, NULL);
}
