/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three halves of the store share: store.c opens and closes, tick.c writes the checkpoint in
 * the agent's loop, flush.c the log on the writer thread. Each field belongs to one of them.
 */
#ifndef EG_STORE_INTERNAL_H
#define EG_STORE_INTERNAL_H

#include <pthread.h>

#include "store/state.h"

/* An account as it was when the store was opened: written on as long as nobody gives a newer state. */
struct eg_carried {
	uint64_t key;
	uint64_t tick; /* of the checkpoint that had a newer one */
	struct eg_numbers n;
	uint8_t entry[EG_CHECKPOINT_ENTRY];
};

/* Texts of the account at one index of eg_store_checkpoint(), made when it is first seen there. */
struct eg_seen {
	char device[EG_DEVICE_MAX], channel[EG_CHANNEL_FULL_MAX];
	enum eg_component component;
	enum eg_provenance provenance;
	enum eg_source source;
	enum eg_boundary boundary;
	char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
	size_t name_len, feed_len;
	struct eg_carried *carried; /* or NULL */
	bool known;
};

struct eg_store {
	/* Fixed after start. */
	struct eg_io io;
	int dir, lock;
	struct eg_boot boot;
	uint64_t session, log_max_bytes, opened_unix_ns;
	struct eg_store_report report;
	struct eg_account *account; /* as restored */
	size_t n_accounts;
	size_t capacity; /* of the checkpoint and of one flush */
	bool started;

	/* tick.c */
	struct eg_checkpoint *checkpoint;
	struct eg_carried *carried;
	size_t n_carried;
	struct eg_seen *seen;
	uint64_t tick;
	_Atomic uint64_t given_uj;		 /* sum over the newest checkpoint */
	_Atomic uint64_t refused;		 /* accounts of it above the capacity */
	_Atomic(struct eg_checkpoint *) fresh;	 /* flush.c -> tick.c: go on with this one */
	_Atomic(struct eg_checkpoint *) retired; /* and back: this one is done with */
	atomic_bool checkpoint_gone;		 /* its file was removed or failed */

	/* flush.c, on the writer thread after start */
	struct eg_book book;
	struct eg_log log;
	bool need_start;	       /* the mark of this agent is not on disk yet */
	bool heal;		       /* the log is damaged: write it anew */
	struct eg_checkpoint *current; /* what tick.c has, or will have */

	/* Handed over under the mutex. */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t work, done;
	bool busy, quit, exited;
	struct {
		struct eg_account *a; /* capacity of them */
		size_t n;
		uint64_t unix_ns;
		bool final;
	} job;
	struct eg_store_status status;
};

/* eg_store_open with other operations: tests. io is copied. */
int eg_store_open_with(const struct eg_store_config *cfg, const struct eg_io *io,
		       struct eg_store **ret, struct eg_strbuf *why) EG_MUST_CHECK;

/* tick.c */
int eg_tick_start(struct eg_store *s, uint64_t unix_ns) EG_MUST_CHECK;
void eg_tick_write(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t t_ns,
		   uint64_t unix_ns, bool clean);
void eg_tick_stop(struct eg_store *s);

/* flush.c */
int eg_flush_start(struct eg_store *s, uint64_t unix_ns) EG_MUST_CHECK;
/* Hands a flush over; false where one is under way. */
bool eg_flush_begin(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns,
		    bool final);
/* Waits until nothing is under way; -ETIMEDOUT, else how the newest one ended. */
int eg_flush_wait(struct eg_store *s, uint64_t timeout_ns) EG_MUST_CHECK;
/* Ends the thread; false: it hangs in the kernel and still uses the store. */
bool eg_flush_stop(struct eg_store *s, uint64_t timeout_ns) EG_MUST_CHECK;

#endif
