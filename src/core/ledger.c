/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger (see ledger.h): one array, allocated once. Accounts are found by comparing keys, which
 * happens once per channel when it is opened; adding goes by index.
 */
#include "core/ledger.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

struct eg_ledger {
	size_t n, max;
	struct eg_account account[];
};

int eg_ledger_new(size_t max_accounts, struct eg_ledger **ret)
{
	struct eg_ledger *l;
	size_t bytes;

	if (max_accounts == 0 || max_accounts > INT32_MAX ||
	    __builtin_mul_overflow(max_accounts, sizeof(struct eg_account), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*l), &bytes))
		return -EINVAL;
	l = calloc(1, bytes);
	if (!l)
		return -ENOMEM;
	l->max = max_accounts;
	*ret = l;
	return 0;
}

struct eg_ledger *eg_ledger_free(struct eg_ledger *l)
{
	free(l);
	return NULL;
}

int eg_ledger_account(struct eg_ledger *l, const char *device, enum eg_component component,
		      enum eg_provenance provenance)
{
	struct eg_account *a;

	if (strlen(device) >= sizeof(a->device)) /* a cut name could join two devices */
		return -ENAMETOOLONG;
	for (size_t i = 0; i < l->n; i++) {
		a = &l->account[i];
		if (a->component == component && a->provenance == provenance &&
		    strcmp(a->device, device) == 0)
			return (int)i;
	}
	if (l->n == l->max)
		return -ENOSPC;
	a = &l->account[l->n];
	eg_copy(a->device, sizeof(a->device), device);
	a->component = component;
	a->provenance = provenance;
	return (int)l->n++;
}

void eg_ledger_add(struct eg_ledger *l, int account, uint64_t uj, uint64_t gap_ns, bool reset)
{
	struct eg_account *a;

	if (account < 0 || (size_t)account >= l->n)
		return;
	a = &l->account[account];
	a->uj = eg_add_sat(a->uj, uj);
	a->gap_ns = eg_add_sat(a->gap_ns, gap_ns);
	a->resets = eg_add_sat(a->resets, reset);
}

size_t eg_ledger_count(const struct eg_ledger *l)
{
	return l->n;
}

const struct eg_account *eg_ledger_get(const struct eg_ledger *l, size_t index)
{
	return index < l->n ? &l->account[index] : NULL;
}

struct eg_account *eg_ledger_edit(struct eg_ledger *l, size_t index)
{
	return index < l->n ? &l->account[index] : NULL;
}
