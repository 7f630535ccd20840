/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See store.h: opening what is there, starting to write, and the end in order. What came to an end
 * how is judged here: nothing is lost by the death of the process while the checkpoint holds; a loss
 * of power costs what the log did not have yet, and is said.
 */
#include "store/store.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "store/internal.h"

#define KILLED_TIMEOUT_NS (10 * EG_NSEC_PER_SEC) /* closing without a last flush */
#define STOP_TIMEOUT_NS	  EG_NSEC_PER_SEC	 /* of an idle thread */

static void judge(struct eg_store *s, const struct eg_state *st)
{
	struct eg_store_report *r = &s->report;

	r->fresh = !st->have_log && !st->have_checkpoint;
	r->same_boot = eg_boot_equal(&st->boot, &s->boot);
	r->clean = st->clean;
	r->checkpoint_used = st->checkpoint.whole > 0;
	r->checkpoint_damaged = st->have_checkpoint && st->checkpoint.damaged;
	r->power_loss = !r->fresh && st->session && !r->clean &&
			(!r->same_boot || !r->checkpoint_used ||
			 st->checkpoint.slot.session != st->session);
	r->last_unix_ns = st->last_unix_ns;
	r->log_records = st->log.records;
	r->log_damaged = st->log.damaged;
	r->log_cut_bytes = st->log.torn_bytes;
}

/* The accounts to go on with; what they cannot go on from is taken out. */
static int restore_accounts(struct eg_store *s, uint64_t unix_ns)
{
	s->account = calloc(s->book.n ? s->book.n : 1, sizeof(*s->account));
	if (!s->account)
		return -ENOMEM;
	for (size_t i = 0; i < s->book.n; i++) {
		struct eg_entry *e = &s->book.entry[i];

		/*
		 * A device that was away since an earlier boot stands on a reading that says nothing
		 * now; its time stays, for the gap. Where no account is of this boot, who restores
		 * them knows it by same_boot.
		 */
		if (s->report.same_boot && !eg_boot_equal(&e->now.boot, &s->boot)) {
			e->now.last.t_ns = 0;
			e->now.boot = (struct eg_boot){0};
		}
		if (s->report.power_loss)
			e->now.created_unix_ns = unix_ns;
		if (eg_entry_account(e, &e->now, &s->account[s->n_accounts]) == 0)
			s->n_accounts++;
		else
			s->report.log_unknown_accounts++;
	}
	return 0;
}

/* Names that a crash may have left; what else lies there is left alone. */
static int remove_leftover(struct eg_store *s, const char *name, struct eg_strbuf *why)
{
	struct stat st;
	int r;

	if (fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : eg_io_why(why, -errno, "look at", name);
	r = S_ISREG(st.st_mode) ? s->io.ops->unlinkat(s->io.ctx, s->dir, name) : -EEXIST;
	return r < 0 ? eg_io_why(why, r, "replace", name) : 0;
}

/* A log to append to: a new one, or the old one up to its last whole record. */
static int prepare_log(struct eg_store *s, struct eg_state *st, uint64_t unix_ns,
		       struct eg_strbuf *why)
{
	const struct eg_record none = {0};
	int r = eg_log_init(&s->log, &s->io, s->dir, eg_take_fd(&st->log_fd), st->log.end,
			    st->log.records);

	if (r < 0)
		return eg_io_why(why, r, "prepare", EG_STORE_LOG);
	r = remove_leftover(s, EG_STORE_NEW_LOG, why);
	if (r == 0)
		r = remove_leftover(s, EG_STORE_NEW_CHECKPOINT, why);
	if (r < 0)
		return r;
	if (!st->have_log)
		r = eg_log_rewrite(&s->log, &s->book, &none, unix_ns);
	else if (st->log.torn_bytes)
		r = eg_log_begin(&s->log);
	return r < 0 ? eg_io_why(why, r, st->have_log ? "cut the torn end of" : "make",
				 EG_STORE_LOG) :
		       0;
}

static int open_inside(struct eg_store *s, const struct eg_store_config *cfg, struct eg_strbuf *why)
{
	struct eg_state st;
	int r;

	s->dir = eg_state_open_dir(cfg->dir, true, why);
	if (s->dir < 0)
		return s->dir;
	s->lock = eg_state_lock(&s->io, s->dir, why);
	if (s->lock < 0)
		return s->lock;
	r = eg_state_read(&s->io, s->dir, O_RDWR, &st, why);
	if (r < 0)
		return r;
	judge(s, &st);
	s->session = st.session + 1;
	s->heal = st.log.damaged > 0;
	s->book = st.book;
	st.book = (struct eg_book){0};
	r = restore_accounts(s, cfg->unix_ns);
	if (r < 0)
		eg_io_why(why, r, "keep the accounts of", EG_STORE_LOG);
	else
		r = prepare_log(s, &st, cfg->unix_ns, why);
	eg_state_free(&st);
	if (r < 0)
		return r;
	s->status.log_bytes = s->log.good;
	s->status.log_records = s->log.records;
	s->status.accounts = s->book.n;
	return 0;
}

static struct eg_store *free_store(struct eg_store *s)
{
	eg_tick_stop(s);
	eg_log_free(&s->log);
	eg_book_free(&s->book);
	if (s->lock >= 0)
		close(s->lock);
	if (s->dir >= 0)
		close(s->dir);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->done);
	free(s->job.a);
	free(s->account);
	free(s);
	return NULL;
}

int eg_store_open_with(const struct eg_store_config *cfg, const struct eg_io *io,
		       struct eg_store **ret, struct eg_strbuf *why)
{
	struct eg_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->io = *io;
	s->dir = s->lock = s->log.fd = -1;
	s->boot = eg_boot_parse(cfg->boot_id);
	s->log_max_bytes = cfg->log_max_bytes ? cfg->log_max_bytes : EG_STORE_LOG_BYTES;
	s->opened_unix_ns = cfg->unix_ns;
	s->need_start = true;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->work, NULL);
	r = eg_cond_init(&s->done);
	if (r == 0)
		r = open_inside(s, cfg, why);
	if (r < 0) {
		free_store(s);
		return r;
	}
	*ret = s;
	return 0;
}

int eg_store_open(const struct eg_store_config *cfg, struct eg_store **ret, struct eg_strbuf *why)
{
	return eg_store_open_with(cfg, &(struct eg_io){.ops = &eg_io_kernel_ops}, ret, why);
}

const struct eg_store_report *eg_store_report(const struct eg_store *s)
{
	return &s->report;
}

size_t eg_store_accounts(const struct eg_store *s, const struct eg_account **ret)
{
	*ret = s->account;
	return s->n_accounts;
}

int eg_store_start(struct eg_store *s, size_t n_accounts, struct eg_strbuf *why)
{
	int r;

	if (n_accounts > EG_ACCOUNTS_MAX) {
		if (why) {
			eg_strbuf_reset(why);
			eg_strbuf_printf(why,
					 "%zu accounts are more than the %d that a ledger keeps",
					 n_accounts, EG_ACCOUNTS_MAX);
		}
		return -ENOSPC;
	}
	r = eg_tick_start(s, n_accounts, s->opened_unix_ns);
	if (r < 0)
		return eg_io_why(why, r, "make", EG_STORE_CHECKPOINT);
	r = eg_flush_start(s, s->opened_unix_ns);
	return r < 0 ? eg_io_why(why, r, "start the writer of", EG_STORE_LOG) : 0;
}

void eg_store_checkpoint(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t t_ns,
			 uint64_t unix_ns)
{
	if (s->started)
		eg_tick_write(s, a, n, t_ns, unix_ns, false);
}

bool eg_store_flush(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns)
{
	return eg_flush_begin(s, a, n, unix_ns, false);
}

void eg_store_get_status(struct eg_store *s, struct eg_store_status *ret)
{
	uint64_t given = atomic_load_explicit(&s->given_uj, memory_order_relaxed);

	pthread_mutex_lock(&s->mutex);
	*ret = s->status;
	pthread_mutex_unlock(&s->mutex);
	/* A checkpoint older than the last flush has nothing that is not in the log. */
	ret->pending_uj = given > ret->pending_uj ? given - ret->pending_uj : 0;
	ret->refused_accounts = EG_MAX(ret->refused_accounts,
				       atomic_load_explicit(&s->refused, memory_order_relaxed));
	ret->checkpoint_lost = atomic_load_explicit(&s->checkpoint_gone, memory_order_relaxed);
}

/* The last flush, then a slot that says that all is well. -ETIMEDOUT: the thread hangs. */
static int end_in_order(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns,
			uint64_t timeout_ns)
{
	int r = eg_flush_wait(s, timeout_ns);

	if (r == -ETIMEDOUT || !eg_flush_begin(s, a, n, unix_ns, true))
		return -ETIMEDOUT;
	r = eg_flush_wait(s, timeout_ns);
	if (r == -ETIMEDOUT)
		return r;
	/* All is in the checkpoint, whether the log could be written or not. */
	eg_tick_write(s, a, n, 0, unix_ns, true);
	(void)!eg_checkpoint_sync(s->checkpoint);
	return r;
}

struct eg_store *eg_store_close(struct eg_store *s, const struct eg_account *a, size_t n,
				uint64_t unix_ns, uint64_t timeout_ns,
				struct eg_store_status *ret_last)
{
	uint64_t patience_ns = a ? STOP_TIMEOUT_NS : KILLED_TIMEOUT_NS;
	int r = 0;

	if (!s)
		return NULL;
	if (s->started && a)
		r = end_in_order(s, a, n, unix_ns, timeout_ns);
	if (ret_last) {
		eg_store_get_status(s, ret_last);
		ret_last->last_error = r;
	}
	/* What hangs in the kernel still uses the store: it is left behind, with its lock. */
	if (s->started && !eg_flush_stop(s, r == -ETIMEDOUT ? 0 : patience_ns))
		return NULL;
	return free_store(s);
}
