/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts: keys, ceiling, saturation, and that a total outlives its channel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/ledger.h"

static void test_accounts(void **state)
{
	struct eg_ledger *l = NULL;
	int package, held, dram;

	assert_int_equal(eg_ledger_new(3, &l), 0);
	assert_int_equal(eg_ledger_count(l), 0);
	assert_null(eg_ledger_get(l, 0));
	package = eg_ledger_account(l, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_MEASURED);
	held = eg_ledger_account(l, "cpu-0", EG_COMPONENT_PACKAGE, EG_PROVENANCE_ESTIMATED);
	dram = eg_ledger_account(l, "cpu-0", EG_COMPONENT_DRAM, EG_PROVENANCE_MEASURED);
	assert_int_equal(package, 0);
	assert_int_equal(held, 1);
	assert_int_equal(dram, 2);
	assert_int_equal(eg_ledger_account(l, "cpu-1", EG_COMPONENT_DRAM, EG_PROVENANCE_MEASURED),
			 -ENOSPC);
	eg_ledger_add(l, package, 100, 5, false);
	eg_ledger_add(l, package, 11, 0, true);
	/* The device went and came back, read by another driver: the same account. */
	assert_int_equal(eg_ledger_account(l, "cpu-0", EG_COMPONENT_PACKAGE,
					   EG_PROVENANCE_MEASURED),
			 package);
	assert_int_equal(eg_ledger_count(l), 3);
	assert_int_equal(eg_ledger_get(l, 0)->uj, 111);
	assert_int_equal(eg_ledger_get(l, 0)->gap_ns, 5);
	assert_int_equal(eg_ledger_get(l, 0)->resets, 1);
	assert_string_equal(eg_ledger_get(l, 0)->device, "cpu-0");
	assert_int_equal(eg_ledger_get(l, 1)->uj, 0);
	assert_null(eg_ledger_free(l));
}

static void test_totals_do_not_overflow(void **state)
{
	struct eg_ledger *l = NULL;
	int a;

	assert_int_equal(eg_ledger_new(1, &l), 0);
	a = eg_ledger_account(l, "node", EG_COMPONENT_CHASSIS, EG_PROVENANCE_MEASURED);
	eg_ledger_add(l, a, UINT64_MAX - 1, UINT64_MAX, false);
	eg_ledger_add(l, a, 5, 5, false);
	assert_true(eg_ledger_get(l, 0)->uj == UINT64_MAX);
	assert_true(eg_ledger_get(l, 0)->gap_ns == UINT64_MAX);
	eg_ledger_add(l, 1, 5, 5, true); /* no such account: nothing happens */
	eg_ledger_add(l, -ENOSPC, 5, 5, true);
	assert_int_equal(eg_ledger_get(l, 0)->resets, 0);
	eg_ledger_free(l);
}

static void test_bad_arguments(void **state)
{
	struct eg_ledger *l = (void *)1;
	char name[EG_DEVICE_MAX + 1];

	assert_int_equal(eg_ledger_new(0, &l), -EINVAL);
	assert_int_equal(eg_ledger_new(SIZE_MAX, &l), -EINVAL);
	assert_ptr_equal(l, (void *)1);
	assert_null(eg_ledger_free(NULL));
	assert_int_equal(eg_ledger_new(2, &l), 0);
	memset(name, 'x', sizeof(name));
	name[EG_DEVICE_MAX] = '\0'; /* one too long: cut, it could be another's */
	assert_int_equal(eg_ledger_account(l, name, EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED),
			 -ENAMETOOLONG);
	name[EG_DEVICE_MAX - 1] = '\0';
	assert_int_equal(eg_ledger_account(l, name, EG_COMPONENT_GPU, EG_PROVENANCE_MEASURED), 0);
	assert_string_equal(eg_ledger_get(l, 0)->device, name);
	eg_ledger_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_totals_do_not_overflow),
		cmocka_unit_test(test_bad_arguments),
	};

	return cmocka_run_group_tests_name("core-ledger", tests, NULL, NULL);
}
