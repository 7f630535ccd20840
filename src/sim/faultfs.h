/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on purpose, for tests: replaces the operations of an eg_fs by ones that fail as told and
 * pass everything else on. Paths are matched after links are resolved, as they are walked below
 * the root ("sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj"); a pattern is that of
 * fnmatch(3), where '*' also matches '/'.
 */
#ifndef EG_SIM_FAULTFS_H
#define EG_SIM_FAULTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/util.h"

#define EG_FAULTS_MAX	   64
#define EG_FAULTFS_FDS_MAX 1024 /* descriptors whose path is known */

enum eg_fault_kind {
	EG_FAULT_ERROR,	  /* open and/or read fail with `error` */
	EG_FAULT_VANISH,  /* open: ENOENT; read of a kept descriptor: ENODEV */
	EG_FAULT_HANG,	  /* the call takes hang_ns of real time, then goes on */
	EG_FAULT_GARBAGE, /* read gives `text` */
	EG_FAULT_SHORT,	  /* read gives at most `bytes` bytes, then the end of the file */
};

enum { EG_FAULT_OPEN = 1, EG_FAULT_READ = 2, EG_FAULT_LINK = 4 }; /* calls, in `on` */

struct eg_fault {
	const char *pattern; /* borrowed; NULL = every path */
	enum eg_fault_kind kind;
	unsigned on;		 /* EG_FAULT_OPEN | EG_FAULT_READ ...; 0 = what fits the kind */
	int error;		 /* positive errno, for EG_FAULT_ERROR */
	uint64_t from_ns, to_ns; /* interval clock; to_ns 0 = for ever */
	uint64_t first, count;	 /* only from the first-th matching call on (from 1; 0 = 1), so many
				    of them (0 = all) */
	const char *text;	 /* borrowed */
	size_t bytes;
	uint64_t hang_ns;
};

struct eg_faultfs;

/*
 * Puts itself between fs and its operations. clock may be NULL where no rule has a time. The rules
 * are copied (their texts are borrowed). -E2BIG more than EG_FAULTS_MAX, -ENOMEM. Threads may
 * share it.
 */
int eg_faultfs_wrap(struct eg_fs *fs, const struct eg_clock *clock, const struct eg_fault *rules,
		    size_t n, struct eg_faultfs **ret) EG_MUST_CHECK;
/* Puts the old operations back into fs and frees it. Takes NULL, returns NULL. */
struct eg_faultfs *eg_faultfs_unwrap(struct eg_faultfs *ff, struct eg_fs *fs);
/* New rules instead of the old; the counts of calls start again. */
int eg_faultfs_set(struct eg_faultfs *ff, const struct eg_fault *rules, size_t n) EG_MUST_CHECK;
/* Calls of one kind (EG_FAULT_OPEN, _READ, _LINK) so far: how far a "fail the Nth" loop must go. */
uint64_t eg_faultfs_calls(const struct eg_faultfs *ff, unsigned on);
/* Calls that a rule has touched. */
uint64_t eg_faultfs_hits(const struct eg_faultfs *ff);
/* Descriptors opened through it and not closed: a leak check. */
size_t eg_faultfs_open_fds(const struct eg_faultfs *ff);
/* Ends every hang now and lets later ones pass at once. */
void eg_faultfs_release(struct eg_faultfs *ff);

#endif
