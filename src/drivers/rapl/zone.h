/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the text of a powercap tree means: zone identifiers, zone names, counter ranges, and whether
 * two counters are one. Pure functions over bytes from outside, no I/O.
 * Source: Linux Documentation/power/powercap/powercap.rst, drivers/powercap/intel_rapl_common.c.
 */
#ifndef EG_DRIVERS_RAPL_ZONE_H
#define EG_DRIVERS_RAPL_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_RAPL_DEPTH_MAX  3	   /* intel-rapl:N:M:K */
#define EG_RAPL_NUMBER_MAX 0xffffu /* of a zone, package or die */

/* "intel-rapl:a:1" or "intel-rapl-mmio:0". */
struct eg_rapl_id {
	bool mmio;
	unsigned depth; /* how many of n are in use, 1..EG_RAPL_DEPTH_MAX */
	uint32_t n[EG_RAPL_DEPTH_MAX];
};

/* In the order in which channels are listed. */
enum eg_rapl_kind {
	EG_RAPL_PACKAGE,
	EG_RAPL_CORE,
	EG_RAPL_UNCORE,
	EG_RAPL_DRAM,
	EG_RAPL_PSYS,
};

struct eg_rapl_name {
	enum eg_rapl_kind kind;
	uint32_t number; /* of packages and of psys ("psys" is 0) */
	int32_t die;	 /* -1: the name has none */
};

/* The counter behind max_energy_range_uj. */
struct eg_rapl_range {
	uint64_t modulus_uj;	/* the value at which it starts again, rounded */
	uint64_t modulus_nj;	/* the same exactly, so that wraps add up without a remainder */
	uint64_t resolution_uj; /* one step, rounded up */
};

/* The directory name of a zone. -EINVAL: no zone of this family; a control type is none either. */
int eg_rapl_parse_id(const char *s, struct eg_rapl_id *ret) EG_MUST_CHECK;
bool eg_rapl_id_equal(const struct eg_rapl_id *a, const struct eg_rapl_id *b);
/* True where `child` lies directly inside `parent`. */
bool eg_rapl_id_is_parent(const struct eg_rapl_id *parent, const struct eg_rapl_id *child);

/* The content of a zone's `name`. -EINVAL: not one that Ergon knows. */
int eg_rapl_parse_name(const char *s, size_t n, struct eg_rapl_name *ret) EG_MUST_CHECK;

/*
 * The modulus from max_energy_range_uj: that range plus one unit. The kernel prints the largest
 * value of a 32-bit register times a unit it keeps in nanojoules; where the range is such a product
 * the unit is known, elsewhere it is taken as 1 uJ. -ERANGE: 0, or too large to have a next value.
 */
int eg_rapl_range(uint64_t max_uj, struct eg_rapl_range *ret) EG_MUST_CHECK;

/*
 * One bracket of the test for mirrored counters: `a`, then `b`, then `a` again were read. True
 * where b lies between both values of a on a counter that wraps at modulus (0: does not wrap),
 * which two independent counters of 2^32 steps do about once in 10^9 brackets.
 */
bool eg_rapl_bracket_holds(uint64_t a, uint64_t b, uint64_t a_again, uint64_t modulus);

#endif
