/* SPDX-License-Identifier: Apache-2.0 */
/* What the text of a powercap tree means: identifiers, names, ranges, mirrored counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "drivers/rapl/zone.h"

static void ids(void **state)
{
	static const char *const bad[] = {
		"",
		"intel-rapl",
		"intel-rapl-mmio",
		"intel-rapl:",
		"intel-rapl:g",
		"intel-rapl:0:",
		"intel-rapl::0",
		"intel-rapl:0:1:2:3",
		"intel-rapl:0-1",
		"intel-rapl:10000",
		"intel-rapl: 1",
		"intel-rapl:1 ",
		"intel-raplx:0",
		"dtpm:0",
		"intel-rapl:-1",
		"intel-rapl:0x1",
		"intel-rapl:\n1",
		"intel-rapl:0:\t1:2",
		"Intel-rapl:0",
	};
	struct eg_rapl_id id, untouched;

	assert_int_equal(eg_rapl_parse_id("intel-rapl:0", &id), 0);
	assert_true(!id.mmio && id.depth == 1 && id.n[0] == 0);
	assert_int_equal(eg_rapl_parse_id("intel-rapl:a:1", &id), 0);
	assert_true(!id.mmio && id.depth == 2 && id.n[0] == 10 && id.n[1] == 1);
	assert_int_equal(eg_rapl_parse_id("intel-rapl-mmio:1f:2:c", &id), 0);
	assert_true(id.mmio && id.depth == 3 && id.n[0] == 31 && id.n[1] == 2 && id.n[2] == 12);
	untouched = id;
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		assert_int_equal(eg_rapl_parse_id(bad[i], &id), -EINVAL);
		assert_memory_equal(&id, &untouched, sizeof(id));
	}
}

static void parents(void **state)
{
	struct eg_rapl_id a, b, c, m;

	assert_int_equal(eg_rapl_parse_id("intel-rapl:a", &a), 0);
	assert_int_equal(eg_rapl_parse_id("intel-rapl:a:1", &b), 0);
	assert_int_equal(eg_rapl_parse_id("intel-rapl:a:1:0", &c), 0);
	assert_int_equal(eg_rapl_parse_id("intel-rapl-mmio:a:1", &m), 0);
	assert_true(eg_rapl_id_is_parent(&a, &b));
	assert_true(eg_rapl_id_is_parent(&b, &c));
	assert_false(eg_rapl_id_is_parent(&a, &c));
	assert_false(eg_rapl_id_is_parent(&b, &a));
	assert_false(eg_rapl_id_is_parent(&a, &a));
	assert_false(eg_rapl_id_is_parent(&a, &m));
	assert_false(eg_rapl_id_equal(&b, &m));
	assert_true(eg_rapl_id_equal(&b, &b));
}

static void names(void **state)
{
	static const struct {
		const char *text;
		struct eg_rapl_name name;
	} good[] = {
		{"package-0", {EG_RAPL_PACKAGE, 0, -1}},
		{"package-15", {EG_RAPL_PACKAGE, 15, -1}},
		{"package-1-die-3", {EG_RAPL_PACKAGE, 1, 3}},
		{"package-0-die-0", {EG_RAPL_PACKAGE, 0, 0}},
		{"core", {EG_RAPL_CORE, 0, -1}},
		{"uncore", {EG_RAPL_UNCORE, 0, -1}},
		{"dram", {EG_RAPL_DRAM, 0, -1}},
		{"psys", {EG_RAPL_PSYS, 0, -1}},
		{"psys-1", {EG_RAPL_PSYS, 1, -1}},
	};
	static const char *const bad[] = {
		"",
		"package",
		"package-",
		"package-x",
		"package--1",
		"package-0-",
		"package-0-die",
		"package-0-die-",
		"package-0-die-x",
		"cores",
		"Core",
		"dram-0",
		"psys-",
		"psys-0-die-0",
		"package-99999",
		"package- 1",
		"package-0-die- 1",
		"package-0:1",
	};
	struct eg_rapl_name name;

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		memset(&name, 0xff, sizeof(name));
		assert_int_equal(eg_rapl_parse_name(good[i].text, strlen(good[i].text), &name), 0);
		assert_int_equal(name.kind, good[i].name.kind);
		assert_int_equal(name.number, good[i].name.number);
		assert_int_equal(name.die, good[i].name.die);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		int r = eg_rapl_parse_name(bad[i], strlen(bad[i]), &name);

		assert_int_equal(r, -EINVAL);
	}
}

static void ranges(void **state)
{
	static const struct {
		uint64_t max, modulus, resolution;
	} t[] = {
		{262143328850, 262143328911, 62}, /* 2^-14 J */
		{65532610987, 65532611002, 16},	  /* 2^-16 J */
		{65712999613, 65712999628, 16},	  /* DRAM, 15.3 uJ */
		{1000000, 1000001, 1},		  /* no 32-bit register: unit 1 uJ */
		{262143328851, 262143328852, 1},
		{UINT64_MAX - 1, UINT64_MAX, 1},
	};
	struct eg_rapl_range r;

	for (size_t i = 0; i < EG_ARRAY_SIZE(t); i++) {
		assert_int_equal(eg_rapl_range(t[i].max, &r), 0);
		assert_true(r.modulus_uj == t[i].modulus);
		assert_true(r.resolution_uj == t[i].resolution);
	}
	/* The platform counter of Sapphire Rapids: one joule a step. */
	assert_int_equal(eg_rapl_range(4294967295000000, &r), 0);
	assert_true(r.modulus_uj == 4294967296000000 && r.resolution_uj == 1000000);
	assert_int_equal(eg_rapl_range(0, &r), -ERANGE);
	assert_int_equal(eg_rapl_range(UINT64_MAX, &r), -ERANGE);
	assert_true(r.modulus_uj == 4294967296000000);
}

static void brackets(void **state)
{
	const uint64_t m = 65532611002;

	assert_true(eg_rapl_bracket_holds(5, 5, 5, m));
	assert_true(eg_rapl_bracket_holds(5, 6, 7, m));
	assert_true(eg_rapl_bracket_holds(m - 1, 2, 3, m)); /* across the wrap */
	assert_true(eg_rapl_bracket_holds(m - 3, m - 2, 1, m));
	assert_false(eg_rapl_bracket_holds(m - 3, 2, 1, m));
	assert_false(eg_rapl_bracket_holds(5, 4, 7, m));
	assert_false(eg_rapl_bracket_holds(5, 8, 7, m));
	assert_false(eg_rapl_bracket_holds(5, 6, 4, m)); /* a whole turn shows nothing */
	assert_true(eg_rapl_bracket_holds(5, 6, 7, 0));
	assert_false(eg_rapl_bracket_holds(7, 6, 5, 0));
	assert_false(eg_rapl_bracket_holds(7, 8, 5, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids),	  cmocka_unit_test(parents),  cmocka_unit_test(names),
		cmocka_unit_test(ranges), cmocka_unit_test(brackets),
	};

	return cmocka_run_group_tests_name("rapl-zone", tests, NULL, NULL);
}
