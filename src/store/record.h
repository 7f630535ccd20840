/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the log: a header and records of one width, each with its own magic, version and CRC, so
 * that every whole record says something true whatever happened to its neighbours. docs/ledger.md has
 * the offsets. Pure: memory in, memory out.
 */
#ifndef EG_STORE_RECORD_H
#define EG_STORE_RECORD_H

#include "core/ledger.h"
#include "store/store.h"

#define EG_LOG_MAGIC	   "ERGONLOG"
#define EG_LOG_VERSION	   1
#define EG_RECORD_WIDTH	   256 /* divides every sector size: a bad sector costs whole records */
#define EG_RECORD_TEXT_MAX 224 /* with its NUL */
#define EG_STORE_FEED_MAX  EG_RECORD_TEXT_MAX

#define EG_BOOT_BYTES	   16
/* Which boot of the machine: the kernel's boot id; all 0 unknown, which equals nothing. */
struct eg_boot {
	uint8_t id[EG_BOOT_BYTES];
};
/* A UUID as the kernel prints it; any other text by its hash; NULL or "" unknown. */
struct eg_boot eg_boot_parse(const char *text);
bool eg_boot_equal(const struct eg_boot *a, const struct eg_boot *b);
bool eg_boot_known(const struct eg_boot *b);
#define EG_BOOT_TEXT_MAX 37
void eg_boot_text(const struct eg_boot *b, char buf[EG_BOOT_TEXT_MAX]); /* "" unknown */

/* The numbers of an account at one moment. */
struct eg_numbers {
	uint64_t uj, recovered_uj, gap_ns, resets, created_unix_ns;
	struct eg_standing last;
	struct eg_boot boot; /* of last */
};

enum eg_record_type {
	EG_RECORD_START = 1,   /* an agent began */
	EG_RECORD_STOP = 2,    /* and ended in order; all it knew is above */
	EG_RECORD_ACCOUNT = 3, /* canonical string of a key */
	EG_RECORD_CHANNEL = 4, /* what feeds the account: SOURCE/BOUNDARY/DRIVER/DOMAIN */
	EG_RECORD_DELTA = 5,   /* what was added, and where the account stands */
	EG_RECORD_TYPE_END = 6,
};
/* "start", "stop", ...; "?" */
const char *eg_record_word(enum eg_record_type type);

struct eg_record {
	enum eg_record_type type;
	uint64_t session; /* counts the agents that used this directory */
	uint64_t unix_ns; /* when it was written */
	/* ACCOUNT, CHANNEL, DELTA */
	uint64_t key;
	/* ACCOUNT, CHANNEL */
	char text[EG_RECORD_TEXT_MAX];
	/* DELTA */
	uint64_t delta_uj;
	bool base;     /* written by a compaction: stands for every delta before it */
	uint32_t feed; /* CRC-32C of the CHANNEL text that was valid then; 0 none */
	struct eg_numbers n;
	/* START, STOP: n.boot is the boot they were written in */
};

uint64_t eg_fnv1a(const void *data, size_t n);
uint32_t eg_feed_hash(const char *feed); /* 0 for "" */

void eg_log_header_encode(uint8_t out[EG_RECORD_WIDTH], uint64_t unix_ns);
enum eg_log_header {
	EG_LOG_HEADER_GOOD,
	EG_LOG_HEADER_OTHER_VERSION, /* whole, of another Ergon */
	EG_LOG_HEADER_DAMAGED,	     /* our magic, wrong CRC */
	EG_LOG_HEADER_FOREIGN,
};
/* n: bytes there are; fewer than a header never are a good one. */
enum eg_log_header eg_log_header_decode(const uint8_t *in, size_t n, uint32_t *ret_version);

void eg_record_encode(uint8_t out[EG_RECORD_WIDTH], const struct eg_record *r);
/* Is it whole? Cheap for what is not. */
bool eg_record_is_whole(const uint8_t in[EG_RECORD_WIDTH]);
/* First bytes a record can be found by, after its CRC. */
#define EG_RECORD_MARK_AT 4
#define EG_RECORD_MARK	  0xe6
/* Of a whole record. -EPROTO: a contradiction in it, such as a key that is not that of its text. */
int eg_record_decode(const uint8_t in[EG_RECORD_WIDTH], struct eg_record *ret) EG_MUST_CHECK;
/* Of a whole record without decoding the rest. */
enum eg_record_type eg_record_peek(const uint8_t in[EG_RECORD_WIDTH]);

/* Numbers as they lie in a delta and in the checkpoint. */
#define EG_NUMBERS_BYTES 128
void eg_numbers_encode(uint8_t *out, const struct eg_numbers *n);
void eg_numbers_decode(const uint8_t *in, struct eg_numbers *ret);

#endif
