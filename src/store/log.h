/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log file: reading whatever is in it, appending whole batches, and writing it anew (compaction).
 *
 * Reading takes every whole record and passes over the rest: first in steps of one record, then byte
 * by byte until one is found again, so that neither a damaged record nor a torn write in the middle
 * costs more than itself.
 */
#ifndef EG_STORE_LOG_H
#define EG_STORE_LOG_H

#include "store/book.h"
#include "store/io.h"

struct eg_log_found {
	bool empty;	     /* nothing in it: begin a new one */
	bool header_damaged; /* ours by its records */
	uint32_t version;    /* of a header that is whole; 0 unknown */
	uint64_t bytes, records, damaged;
	uint64_t end; /* of the last whole record: what comes after is cut before appending */
	uint64_t torn_bytes; /* after that */
};

/* One whole record and where it lies; or a damaged stretch: r NULL, bytes of it. */
typedef void (*eg_log_fn)(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes);

/*
 * Reads the file from its beginning. -EPROTO: foreign content or (version set, not ours) another
 * version; errors of reading; -ENOMEM. fn may be NULL.
 */
int eg_log_read(const struct eg_io *io, int fd, eg_log_fn fn, void *ctx,
		struct eg_log_found *ret) EG_MUST_CHECK;

/* What the marks and records of a log say as a whole. */
struct eg_log_history {
	uint64_t session;    /* the newest */
	bool stopped;	     /* it ended with the mark of a clean stop, and nothing came after */
	struct eg_boot boot; /* in which the newest session ran */
	uint64_t last_unix_ns;
	uint64_t breaks; /* deltas that do not go on from the one before: records are missing */
	int error;	 /* -ENOSPC, -ENOMEM: not every account found a place */
};
struct eg_replay {
	struct eg_book *book;
	struct eg_log_history history;
};
/* Takes one record into the book; an eg_log_fn with a struct eg_replay. */
void eg_replay_record(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes);

/* ---- writing ---- */

struct eg_log {
	const struct eg_io *io;
	int dir, fd;
	uint64_t good;	  /* bytes that are whole and synced */
	uint64_t records; /* in them */
	uint64_t at;	  /* end of what the batch wrote so far */
	uint8_t *buf;	  /* EG_LOG_BATCH_BYTES */
	size_t len;
	int error;	   /* of the batch */
	bool dir_unsynced; /* the rename of a new file may not have reached the disk */
	uint64_t new_records;
};
#define EG_LOG_BATCH_BYTES (64u << 10)

/* buf is allocated here; dir and io are borrowed. fd is taken over. */
int eg_log_init(struct eg_log *l, const struct eg_io *io, int dir, int fd, uint64_t good,
		uint64_t records) EG_MUST_CHECK;
void eg_log_free(struct eg_log *l);

/*
 * A batch: begin cuts what an earlier failure left behind (-ESTALE: the file is shorter than it was, or
 * another one lies there: write it anew), put adds records, commit writes the rest and syncs. On any
 * error the file is cut back, and nothing of the batch counts.
 */
int eg_log_begin(struct eg_log *l) EG_MUST_CHECK;
void eg_log_put(struct eg_log *l, const struct eg_record *r);
int eg_log_commit(struct eg_log *l) EG_MUST_CHECK;

/*
 * Writes a new file that says the same: every account of the book with what the log has of it, the
 * texts at both ends, and the mark (START or STOP) that holds. Then puts it in place of the old one.
 * At any failure the old one stays.
 */
int eg_log_rewrite(struct eg_log *l, struct eg_book *book, const struct eg_record *mark,
		   uint64_t unix_ns) EG_MUST_CHECK;
/* Bytes of what eg_log_rewrite would write. */
uint64_t eg_log_rewritten_bytes(const struct eg_book *book);

/* Adds the texts of an entry to a batch; returns whether there were any. */
void eg_log_put_texts(struct eg_log *l, const struct eg_entry *e, uint64_t session,
		      uint64_t unix_ns);

#endif
