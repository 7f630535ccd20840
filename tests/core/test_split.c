/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Division among weights: conservation over a million random cases, fairness over time against the
 * exact share, zero weights, overflow.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "core/split.h"
#include "random.h"

typedef unsigned __int128 u128;

#define MANY 1000

static uint64_t split(uint64_t amount, const uint64_t *weights, size_t n, int64_t *carry,
		      uint64_t *shares)
{
	uint64_t scratch[MANY], rest = UINT64_MAX, sum = 0;

	assert_true(n <= MANY);
	assert_int_equal(eg_split(amount, weights, n, carry, scratch, shares, &rest), 0);
	for (size_t i = 0; i < n; i++) {
		assert_true(shares[i] <= amount - sum);
		sum += shares[i];
		assert_true(weights[i] || !shares[i]);
	}
	assert_true(sum + rest == amount);
	return rest;
}

static void test_largest_remainder(void **state)
{
	static const uint64_t weights[] = {47, 16, 16, 12, 6, 3}; /* three equal remainders */
	uint64_t shares[6];

	assert_int_equal(split(10, weights, 6, NULL, shares), 0);
	assert_memory_equal(shares, ((uint64_t[]){5, 2, 2, 1, 0, 0}), sizeof(shares));
}

static void test_equal_weights_take_turns(void **state)
{
	static const uint64_t weights[] = {1, 1, 1};
	uint64_t shares[3], sum[3] = {0};
	int64_t carry[3] = {0};

	for (int round = 0; round < 300; round++) {
		split(1, weights, 3, carry, shares);
		for (int i = 0; i < 3; i++)
			sum[i] += shares[i];
		if (round % 3 == 2)
			assert_memory_equal(
				sum, ((uint64_t[]){round / 3 + 1, round / 3 + 1, round / 3 + 1}),
				sizeof(sum));
	}
}

static void test_no_weight_is_unattributed(void **state)
{
	static const uint64_t zero[3];
	uint64_t shares[3] = {9, 9, 9}, rest;
	int64_t carry[3] = {5, -5, 0};

	assert_int_equal(split(77, zero, 3, carry, shares), 77);
	assert_memory_equal(shares, zero, sizeof(shares));
	assert_memory_equal(carry, ((int64_t[]){5, -5, 0}), sizeof(carry));
	assert_int_equal(eg_split(5, NULL, 0, NULL, NULL, NULL, &rest), 0);
	assert_int_equal(rest, 5);
}

static void test_one_consumer_gets_all(void **state)
{
	static const uint64_t weights[] = {0, 3, 0};
	uint64_t shares[3];

	assert_int_equal(split(UINT64_MAX, weights, 3, NULL, shares), 0);
	assert_true(shares[1] == UINT64_MAX);
}

static void test_overflow(void **state)
{
	static uint64_t weights[MANY], shares[MANY];
	static int64_t carry[MANY];

	for (size_t i = 0; i < MANY; i++)
		weights[i] = UINT64_MAX;
	for (int round = 0; round < 10; round++) {
		split(UINT64_MAX, weights, MANY, carry, shares);
		for (size_t i = 0; i < MANY; i++)
			assert_in_range(shares[i] - UINT64_MAX / MANY, 0, 1);
	}
	/* A carry at its ends beside the largest amount. */
	for (size_t i = 0; i < MANY; i++)
		carry[i] = i % 2 ? INT64_MAX / 4 : INT64_MIN / 4;
	split(UINT64_MAX, weights, MANY, carry, shares);
	split(0, weights, MANY, carry, shares);
	split(3, weights, MANY, carry, shares);
}

static void test_scratch_is_needed_above_64(void **state)
{
	static uint64_t weights[65], shares[65], scratch[65];
	uint64_t rest = 42;

	weights[0] = 1;
	assert_int_equal(eg_split(1, weights, 65, NULL, NULL, shares, &rest), -EINVAL);
	assert_int_equal(rest, 42);
	assert_int_equal(eg_split(1, weights, 64, NULL, NULL, shares, &rest), 0);
	assert_int_equal(eg_split(1, weights, 65, NULL, scratch, shares, &rest), 0);
}

static void random_weights(uint64_t *rng, uint64_t *weights, size_t n)
{
	uint64_t kind = random_below(rng, 4);

	for (size_t i = 0; i < n; i++) {
		weights[i] = kind == 0 ? random_below(rng, 10) : random_any(rng);
		if (kind == 2 && random_below(rng, 2))
			weights[i] = 0;
		if (kind == 3)
			weights[i] = UINT64_MAX - random_below(rng, 3);
	}
}

/* Conservation, with carry kept over changing weights; without carry also the quota rule. */
static void test_conservation(void **state)
{
	uint64_t rng = 5, cases = soak_cases(1000000), weights[64], shares[64];
	int64_t carry[64] = {0};

	for (uint64_t i = 0; i < cases; i++) {
		size_t n = 1 + random_below(&rng, i % 100 ? 10 : 64);
		uint64_t amount = random_any(&rng);
		bool carried = random_below(&rng, 2);
		u128 sum = 0;

		random_weights(&rng, weights, n);
		split(amount, weights, n, carried ? carry : NULL, shares);
		for (size_t k = 0; k < n; k++)
			sum += weights[k];
		for (size_t k = 0; k < n && !carried && sum; k++) {
			uint64_t quota = (uint64_t)((u128)amount * weights[k] / sum);

			assert_in_range(shares[k] - quota, 0, 1);
		}
	}
}

/*
 * Fairness: with constant weights each consumer's sum stays near its exact share at every moment,
 * however small the amounts. An amount per call below one microjoule each is the hard case.
 */
static void test_nobody_is_favoured(void **state)
{
	uint64_t rng = 9, cases = soak_cases(100000);
	double worst = 0;

	for (uint64_t done = 0; done < cases;) {
		size_t n = 2 + random_below(&rng, 40);
		uint64_t weights[64], shares[64], got[64] = {0}, paid = 0;
		uint64_t most = 1 + random_any(&rng) % 1000;
		int64_t carry[64] = {0};
		u128 sum = 0;

		for (size_t k = 0; k < n; k++)
			sum += weights[k] = random_below(&rng, 8) ? 1 + random_any(&rng) % 1000000 :
								    0;
		if (sum == 0)
			continue;
		for (int round = 0; round < 1000; round++, done++) {
			uint64_t amount = random_below(&rng, most + 1);

			split(amount, weights, n, carry, shares);
			paid += amount;
			for (size_t k = 0; k < n; k++) {
				double exact = (double)((u128)paid * weights[k]) / (double)sum, off;

				got[k] += shares[k];
				off = (double)got[k] - exact;
				if (off < 0)
					off = -off;
				if (off > worst)
					worst = off;
			}
		}
	}
	print_message("# worst distance from the exact share: %.3f uJ\n", worst);
	assert_true(worst < 2);
}

/* 300 W at one call a second among 1000: each sum is right to two microjoules. */
static void test_many_consumers(void **state)
{
	static uint64_t weights[MANY], shares[MANY], got[MANY];
	static int64_t carry[MANY];
	uint64_t rng = 13, paid = 0, sum = 0;

	for (size_t i = 0; i < MANY; i++)
		sum += weights[i] = 1 + random_any(&rng) % 1000000000;
	for (int round = 0; round < 5000; round++) {
		uint64_t amount = 300000000 + random_below(&rng, 1000);

		split(amount, weights, MANY, carry, shares);
		paid += amount;
		for (size_t i = 0; i < MANY; i++)
			got[i] += shares[i];
	}
	for (size_t i = 0; i < MANY; i++) {
		uint64_t exact = (uint64_t)((u128)paid * weights[i] / sum);

		assert_in_range(got[i] + 2 - exact, 0, 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_largest_remainder),
		cmocka_unit_test(test_equal_weights_take_turns),
		cmocka_unit_test(test_no_weight_is_unattributed),
		cmocka_unit_test(test_one_consumer_gets_all),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_scratch_is_needed_above_64),
		cmocka_unit_test(test_conservation),
		cmocka_unit_test(test_nobody_is_favoured),
		cmocka_unit_test(test_many_consumers),
	};

	return cmocka_run_group_tests_name("core-split", tests, NULL, NULL);
}
