/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a hwmon chip make a channel: each rule and each chip family of the measurement
 * contract, section 4.5. A chip is given as its file names, the channels are printed and compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/hwmon/plan.h"

/* files: "NAME" or "NAME=TEXT", separated by blanks. Prints "energy1 power2a in1*curr1/label". */
static const char *plan(const char *chip_name, const char *files)
{
	static char out[4096];
	struct eg_hwmon_chip *chip = calloc(1, sizeof(*chip));
	struct eg_hwmon_plan p[EG_HWMON_PLANS_MAX];
	char copy[2048], *save = NULL;
	size_t n, len = 0;

	assert_non_null(chip);
	snprintf(chip->name, sizeof(chip->name), "%s", chip_name);
	snprintf(copy, sizeof(copy), "%s", files);
	for (char *f = strtok_r(copy, " ", &save); f; f = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(f, '=');

		if (eq)
			*eq = '\0';
		eg_hwmon_chip_add(chip, f, eq ? eq + 1 : "");
	}
	n = eg_hwmon_chip_plan(chip, p);
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		const char *avg = p[i].average ? "a" : "";
		const char *sep = i ? " " : "";

		if (p[i].kind == EG_HWMON_IN)
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%sin%u*curr%u%s",
						sep, p[i].index, p[i].current, avg);
		else
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s%u%s", sep,
						p[i].kind == EG_HWMON_ENERGY ? "energy" : "power",
						p[i].index, avg);
		if (p[i].label[0])
			len += (size_t)snprintf(out + len, sizeof(out) - len, "/%s", p[i].label);
	}
	free(chip);
	return out;
}

#define V(n) "in" #n "_input "
#define A(n) "curr" #n "_input "

static void test_names(void **state)
{
	enum eg_hwmon_kind kind;
	enum eg_hwmon_item item;
	unsigned index;
	static const char *const bad[] = {
		"power1",
		"power_input",
		"power1_",
		"power1_inputs",
		"xpower1_input",
		"power64_input",
		"power99999999999999999999_input",
		"power01_input",
		"temp1_input",
		"in-1_input",
		"in",
		"",
		"power1_cap",
		"intrusion0_alarm",
		"input1_input",
		"current1_input",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(eg_hwmon_parse_name(bad[i], &kind, &index, &item), 0);
	assert_int_equal(eg_hwmon_parse_name("power63_average", &kind, &index, &item), 0);
	assert_int_equal(kind, EG_HWMON_POWER);
	assert_int_equal(index, 63);
	assert_int_equal(item, EG_HWMON_ITEM_AVERAGE);
	assert_int_equal(eg_hwmon_parse_name("in0_label", &kind, &index, &item), 0);
	assert_int_equal(kind, EG_HWMON_IN);
	assert_int_equal(item, EG_HWMON_ITEM_LABEL);
	assert_int_equal(eg_hwmon_parse_name("curr3_enable", &kind, &index, &item), 0);
	assert_int_equal(kind, EG_HWMON_CURR);
}

static void test_priority(void **state)
{
	assert_string_equal(plan("x", "energy1_input power1_average power1_input " V(1) A(1)),
			    "energy1");
	assert_string_equal(plan("x", "power1_average power1_input " V(1) A(1)), "power1a");
	assert_string_equal(plan("x", "power1_average"), "power1a");
	assert_string_equal(plan("x", "power1_input " V(1) A(1)), "power1");
	assert_string_equal(plan("x", V(1) A(1)), "in1*curr1");
	/* Channels are told by index: another index is another channel. */
	assert_string_equal(plan("x", "energy1_input power2_input " V(3) A(3)),
			    "energy1 power2 in3*curr3");
	/* ... and by label, where an index is not the same thing. */
	assert_string_equal(plan("x", "energy1_input energy1_label=card power2_input "
				      "power2_label=card"),
			    "energy1/card");
	assert_string_equal(plan("x", "power1_label=lost energy2_average"), "");
}

static void test_enable(void **state)
{
	assert_string_equal(plan("x", "power1_input power1_enable=0 power2_input power2_enable=1"),
			    "power2");
	assert_string_equal(plan("x", "energy1_input energy1_enable=0 energy2_input"), "energy2");
	assert_string_equal(plan("ina3221", V(1) V(2) A(1) A(2) "in1_enable=0"), "in2*curr2");
	assert_string_equal(plan("ina3221", V(1) V(2) A(1) A(2) "curr2_enable=0"), "in1*curr1");
}

static void test_average(void **state)
{
	assert_string_equal(plan("x", V(1) A(1) "in1_average curr1_average"), "in1*curr1a");
	assert_string_equal(plan("x", V(1) A(1) "in1_average"), "in1*curr1");
	assert_string_equal(plan("x", V(1) A(1) "curr1_average"), "in1*curr1");
	assert_string_equal(plan("x", "in1_average curr1_average"),
			    ""); /* no input: not a sensor */
}

static void test_pair_by_label(void **state)
{
	/* Label before index. */
	assert_string_equal(plan("x", V(1) V(2) A(1) A(2) "in1_label=cpu in2_label=gpu "
							  "curr1_label=gpu curr2_label=cpu"),
			    "in1*curr2/cpu in2*curr1/gpu");
	assert_string_equal(plan("x", V(4) A(7) "in4_label=cpu curr7_label=cpu"), "in4*curr7/cpu");
	/* A label on one side only: index. */
	assert_string_equal(plan("ina3221", V(1) A(1) "in1_label=VDD_IN"), "in1*curr1/VDD_IN");
	assert_string_equal(plan("x", V(1) A(1) "curr1_label=cpu"), "in1*curr1/cpu");
	/* Equal labels twice on one chip: each current belongs to one voltage. */
	assert_string_equal(plan("x", V(1) V(2) A(1) "in1_label=a in2_label=a curr1_label=a"),
			    "in1*curr1/a");
	/* Voltage alone, current alone. */
	assert_string_equal(plan("nct6779", V(0) V(1) V(2)), "");
	assert_string_equal(plan("x", A(1) A(2)), "");
}

/* Input and output of a regulator are two channels, never crossed. */
static void test_pmbus_sides(void **state)
{
	assert_string_equal(
		plan("pmbus", V(1) V(2) A(1) A(2) "in1_label=vin in2_label=vout1 curr1_label=iin "
						  "curr2_label=iout1 power1_input power1_label=pin "
						  "power2_input power2_label=pout1"),
		"power1/pin power2/pout1");
	assert_string_equal(plan("pmbus", V(1) V(2) A(1) "in1_label=vin in2_label=vout1 "
							 "curr1_label=iout1"),
			    "in2*curr1/vout1");
	assert_string_equal(
		plan("pmbus",
		     V(1) V(2) A(1) A(
			     2) "in1_label=vin in2_label=vout1 "
				"curr1_label=iin curr2_label=iout1 power1_input power1_label=pout1"),
		"power1/pout1 in1*curr1/vin");
	assert_string_equal(plan("pmbus", V(1) A(1) "in1_label=vin curr1_label=iout1"), "");
	assert_string_equal(eg_hwmon_canonical_label("vout12"), "out12");
	assert_string_equal(eg_hwmon_canonical_label("iinlet"), "iinlet");
	assert_string_equal(eg_hwmon_canonical_label("package"), "package");
	assert_string_equal(eg_hwmon_canonical_label(""), "");
}

static void test_chip_table(void **state)
{
	static const char *const in1_curr1[] = {
		"ina209",  "ina219",  "ina226",	 "ina238",  "ina260",
		"ina233",  "ltc2945", "ltc4260", "ltc4261", "ltc4282",
		"adm1275", "adm1276", "adm1278", "adm1293", "mp2975",
	};
	static const char *const same_index[] = {
		"max34451",  "tps40422", "tps53679", "tps546d24", "ir35221",
		"xdpe12284", "pmbus",	 "ucd9000",  "ucd90320",
	};
	const char *all = V(0) V(1) V(2) V(3) V(4) V(5) V(6) V(7) V(8) A(1) A(2) A(3) A(4) A(5) A(6)
		A(7) A(8);

	for (size_t i = 0; i < sizeof(in1_curr1) / sizeof(in1_curr1[0]); i++) {
		assert_string_equal(plan(in1_curr1[i], all), "in1*curr1");
		assert_string_equal(plan(in1_curr1[i], V(0) A(1)), "");
		/* The shunt is no rail even where labels agree. */
		assert_string_equal(plan(in1_curr1[i], V(0) A(1) "in0_label=a curr1_label=a"), "");
	}
	for (size_t i = 0; i < sizeof(same_index) / sizeof(same_index[0]); i++)
		assert_string_equal(plan(same_index[i], all),
				    "in1*curr1 in2*curr2 in3*curr3 in4*curr4 in5*curr5 in6*curr6 "
				    "in7*curr7 in8*curr8");
	assert_string_equal(plan("max34440", all),
			    "in1*curr1 in2*curr2 in3*curr3 in4*curr4 in5*curr5 in6*curr6");
	assert_string_equal(plan("ina3221", all), "in1*curr1 in2*curr2 in3*curr3");
	assert_string_equal(plan("ltc2947", all), "in0*curr1");
	assert_string_equal(plan("ltc2992", all), "in0*curr1 in2*curr2");
	assert_string_equal(plan("ltc2992", V(0) V(1) A(1) A(2)), "in0*curr1");
	assert_string_equal(plan("max20730", all), "in2*curr1");
	assert_string_equal(plan("max20751", all), "in2*curr1");
	assert_string_equal(plan("unknown", V(0) A(1)), "");
	/* With a power sensor the product adds nothing. */
	assert_string_equal(plan("ina226", V(0) V(1) A(1) "power1_input"), "power1");
	assert_string_equal(plan("ltc2947", V(0) A(1) "power1_input energy1_input"), "energy1");
	assert_string_equal(plan("ltc2992", V(0) V(2) A(1) A(2) "power1_input power2_input"),
			    "power1 power2");
}

static void test_owners(void **state)
{
	assert_true(eg_hwmon_owned_elsewhere("amdgpu"));
	assert_true(eg_hwmon_owned_elsewhere("i915"));
	assert_true(eg_hwmon_owned_elsewhere("i915_gt1"));
	assert_true(eg_hwmon_owned_elsewhere("xe"));
	assert_false(eg_hwmon_owned_elsewhere("xenon"));
	assert_false(eg_hwmon_owned_elsewhere("nouveau"));
	assert_false(eg_hwmon_owned_elsewhere(""));
}

static void test_sanitize(void **state)
{
	char b[8];

	eg_hwmon_sanitize(b, sizeof(b), "a b/\n\xff");
	assert_string_equal(b, "a_b___");
	eg_hwmon_sanitize(b, sizeof(b), "0123456789");
	assert_string_equal(b, "0123456");
	eg_hwmon_sanitize(b, 1, "x");
	assert_string_equal(b, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	      cmocka_unit_test(test_priority),
		cmocka_unit_test(test_enable),	      cmocka_unit_test(test_average),
		cmocka_unit_test(test_pair_by_label), cmocka_unit_test(test_pmbus_sides),
		cmocka_unit_test(test_chip_table),    cmocka_unit_test(test_owners),
		cmocka_unit_test(test_sanitize),
	};

	return cmocka_run_group_tests_name("hwmon plan", tests, NULL, NULL);
}
