/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts that a state directory knows, found by key. An entry keeps the words of its account as
 * text, so that one that this build has no word for (a component of a later Ergon), or whose text was
 * damaged, is carried along whole instead of lost.
 */
#ifndef EG_STORE_BOOK_H
#define EG_STORE_BOOK_H

#include "store/record.h"

struct eg_entry {
	uint64_t key;
	char name[EG_STORE_KEY_TEXT_MAX]; /* canonical string; "" unknown: its record is damaged */
	char feed[EG_STORE_FEED_MAX];	  /* SOURCE/BOUNDARY/DRIVER/DOMAIN; "" none */
	struct eg_numbers now; /* the newest known: merged at open, then what was flushed */
	struct eg_numbers log; /* what the log has, synced */
	uint64_t log_session;  /* of its newest delta */
	uint32_t log_feed;     /* hash of the feed that the newest delta names */
	uint32_t texts;	       /* times its texts are in the log */
	bool in_log, in_checkpoint;
	bool changed; /* is in the batch that is being written */
};

struct eg_book {
	struct eg_entry *entry;
	size_t n, cap, max;
	uint32_t *slot; /* index + 1, by key; open addressing */
	size_t n_slots; /* a power of two */
	size_t guess;	/* where the next key probably is: keys come in the same order again */
};

/* max: ceiling. -ENOMEM. */
int eg_book_init(struct eg_book *b, size_t max) EG_MUST_CHECK;
void eg_book_free(struct eg_book *b);
struct eg_entry *eg_book_find(struct eg_book *b, uint64_t key); /* NULL: not there */
/* Finds or adds. -ENOSPC above the ceiling, -ENOMEM. Entries move: keep no pointer over an add. */
int eg_book_add(struct eg_book *b, uint64_t key, struct eg_entry **ret) EG_MUST_CHECK;

/* Account <-> text. */
size_t eg_feed_text(const struct eg_account *a, char buf[EG_STORE_FEED_MAX]); /* "" no channel */
/* -EPROTO: no canonical string; -ENOENT: a word that this build does not have. */
int eg_name_parse(const char *name, struct eg_account *ret) EG_MUST_CHECK;
/* Name, feed and numbers as an account. Errors as eg_name_parse. */
int eg_entry_account(const struct eg_entry *e, const struct eg_numbers *n,
		     struct eg_account *ret) EG_MUST_CHECK;
/*
 * Numbers of an account now. before: the same account as it was: a standing reading that did not move
 * since then is still of that boot; any other is of boot.
 */
struct eg_numbers eg_account_numbers(const struct eg_account *a, const struct eg_numbers *before,
				     const struct eg_boot *boot);

bool eg_standing_same(const struct eg_standing *a, const struct eg_standing *b);
/* Nothing in n that only rises is less than in least. */
void eg_numbers_raise(struct eg_numbers *n, const struct eg_numbers *least);
/*
 * Two states of one account -> what it starts with. Everything that only rises is the larger of both;
 * the standing reading and the beginning are those of the newer state, which is the one further on
 * the way: more energy, else more resets, else more gap, else a later reading; else a.
 */
struct eg_numbers eg_numbers_merge(const struct eg_numbers *a, const struct eg_numbers *b);

#endif
