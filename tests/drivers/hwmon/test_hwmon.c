/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hwmon driver over generated trees and captured machines: what each sensor is, its value, and
 * what happens when files are absent, unreadable, nonsense, busy, gone and back.
 */
#include "tree.h"

extern const struct eg_driver eg_driver_hwmon;

#define HW "sys/class/hwmon/"

static struct rig *fresh(void)
{
	return rig_new(&eg_driver_hwmon);
}

/* A chip: its folder, name, and the address of its device (NULL none). */
static void chip(struct rig *r, const char *entry, const char *name, const char *device)
{
	char path[256], target[256];

	snprintf(path, sizeof(path), HW "%s/name", entry);
	rig_write(r, path, name);
	if (!device)
		return;
	snprintf(path, sizeof(path), HW "%s/device", entry);
	snprintf(target, sizeof(target), "../../../%s", device);
	rig_link(r, path, target);
}

static void test_absent(void **state)
{
	struct rig *r = fresh();

	assert_int_equal(eg_driver_hwmon.probe(&r->env), -ENODEV);
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, NULL));
	chip(r, "hwmon0", "coretemp", "coretemp.0");
	rig_write(r, HW "hwmon0/temp1_input", "40000");
	rig_write(r, HW "hwmon0/in0_input", "1000");
	assert_int_equal(eg_driver_hwmon.probe(&r->env), 0);
	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
}

/* What other drivers own, and batteries, are left to them. */
static void test_owned(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "amdgpu", "0000:03:00.0");
	rig_write(r, HW "hwmon0/power1_average", "1");
	chip(r, "hwmon1", "i915", "0000:03:00.0");
	rig_write(r, HW "hwmon1/energy1_input", "1");
	chip(r, "hwmon2", "xe", "0000:03:00.0");
	rig_write(r, HW "hwmon2/energy1_input", "1");
	chip(r, "hwmon3", "BAT0", "BAT0");
	rig_write(r, HW "hwmon3/in1_input", "1");
	rig_write(r, HW "hwmon3/curr1_input", "1");
	rig_write(r, "sys/class/power_supply/BAT0/type", "Battery");
	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
}

static void test_kinds(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon2", "ina238", "1-0040");
	rig_write(r, HW "hwmon2/energy1_input", "123456789012");
	rig_write(r, HW "hwmon2/update_interval", "20");
	chip(r, "hwmon10", "ina226", "1-0040"); /* equal address, another name */
	rig_write(r, HW "hwmon10/power1_input", "25000");
	rig_write(r, HW "hwmon10/power1_label", "VDD 12V");
	rig_write(r, HW "hwmon10/power1_crit", "2000000000");
	chip(r, "hwmon3", "ltc2992", "1-0041");
	rig_write(r, HW "hwmon3/in0_input", "12000");
	rig_write(r, HW "hwmon3/curr1_input", "1500");
	rig_write(r, HW "hwmon3/in2_input", "5000");
	rig_write(r, HW "hwmon3/curr2_input", "-100");
	chip(r, "hwmon4", "nouveau", "0000:01:00.0");
	rig_write(r, HW "hwmon4/power1_input", "30000000");
	rig_write(r, HW "hwmon4/power1_label", "\033]0;a\007\xff");
	chip(r, "hwmon5", "amd_energy", "amd_energy.0");
	rig_write(r, HW "hwmon5/energy1_input", "11");
	rig_write(r, HW "hwmon5/energy1_label", "Ecore000");
	rig_write(r, HW "hwmon5/energy2_input", "22");
	rig_write(r, HW "hwmon5/energy2_label", "Esocket0");
	rig_write(r, HW "hwmon5/energy3_input", "33");
	rig_write(r, HW "hwmon5/energy3_label", "Esocket1");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(
		r,
		"ina238-1-0040-energy1 ina238-1-0040-energy1 rail component energy 123456789012\n"
		"ltc2992-1-0041-in0xcurr1 ltc2992-1-0041-in0xcurr1 rail component power 18000000\n"
		"ltc2992-1-0041-in2xcurr2 ltc2992-1-0041-in2xcurr2 rail component power error\n"
		"nouveau-0000:01:00.0-__0_a__ pci-0000:01:00.0 gpu component power 30000000\n"
		"amd_energy-amd_energy.0-Esocket0 cpu-0 package component energy 22\n"
		"amd_energy-amd_energy.0-Esocket1 cpu-1 package component energy 33\n"
		"ina226-1-0040-VDD_12V ina226-1-0040-VDD_12V rail component power 25000\n");
	assert_int_equal(r->ch[0].update_ns, 20 * EG_NSEC_PER_MSEC);
	assert_int_equal(r->ch[0].modulus, 0);
	assert_int_equal(r->ch[0].max_uw, 1000000000);
	assert_int_equal(r->ch[6].max_uw, 3000000000); /* an alarm limit raises it */
	assert_string_equal(r->ch[6].label, "VDD 12V");
	assert_string_equal(r->ch[3].label, "?]0;a??");
	/* A negative current is no power: a sample was there and was nonsense. */
	assert_true(rig_reading(r, "ltc2992-1-0041-in2xcurr2")->bad);
	assert_non_null(rig_diag(r, EG_DIAG_VALUE_REJECTED, "ltc2992-1-0041-in2xcurr2"));
	rig_free(r);
}

/* The rails of a chip are shown, the product follows its averages where both are there. */
static void test_average_product(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "ina3221", NULL);
	rig_write(r, HW "hwmon0/in1_input", "12000");
	rig_write(r, HW "hwmon0/in1_average", "11800");
	rig_write(r, HW "hwmon0/curr1_input", "5000");
	rig_write(r, HW "hwmon0/curr1_average", "4900");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "ina3221-hwmon0-in1xcurr1 ina3221-hwmon0-in1xcurr1 rail component power "
			   "57820000\n");
	assert_string_equal(r->ch[0].origin, HW "hwmon0/in1_average x curr1_average");
	rig_free(r);
}

static void test_equal_labels(void **state)
{
	struct rig *r = fresh();

	for (int i = 0; i < 2; i++) { /* two chips, and twice in the second */
		char path[64];

		chip(r, i ? "hwmon1" : "hwmon0", "ina260", i ? "1-0041" : "1-0040");
		snprintf(path, sizeof(path), HW "hwmon%d/power1_input", i);
		rig_write(r, path, i ? "2000" : "1000");
		snprintf(path, sizeof(path), HW "hwmon%d/power1_label", i);
		rig_write(r, path, "12V");
	}
	rig_write(r, HW "hwmon1/power2_input", "3000");
	rig_write(r, HW "hwmon1/power2_label", "12V");
	/* Two chips of one name in one device. */
	chip(r, "hwmon6", "asus", "asus-nb-wmi");
	rig_write(r, HW "hwmon6/power1_input", "4000");
	chip(r, "hwmon7", "asus", "asus-nb-wmi");
	rig_write(r, HW "hwmon7/power1_input", "5000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(
		r, "ina260-1-0040-12V ina260-1-0040-12V rail component power 1000\n"
		   "ina260-1-0041-12V ina260-1-0041-12V rail component power 2000\n"
		   "ina260-1-0041-12V-power2 ina260-1-0041-12V-power2 rail component power 3000\n"
		   "asus-asus-nb-wmi-power1 asus-asus-nb-wmi-power1 rail component power 4000\n"
		   "asus-hwmon7-power1 asus-hwmon7-power1 rail component power 5000\n");
	rig_free(r);
}

static void test_power_meter(void **state)
{
	struct rig *r = fresh();

	/* As kernels keep it: the attributes belong to the ACPI device. */
	rig_link(r, HW "hwmon0/device", "../../../devices/LNXSYSTM:00/ACPI000D:00");
	rig_write(r, "sys/devices/LNXSYSTM:00/ACPI000D:00/name", "power_meter");
	rig_write(r, "sys/devices/LNXSYSTM:00/ACPI000D:00/power1_average", "212000000");
	rig_write(r, "sys/devices/LNXSYSTM:00/ACPI000D:00/power1_average_interval", "1000");
	rig_write(r, "sys/devices/LNXSYSTM:00/ACPI000D:00/power1_cap_max", "800000000");
	/* A second one: nothing says what it covers. */
	chip(r, "hwmon1", "power_meter", "ACPI000D:01");
	rig_write(r, HW "hwmon1/power1_average", "100000000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "power_meter-ACPI000D:00-power1 node chassis node power 212000000\n"
			   "power_meter-ACPI000D:01-power1 power_meter-ACPI000D:01-power1 rail "
			   "component power 100000000\n");
	assert_int_equal(r->ch[0].update_ns, EG_NSEC_PER_SEC);
	assert_int_equal(r->ch[0].max_uw, 1200000000);
	assert_int_equal(r->ch[1].max_uw, 5000000000);
	assert_non_null(rig_diag(r, EG_DIAG_NOT_COUNTED, "power_meter-ACPI000D:01-power1"));
	/* "Unknown" of ACPI is no value. */
	rig_write(r, "sys/devices/LNXSYSTM:00/ACPI000D:00/power1_average", "4294967295000");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	rig_free(r);
}

static void jetson_chip(struct rig *r, const char *entry, const char *device, const char *l1,
			const char *l2, const char *l3)
{
	const char *label[] = {l1, l2, l3};
	char path[128];

	chip(r, entry, "ina3221", device);
	for (int i = 1; i <= 3; i++) {
		snprintf(path, sizeof(path), HW "%s/in%d_input", entry, i);
		rig_write(r, path, "5000");
		snprintf(path, sizeof(path), HW "%s/in%d_label", entry, i);
		rig_write(r, path, label[i - 1]);
		snprintf(path, sizeof(path), HW "%s/curr%d_input", entry, i);
		rig_write(r, path, i == 1 ? "1000" : "200");
	}
	snprintf(path, sizeof(path), HW "%s/in7_input", entry);
	rig_write(r, path, "99");
	snprintf(path, sizeof(path), HW "%s/in7_label", entry);
	rig_write(r, path, "sum of shunt voltages");
}

static void test_jetson_vdd_in(void **state)
{
	struct rig *r = fresh();

	rig_write(r, "etc/nv_tegra_release", "# R35 (release), REVISION: 3.1");
	jetson_chip(r, "hwmon1", "1-0040", "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "ina3221-1-0040-VDD_IN node soc node power 5000000\n"
			   "ina3221-1-0040-VDD_CPU_GPU_CV node-rail-ina3221-1-0040-VDD_CPU_GPU_CV "
			   "rail component power 1000000\n"
			   "ina3221-1-0040-VDD_SOC node-rail-ina3221-1-0040-VDD_SOC rail component "
			   "power 1000000\n");
	assert_int_equal(r->ch[0].part_of, -1);
	assert_int_equal(r->ch[1].part_of, 0);
	assert_int_equal(r->ch[2].part_of, 0);
	rig_free(r);
}

static void test_jetson_rails(void **state)
{
	struct rig *r = fresh();

	rig_write(r, "etc/nv_tegra_release", "");
	jetson_chip(r, "hwmon3", "1-0040", "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0");
	jetson_chip(r, "hwmon4", "1-0041", "NC", "VDDQ_VDD2_1V8AO", "NC");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(
		r,
		"ina3221-1-0040-VDD_GPU_SOC node-rail-ina3221-1-0040-VDD_GPU_SOC soc component "
		"power 5000000\n"
		"ina3221-1-0040-VDD_CPU_CV node-rail-ina3221-1-0040-VDD_CPU_CV soc component power "
		"1000000\n"
		"ina3221-1-0040-VIN_SYS_5V0 node-rail-ina3221-1-0040-VIN_SYS_5V0 soc component "
		"power 1000000\n"
		"ina3221-1-0041-VDDQ_VDD2_1V8AO node-rail-ina3221-1-0041-VDDQ_VDD2_1V8AO soc "
		"component power 1000000\n");
	rig_free(r);
	/* The same chip on any other machine: rails of unknown extent. */
	r = fresh();
	jetson_chip(r, "hwmon3", "1-0040", "VDD_IN", "NC", "NC");
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->n, 3);
	assert_int_equal(r->ch[0].component, EG_COMPONENT_RAIL);
	assert_int_equal(r->ch[0].boundary, EG_BOUNDARY_COMPONENT);
	rig_free(r);
}

static struct rig *one_rail(void)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "ina226", "1-0040");
	rig_write(r, HW "hwmon0/power1_input", "25000");
	chip(r, "hwmon1", "ina238", "1-0041");
	rig_write(r, HW "hwmon1/energy1_input", "500");
	assert_int_equal(rig_open(r), 0);
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 25000);
	assert_int_equal(r->reading[1].raw, 500);
	return r;
}

static void test_bad_text(void **state)
{
	static const char *const bad[] = {
		"", "abc", "12 34", "1e3", "nan", "99999999999999999999", "0x10", "\xff\xfe"};
	struct rig *r = one_rail();

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		rig_write_bytes(r, HW "hwmon0/power1_input", bad[i], strlen(bad[i]));
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
		assert_false(r->reading[0].bad);
		assert_int_equal(r->reading[1].status, EG_STATUS_OK);
	}
	rig_write(r, HW "hwmon0/power1_input", "-5");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	assert_true(r->reading[0].bad);
	rig_write(r, HW "hwmon1/energy1_input", "-5");
	rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_ERROR);
	assert_false(r->reading[1].bad);	     /* a counter: no sample */
	rig_write(r, HW "hwmon0/power1_input", "0"); /* a true zero is a value */
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 0);
	rig_free(r);
}

static void test_product_overflow(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "x", NULL);
	rig_write(r, HW "hwmon0/in1_input", "9223372036854775807");
	rig_write(r, HW "hwmon0/curr1_input", "3");
	assert_int_equal(rig_open(r), 0);
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	assert_true(r->reading[0].bad);
	/* Each of the two reads failing is a failure. */
	rig_write(r, HW "hwmon0/in1_input", "1000");
	for (int i = 0; i < 2; i++) {
		r->fault_file = i ? "curr1_input" : "in1_input";
		r->fault_pread = EIO;
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
		assert_false(r->reading[0].bad);
		r->fault_pread = 0;
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_OK);
		assert_int_equal(r->reading[0].raw, 3000);
	}
	rig_free(r);
}

static void test_read_errors(void **state)
{
	static const struct {
		int err;
		enum eg_status status;
	} cases[] = {
		{EAGAIN, EG_STATUS_NO_DATA}, {ENODATA, EG_STATUS_NO_DATA},
		{EIO, EG_STATUS_ERROR},	     {EACCES, EG_STATUS_DENIED},
		{EPERM, EG_STATUS_DENIED},   {ETIMEDOUT, EG_STATUS_ERROR},
	};
	struct rig *r = one_rail();

	r->fault_file = "power1_input";
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		r->fault_pread = cases[i].err;
		rig_read(r);
		assert_int_equal(r->reading[0].status, cases[i].status);
		assert_int_equal(r->reading[1].status, EG_STATUS_OK);
		r->fault_pread = 0;
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_OK);
		assert_int_equal(r->reading[0].epoch, 0);
	}
	rig_free(r);
}

/* The driver of the chip is unloaded and loaded again: another hwmonN, a counter from zero. */
static void test_gone_and_back(void **state)
{
	struct rig *r = one_rail();
	uint32_t epoch;

	r->fault_file = "energy1_input";
	r->fault_pread = ENODEV;
	rig_rename(r, HW "hwmon1", "gone");
	rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_ERROR);
	assert_int_equal(eg_driver_hwmon.flags(r->inst, 1), EG_FLAG_BIT(EG_FLAG_LOST));
	assert_int_equal(eg_driver_hwmon.flags(r->inst, 0), 0);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	for (int i = 0; i < 20; i++)
		rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_ERROR);
	epoch = r->reading[1].epoch;
	r->fault_pread = 0;
	rig_rename(r, "gone", HW "hwmon7");
	chip(r, "hwmon1", "other", "1-0041"); /* its number now belongs to another chip */
	rig_write(r, HW "hwmon1/energy1_input", "777777");
	rig_write(r, HW "hwmon7/energy1_input", "3");
	for (int i = 0; i < 6; i++) /* looked for every 5 s */
		rig_read(r);
	assert_int_equal(r->reading[1].status, EG_STATUS_OK);
	assert_int_equal(r->reading[1].raw, 3);
	assert_int_not_equal(r->reading[1].epoch, epoch);
	assert_int_equal(r->reading[0].epoch, 0); /* the neighbour is not touched */
	assert_int_equal(eg_driver_hwmon.flags(r->inst, 1), 0);
	rig_free(r);
}

/* A plain file that is taken away says so by reading empty, as on a simulated machine. */
static void test_empty_and_back(void **state)
{
	struct rig *r = one_rail();

	rig_write_bytes(r, HW "hwmon0/power1_input", "", 0);
	rig_rename(r, HW "hwmon0/power1_input", "gone");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	rig_write(r, HW "hwmon0/power1_input", "7");
	for (int i = 0; i < 6; i++)
		rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 7);
	rig_free(r);
}

static void test_vanishes_before_open(void **state)
{
	struct rig *r = fresh();

	chip(r, "hwmon0", "ina226", "1-0040");
	rig_write(r, HW "hwmon0/power1_input", "25000");
	chip(r, "hwmon1", "ina226", "1-0041");
	rig_write(r, HW "hwmon1/power2_input", "26000");
	r->fault_file = "power1_input";
	r->fault_open = ENOENT;
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->n, 1);
	assert_string_equal(r->ch[0].domain, "ina226-1-0041-power2");
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, "ina226-1-0040-power1"));
	rig_free(r);
}

static int open_as_nobody(struct rig *r)
{
	const struct eg_diag *d;

	if (rig_open(r) != 0 || r->n != 1)
		return 1;
	d = rig_diag(r, EG_DIAG_SENSOR_BLOCKED, "amd_energy-amd_energy.0-Esocket0");
	if (!d || !d->cure[0])
		return 2;
	rig_close(r);
	return 0;
}

static int open_blocked(struct rig *r)
{
	return rig_open(r) == -EACCES ? 0 : 1;
}

static void test_denied(void **state)
{
	struct rig *r = fresh();

	if (geteuid() != 0) {
		rig_free(r);
		print_message("needs root to lay out files that others may not read\n");
		skip();
	}
	chip(r, "hwmon0", "amd_energy", "amd_energy.0");
	rig_write(r, HW "hwmon0/energy1_input", "1");
	rig_write(r, HW "hwmon0/energy1_label", "Esocket0");
	rig_chmod(r, HW "hwmon0/energy1_input", 0400);
	assert_int_equal(rig_as_nobody(open_blocked, r), 0);
	chip(r, "hwmon1", "ina226", "1-0040");
	rig_write(r, HW "hwmon1/power1_input", "1");
	assert_int_equal(rig_as_nobody(open_as_nobody, r), 0);
	rig_free(r);
}

static void test_ceilings(void **state)
{
	struct rig *r = fresh();
	char path[128];

	for (int c = 0; c < 5; c++) {
		snprintf(path, sizeof(path), "hwmon%d", c);
		chip(r, path, "x", NULL);
		for (int i = 0; i < 64; i++) {
			snprintf(path, sizeof(path), HW "hwmon%d/power%d_input", c, i);
			rig_write(r, path, "1");
		}
	}
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->n, 256);
	assert_non_null(rig_diag(r, EG_DIAG_CONFIG, "x-hwmon4"));
	rig_free(r);
}

static void test_settings(void **state)
{
	struct rig *r = fresh();
	struct eg_setting s = {"hwmon", "rail_max_watts", "0"};

	chip(r, "hwmon0", "x", NULL);
	rig_write(r, HW "hwmon0/power1_input", "1");
	assert_int_equal(rig_open_with(r, &s, 1), -EINVAL);
	assert_non_null(rig_diag(r, EG_DIAG_CONFIG, "rail_max_watts"));
	s.value = "12";
	assert_int_equal(rig_open_with(r, &s, 1), 0);
	assert_int_equal(r->ch[0].max_uw, 12000000);
	rig_free(r);
}

/* The Nth open fails: never a crash, a leak or an invented channel. */
static void test_each_open_fails(void **state)
{
	struct rig *r = fresh();
	int good = 0;

	chip(r, "hwmon0", "ina226", "1-0040");
	rig_write(r, HW "hwmon0/power1_input", "25000");
	rig_write(r, HW "hwmon0/power1_label", "a");
	for (r->fail_open_at = 1; r->fail_open_at < 2000; r->fail_open_at++) {
		r->opens = 0;
		if (rig_open(r) == 0) {
			assert_int_equal(r->n, 1);
			rig_read(r);
			assert_int_equal(r->reading[0].raw, 25000);
			rig_close(r);
			good++;
			if (r->opens < r->fail_open_at)
				break; /* no more opens to fail */
		}
		assert_int_equal(rig_count_fds(), r->open_fds);
	}
	assert_true(r->fail_open_at < 2000);
	assert_true(good > 0);
	rig_free(r);
}

static void test_capture_kepler(void **state)
{
	struct rig *r = rig_new_capture(&eg_driver_hwmon, "sysfs/kepler");

	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r,
#include "golden_kepler.inc"
	);
	assert_non_null(
		rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, "ina3221-hwmon_disabled_channel-in3"));
	rig_free(r);
}

/* Machines with chips, but none that shows power; links that dangle; no hwmon at all. */
static void test_captures_without_power(void **state)
{
	static const char *const folders[] = {
		"sysfs/node_exporter",
		"sysfs/procfs-lib",
		"sysfs/telegraf-hwmon/general",
		"sysfs/telegraf-hwmon/with_name",
		"sysfs/elastic-hwmon/ThinkpadX250",
		"sysfs/elastic-hwmon/PoweredgeR720",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(folders); i++) {
		struct rig *r = rig_new_capture(&eg_driver_hwmon, folders[i]);

		assert_int_equal(rig_open(r), -ENODEV);
		assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, NULL));
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_owned),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_average_product),
		cmocka_unit_test(test_equal_labels),
		cmocka_unit_test(test_power_meter),
		cmocka_unit_test(test_jetson_vdd_in),
		cmocka_unit_test(test_jetson_rails),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_product_overflow),
		cmocka_unit_test(test_read_errors),
		cmocka_unit_test(test_gone_and_back),
		cmocka_unit_test(test_empty_and_back),
		cmocka_unit_test(test_vanishes_before_open),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_ceilings),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_each_open_fails),
		cmocka_unit_test(test_capture_kepler),
		cmocka_unit_test(test_captures_without_power),
	};

	return cmocka_run_group_tests_name("hwmon driver", tests, NULL, NULL);
}
