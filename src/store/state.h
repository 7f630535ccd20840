/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a state directory says, read without changing anything: the log replayed, the newer slot of the
 * checkpoint laid over it. The agent begins with this; `ergon ledger` shows it, also while an agent
 * runs.
 */
#ifndef EG_STORE_STATE_H
#define EG_STORE_STATE_H

#include "store/checkpoint.h"
#include "store/log.h"

struct eg_state {
	struct eg_book book;
	struct eg_log_history history;
	struct eg_log_found log;
	struct eg_checkpoint_found checkpoint;
	bool have_log, have_checkpoint; /* the files are there, and not empty */
	int log_fd;	  /* open for reading, or for more where it was asked for; -1 none */
	uint64_t session; /* the newest of both; 0 none */
	bool clean;
	struct eg_boot boot; /* of the newest state */
	uint64_t last_unix_ns;
};

/* The directory, an absolute or relative path; it may be a link, what is in it not. */
int eg_state_open_dir(const char *path, bool make, struct eg_strbuf *why) EG_MUST_CHECK;
/* Says that a file is of another version; -EPROTO. */
int eg_state_other_version(struct eg_strbuf *why, const char *name, uint32_t version);
/* log_flags: O_RDONLY or O_RDWR. Neither file there: an empty state. Errors and why: eg_store_open. */
int eg_state_read(const struct eg_io *io, int dir, int log_flags, struct eg_state *ret,
		  struct eg_strbuf *why) EG_MUST_CHECK;
void eg_state_free(struct eg_state *s);

/*
 * The lock of a directory: its descriptor, held until it and dir are closed. -EBUSY: why names the process that has
 * it.
 */
int eg_state_lock(const struct eg_io *io, int dir, struct eg_strbuf *why) EG_MUST_CHECK;
/*
 * Writes the log of a directory anew while no agent has it. Returns as eg_store_open, -ENOENT where
 * there is no log; sizes in bytes (may be NULL).
 */
int eg_state_compact(const char *path, uint64_t *ret_before, uint64_t *ret_after,
		     struct eg_strbuf *why) EG_MUST_CHECK;

#endif
