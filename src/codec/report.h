/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `ergon run` found, and its four faces: JSON, CSV, text for people, and one self-contained
 * HTML file. Pure: a description goes in, text comes out. docs/json.md documents the JSON.
 */
#ifndef EG_CODEC_REPORT_H
#define EG_CODEC_REPORT_H

#include <stdbool.h>

#include "base/strbuf.h"
#include "codec/curve.h"
#include "codec/json.h"
#include "codec/stats.h"
#include "core/meter.h"

#define EG_REPORT_MAX (32u << 20) /* bytes of one report */

struct eg_repeat {
	uint64_t seconds_ns;
	bool has_total;
	uint64_t total_uj;
	int exit;
};

struct eg_report {
	const char *const *command;	/* ends with NULL */
	const struct eg_result *result; /* the window: all repeats together */
	int exit;			/* status as a shell shows it: 128 + N after signal N */
	int signal;			/* that ended the command; 0 none */
	uint64_t interval_ns;
	const struct eg_diags *diags;
	const struct eg_repeat *repeat; /* NULL unless repeated */
	size_t n_repeats;
	const struct eg_curve *curve; /* one series a channel of the result; NULL: none drawn */
	bool colour, ascii;	      /* text only: bold headline; no character beyond ASCII */
};

int eg_report_json(const struct eg_report *r, struct eg_strbuf *out) EG_MUST_CHECK;
int eg_report_csv(const struct eg_report *r, struct eg_strbuf *out) EG_MUST_CHECK;
int eg_report_text(const struct eg_report *r, struct eg_strbuf *out) EG_MUST_CHECK;
int eg_report_html(const struct eg_report *r, struct eg_strbuf *out) EG_MUST_CHECK;

/* Shared by the reports of other verbs. */
void eg_report_json_diags(struct eg_json *j, const char *key, const struct eg_diags *diags);
void eg_report_json_flags(struct eg_json *j, const char *key, uint32_t flags);
/* Watts that core derived, rounded to its own unit; null where they are not known. */
void eg_report_json_watts(struct eg_json *j, const char *key, double w);
/* "total" and "channels" of a window. */
void eg_report_json_total(struct eg_json *j, const struct eg_result *r);
void eg_report_json_channels(struct eg_json *j, const struct eg_result *r);
/* What a channel is, whatever it reads now: "source" to "accuracy", into an open object. */
void eg_report_json_channel_facts(struct eg_json *j, const struct eg_channel *ch);
/* "12.34 J ± 0.62 (5.0 %)", or "not measured". */
void eg_report_energy_text(struct eg_strbuf *out, uint64_t uj, uint64_t uncertainty_uj);
/* Statistics over the repeats that have a total; joules.n may be less than n_repeats. */
int eg_report_repeats(const struct eg_report *r, struct eg_stats *ret_joules,
		      struct eg_stats *ret_seconds) EG_MUST_CHECK;
/* The command as one line that a shell reads back to the same words. */
void eg_report_command(struct eg_strbuf *out, const char *const *command);

#endif
