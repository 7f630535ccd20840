/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer for Prometheus text 0.0.4 and OpenMetrics 1.0: families one after the other, each with HELP
 * and TYPE once, no time stamps. A family that gets no sample leaves no line.
 *
 * The formats differ in names: OpenMetrics names a counter's family without _total and its creation
 * with _created, and ends with "# EOF"; text has neither. The caller writes samples once for both.
 * Source: prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0.0 (RFC draft).
 */
#ifndef EG_CODEC_EXPOSITION_H
#define EG_CODEC_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define EG_EXPO_NAME_MAX 128 /* bytes of a sample's name, with the NUL */

enum eg_expo_type {
	EG_EXPO_GAUGE,
	EG_EXPO_COUNTER, /* named without _total, which the writer adds to samples */
	EG_EXPO_INFO,	 /* named without _info; its samples are 1 */
	/*
	 * A counter of another program's whose name has no _total. OpenMetrics has no such thing, and
	 * _total would give the series another name: there it is of type unknown.
	 */
	EG_EXPO_FOREIGN_COUNTER,
};

struct eg_expo_family {
	const char *name, *help;
	const char *unit; /* the last word of the name, or NULL */
	enum eg_expo_type type;
};

struct eg_expo {
	struct eg_strbuf *out;
	bool openmetrics;
	const struct eg_expo_family *family;
	bool begun; /* its head is written */
	char sample[EG_EXPO_NAME_MAX];
	size_t n_sample;
};

void eg_expo_init(struct eg_expo *e, struct eg_strbuf *out, bool openmetrics);
/* The family of the samples that follow; borrowed until the next. Its name fits the ceiling. */
void eg_expo_family(struct eg_expo *e, const struct eg_expo_family *f);
/* Samples. labels: "{...}" as made below, n bytes; n 0: none. The value is v / 10^digits, exactly. */
void eg_expo_scaled(struct eg_expo *e, const char *labels, size_t n, uint64_t v, unsigned digits);
/* Any number; what is not finite is absent. */
void eg_expo_double(struct eg_expo *e, const char *labels, size_t n, double v);
/* Directly after the counter's sample of the same labels; unix_ns 0 is unknown: absent. */
void eg_expo_created(struct eg_expo *e, const char *labels, size_t n, uint64_t unix_ns);
/* Ends the page. The error of the buffer. */
int eg_expo_end(struct eg_expo *e) EG_MUST_CHECK;

/*
 * Label texts, made once and written often. `begin` opens "{", `add` appends name="value" with the
 * value escaped and malformed UTF-8 replaced, `end` closes and returns the length since begin.
 */
size_t eg_expo_labels_begin(struct eg_strbuf *b);
void eg_expo_labels_add(struct eg_strbuf *b, const char *name, const char *value);
size_t eg_expo_labels_end(struct eg_strbuf *b, size_t begin);

#endif
