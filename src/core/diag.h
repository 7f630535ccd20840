/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics: what could not be measured, why, and what the user can do about it. Collected, never
 * printed here. One of a kind is kept (code, driver, subject) with a count, so that a failing
 * sensor cannot flood.
 */
#ifndef EG_CORE_DIAG_H
#define EG_CORE_DIAG_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "core/vocab.h"

#define EG_DIAGS_MAX 256

struct eg_diag {
	enum eg_diag_code code;
	char driver[24];
	char subject[96]; /* channel domain, path or library; may be "" */
	char detail[256]; /* one sentence, no full stop, no newline */
	char cure[256];	  /* what helps, imperative; "" where nothing does */
	uint64_t count;
};

/* Fixed storage: adding allocates nothing. Above the ceiling `dropped` counts. */
struct eg_diags {
	struct eg_diag *items;
	size_t n, cap;
	uint64_t dropped;
	uint64_t events; /* how often something was added or counted */
};

int eg_diags_init(struct eg_diags *d, size_t cap) EG_MUST_CHECK;
void eg_diags_free(struct eg_diags *d);
/* d NULL: nothing. An equal (code, driver, subject) is updated and counted. */
void eg_diag_add(struct eg_diags *d, enum eg_diag_code code, const char *driver,
		 const char *subject, const char *cure, const char *detail_fmt, ...)
	EG_PRINTF(6, 7);
/* The code that fits a negative errno of an open or read. */
enum eg_diag_code eg_diag_code_of(int err);
/* "Permission denied" and so on: strerror without its locale and its global buffer. */
const char *eg_errno_text(int err);

#endif
