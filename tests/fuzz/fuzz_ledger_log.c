/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.log: any bytes as the file. The first byte of an input says whether the CRCs of header and
 * records are made right first, so that what lies behind them is reached too. What is read is checked
 * against the bytes: no total above the largest whole delta, no record twice, the same on a second read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/crc32c.h"
#include "store/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	const uint8_t *data;
	size_t size;
};

static void check(int ok)
{
	if (!ok)
		abort();
}

static ssize_t read_memory(void *ctx, int fd, void *buf, size_t n, off_t off)
{
	const struct memory *m = ctx;
	size_t at = (size_t)off, rest = at < m->size ? m->size - at : 0;

	n = n < rest ? n : rest;
	if (n)
		memcpy(buf, m->data + at, n);
	return (ssize_t)n;
}

static void sign(uint8_t *data, size_t size)
{
	if (size < EG_RECORD_WIDTH)
		return;
	eg_put_u32(data + 252, eg_crc32c(0, data, 252));
	for (size_t at = EG_RECORD_WIDTH; at + EG_RECORD_WIDTH <= size; at += EG_RECORD_WIDTH) {
		data[at + 4] = EG_RECORD_MARK;
		data[at + 5] = EG_LOG_VERSION;
		eg_put_u32(data + at, eg_crc32c(0, data + at + 4, EG_RECORD_WIDTH - 4));
	}
}

struct walk {
	struct eg_replay replay;
	const struct memory *m;
	uint64_t end, records, damaged, largest;
};

static void take(void *ctx, const struct eg_record *r, uint64_t offset, uint64_t bytes)
{
	uint8_t again[EG_RECORD_WIDTH];
	struct walk *w = ctx;
	struct eg_record back;

	check(bytes > 0 && offset >= w->end && offset + bytes <= w->m->size);
	w->end = offset + bytes;
	eg_replay_record(&w->replay, r, offset, bytes);
	if (!r) {
		w->damaged++;
		return;
	}
	w->records++;
	check(bytes == EG_RECORD_WIDTH && eg_record_is_whole(w->m->data + offset));
	if (r->type == EG_RECORD_ACCOUNT || r->type == EG_RECORD_CHANNEL)
		check(memchr(r->text, 0, sizeof(r->text)) != NULL);
	eg_record_encode(again, r);
	check(eg_record_decode(again, &back) == 0 && back.type == r->type);
	check(r->type < EG_RECORD_ACCOUNT || back.key == r->key);
	if (r->type == EG_RECORD_DELTA)
		w->largest = EG_MAX(w->largest, r->n.uj);
}

static int walk(const struct memory *m, struct walk *w, struct eg_book *book,
		struct eg_log_found *found)
{
	static const struct eg_io_ops ops = {.pread = read_memory};
	const struct eg_io io = {.ops = &ops, .ctx = (void *)m};

	check(eg_book_init(book, 64) == 0);
	*w = (struct walk){.replay.book = book, .m = m};
	return eg_log_read(&io, -1, take, w, found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_log_found found = {0}, again = {0};
	struct eg_book book, book2;
	struct walk w, w2;
	struct memory m;
	uint8_t *copy;
	int r;

	if (size == 0)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (data[0] & 1)
		sign(copy + 1, size - 1);
	m = (struct memory){copy + 1, size - 1};
	r = walk(&m, &w, &book, &found);
	check(r == 0 || r == -EPROTO);
	if (r == 0 && !found.empty) {
		check(found.records == w.records && found.bytes == m.size);
		check(found.end + found.torn_bytes == found.bytes);
		check(found.damaged == 0 || w.damaged > 0);
	}
	for (size_t i = 0; i < book.n; i++) {
		const struct eg_entry *e = &book.entry[i];
		struct eg_account a;

		check(eg_book_find(&book, e->key) == e && e->log.uj <= w.largest);
		if (eg_entry_account(e, &e->log, &a) == 0)
			check(eg_store_key(&a) == e->key && a.uj == e->log.uj);
	}
	check(walk(&m, &w2, &book2, &again) == r);
	check(memcmp(&found, &again, sizeof(found)) == 0 && book.n == book2.n);
	eg_book_free(&book);
	eg_book_free(&book2);
	free(copy);
	return 0;
}
