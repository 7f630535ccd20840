/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running totals: one account per physical device + component + provenance, exact integer
 * microjoules, never falling. Storage is fixed at creation. An account outlives its channel, so a
 * device that vanishes and returns, or is read by another driver, goes on with the same total; and
 * it outlives the process, because its whole state is plain data that a store can keep.
 */
#ifndef EG_CORE_LEDGER_H
#define EG_CORE_LEDGER_H

#include <stddef.h>

#include "base/util.h"
#include "core/channel.h"

#define EG_CHANNEL_FULL_MAX (EG_CHANNEL_NAME_MAX * 2) /* "DRIVER/DOMAIN" */
#define EG_ACCOUNTS_MAX	    4096 /* of one ledger; one more is refused and said */

/*
 * The reading that a total stands on. From it the energy used while nobody sampled is told by the
 * next reading, by the same rules as between any two (core/counter.h).
 */
struct eg_standing {
	uint64_t raw;	   /* counters: raw units of the channel */
	uint64_t t_ns;	   /* interval clock of that boot; 0: there is no reading */
	uint64_t awake_ns; /* the clock without suspend at the same moment */
	uint64_t unix_ns;  /* the same moment for people */
	uint64_t rem;	   /* counters: carried remainder, < unit_den */
	uint64_t unit_num, unit_den, modulus; /* of the channel then: another one says nothing */
	bool counter; /* an energy counter that goes on without us; else a gauge or own count */
};

struct eg_account {
	char device[EG_DEVICE_MAX];
	enum eg_component component;
	enum eg_provenance provenance;
	/* What feeds it, or fed it last. */
	char channel[EG_CHANNEL_FULL_MAX]; /* "" none yet */
	enum eg_source source;
	enum eg_boundary boundary;

	uint64_t created_unix_ns; /* the total counts from then on; 0 unknown */
	uint64_t uj;
	uint64_t
		recovered_uj; /* part of uj: used while nobody sampled, told by the counter later */
	uint64_t gap_ns;      /* time not measured since the account began */
	uint64_t resets;
	struct eg_standing last;
};

struct eg_ledger;

int eg_ledger_new(size_t max_accounts, struct eg_ledger **ret) EG_MUST_CHECK;
struct eg_ledger *eg_ledger_free(struct eg_ledger *l);
/* Finds or creates; returns its index. -ENOSPC above the ceiling. */
int eg_ledger_account(struct eg_ledger *l, const char *device, enum eg_component component,
		      enum eg_provenance provenance) EG_MUST_CHECK;
void eg_ledger_add(struct eg_ledger *l, int account, uint64_t uj, uint64_t gap_ns, bool reset);
size_t eg_ledger_count(const struct eg_ledger *l);
const struct eg_account *eg_ledger_get(const struct eg_ledger *l, size_t index);
/* The same to change in place: for the meter, which says what feeds it and where it stands. */
struct eg_account *eg_ledger_edit(struct eg_ledger *l, size_t index);

#endif
