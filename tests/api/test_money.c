/* SPDX-License-Identifier: Apache-2.0 */
/* Kilowatt-hours and money (contracts/energy-accounting.md T3, T29; Part 3, money). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/money.h"

static void expect(uint64_t joules, double price, const char *currency, const char *text)
{
	char buf[EG_MONEY_TEXT_MAX];

	eg_money_text(buf, eg_money_cost(joules * 1000000, price), currency);
	assert_string_equal(buf, text);
}

static void t29(void **state)
{
	assert_true(fabs(eg_money_kwh(11556000ULL * 1000000) - 3.21) < 1e-12);
	expect(11556000, 0.12, "USD", "$0.39");
	assert_true(fabs(eg_money_kwh(98640000ULL * 1000000) - 27.4) < 1e-12);
	expect(98640000, 0.12, "USD", "$3.29");
	expect(180000, 0.12, "USD", "$0.01"); /* T3 */
}

static void currencies(void **state)
{
	expect(3600000, 1.2, "EUR", "€1.20");
	expect(3600000, 0.5, "GBP", "£0.50");
	expect(3600000, 27.5, "JPY", "¥28");
	expect(3600000, 1234.4, "KRW", "₩1234");
	expect(3600000, 1.234, "CHF", "1.23 CHF");
	expect(3600000, 1.2345, "KWD", "1.234 KWD");
	expect(3600000, 1.234, "", "1.23");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(t29), cmocka_unit_test(currencies)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
