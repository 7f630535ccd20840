/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV rows (RFC 4180 quoting, lines end with LF). What is not known is an empty field, never 0.
 */
#ifndef EG_CODEC_CSV_H
#define EG_CODEC_CSV_H

#include <stdint.h>

#include "base/strbuf.h"

struct eg_csv {
	struct eg_strbuf *out;
	size_t fields; /* in the row so far */
};

void eg_csv_init(struct eg_csv *c, struct eg_strbuf *out);
void eg_csv_text(struct eg_csv *c, const char *s); /* NULL: empty */
void eg_csv_u64(struct eg_csv *c, uint64_t v);
void eg_csv_double(struct eg_csv *c, double v); /* empty where not finite */
void eg_csv_micro(struct eg_csv *c, uint64_t v);
void eg_csv_nano(struct eg_csv *c, uint64_t v);
void eg_csv_empty(struct eg_csv *c);
void eg_csv_row(struct eg_csv *c); /* ends the row */

#endif
