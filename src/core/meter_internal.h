/* SPDX-License-Identifier: Apache-2.0 */
/* What meter.c (sampling) and window.c (windows) share. Nobody else includes this. */
#ifndef EG_CORE_METER_INTERNAL_H
#define EG_CORE_METER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/meter.h"
#include "core/select.h"

/* What blocks no longer than this is read in the thread that samples. */
#define EG_METER_FAST_NS (5 * EG_NSEC_PER_MSEC)

enum {
	BATCH_MAX = 4096, /* readings a slow driver may give in one read */
	WORKER_DIAGS = 32,
	SNAPSHOTS = 4,
};

struct batch_item {
	uint32_t channel;
	struct eg_reading reading;
};

/* One opened driver. */
struct slot {
	struct eg_meter *m;
	const struct eg_driver *drv;
	struct eg_instance *inst;
	unsigned rank;
	size_t n;	/* channels of the instance */
	int32_t *track; /* of each channel: index in m->track, -1 not selected */
	bool slow;	/* has a worker */

	/* The worker's side. `asked`, `answered`, `busy`, `late` are under m->lock. */
	pthread_t thread;
	pthread_cond_t wake;
	bool has_thread, busy, late, quit;
	uint64_t asked, answered;    /* tickets: of the last sample that wants it, and it served */
	uint64_t busy_since_ns;	     /* real time */
	uint64_t took_ns;	     /* of its last read */
	uint64_t pause_ns, retry_ns; /* back-off: not asked before, on the interval clock */
	struct batch_item *batch;
	size_t n_batch, batch_lost;
	uint32_t *flags; /* of each channel, after the last read */
	double *celsius;
	uint64_t *sensor_uw;
	struct eg_diags diags;
};

/* A window's memory of one track at its begin, and what it watched since. */
struct mark {
	uint64_t uj, est_uj, gap_ns, samples, bad, wraps, resets, suspends, ceilings;
	double step2_j2, d1_w2, d2_w2, p2s;
	uint64_t n_d1, n_d2, p_ns, uw;
	/*
	 * Had it a fresh reading at the begin? If not, the first step inside reaches back before the
	 * window: the mark is taken again after it, and the time up to it is a gap.
	 */
	bool based;
	bool have_uw;
	double celsius;
	uint64_t max_uw; /* highest power seen inside */
	bool have_max;
	uint64_t ok_ns;	      /* of the reading that it stands on */
	uint64_t first_ok_ns; /* where the mark was taken again; 0 it was not */
	uint64_t longest_dt_ns;
	uint32_t flags; /* union of the driver's flags inside */
};

struct window {
	struct window *next;
	uint64_t hash;
	char name[EG_WINDOW_NAME_MAX];
	uint64_t begin_ns, begin_unix_ns;
	bool running; /* its total keeps to the channels of open */
	uint64_t max_total_uw;
	bool have_max_total;
	size_t n_units;
	struct eg_result_units units[EG_UNITS_MAX];
	struct mark mark[];
};

struct eg_meter {
	const struct eg_env *env;
	struct eg_meter_config cfg;
	char why[192]; /* text of a refused configuration */
	struct eg_select select;

	size_t n_slots;
	struct slot *slot;
	size_t n; /* tracks */
	struct eg_track *track;
	char (*name)[EG_CHANNEL_NAME_MAX * 2];
	struct eg_boundary_out *role; /* with every channel usable: who makes the total */
	int *account, *est_account;   /* of each track in the ledger; -1: not counted */
	struct eg_ledger *ledger;
	struct eg_diags diags;
	uint64_t guard_ns;
	bool abandoned;	   /* a driver hangs: its memory, and so ours, can never be freed */
	void *left_behind; /* the openings with the one that hangs */

	pthread_mutex_t lock;
	pthread_cond_t done; /* a worker finished, or the sampling thread shall look */
	struct window *windows;
	size_t n_windows;
	uint64_t last_sample_ns;
	uint64_t slept_ns; /* the machine, when it was last seen to */
	uint64_t ticket;   /* of the last sample begun */

	bool has_sampler, quit;
	pthread_t sampler;

	struct eg_snapshot snapshot[SNAPSHOTS];
	atomic_uint pins[SNAPSHOTS];
	atomic_int newest; /* -1 before the first */
	uint64_t seq;
	atomic_ullong skipped;
};

/* How a channel stands in a window that ends at end_ns; m->lock held. */
void eg_window_channel(const struct eg_meter *m, const struct window *w, size_t i, uint64_t end_ns,
		       struct eg_result_channel *ret);
/* The open window of that name, or NULL; m->lock held. */
struct window *eg_window_find(struct eg_meter *m, const char *name);
/* Notes in each account where it stands, for who keeps it; m->lock held. */
void eg_meter_note_standing(struct eg_meter *m, uint64_t unix_ns);
/* The thread of a driver that may block; takes its slot. */
void *eg_meter_worker(void *arg);
void eg_meter_merge_diags(struct eg_meter *m, const struct eg_diags *from);
/* One sample; m->lock held (released while waiting for workers). */
void eg_meter_sample_locked(struct eg_meter *m, bool wait);
/* Lets every open window look at the powers just renewed; m->lock held. */
void eg_windows_watch(struct eg_meter *m);
void eg_windows_free(struct eg_meter *m);

#endif
