/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers of the property tests: splitmix64 (Steele, Lea, Flood 2014) with a fixed seed, so
 * that a failing case can be run again. ERGON_SOAK=N multiplies the number of cases by N.
 */
#ifndef EG_TESTS_CORE_RANDOM_H
#define EG_TESTS_CORE_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

static inline uint64_t random_u64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 .. n - 1; n is not 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)random_u64(state) * n) >> 64);
}

/* Any number of bits is as likely as any other: small, middling and huge values. */
static inline uint64_t random_any(uint64_t *state)
{
	return random_u64(state) >> random_below(state, 64);
}

static inline double random_unit(uint64_t *state)
{
	return (double)(random_u64(state) >> 11) * 0x1p-53;
}

static inline uint64_t soak_cases(uint64_t cases)
{
	const char *factor = getenv("ERGON_SOAK");
	unsigned long n = factor ? strtoul(factor, NULL, 10) : 1;

	return cases * (n ? n : 1);
}

#endif
