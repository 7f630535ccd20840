/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See log.h: the writer. What was synced is never written again in place; what was not is cut off and
 * written anew as a whole, because after a failed sync the kernel may have thrown the pages away and
 * still say that they are clean.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "store/log.h"

int eg_log_init(struct eg_log *l, const struct eg_io *io, int dir, int fd, uint64_t good,
		uint64_t records)
{
	*l = (struct eg_log){.io = io, .dir = dir, .fd = fd, .good = good, .records = records};
	l->buf = malloc(EG_LOG_BATCH_BYTES);
	return l->buf ? 0 : -ENOMEM;
}

void eg_log_free(struct eg_log *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->buf);
	*l = (struct eg_log){.fd = -1};
}

static int sync_dir(struct eg_log *l)
{
	int r = l->dir_unsynced ? l->io->ops->fsync(l->io->ctx, l->dir) : 0;

	if (r == 0)
		l->dir_unsynced = false;
	return r;
}

/* Does the name still mean our file? Gone, it is written anew; another file there is not ours. */
static int check_place(const struct eg_log *l)
{
	struct stat st;

	if (l->fd >= 0 && eg_io_is_named(l->fd, l->dir, EG_STORE_LOG))
		return 0;
	if (fstatat(l->dir, EG_STORE_LOG, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EPROTO;
	return errno == ENOENT ? -ESTALE : -errno;
}

int eg_log_begin(struct eg_log *l)
{
	struct stat st;
	int r = check_place(l);

	l->at = l->good;
	l->len = 0;
	l->error = 0;
	l->new_records = 0;
	if (r < 0)
		return r;
	if (fstat(l->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < l->good)
		return -ESTALE;
	return (uint64_t)st.st_size > l->good ?
		       l->io->ops->ftruncate(l->io->ctx, l->fd, (off_t)l->good) :
		       0;
}

static void write_out(struct eg_log *l)
{
	if (l->error == 0 && l->len > 0)
		l->error = eg_io_write_all(l->io, l->fd, l->buf, l->len, l->at);
	l->at += l->len;
	l->len = 0;
}

static uint8_t *next_place(struct eg_log *l)
{
	uint8_t *p;

	if (l->len == EG_LOG_BATCH_BYTES)
		write_out(l);
	p = l->buf + l->len;
	l->len += EG_RECORD_WIDTH;
	return p;
}

void eg_log_put(struct eg_log *l, const struct eg_record *r)
{
	eg_record_encode(next_place(l), r);
	l->new_records++;
}

int eg_log_commit(struct eg_log *l)
{
	write_out(l);
	if (l->error == 0)
		l->error = l->io->ops->fdatasync(l->io->ctx, l->fd);
	if (l->error == 0)
		l->error = sync_dir(l);
	if (l->error < 0) { /* begin cuts it again where this fails */
		(void)!l->io->ops->ftruncate(l->io->ctx, l->fd, (off_t)l->good);
		return l->error;
	}
	l->good = l->at;
	l->records += l->new_records;
	return 0;
}

void eg_log_put_texts(struct eg_log *l, const struct eg_entry *e, uint64_t session,
		      uint64_t unix_ns)
{
	struct eg_record r = {.key = e->key, .session = session, .unix_ns = unix_ns};

	if (e->name[0]) {
		r.type = EG_RECORD_ACCOUNT;
		(void)eg_copy(r.text, sizeof(r.text), e->name);
		eg_log_put(l, &r);
	}
	if (e->feed[0]) {
		r.type = EG_RECORD_CHANNEL;
		(void)eg_copy(r.text, sizeof(r.text), e->feed);
		eg_log_put(l, &r);
	}
}

/* ---- compaction ---- */

uint64_t eg_log_rewritten_bytes(const struct eg_book *book)
{
	uint64_t records = 2; /* header and mark */

	for (size_t i = 0; i < book->n; i++) {
		const struct eg_entry *e = &book->entry[i];

		if (e->in_log)
			records += 1 + 2 * (uint64_t)((e->name[0] != 0) + (e->feed[0] != 0));
	}
	return records * EG_RECORD_WIDTH;
}

static void put_all(struct eg_log *l, const struct eg_book *book, const struct eg_record *mark,
		    uint64_t unix_ns)
{
	eg_log_header_encode(next_place(l), unix_ns);
	for (int texts = 1; texts >= 0; texts--) {
		for (size_t i = 0; i < book->n; i++)
			if (book->entry[i].in_log)
				eg_log_put_texts(l, &book->entry[i], mark->session, unix_ns);
		for (size_t i = 0; texts && i < book->n; i++) {
			const struct eg_entry *e = &book->entry[i];

			if (e->in_log)
				eg_log_put(l, &(struct eg_record){.type = EG_RECORD_DELTA,
								  .base = true,
								  .key = e->key,
								  .session = e->log_session,
								  .unix_ns = unix_ns,
								  .feed = eg_feed_hash(e->feed),
								  .n = e->log});
		}
	}
	if (mark->type)
		eg_log_put(l, mark);
	write_out(l);
}

int eg_log_rewrite(struct eg_log *l, struct eg_book *book, const struct eg_record *mark,
		   uint64_t unix_ns)
{
	const struct eg_io *io = l->io;
	struct eg_log t = {.io = io, .dir = l->dir, .buf = l->buf};

	(void)!io->ops->unlinkat(io->ctx, l->dir, EG_STORE_NEW_LOG);
	t.fd = eg_io_create(io, l->dir, EG_STORE_NEW_LOG, O_RDWR);
	if (t.fd < 0)
		return t.fd;
	put_all(&t, book, mark, unix_ns);
	if (t.error == 0)
		t.error = io->ops->fsync(io->ctx, t.fd);
	if (t.error == 0)
		t.error = io->ops->renameat(io->ctx, l->dir, EG_STORE_NEW_LOG, EG_STORE_LOG);
	if (t.error < 0) {
		close(t.fd);
		(void)!io->ops->unlinkat(io->ctx, l->dir, EG_STORE_NEW_LOG);
		return t.error;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = t.fd;
	l->good = t.at;
	l->records = t.new_records;
	l->dir_unsynced = true;
	(void)!sync_dir(l); /* else with the next batch, which counts only then */
	for (size_t i = 0; i < book->n; i++)
		if (book->entry[i].in_log)
			book->entry[i].texts = 2;
	return 0;
}
