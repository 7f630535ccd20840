/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text, the same in every locale: exact decimals of scaled integers (microjoules as
 * joules, nanoseconds as seconds), shortest decimals of doubles that read back to the same value,
 * and fixed decimals for people. Nothing here allocates.
 */
#ifndef EG_CODEC_NUMBER_H
#define EG_CODEC_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define EG_NUMBER_MAX 48 /* bytes of any text made here, with the NUL */

/* v / 10^digits exactly, without trailing zeros: (151200000, 6) is "151.2". digits <= 18. */
size_t eg_number_scaled(char buf[EG_NUMBER_MAX], uint64_t v, unsigned digits);
/*
 * The shortest decimal that reads back to v; plain from 1e-9 to below 1e21, else with an exponent.
 * Returns 0 with an empty text where v is NaN or infinite: the caller says null or leaves it out.
 */
size_t eg_number_double(char buf[EG_NUMBER_MAX], double v);
/* Rounded to a fixed count of decimals (at most 9), for people; "-" where v is not finite. */
size_t eg_number_fixed(char buf[EG_NUMBER_MAX], double v, unsigned decimals);
/* Decimals that show two significant digits of an uncertainty, 0 to 6. */
unsigned eg_number_decimals(double uncertainty);

#endif
