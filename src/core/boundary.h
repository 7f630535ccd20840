/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reduces a set of channels to a total without overlap (design rule 7). One channel per account
 * (the better interface), then the widest cover: chassis or power supplies instead of everything
 * inside, psys instead of packages and DRAM, package instead of core and uncore. Each channel left
 * out is named with its role.
 */
#ifndef EG_CORE_BOUNDARY_H
#define EG_CORE_BOUNDARY_H

#include <stddef.h>

#include "core/channel.h"

enum eg_role {
	EG_ROLE_TOTAL,	    /* counted */
	EG_ROLE_PART,	    /* inside a counted channel */
	EG_ROLE_CROSSCHECK, /* the same account as a counted channel, by another interface */
	EG_ROLE_OTHER,	    /* another boundary or unknown extent: shown beside, never added */
	EG_ROLE_UNUSABLE,   /* no valid reading in the window */
};

struct eg_boundary_in {
	const struct eg_channel *ch;
	unsigned rank;	 /* order of its driver: lower is preferred within an account */
	bool usable;	 /* has readings at both ends and no unexplained hole */
	int32_t part_of; /* index in this array, or -1 */
};
struct eg_boundary_out {
	enum eg_role role;
	int32_t of;	 /* index of the counted channel it is part or cross-check of; -1 */
	const char *why; /* static text for roles PART, CROSSCHECK, OTHER */
};

/*
 * psys covers packages, DRAM and integrated graphics; whether it covers a discrete GPU differs
 * between machines, so where one is measured the components make the total and psys is OTHER.
 * Battery covers the machine but comes and goes: it makes the total only where nothing else does.
 * Rails of unknown extent are never counted. Estimated channels never join measured ones: they make
 * the total only where no other channel does.
 */
void eg_boundary_reduce(const struct eg_boundary_in *in, size_t n, struct eg_boundary_out *ret);

/* Do two channels measure the same joules by what they say of themselves? */
bool eg_boundary_same_account(const struct eg_channel *a, const struct eg_channel *b);
/* Is one device the other or a part of it: "cpu-0" of itself and of "cpu-0-die-1"? */
bool eg_boundary_device_within(const char *whole, const char *device);

const char *eg_role_word(enum eg_role role);

#endif
