/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running totals: one account per physical device + component + provenance, exact integer
 * microjoules, never falling. Storage is fixed at creation. An account outlives its channel, so a
 * device that vanishes and returns, or is read by another driver, goes on with the same total.
 */
#ifndef EG_CORE_LEDGER_H
#define EG_CORE_LEDGER_H

#include <stddef.h>

#include "base/util.h"
#include "core/channel.h"

struct eg_account {
	char device[EG_DEVICE_MAX];
	enum eg_component component;
	enum eg_provenance provenance;
	uint64_t uj;
	uint64_t gap_ns; /* time not measured since the account began */
	uint64_t resets;
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

#endif
