/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log, on a thread of its own: a disk may take its time, and the sampling path must not wait for it.
 * A flush writes what differs from the last synced state, so that whatever a failed one could not write
 * is in the next one. Compaction and the making of a new checkpoint file happen here too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/internal.h"

/* What a log that cannot be compacted may grow to, times its limit; then nothing more is appended. */
enum { UNCOMPACTED_MAX = 2 };

static uint64_t log_limit(const struct eg_store *s)
{
	/* Twice what must be kept at least, or every flush would compact. */
	return EG_MAX(s->log_max_bytes, 2 * eg_log_rewritten_bytes(&s->book));
}

static struct eg_record mark(const struct eg_store *s, enum eg_record_type type, uint64_t unix_ns)
{
	return (struct eg_record){
		.type = type, .session = s->session, .unix_ns = unix_ns, .n.boot = s->boot};
}

static int compact(struct eg_store *s, uint64_t unix_ns)
{
	struct eg_record start = mark(s, EG_RECORD_START, unix_ns);
	int r = eg_log_rewrite(&s->log, &s->book, &start, unix_ns);

	if (r < 0)
		return r;
	s->need_start = s->heal = false;
	pthread_mutex_lock(&s->mutex);
	s->status.compactions++;
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

/* What the agent says now goes into the book. An account above the ceiling is counted, not kept. */
static uint64_t take_accounts(struct eg_store *s, const struct eg_account *a, size_t n)
{
	char name[EG_STORE_KEY_TEXT_MAX], feed[EG_STORE_FEED_MAX];
	uint64_t refused = 0;

	for (size_t i = 0; i < n; i++) {
		size_t len = eg_store_key_text(&a[i], name);
		struct eg_numbers now;
		struct eg_entry *e;

		if (eg_book_add(&s->book, eg_fnv1a(name, len), &e) < 0 ||
		    (e->name[0] && strcmp(e->name, name) != 0)) { /* two names with one key */
			refused++;
			continue;
		}
		(void)eg_copy(e->name, sizeof(e->name), name);
		if (eg_feed_text(&a[i], feed) && strcmp(feed, e->feed) != 0) {
			(void)eg_copy(e->feed, sizeof(e->feed), feed);
			e->texts = 0;
		}
		now = eg_account_numbers(&a[i], &e->now, &s->boot);
		eg_numbers_raise(&now, &e->now);
		e->now = now;
	}
	return refused;
}

static bool has_anything(const struct eg_numbers *n)
{
	return n->uj || n->gap_ns || n->resets || n->created_unix_ns || n->last.unix_ns;
}

/* A reading that moved while no total did says nothing that an older one does not. */
static bool differs(const struct eg_entry *e)
{
	const struct eg_numbers *a = &e->now, *b = &e->log;

	if (!e->in_log)
		return has_anything(a);
	return a->uj != b->uj || a->recovered_uj != b->recovered_uj || a->gap_ns != b->gap_ns ||
	       a->resets != b->resets || a->created_unix_ns != b->created_unix_ns ||
	       eg_feed_hash(e->feed) != e->log_feed;
}

static void put_batch(struct eg_store *s, bool final, uint64_t unix_ns)
{
	struct eg_record start = mark(s, EG_RECORD_START, unix_ns);
	struct eg_record stop = mark(s, EG_RECORD_STOP, unix_ns);

	if (s->need_start)
		eg_log_put(&s->log, &start);
	for (size_t i = 0; i < s->book.n; i++) {
		struct eg_entry *e = &s->book.entry[i];

		e->changed = differs(e);
		if (!e->changed)
			continue;
		/* Twice, in two places: one damaged record, or sector, costs no name. */
		if (e->texts < 2)
			eg_log_put_texts(&s->log, e, s->session, unix_ns);
		eg_log_put(&s->log, &(struct eg_record){.type = EG_RECORD_DELTA,
							.session = s->session,
							.unix_ns = unix_ns,
							.key = e->key,
							.delta_uj = e->now.uj - e->log.uj,
							.feed = eg_feed_hash(e->feed),
							.n = e->now});
	}
	for (size_t i = 0; i < s->book.n; i++) {
		const struct eg_entry *e = &s->book.entry[i];

		if (e->changed && e->texts == 0)
			eg_log_put_texts(&s->log, e, s->session, unix_ns);
	}
	if (final)
		eg_log_put(&s->log, &stop);
}

static void batch_is_good(struct eg_store *s)
{
	s->need_start = false;
	for (size_t i = 0; i < s->book.n; i++) {
		struct eg_entry *e = &s->book.entry[i];

		if (!e->changed)
			continue;
		e->log = e->now;
		e->log_feed = eg_feed_hash(e->feed);
		e->log_session = s->session;
		e->in_log = true;
		e->texts = 2;
	}
}

static int append(struct eg_store *s, bool final, uint64_t unix_ns)
{
	int r = eg_log_begin(&s->log);

	if (r == -ESTALE) { /* somebody removed it or cut it: say everything again */
		r = compact(s, unix_ns);
		if (r == 0)
			r = eg_log_begin(&s->log);
	}
	if (r < 0)
		return r;
	put_batch(s, final, unix_ns);
	if (!s->log.new_records && !s->log.dir_unsynced)
		return 0;
	r = eg_log_commit(&s->log);
	if (r == 0)
		batch_is_good(s);
	return r;
}

static int write_log(struct eg_store *s, bool final, uint64_t unix_ns)
{
	int r, compacted = 0;

	if (s->log.good > log_limit(s)) /* an earlier try failed */
		compacted = compact(s, unix_ns);
	if (compacted < 0 && s->log.good > UNCOMPACTED_MAX * log_limit(s))
		return compacted;
	r = append(s, final, unix_ns);
	/* After the mark of a stop nothing may follow; the next start compacts. */
	if (r == 0 && compacted == 0 && !final && (s->heal || s->log.good > log_limit(s)))
		compacted = compact(s, unix_ns);
	return r < 0 ? r : compacted;
}

/* ---- the checkpoint's file ---- */

struct filling {
	struct eg_store *s;
	uint64_t unix_ns;
};

static void fill_from_book(void *ctx, struct eg_checkpoint *c)
{
	struct filling *f = ctx;
	struct eg_checkpoint_slot slot = {
		.session = f->s->session, .unix_ns = f->unix_ns, .boot = f->s->boot};

	eg_checkpoint_begin(c);
	for (size_t i = 0; i < f->s->book.n && slot.n < c->capacity; i++) {
		const struct eg_entry *e = &f->s->book.entry[i];

		if (e->name[0])
			eg_checkpoint_encode(eg_checkpoint_place(c, slot.n++), e->name,
					     strlen(e->name), e->feed, strlen(e->feed), &e->now);
	}
	eg_checkpoint_end(c, &slot);
}

static void free_retired(struct eg_store *s)
{
	struct eg_checkpoint *old =
		atomic_exchange_explicit(&s->retired, NULL, memory_order_acquire);

	if (!old)
		return;
	eg_checkpoint_close(old);
	free(old);
}

/*
 * Makes a new file where the one in use failed or was removed; never over one that is not ours. At the end
 * it is only noted.
 */
static void mend_checkpoint(struct eg_store *s, uint64_t unix_ns, bool final)
{
	struct filling filling = {.s = s, .unix_ns = unix_ns};
	const struct eg_checkpoint_config cfg = {.capacity = s->capacity,
						 .unix_ns = unix_ns,
						 .anew = true,
						 .fill = fill_from_book,
						 .ctx = &filling};
	struct eg_checkpoint *c = s->current;
	struct stat st;
	bool named;

	free_retired(s);
	if (atomic_load(&s->fresh))
		return;
	named = eg_io_is_named(c->fd, s->dir, EG_STORE_CHECKPOINT);
	if (named && !atomic_load(&c->lost))
		return;
	atomic_store(&s->checkpoint_gone, true);
	if (final)
		return;
	if (!named && fstatat(s->dir, EG_STORE_CHECKPOINT, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	if (eg_checkpoint_open(c, &s->io, s->dir, &cfg) < 0) {
		free(c);
		return;
	}
	s->current = c;
	atomic_store_explicit(&s->fresh, c, memory_order_release);
}

/* ---- the thread ---- */

static void note_status(struct eg_store *s, int r, uint64_t refused, uint64_t unix_ns)
{
	struct eg_store_status *st = &s->status;
	uint64_t in_log = 0;

	for (size_t i = 0; i < s->book.n; i++)
		if (s->book.entry[i].name[0])
			in_log += s->book.entry[i].log.uj;
	pthread_mutex_lock(&s->mutex);
	st->log_bytes = s->log.good;
	st->log_records = s->log.records;
	st->accounts = s->book.n;
	st->refused_accounts = refused;
	st->last_error = r;
	st->flushes += r == 0;
	st->failed_flushes += r < 0;
	if (r == 0)
		st->last_flush_unix_ns = unix_ns;
	st->pending_uj = in_log; /* eg_store_get_status takes it from what was given */
	pthread_mutex_unlock(&s->mutex);
}

static void do_job(struct eg_store *s)
{
	uint64_t refused = take_accounts(s, s->job.a, s->job.n);
	int r = write_log(s, s->job.final, s->job.unix_ns);

	mend_checkpoint(s, s->job.unix_ns, s->job.final);
	note_status(s, r, refused, s->job.unix_ns);
}

static void *writer(void *arg)
{
	struct eg_store *s = arg;

	pthread_mutex_lock(&s->mutex);
	for (;;) {
		while (!s->busy && !s->quit)
			pthread_cond_wait(&s->work, &s->mutex);
		if (!s->busy)
			break;
		pthread_mutex_unlock(&s->mutex);
		do_job(s);
		pthread_mutex_lock(&s->mutex);
		s->busy = false;
		pthread_cond_broadcast(&s->done);
	}
	s->exited = true;
	pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

int eg_flush_start(struct eg_store *s, uint64_t unix_ns)
{
	sigset_t all, old;
	int r;

	s->job.a = calloc(s->given_max ? s->given_max : 1, sizeof(*s->job.a));
	if (!s->job.a)
		return -ENOMEM;
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a fault in the mapping is mended, by whoever meets it */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&s->thread, NULL, writer, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return r;
	s->started = true;
	/*
	 * The mark of this agent, and what only the checkpoint knew, before anything is exported: without
	 * it a loss of power could look like a clean stop. Where it fails now, the next flush has it.
	 */
	(void)eg_flush_begin(s, NULL, 0, unix_ns, false);
	(void)!eg_flush_wait(s, UINT64_MAX);
	return 0;
}

bool eg_flush_begin(struct eg_store *s, const struct eg_account *a, size_t n, uint64_t unix_ns,
		    bool final)
{
	bool free_now;

	pthread_mutex_lock(&s->mutex);
	free_now = s->started && !s->busy && !s->quit;
	if (free_now) {
		s->job.n = EG_MIN(n, s->given_max);
		if (s->job.n)
			memcpy(s->job.a, a, s->job.n * sizeof(*a));
		s->job.unix_ns = unix_ns;
		s->job.final = final;
		s->busy = true;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->mutex);
	return free_now;
}

int eg_flush_wait(struct eg_store *s, uint64_t timeout_ns)
{
	struct timespec ts = eg_clock_deadline(timeout_ns);
	int r = 0;

	pthread_mutex_lock(&s->mutex);
	while (s->busy && r == 0)
		r = pthread_cond_timedwait(&s->done, &s->mutex, &ts);
	r = s->busy ? -ETIMEDOUT : s->status.last_error;
	pthread_mutex_unlock(&s->mutex);
	return r;
}

bool eg_flush_stop(struct eg_store *s, uint64_t timeout_ns)
{
	struct timespec ts = eg_clock_deadline(timeout_ns);
	bool exited;
	int r = 0;

	pthread_mutex_lock(&s->mutex);
	s->quit = true;
	pthread_cond_signal(&s->work);
	while (!s->exited && r == 0)
		r = pthread_cond_timedwait(&s->done, &s->mutex, &ts);
	exited = s->exited;
	pthread_mutex_unlock(&s->mutex);
	if (exited)
		pthread_join(s->thread, NULL);
	else
		pthread_detach(s->thread);
	return exited;
}
