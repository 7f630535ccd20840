/* SPDX-License-Identifier: Apache-2.0 */
/* See money.h. The decimals are those of ISO 4217:2015, amendment 176, for currencies in use. */
#include "codec/money.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "codec/number.h"

double eg_money_kwh(uint64_t uj)
{
	return (double)uj / (double)EG_UJ_PER_KWH;
}

double eg_money_cost(uint64_t uj, double price_per_kwh)
{
	return (double)uj * price_per_kwh / (double)EG_UJ_PER_KWH;
}

unsigned eg_money_decimals(const char *currency)
{
	static const struct {
		char code[4];
		unsigned decimals;
	} odd[] = {{"BIF", 0}, {"CLP", 0}, {"DJF", 0}, {"GNF", 0}, {"ISK", 0}, {"JPY", 0},
		   {"KMF", 0}, {"KRW", 0}, {"PYG", 0}, {"RWF", 0}, {"UGX", 0}, {"VND", 0},
		   {"VUV", 0}, {"XAF", 0}, {"XOF", 0}, {"XPF", 0}, {"BHD", 3}, {"IQD", 3},
		   {"JOD", 3}, {"KWD", 3}, {"LYD", 3}, {"OMR", 3}, {"TND", 3}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(odd); i++)
		if (strcmp(odd[i].code, currency) == 0)
			return odd[i].decimals;
	return 2;
}

void eg_money_text(char buf[EG_MONEY_TEXT_MAX], double cost, const char *currency)
{
	static const struct {
		char code[4], sign[4];
	} signs[] = {{"USD", "$"}, {"EUR", "€"}, {"GBP", "£"}, {"JPY", "¥"}, {"KRW", "₩"}};
	char number[EG_NUMBER_MAX];

	eg_number_fixed(number, cost, eg_money_decimals(currency));
	for (size_t i = 0; i < EG_ARRAY_SIZE(signs); i++)
		if (strcmp(signs[i].code, currency) == 0) {
			snprintf(buf, EG_MONEY_TEXT_MAX, "%s%s", signs[i].sign, number);
			return;
		}
	snprintf(buf, EG_MONEY_TEXT_MAX, "%s%s%.40s", number, *currency ? " " : "", currency);
}
