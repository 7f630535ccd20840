/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exporters see: one consistent copy of every account and channel after a sample. Nothing in it
 * changes after it was taken, and who has one needs no lock. Taking one allocates nothing.
 *
 * An agent keeps two: the newest, for those who may see finely, and one at most as fresh as the access
 * policy allows for everybody else.
 */
#ifndef EG_CORE_VIEW_H
#define EG_CORE_VIEW_H

#include "core/meter.h"

struct eg_view_channel {
	/* Fixed while the meter is open; borrowed from it. */
	const struct eg_channel *ch;
	const struct eg_driver *driver;
	const char *name;	  /* "DRIVER/DOMAIN" */
	enum eg_role role;	  /* with every channel well */
	int account, est_account; /* indices in the view; -1: it feeds none (cross-check, rail) */

	enum eg_status status; /* of the last read */
	uint64_t t_ns;	       /* interval clock of the last good reading; 0: none yet */
	bool have_uw;
	uint64_t uw; /* power, derived once in core */
	/* Since the meter was opened. */
	uint64_t uj, est_uj, gap_ns, samples, failed, resets;
	uint64_t uncertainty_uj; /* half-width of the 95 % interval of uj + est_uj */
	uint32_t flags;		 /* EG_FLAG bits the driver reports now */
	double celsius;		 /* NaN unknown */
	uint64_t sensor_uw; /* of the device's power sensor beside its counter; UINT64_MAX none */
};

struct eg_view_account {
	struct eg_account a; /* a copy */
	/*
	 * Index of the channel that feeds it in this meter; -1: none does (restored, its device is
	 * not here now). held: it is the channel's estimated account of held readings.
	 */
	int channel;
	bool held;
	/*
	 * May be shown: a valid reading has been there, in this process or an earlier one; a held
	 * account only once something was held. Until then there is no series (absent is absent).
	 */
	bool shown;
};

struct eg_view {
	uint64_t seq;	  /* of the sample; rises by at least 1 */
	uint64_t t_ns;	  /* interval clock of the sample */
	uint64_t unix_ns; /* the same moment */
	/* Diagnostics so far: look at them (eg_meter_diags) when events has risen. */
	uint64_t diag_events, diags_dropped;
	uint64_t skipped; /* snapshots that found no place */
	size_t n_channels, n_accounts, max_accounts;
	struct eg_view_channel *channel;
	struct eg_view_account *account;
};

/* Storage for every channel and account of the meter. -ENOMEM. */
int eg_view_new(struct eg_meter *m, struct eg_view **ret) EG_MUST_CHECK;
struct eg_view *eg_view_free(struct eg_view *v);
/* Copies the meter's state as of its last sample. Any thread; takes the meter's lock. */
void eg_view_take(struct eg_view *v, struct eg_meter *m);

#endif
