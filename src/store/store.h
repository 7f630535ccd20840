/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger on disk. A state directory holds
 *
 *   lock        one agent at a time
 *   checkpoint  two slots, each with a CRC, mapped: every account whole, rewritten each tick without a
 *               system call. Covers the death of the process at any instruction.
 *   ledger.log  append-only deltas, written and synced once a minute by a thread of its own. Covers
 *               the loss of power: at most what was used since the last flush.
 *
 * Both hold lower bounds of one rising total, so an account starts with the larger of the two.
 * docs/ledger.md documents both formats to the byte.
 */
#ifndef EG_STORE_STORE_H
#define EG_STORE_STORE_H

#include "base/strbuf.h"
#include "core/ledger.h"

#define EG_STORE_LOG_BYTES (16u << 20) /* default size at which the log is compacted */

struct eg_store_config {
	const char *dir;	/* made (0700) where it is not; its parents must be there */
	const char *boot_id;	/* of the machine now, as the kernel prints it; "" unknown */
	uint64_t unix_ns;	/* now */
	uint64_t log_max_bytes; /* 0: EG_STORE_LOG_BYTES */
};

/* What opening found. Counts are of this opening. */
struct eg_store_report {
	bool fresh;	/* nothing was there */
	bool same_boot; /* the last state was written in the boot that runs now: the interval clock
			    and raw counters go on from it */
	bool clean;	/* the last agent stopped in order */
	bool power_loss; /* not clean, and another boot or no checkpoint of that agent: up to one flush
			    period may be lost. created_unix_ns of every account is renewed; the time
			    since shows as a gap where the meter goes on from last.unix_ns */
	uint64_t last_unix_ns; /* when the last state was written; 0 unknown */
	uint64_t log_records, log_damaged;
	uint64_t log_unknown_accounts; /* their name is damaged, or has words of a later Ergon: kept
					  on disk, but not among eg_store_accounts() */
	uint64_t log_cut_bytes;	       /* of a torn last record */
	bool checkpoint_used,
		checkpoint_damaged; /* damaged: no slot was whole; the log alone counts */
};

/* State for people and metrics, at any time. */
struct eg_store_status {
	uint64_t log_bytes, log_records;  /* on disk */
	uint64_t flushes, failed_flushes; /* since open */
	int last_error;			  /* of the newest flush: 0 or negative errno */
	uint64_t pending_uj;		  /* in the checkpoint, not yet in the log */
	uint64_t last_flush_unix_ns;
	uint64_t compactions;
	uint64_t accounts; /* kept on disk, absent ones included */
	uint64_t
		refused_accounts; /* of the newest checkpoint or flush: above the ceiling, so not kept */
	/* The mapped file failed under us (SIGBUS) or is gone: only the log remains, until a flush
	 * could make a new one. */
	bool checkpoint_lost;
};

struct eg_store;

/*
 * Takes the lock, reads checkpoint and log, cuts a torn tail. Nothing is changed in a file that is not
 * ours. Errors, each with one clear sentence and its cure in why: -EBUSY another agent holds the
 * directory; -EPROTO foreign content or unknown version; -ELOOP a symlink; -ENOTDIR, -EISDIR;
 * -EACCES, -EROFS, -ENOSPC, -EIO, -ENOMEM.
 */
int eg_store_open(const struct eg_store_config *cfg, struct eg_store **ret,
		  struct eg_strbuf *why) EG_MUST_CHECK;
const struct eg_store_report *eg_store_report(const struct eg_store *s);
/* Accounts as restored, devices that are absent now included; borrowed until close. */
size_t eg_store_accounts(const struct eg_store *s, const struct eg_account **ret);
/*
 * Sizes the checkpoint for so many accounts (at most EG_ACCOUNTS_MAX), restored ones among them or not,
 * and starts the writer thread.
 * Once, before the first checkpoint. Errors of the file system; -ENOSPC: also above the ceiling.
 */
int eg_store_start(struct eg_store *s, size_t n_accounts, struct eg_strbuf *why) EG_MUST_CHECK;
/*
 * Which of these accounts checkpoint and log have a place for, when they are given in this order from
 * now on; returns how many they have none for. After start.
 */
size_t eg_store_find_places(struct eg_store *s, const struct eg_account *a, size_t n,
			    bool *ret_kept);
/* Writes the other slot. No system call, no allocation, no lock that anybody holds long. */
void eg_store_checkpoint(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t t_ns,
			 uint64_t unix_ns);
/*
 * Hands the totals to the writer thread: what differs from the last synced state is appended and
 * synced in one batch. Returns at once; false: the last one is still being written (nothing lost:
 * the next one carries more).
 */
bool eg_store_flush(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns);
void eg_store_get_status(struct eg_store *s, struct eg_store_status *ret);
/*
 * The end in order: a last flush (waits at most timeout_ns of real time), the mark of a clean stop, the
 * lock. a NULL: as if killed. ret_last (may be NULL) is the state after the last flush: where last_error
 * says that it failed (-ETIMEDOUT: it hangs), the checkpoint alone has what it would have written.
 * Takes NULL, returns NULL.
 */
struct eg_store *eg_store_close(struct eg_store *s, const struct eg_account *a, size_t n,
				uint64_t unix_ns, uint64_t timeout_ns,
				struct eg_store_status *ret_last);

/*
 * Canonical string of an account: DEVICE '/' COMPONENT '/' PROVENANCE, and its key: 64-bit FNV-1a
 * over the bytes of that string. The same on every build and machine.
 */
#define EG_STORE_KEY_TEXT_MAX (EG_DEVICE_MAX + 32)
size_t eg_store_key_text(const struct eg_account *a, char buf[EG_STORE_KEY_TEXT_MAX]);
uint64_t eg_store_key(const struct eg_account *a);

#endif
