/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joules as kilowatt-hours and as money. A price is a number per kWh that keeps its digits
 * (0.1234, 27.5); an amount is shown with as many decimals as its currency has (ISO 4217).
 */
#ifndef EG_CODEC_MONEY_H
#define EG_CODEC_MONEY_H

#include <stdint.h>

#define EG_UJ_PER_KWH 3600000000000ULL

double eg_money_kwh(uint64_t uj);
double eg_money_cost(uint64_t uj, double price_per_kwh);
/* Decimals of an amount in a currency, by its ISO 4217 code: JPY 0, USD 2, KWD 3; 2 where unknown. */
unsigned eg_money_decimals(const char *currency);
/* "$0.39", "€1.20", "¥28", "1.23 CHF"; the number alone where the currency is "". */
#define EG_MONEY_TEXT_MAX 96
void eg_money_text(char buf[EG_MONEY_TEXT_MAX], double cost, const char *currency);

#endif
