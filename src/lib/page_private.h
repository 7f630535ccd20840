/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the energy page share: page.c opens one and reads it, page_mark.c notes its
 * totals, page_window.c makes windows of two such notes.
 */
#ifndef EG_LIB_PAGE_PRIVATE_H
#define EG_LIB_PAGE_PRIVATE_H

#include <sys/stat.h>

#include "base/page.h"
#include "core/channel.h"
#include "lib/private.h"

/* What the accounts are: shared by a page and the marks made of it. */
struct page_account {
	struct eg_page_record text;
	uint32_t flags;
	enum eg_provenance provenance;
	enum eg_source source;
	struct eg_accuracy accuracy; /* all 0: not known */
};

struct page_table {
	int refs;
	size_t n;
	struct page_account account[];
};

/* One file, mapped. */
struct page_map {
	const uint8_t *base;
	size_t size, line_size;
	const struct eg_page_header *header; /* at base: state and tick are read from it */
	const uint8_t *lines;
	struct page_table *table;
	uint64_t interval_ns;
	uint64_t serial; /* of the page: how many were mapped before it */
	bool other_boot;
	dev_t dev;
	ino_t ino;
};

/* The page's file of now: it stays mapped until unpinned. Takes no system call and no lock. */
const struct page_map *page_pin(const ergon_page *page);
void page_unpin(const struct page_map *m);

struct page_table *page_table_ref(struct page_table *t);
void page_table_unref(struct page_table *t);

void page_tell_account(const struct page_account *a, struct ergon_page_info *ret);
enum ergon_page_life page_life(const struct page_map *m);

struct page_tick {
	uint64_t t_ns, unix_ns;
};

/*
 * Runs pass, which begins anew each time, until no tick came in between. -EAGAIN: the writer is not
 * running, in the middle of one.
 */
int page_in_one_tick(const struct page_map *m,
		     int (*pass)(const struct page_map *m, const struct page_tick *tick, void *arg),
		     void *arg, struct page_tick *ret) EG_MUST_CHECK;
/* Account `index` of it. Errors: -EAGAIN. */
int page_values(const struct page_map *m, size_t index, struct eg_page_values *ret) EG_MUST_CHECK;

/* ---- the totals of one moment ---- */

struct ergon_page_mark {
	struct page_table *table; /* of the page when it was noted; NULL: nothing was */
	struct page_table *other; /* that `to` leads to; the own one until a page was replaced */
	uint64_t serial;	  /* of the map */
	uint64_t t_ns, unix_ns;	  /* of the tick */
	bool differs;		  /* the other one counts other accounts than ours */
	bool more;		  /* it counts some that ours does not */
	size_t room;		  /* accounts that it can hold */
	struct {
		struct eg_page_values v;
		int32_t to; /* index in the other table, -1 none */
	} of[];
};

/* Empty, for n accounts; NULL: no memory. */
struct ergon_page_mark *page_mark_make(size_t n);
/* Notes the totals of now in a mark that has the room. Errors: -EAGAIN, the mark is empty then. */
int page_mark_note(struct ergon_page_mark *mark, const struct page_map *m) EG_MUST_CHECK;
/* Finds the mark's accounts in another table. */
void page_mark_lead(struct ergon_page_mark *mark, struct page_table *t);

/* What one account used between two readings of it, as far as both are known. */
struct page_step {
	uint64_t uj, gap_ns;
	uint32_t flags; /* enum ergon_page_partial */
	bool known;
};
struct page_step page_step_of(const struct page_account *a, const struct eg_page_values *old,
			      const struct eg_page_values *now, uint64_t tick_ns);

#endif
