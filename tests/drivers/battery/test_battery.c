/* SPDX-License-Identifier: Apache-2.0 */
/* The battery driver over generated trees and a captured laptop. */
#include "../hwmon/tree.h"

extern const struct eg_driver eg_driver_battery;

#define PS "sys/class/power_supply/"

static void set(struct rig *r, const char *name, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), PS "%s/%s", name, file);
	rig_write(r, path, text);
}

static struct rig *laptop(void)
{
	struct rig *r = rig_new(&eg_driver_battery);

	set(r, "AC", "type", "Mains");
	set(r, "AC", "online", "0");
	set(r, "BAT0", "type", "Battery");
	set(r, "BAT0", "present", "1");
	set(r, "BAT0", "status", "Discharging");
	set(r, "BAT0", "power_now", "5002000");
	set(r, "BAT0", "current_now", "1");
	set(r, "BAT0", "voltage_now", "1");
	return r;
}

static void test_absent(void **state)
{
	struct rig *r = rig_new(&eg_driver_battery);

	assert_int_equal(eg_driver_battery.probe(&r->env), -ENODEV);
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, NULL));
	set(r, "AC", "type", "Mains");
	set(r, "mouse", "type", "Battery");
	set(r, "mouse", "scope", "Device");
	set(r, "mouse", "status", "Discharging");
	set(r, "mouse", "power_now", "1000");
	set(r, "BAT1", "type", "Battery");
	set(r, "BAT1", "present", "0");
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ABSENT, "BAT1"));
	set(r, "BAT2", "type", "Battery");
	set(r, "BAT2", "status", "Discharging");
	set(r, "BAT2", "current_now", "5");
	assert_int_equal(rig_open(r), -ENODEV);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_UNSUPPORTED, "BAT2"));
	rig_free(r);
}

static void test_power_now(void **state)
{
	struct rig *r = laptop();

	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "BAT0 node battery node power 5002000\n");
	assert_int_equal(r->ch[0].unit_den, 1);
	set(r, "BAT0", "power_now", "-7000000"); /* some drivers: negative while discharging */
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 7000000);
	rig_free(r);
}

static void test_product(void **state)
{
	struct rig *r = rig_new(&eg_driver_battery);

	set(r, "BAT0", "type", "Battery");
	set(r, "BAT0", "scope", "System");
	set(r, "BAT0", "status", "Discharging");
	set(r, "BAT0", "current_now", "-1500000");
	set(r, "BAT0", "voltage_now", "12000000");
	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "BAT0 node battery node power 18000000000000\n");
	/* 18 W: the unit says so, in integers. */
	assert_int_equal(r->reading[0].raw * r->ch[0].unit_num / r->ch[0].unit_den, 18000000);
	set(r, "BAT0", "current_now", "1500000"); /* either sign */
	rig_read(r);
	assert_int_equal(r->reading[0].raw, 18000000000000);
	for (int i = 0; i < 2; i++) { /* each of the two reads failing is a failure */
		r->fault_file = i ? "voltage_now" : "current_now";
		r->fault_pread = EIO;
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	}
	r->fault_pread = 0;
	set(r, "BAT0", "current_now", "-9223372036854775808");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	assert_true(r->reading[0].bad);
	assert_non_null(rig_diag(r, EG_DIAG_VALUE_REJECTED, "BAT0"));
	rig_free(r);
}

/* Only a discharge is a value; anything else is no data, without a complaint. */
static void test_status(void **state)
{
	static const char *const other[] = {"Charging",	       "Full",
					    "Not charging",    "Unknown",
					    "discharging",     "Dischargin",
					    "Discharging now", ""};
	struct rig *r = laptop();

	assert_int_equal(rig_open(r), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(other); i++) {
		set(r, "BAT0", "status", other[i]);
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_NO_DATA);
	}
	assert_int_equal(r->diags.n, 0);
	set(r, "BAT0", "status", "Discharging");
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	rig_free(r);
}

static void test_several(void **state)
{
	struct rig *r = laptop();
	char name[16];

	set(r, "BAT1", "type", "Battery");
	set(r, "BAT1", "status", "Charging");
	set(r, "BAT1", "power_now", "100");
	set(r, "BAT\033[2J", "type", "Battery"); /* would clear the screen */
	set(r, "BAT\033[2J", "status", "Discharging");
	set(r, "BAT\033[2J", "power_now", "100");
	assert_int_equal(rig_open(r), 0);
	assert_non_null(rig_diag(r, EG_DIAG_SENSOR_ERROR, NULL));
	rig_assert_list(r, "BAT0 node-BAT0 battery node power 5002000\n"
			   "BAT1 node-BAT1 battery node power no_data\n");
	rig_close(r);
	for (int i = 2; i < 12; i++) {
		snprintf(name, sizeof(name), "BAT%d", i);
		set(r, name, "type", "Battery");
		set(r, name, "status", "Full");
		set(r, name, "power_now", "100");
	}
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(r->n, 8);
	assert_non_null(rig_diag(r, EG_DIAG_CONFIG, "BAT8"));
	rig_free(r);
}

static void test_errors(void **state)
{
	static const char *const bad[] = {"", "abc", "1 2", "nan", "99999999999999999999"};
	struct rig *r = laptop();

	assert_int_equal(rig_open(r), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		set(r, "BAT0", "power_now", bad[i]);
		rig_read(r);
		assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	}
	set(r, "BAT0", "power_now", "6");
	r->fault_file = "status";
	r->fault_pread = EIO;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	r->fault_pread = EACCES;
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_DENIED);
	/* Taken out, and put back. */
	r->fault_pread = ENODEV;
	rig_rename(r, PS "BAT0", "out");
	rig_read(r);
	assert_int_equal(eg_driver_battery.flags(r->inst, 0), EG_FLAG_BIT(EG_FLAG_LOST));
	rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_ERROR);
	r->fault_pread = 0;
	rig_rename(r, "out", PS "BAT0");
	for (int i = 0; i < 6; i++)
		rig_read(r);
	assert_int_equal(r->reading[0].status, EG_STATUS_OK);
	assert_int_equal(r->reading[0].raw, 6);
	assert_int_equal(eg_driver_battery.flags(r->inst, 0), 0);
	rig_free(r);
}

static int open_blocked(struct rig *r)
{
	const struct eg_diag *d;

	if (rig_open(r) != -EACCES)
		return 1;
	d = rig_diag(r, EG_DIAG_SENSOR_BLOCKED, "BAT0");
	return d && d->cure[0] ? 0 : 2;
}

static void test_denied(void **state)
{
	struct rig *r = laptop();

	rig_chmod(r, PS "BAT0/power_now", 0);
	assert_int_equal(rig_as_nobody(open_blocked, r), 0);
	rig_free(r);
}

static void test_each_open_fails(void **state)
{
	struct rig *r = laptop();

	for (r->fail_open_at = 1; r->fail_open_at < 2000; r->fail_open_at++) {
		r->opens = 0;
		if (rig_open(r) == 0) {
			rig_read(r);
			assert_int_not_equal(r->reading[0].raw, 0);
			rig_close(r);
			if (r->opens < r->fail_open_at)
				break;
		}
		assert_int_equal(rig_count_fds(), r->open_fds);
	}
	assert_true(r->fail_open_at > 5 && r->fail_open_at < 2000);
	rig_free(r);
}

static void test_settings(void **state)
{
	struct rig *r = laptop();
	struct eg_setting s = {"battery", "max_watts", "-3"};

	assert_int_equal(rig_open_with(r, &s, 1), -EINVAL);
	s.value = "90";
	assert_int_equal(rig_open_with(r, &s, 1), 0);
	assert_int_equal(r->ch[0].max_uw, 90000000);
	rig_free(r);
}

static void test_capture_laptop(void **state)
{
	struct rig *r = rig_new_capture(&eg_driver_battery, "sysfs/node_exporter");

	assert_int_equal(rig_open(r), 0);
	rig_assert_list(r, "BAT0 node battery node power 5002000\n");
	rig_free(r);
	/* A machine without batteries. */
	r = rig_new_capture(&eg_driver_battery, "sysfs/kepler");
	assert_int_equal(rig_open(r), -ENODEV);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),	 cmocka_unit_test(test_power_now),
		cmocka_unit_test(test_product),	 cmocka_unit_test(test_status),
		cmocka_unit_test(test_several),	 cmocka_unit_test(test_errors),
		cmocka_unit_test(test_denied),	 cmocka_unit_test(test_each_open_fails),
		cmocka_unit_test(test_settings), cmocka_unit_test(test_capture_laptop),
	};

	return cmocka_run_group_tests_name("battery driver", tests, NULL, NULL);
}
