/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meter: opens the drivers, samples their channels, keeps the totals, and answers windows. It
 * is what the program, the library and the agent share; it does no I/O of its own, drivers do.
 *
 * One sample reads every fast channel in the calling thread, with one clock reading next to each
 * read. Drivers that may block (design section 6) have a worker each, with a deadline and a
 * back-off, and their readings are fed in when they arrive, with their own times. Guard reads keep
 * counters unambiguous whatever the interval. One mutex protects the state; readers of snapshots
 * take none.
 */
#ifndef EG_CORE_METER_H
#define EG_CORE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "core/boundary.h"
#include "core/diag.h"
#include "core/driver.h"
#include "core/ledger.h"
#include "core/track.h"
#include "core/uncertainty.h"

#define EG_WINDOW_NAME_MAX 128
#define EG_WINDOWS_MAX	   4096 /* open at once in one meter */
#define EG_UNITS_MAX	   8	/* kinds of units of work in one window */
#define EG_INTERVAL_MAX_NS (3600 * EG_NSEC_PER_SEC)

struct eg_meter_config {
	bool allow_estimates;
	/*
	 * Comma-separated choice of drivers and channels: "rapl", "nvml,rapl/package-*", "-psys";
	 * names match driver, DRIVER/DOMAIN or component, '*' and '?' as in a shell, '-' leaves out.
	 * NULL or "": all.
	 */
	const char *select;
	/* Sampling asked for, at most EG_INTERVAL_MAX_NS; 0: the default of 1 s (agent, libraries). */
	uint64_t interval_ns;
	struct eg_integrate_config integrate; /* gap_ns 0: all defaults */
	/* Of drivers. Borrowed until open returns; for good where close gives the meter back. */
	const struct eg_setting *settings;
	size_t n_settings;
	uint64_t open_deadline_ns; /* a driver that takes longer to open: sensor_timeout; 0: 5 s */
	uint64_t read_deadline_ns; /* wait for slow drivers at a window's edge; 0: 1 s */
	/*
	 * Longest pause after failing reads of a slow driver; it doubles from the interval up to
	 * here. 0: none (a window's edge asks all the same).
	 */
	uint64_t backoff_max_ns;
	size_t max_accounts; /* of the ledger; 0: as many as the channels need */
};

struct eg_meter;

/*
 * Opens every driver of the table that the selection names; a machine without any sensor is a valid
 * meter without channels, with diagnostics. env is borrowed and must outlive the meter.
 * Errors: -ENOMEM; -EINVAL a bad selection or setting, named in *ret_why (static or meter-owned
 * text; may be NULL).
 */
int eg_meter_open(const struct eg_env *env, const struct eg_driver *const *drivers,
		  const struct eg_meter_config *cfg, struct eg_meter **ret,
		  const char **ret_why) EG_MUST_CHECK;
/*
 * Takes NULL, returns NULL. Only where a driver hangs for good is the meter left behind and returned:
 * then env must stay open too, for the hanging thread may still look at it.
 */
struct eg_meter *eg_meter_close(struct eg_meter *m);

/* Channels in a fixed order: drivers by rank, domains as the driver gave them. Borrowed. */
size_t eg_meter_count(const struct eg_meter *m);
const struct eg_channel *eg_meter_channel(const struct eg_meter *m, size_t index);
const struct eg_driver *eg_meter_driver(const struct eg_meter *m, size_t index);
/* "DRIVER/DOMAIN", borrowed. */
const char *eg_meter_channel_name(const struct eg_meter *m, size_t index);
/* Index of the channel that its driver puts it in, or -1. */
int32_t eg_meter_part_of(const struct eg_meter *m, size_t index);
/* Copies the diagnostics so far (of open and of sampling); the caller frees with eg_diags_free. */
int eg_meter_diags(struct eg_meter *m, struct eg_diags *ret) EG_MUST_CHECK;
/* Adds a diagnostic of the caller's own. */
void eg_meter_diagnose(struct eg_meter *m, enum eg_diag_code code, const char *driver,
		       const char *subject, const char *cure, const char *detail);
/* Attributes of every driver that has some, by callback; slow drivers may take long. */
void eg_meter_attributes(struct eg_meter *m, struct eg_attribute_sink *sink);

/*
 * One sample of every channel now. wait: also wait (at most read_deadline_ns) for slow drivers; without
 * it the readings of those that took more than 5 ms last time, or than a quarter of the time since the
 * sample before, arrive with a later one.
 */
void eg_meter_sample(struct eg_meter *m, bool wait);
/* Interval clock of the next sample needed for the interval asked for and for guard reads, after a
 * sample at `now`. */
uint64_t eg_meter_next_due(const struct eg_meter *m, uint64_t now_ns);
/* Guard interval over all channels; UINT64_MAX when none needs one. */
uint64_t eg_meter_guard_ns(const struct eg_meter *m);
/* Must something be sampled between the edges of windows for them to be right? */
bool eg_meter_needs_sampling(const struct eg_meter *m);
/* Is there a driver that a window's edge may have to wait for? */
bool eg_meter_has_slow(const struct eg_meter *m);
/* Has a slow driver been asked for its first reading, and not answered yet? */
bool eg_meter_awaits_first(struct eg_meter *m);
/* Starts the sampling thread (all signals blocked); for libergon. Once. */
int eg_meter_start(struct eg_meter *m) EG_MUST_CHECK;

/* ---- Snapshots: immutable, published after each sample; readers never block the sampler. ---- */

struct eg_snapshot_channel {
	uint64_t uj, est_uj, gap_ns, samples;
	uint64_t t_ns; /* of the last good reading; 0 none yet */
	uint64_t uw;
	bool have_uw;
	enum eg_status status;
};
struct eg_snapshot {
	uint64_t seq, t_ns;
	size_t n;
	struct eg_snapshot_channel *channel;
};
/* Pins the newest snapshot (NULL before the first sample); give it back with unpin. */
const struct eg_snapshot *eg_meter_pin(struct eg_meter *m);
void eg_meter_unpin(struct eg_meter *m, const struct eg_snapshot *s);
/* Publications skipped because every snapshot was pinned. */
uint64_t eg_meter_skipped(const struct eg_meter *m);

/*
 * Goes on with totals of an earlier process: once, before the first sample. Accounts whose device is
 * not here stay in the ledger as they are. same_boot: the interval clock and the counters go on from
 * theirs, so the first reading tells what was used meanwhile (recovered) where it can be known;
 * else that time becomes a gap. Returns the number of accounts that found no place (ceiling).
 */
size_t eg_meter_restore(struct eg_meter *m, const struct eg_account *a, size_t n, bool same_boot);
/*
 * Name of the window that an agent begins with eg_meter_begin_running() as its first sample: from
 * it views take uncertainties.
 */
#define EG_METER_SINCE_OPEN "since open"

/* The ledger's accounts, copied under the lock: *ret is the caller's to free(). */
int eg_meter_accounts(struct eg_meter *m, struct eg_account **ret, size_t *ret_n) EG_MUST_CHECK;

/* ---- Windows: named, independent, nested and overlapping as they like. ---- */

struct eg_result_channel {
	const struct eg_channel *ch; /* borrowed from the meter */
	const struct eg_driver *driver;
	const char *name; /* "DRIVER/DOMAIN", borrowed */
	enum eg_role role;
	int32_t of;		       /* index of the counted channel, or -1 */
	int32_t part_of;	       /* index of the channel its driver puts it in, or -1 */
	const char *why;	       /* static text or NULL */
	bool has_value;		       /* false: no good reading in the window; no joules then */
	enum eg_provenance provenance; /* weakest in it */
	uint64_t uj;		       /* measured or modeled; without est_uj */
	uint64_t est_uj;	       /* held */
	struct eg_uncertainty uncertainty;
	double mean_w, max_w; /* NaN where unknown */
	uint64_t samples, gap_ns, longest_dt_ns, wraps, resets, bad;
	uint32_t flags;
};

struct eg_result_units {
	char name[32];
	uint64_t count;
};

struct eg_result {
	char name[EG_WINDOW_NAME_MAX];
	uint64_t begin_ns, end_ns; /* interval clock */
	uint64_t begin_unix_ns, end_unix_ns;
	uint64_t seconds_ns;
	bool has_total;
	uint64_t total_uj;     /* with held energy of the counted channels */
	uint64_t total_est_uj; /* the held part of it */
	struct eg_uncertainty total_uncertainty;
	enum eg_provenance total_provenance;
	double total_mean_w, total_max_w; /* NaN where unknown */
	uint32_t flags;			  /* union over counted channels, and the window's own */
	size_t n;
	struct eg_result_channel *channel;
	size_t n_units;
	struct eg_result_units units[EG_UNITS_MAX];
};

/*
 * Begins a window: one sample, then the totals are noted. -EEXIST a window of that name runs;
 * -EINVAL name empty; -ENAMETOOLONG; -ENOSPC above EG_WINDOWS_MAX; -ENOMEM.
 */
int eg_meter_begin(struct eg_meter *m, const char *name) EG_MUST_CHECK;
/*
 * Begins a window whose total is always made of the channels that make it while all is well, also
 * while one of them is away (flagged): a running total that never falls.
 */
int eg_meter_begin_running(struct eg_meter *m, const char *name) EG_MUST_CHECK;
/* Ends it: one sample, then the difference. -ENOENT unknown name. *ret: eg_result_free. */
int eg_meter_end(struct eg_meter *m, const char *name, struct eg_result **ret) EG_MUST_CHECK;
/* Ends one and begins the next on the same sample, so that windows back to back sum exactly. */
int eg_meter_next(struct eg_meter *m, const char *name, const char *next,
		  struct eg_result **ret) EG_MUST_CHECK;
/* The value so far; the window goes on. */
int eg_meter_peek(struct eg_meter *m, const char *name, struct eg_result **ret) EG_MUST_CHECK;
/*
 * The same on the last sample, taking none: windows whose edges lie on samples that were there anyway.
 * begin_last: -ENODATA before the first sample; else as above.
 */
int eg_meter_begin_last(struct eg_meter *m, const char *name) EG_MUST_CHECK;
int eg_meter_end_last(struct eg_meter *m, const char *name, struct eg_result **ret) EG_MUST_CHECK;
int eg_meter_peek_last(struct eg_meter *m, const char *name, struct eg_result **ret) EG_MUST_CHECK;
/* Forgets a window without a result. */
int eg_meter_cancel(struct eg_meter *m, const char *name) EG_MUST_CHECK;
/* Work done inside it: ("records", n). -ENOSPC above EG_UNITS_MAX kinds; -EOVERFLOW. */
int eg_meter_add_units(struct eg_meter *m, const char *name, const char *unit,
		       uint64_t count) EG_MUST_CHECK;
struct eg_result *eg_result_free(struct eg_result *r);

#endif
