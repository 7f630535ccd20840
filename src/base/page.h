/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout of the energy page and the sequence lock over its words: what the agent (its only writer) and
 * libergon (a reader in any other process) must agree on. docs/energy-page.md tells it to the byte.
 *
 *   header    256 bytes, fixed but for `state` and the tick line at its end
 *   records   what each account is; fixed while the page lives
 *   lines     what each account holds: one cache line, under a sequence word of its own
 *
 * The tick line's sequence word covers a whole tick, so that a sum over accounts is of one moment.
 * Numbers are little-endian. Offsets and sizes are in the header: a later version may append to each
 * part, and only what is not an addition raises EG_PAGE_VERSION.
 */
#ifndef EG_BASE_PAGE_H
#define EG_BASE_PAGE_H

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_PAGE_MAGIC	     0x0045474150475245ULL /* the bytes "ERGPAGE", 0 */
#define EG_PAGE_VERSION	     1
#define EG_PAGE_ACCOUNTS_MAX 4096
#define EG_PAGE_ITEM_MAX     4096	 /* bytes of one record or line of a later version */
#define EG_PAGE_BYTES_MAX    (64u << 20) /* of a page */
#define EG_PAGE_LINE	     64
/* Looks at a line that is being written before a reader gives up: far longer than an update takes,
 * and at most a millisecond or two where the writer died in it. */
#define EG_PAGE_TRIES	     8192

enum eg_page_state { EG_PAGE_RUNNING = 1, EG_PAGE_ENDED = 2 };

/* Bits of eg_page_record.flags. */
enum {
	EG_PAGE_COUNTED = 1 << 0, /* makes the node's total; no two of these overlap */
	EG_PAGE_HELD = 1 << 1,	  /* energy held over lost readings of another account */
};

/* Bits of eg_page_values.flags. */
enum {
	EG_PAGE_HAS_TOTAL = 1 << 0, /* a valid reading has been there, in this process or earlier */
	EG_PAGE_HAS_POWER = 1 << 1,
};

struct eg_page_tick {
	uint64_t seq;		/* odd: a tick is being written */
	uint64_t t_ns, unix_ns; /* of the last sample: interval clock, Unix time */
	uint64_t ticks;		/* since the page was made */
	uint64_t reserved[4];
} __attribute__((aligned(EG_PAGE_LINE)));

struct eg_page_header {
	uint64_t magic;
	uint32_t version, header_size;
	uint64_t total_size;
	uint32_t n_accounts, record_size, line_size, reserved;
	uint64_t records_offset, lines_offset;
	uint64_t generation; /* higher than that of the page it replaced */
	uint64_t pid;	     /* of the agent */
	uint64_t start_unix_ns, start_ns;
	uint64_t interval_ns; /* between ticks */
	uint64_t state;	      /* enum eg_page_state */
	char boot_id[40];     /* as the kernel prints it; "" unknown */
	uint64_t reserved2[6];
	struct eg_page_tick tick;
};

/* Every text ends with a NUL; "" stands for unknown. */
struct eg_page_record {
	char device[96], channel[192], component[32], source[32], provenance[16], boundary[16];
	uint32_t flags;
	/* Half-width of the 95 % interval of the energy: the larger of these, the second one times the
	 * time. Both 0: unknown. */
	uint32_t accuracy_ppm;
	uint64_t accuracy_uw;
	uint64_t reserved[14];
};

struct eg_page_line {
	uint64_t seq; /* odd: the line is being written */
	uint64_t uj, uw;
	uint64_t t_ns, unix_ns; /* of the last good reading in this boot; 0 none */
	uint64_t gap_ns;	/* not measured since the account began */
	uint64_t created_unix_ns;
	uint64_t what; /* low half: enum eg_status; high half: flags */
} __attribute__((aligned(EG_PAGE_LINE)));

_Static_assert(sizeof(struct eg_page_tick) == EG_PAGE_LINE, "a cache line");
_Static_assert(sizeof(struct eg_page_header) == 256, "layout");
_Static_assert(sizeof(struct eg_page_record) == 512, "layout");
_Static_assert(sizeof(struct eg_page_line) == EG_PAGE_LINE, "a cache line");

/* The words of a line, out of it. */
struct eg_page_values {
	uint64_t uj, uw, t_ns, unix_ns, gap_ns, created_unix_ns;
	uint32_t status, flags;
};

/* ---- words: relaxed atomics ---- */

#if __SIZEOF_POINTER__ >= 8
static inline uint64_t eg_page_get(const uint64_t *word)
{
	return le64toh(__atomic_load_n(word, __ATOMIC_RELAXED));
}
static inline void eg_page_put(uint64_t *word, uint64_t v)
{
	__atomic_store_n(word, htole64(v), __ATOMIC_RELAXED);
}
#else
/* In halves: a whole load may need a locked write, which a read-only mapping does not allow. The low
 * half of a sequence word changes with every update, so a word read half new is noticed. */
static inline uint64_t eg_page_get(const uint64_t *word)
{
	const uint32_t *half = (const uint32_t *)word;

	return le32toh(__atomic_load_n(&half[0], __ATOMIC_RELAXED)) |
	       (uint64_t)le32toh(__atomic_load_n(&half[1], __ATOMIC_RELAXED)) << 32;
}
static inline void eg_page_put(uint64_t *word, uint64_t v)
{
	uint32_t *half = (uint32_t *)word;

	__atomic_store_n(&half[1], htole32((uint32_t)(v >> 32)), __ATOMIC_RELAXED);
	__atomic_store_n(&half[0], htole32((uint32_t)v), __ATOMIC_RELAXED);
}
#endif

/* ---- the sequence lock (Boehm, Can seqlocks get along with programming language memory models?,
 * MSPC 2012): fences order the relaxed words between the two sequence words ---- */

/* The thread sanitizer does not follow fences. It need not: every word under the lock is atomic. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/* Writer: one at a time. */
static inline void eg_page_write_begin(uint64_t *seq)
{
	eg_page_put(seq, eg_page_get(seq) + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void eg_page_write_end(uint64_t *seq)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	eg_page_put(seq, eg_page_get(seq) + 1);
}

/* Reader: what was read between the two holds if the number is even and the same in both. */
static inline uint64_t eg_page_read_begin(const uint64_t *seq)
{
	uint64_t v = eg_page_get(seq);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return v;
}
static inline bool eg_page_read_holds(const uint64_t *seq, uint64_t begin)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !(begin & 1) && eg_page_get(seq) == begin;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* Between two looks: lets the writer's core have the line. */
static inline void eg_page_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* ---- lines ---- */

static inline void eg_page_line_put(struct eg_page_line *l, const struct eg_page_values *v)
{
	eg_page_write_begin(&l->seq);
	eg_page_put(&l->uj, v->uj);
	eg_page_put(&l->uw, v->uw);
	eg_page_put(&l->t_ns, v->t_ns);
	eg_page_put(&l->unix_ns, v->unix_ns);
	eg_page_put(&l->gap_ns, v->gap_ns);
	eg_page_put(&l->created_unix_ns, v->created_unix_ns);
	eg_page_put(&l->what, v->status | (uint64_t)v->flags << 32);
	eg_page_write_end(&l->seq);
}

/* -EAGAIN: it was being written each time, so that its writer is not running or died in the middle of
 * it; *ret is undefined then. */
static inline int eg_page_line_get(const struct eg_page_line *l, struct eg_page_values *ret)
{
	for (unsigned i = 0; i < EG_PAGE_TRIES; i++) {
		uint64_t begin = eg_page_read_begin(&l->seq), what;

		ret->uj = eg_page_get(&l->uj);
		ret->uw = eg_page_get(&l->uw);
		ret->t_ns = eg_page_get(&l->t_ns);
		ret->unix_ns = eg_page_get(&l->unix_ns);
		ret->gap_ns = eg_page_get(&l->gap_ns);
		ret->created_unix_ns = eg_page_get(&l->created_unix_ns);
		what = eg_page_get(&l->what);
		if (eg_page_read_holds(&l->seq, begin)) {
			ret->status = (uint32_t)what;
			ret->flags = (uint32_t)(what >> 32);
			return 0;
		}
		eg_page_relax();
	}
	return -EAGAIN;
}

#endif
