/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h: the reader. */
#include "store/log.h"

#include <errno.h>
#include <string.h>

#define WINDOW_BYTES (256u << 10)
#define PROBE_BYTES  (64u << 10) /* of a file without our header that are searched for records */

/* The file passes through a window; pos is where we are in it. */
struct reader {
	const struct eg_io *io;
	int fd;
	uint8_t *buf;
	uint64_t base; /* offset of buf[0] in the file */
	size_t len, pos;
	bool at_end;
};

/* Makes at least one record readable at pos, where the file has so much. */
static int refill(struct reader *r)
{
	ssize_t n;

	if (r->at_end || r->len - r->pos >= EG_RECORD_WIDTH)
		return 0;
	memmove(r->buf, r->buf + r->pos, r->len - r->pos);
	r->base += r->pos;
	r->len -= r->pos;
	r->pos = 0;
	n = eg_io_read_full(r->io, r->fd, r->buf + r->len, WINDOW_BYTES - r->len, r->base + r->len);
	if (n < 0)
		return (int)n;
	r->at_end = (size_t)n < WINDOW_BYTES - r->len;
	r->len += (size_t)n;
	return 0;
}

/* Where could the next record begin, after pos? At the end of the window's last chance otherwise. */
static void step_to_candidate(struct reader *r)
{
	size_t from = r->pos + 1 + EG_RECORD_MARK_AT;
	const uint8_t *mark = from < r->len ? memchr(r->buf + from, EG_RECORD_MARK, r->len - from) :
					      NULL;

	if (mark)
		r->pos = (size_t)(mark - r->buf) - EG_RECORD_MARK_AT;
	else
		r->pos = EG_MAX(r->pos + 1, r->len - EG_MIN(r->len, EG_RECORD_MARK_AT));
}

static bool has_records(const uint8_t *buf, size_t n)
{
	for (size_t at = EG_RECORD_WIDTH; at + EG_RECORD_WIDTH <= n; at += EG_RECORD_WIDTH)
		if (eg_record_is_whole(buf + at))
			return true;
	return false;
}

/*
 * Is it ours? A damaged header does not cost the records behind it; without a whole record anywhere
 * near the beginning nothing says that the content is ours.
 */
static int judge_header(struct reader *r, struct eg_log_found *found)
{
	size_t probe = EG_MIN(r->len, PROBE_BYTES);

	if (r->len == 0) {
		found->empty = true;
		return 0;
	}
	switch (eg_log_header_decode(r->buf, r->len, &found->version)) {
	case EG_LOG_HEADER_GOOD:
		break;
	case EG_LOG_HEADER_OTHER_VERSION:
		return -EPROTO;
	case EG_LOG_HEADER_DAMAGED:
		if (r->len <= EG_RECORD_WIDTH) { /* its creation was cut short */
			found->empty = true;
			found->header_damaged = true;
			return 0;
		}
		/* fall through */
	case EG_LOG_HEADER_FOREIGN:
		if (!has_records(r->buf, probe))
			return -EPROTO;
		found->header_damaged = true;
		break;
	}
	r->pos = EG_RECORD_WIDTH;
	return 0;
}

static void tell_damage(struct eg_log_found *found, uint64_t from, uint64_t to, bool at_end,
			eg_log_fn fn, void *ctx)
{
	uint64_t bytes = to - from;

	if (bytes == 0)
		return;
	found->damaged += (bytes + (at_end ? 0 : EG_RECORD_WIDTH - 1)) / EG_RECORD_WIDTH;
	if (fn)
		fn(ctx, NULL, from, bytes);
}

static int read_records(struct reader *r, struct eg_log_found *found, eg_log_fn fn, void *ctx)
{
	struct eg_record rec;
	int err;

	found->end = r->pos;
	while ((err = refill(r)) == 0 && r->len - r->pos >= EG_RECORD_WIDTH) {
		uint64_t at = r->base + r->pos;

		if (!eg_record_is_whole(r->buf + r->pos) ||
		    eg_record_decode(r->buf + r->pos, &rec) < 0) {
			step_to_candidate(r);
			continue;
		}
		tell_damage(found, found->end, at, false, fn, ctx);
		found->records++;
		if (fn)
			fn(ctx, &rec, at, EG_RECORD_WIDTH);
		r->pos += EG_RECORD_WIDTH;
		found->end = at + EG_RECORD_WIDTH;
	}
	found->bytes = r->base + r->len;
	found->torn_bytes = found->bytes - found->end;
	tell_damage(found, found->end, found->bytes, true, fn, ctx);
	return err;
}

int eg_log_read(const struct eg_io *io, int fd, eg_log_fn fn, void *ctx, struct eg_log_found *ret)
{
	eg_autofree uint8_t *buf = malloc(WINDOW_BYTES);
	struct reader r = {.io = io, .fd = fd, .buf = buf};
	struct eg_log_found found = {0};
	int err;

	if (!buf)
		return -ENOMEM;
	err = refill(&r);
	if (err == 0)
		err = judge_header(&r, &found);
	if (err == 0 && found.header_damaged)
		tell_damage(&found, 0, EG_MIN(r.len, EG_RECORD_WIDTH), false, fn, ctx);
	if (err == 0 && !found.empty)
		err = read_records(&r, &found, fn, ctx);
	if (err == 0 || err == -EPROTO)
		*ret = found;
	return err;
}

/* ---- replay ---- */

static void replay_mark(struct eg_log_history *h, const struct eg_record *r)
{
	h->stopped = r->type == EG_RECORD_STOP && r->session >= h->session;
	h->boot = r->n.boot;
}

static void replay_delta(struct eg_replay *p, struct eg_entry *e, const struct eg_record *r)
{
	uint64_t before = r->n.uj - r->delta_uj;

	if (!r->base && before != (e->in_log ? e->log.uj : 0))
		p->history.breaks++;
	if (e->in_log && r->n.uj < e->log.uj)
		return; /* it says less than is known */
	e->log = r->n;
	e->log_feed = r->feed;
	e->log_session = r->session;
	e->in_log = true;
}

void eg_replay_record(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	struct eg_replay *p = ctx;
	struct eg_entry *e;
	int err;

	if (!r)
		return;
	if (r->type == EG_RECORD_START || r->type == EG_RECORD_STOP) {
		replay_mark(&p->history, r);
	} else {
		p->history.stopped = false;
		err = eg_book_add(p->book, r->key, &e);
		if (err < 0) {
			p->history.error = err;
			return;
		}
		if (r->type == EG_RECORD_DELTA) {
			replay_delta(p, e, r);
		} else if (r->type == EG_RECORD_ACCOUNT) {
			(void)eg_copy(e->name, sizeof(e->name), r->text);
			e->texts++;
		} else {
			(void)eg_copy(e->feed, sizeof(e->feed), r->text);
		}
	}
	p->history.session = EG_MAX(p->history.session, r->session);
	p->history.last_unix_ns = r->unix_ns;
}
