/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint: one file of two slots, each with every account whole, its CRC and a sequence number.
 * A tick writes the older slot into mapped memory: no system call, no allocation. The page cache
 * outlives the process, so whenever it is killed the other slot is whole, and so is this one once its
 * sequence number is there, which is written last. docs/ledger.md has the bytes.
 */
#ifndef EG_STORE_CHECKPOINT_H
#define EG_STORE_CHECKPOINT_H

#include <stdatomic.h>

#include "store/book.h"
#include "store/io.h"

#define EG_CHECKPOINT_MAGIC	  "ERGONCKP"
#define EG_CHECKPOINT_VERSION	  1
#define EG_CHECKPOINT_HEADER	  4096 /* bytes before the first slot */
#define EG_CHECKPOINT_SLOT_HEADER 128
#define EG_CHECKPOINT_ENTRY	  512

struct eg_checkpoint_slot {
	uint64_t sequence, session, t_ns, unix_ns;
	struct eg_boot boot;
	bool clean;
	size_t n;
};

/* ---- reading, from a copy of the file's bytes ---- */

struct eg_checkpoint_found {
	bool empty;   /* nothing in it: as if it were not there */
	bool damaged; /* no slot was whole */
	bool header_damaged;
	uint32_t version;
	unsigned whole; /* slots */
	unsigned
		damaged_slots; /* written to their end once, and wrong now; while an agent runs also
				   one that was read half written: look again */
	unsigned which;	       /* the newer whole one */
	struct eg_checkpoint_slot slot;
	uint64_t capacity, slot_bytes;
};
/* A whole file in memory. -EPROTO: foreign, or (version set) of another version. */
int eg_checkpoint_decode(const uint8_t *data, size_t n,
			 struct eg_checkpoint_found *ret) EG_MUST_CHECK;
/* Entry i of the slot that was found. name and feed are always terminated. */
void eg_checkpoint_entry(const uint8_t *data, const struct eg_checkpoint_found *f, size_t i,
			 char name[EG_STORE_KEY_TEXT_MAX], char feed[EG_STORE_FEED_MAX],
			 struct eg_numbers *ret);
/*
 * Reads the file; *ret_data is the caller's to free(). Where an agent is just writing
 * it looks again, so that what it finds is at least what was exported before. Errors of decode and of reading; -ENOENT.
 */
int eg_checkpoint_read(const struct eg_io *io, int dir, uint8_t **ret_data,
		       struct eg_checkpoint_found *ret) EG_MUST_CHECK;

/* ---- writing ---- */

struct eg_checkpoint {
	uint8_t *map; /* NULL: none */
	size_t bytes, slot_bytes, capacity;
	int fd;
	uint64_t sequence;
	unsigned next; /* slot to write */
	atomic_bool lost;
};
uint64_t eg_checkpoint_slot_bytes(size_t capacity);
typedef void (*eg_checkpoint_fill)(void *ctx, struct eg_checkpoint *c);
struct eg_checkpoint_config {
	size_t capacity; /* accounts */
	size_t make;	 /* of a new file: more, so that the next start needs no newer one */
	size_t least;	 /* what an existing file must have where no larger one can be made */
	uint64_t unix_ns;
	bool anew; /* take no file that is there: it failed */
	/* Writes the first slot. */
	eg_checkpoint_fill fill;
	void *ctx;
};
/*
 * Maps a file in c, which must not move afterwards. An existing one of ours that is large enough is gone
 * on with (its newer slot stays until two were written), else a new one is made beside it, with its first
 * slot, synced, and put in its place. So a disk that is full stops only the first start: where there is
 * no room for a larger file, the smaller one goes on.
 */
int eg_checkpoint_open(struct eg_checkpoint *c, const struct eg_io *io, int dir,
		       const struct eg_checkpoint_config *cfg) EG_MUST_CHECK;
void eg_checkpoint_close(struct eg_checkpoint *c);
/* Waits until what was written is on the disk. */
int eg_checkpoint_sync(struct eg_checkpoint *c) EG_MUST_CHECK;

/* One slot: begin, each entry in turn (at most capacity of them), end. */
void eg_checkpoint_begin(struct eg_checkpoint *c);
void eg_checkpoint_put(struct eg_checkpoint *c, size_t i, const uint8_t entry[EG_CHECKPOINT_ENTRY]);
/* Where entry i lies, to be filled in place. */
uint8_t *eg_checkpoint_place(struct eg_checkpoint *c, size_t i);
void eg_checkpoint_end(struct eg_checkpoint *c, const struct eg_checkpoint_slot *slot);

void eg_checkpoint_encode(uint8_t out[EG_CHECKPOINT_ENTRY], const char *name, size_t name_len,
			  const char *feed, size_t feed_len, const struct eg_numbers *n);

#endif
