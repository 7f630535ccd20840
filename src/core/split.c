/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact division among weights (see split.h): the method of largest remainders (Hamilton), with the
 * unpaid part of each consumer carried into its next target.
 *
 * Target = amount * weight / sum + carry. Everybody gets the whole part of its target; the
 * microjoules left over go to the largest remainders, one each. A target can be negative by what
 * was paid too early; nobody gets less than 0, so then too much may be out, and it is taken back
 * where the remainder is smallest. What a share differs from its target is the new carry.
 *
 * Remainders are ordered by a binary heap in the caller's scratch: no allocation, O(n log n). A
 * heap word is remainder << 27 | index, so equal remainders have one order on every machine.
 */
#include "core/split.h"

#include <errno.h>
#include <stdbool.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

#define ONE_UJ	   ((int64_t)1 << 32)
#define CARRY_MAX  (8 * ONE_UJ) /* most that is carried; remainders fit 37 bits */
#define INDEX_BITS 27
#define SMALL_N	   64

struct split {
	const uint64_t *weights;
	size_t n;
	uint64_t *shares, *heap;
	int64_t *carry; /* may be NULL */
	uint64_t amount;
	u128 sum;
};

/* Into [-CARRY_MAX, CARRY_MAX). */
static int64_t clamp(i128 v)
{
	return (int64_t)EG_MAX(EG_MIN(v, CARRY_MAX - 1), -CARRY_MAX);
}

/* amount * weight / sum + carry, in 2^-32 microjoules, rounded to nearest. */
static i128 target(const struct split *s, size_t i)
{
	u128 product = (u128)s->amount * s->weights[i];
	u128 whole = product / s->sum, part = product - whole * s->sum;
	/* part < sum <= n * 2^64 <= 2^91 */
	i128 t = (i128)(whole << 32) + (i128)(((part << 32) + s->sum / 2) / s->sum);

	return t + (s->carry ? s->carry[i] : 0);
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
	uint64_t v = heap[i];

	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && heap[child + 1] > heap[child])
			child++;
		if (heap[child] <= v)
			break;
		heap[i] = heap[child];
	}
	heap[i] = v;
}

/*
 * Heap of those who may get one more (take: must give one back), best first; returns how many.
 * Remainder = target - share.
 */
static size_t build_heap(const struct split *s, bool take)
{
	const uint64_t mask = ((uint64_t)1 << INDEX_BITS) - 1;
	size_t m = 0;

	for (size_t i = 0; i < s->n; i++) {
		i128 rest;
		uint64_t key;

		if (s->weights[i] == 0 || (take && s->shares[i] == 0))
			continue;
		rest = clamp(target(s, i) - ((i128)s->shares[i] << 32));
		key = (uint64_t)((take ? -rest : rest) + CARRY_MAX);
		s->heap[m++] = key << INDEX_BITS | (~(uint64_t)i & mask);
	}
	for (size_t i = m / 2; i-- > 0;)
		sift_down(s->heap, m, i);
	return m;
}

/* One microjoule more (take: less) for `count` consumers, best first; returns how many got it. */
static u128 correct(const struct split *s, bool take, u128 count)
{
	const uint64_t mask = ((uint64_t)1 << INDEX_BITS) - 1;
	size_t m = build_heap(s, take);
	u128 done = 0;

	for (; m > 0 && done < count; done++) {
		size_t i = (size_t)(~s->heap[0] & mask);

		s->shares[i] += take ? -1 : 1;
		s->heap[0] = s->heap[--m];
		sift_down(s->heap, m, 0);
	}
	return done;
}

int eg_split(uint64_t amount, const uint64_t *weights, size_t n, int64_t *carry, uint64_t *scratch,
	     uint64_t *shares, uint64_t *ret_rest)
{
	uint64_t small[SMALL_N];
	struct split s = {.weights = weights,
			  .n = n,
			  .shares = shares,
			  .carry = carry,
			  .heap = n <= SMALL_N ? small : scratch,
			  .amount = amount};
	u128 paid = 0;

	if (!s.heap || n > (size_t)1 << INDEX_BITS)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		s.sum += weights[i];
	for (size_t i = 0; i < n; i++) {
		i128 whole = weights[i] ? target(&s, i) >> 32 : 0;

		shares[i] = whole > 0 ? (uint64_t)EG_MIN(whole, (i128)amount) : 0;
		paid += shares[i];
	}
	*ret_rest = s.sum ? 0 : amount;
	if (s.sum == 0)
		return 0;
	while (paid < amount)
		paid += correct(&s, false, amount - paid);
	while (paid > amount)
		paid -= correct(&s, true, paid - amount);
	for (size_t i = 0; carry && i < n; i++)
		if (weights[i])
			carry[i] = clamp(target(&s, i) - ((i128)shares[i] << 32));
	return 0;
}
