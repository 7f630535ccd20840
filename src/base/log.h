/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a long-running program: one line an event on standard error, as text or JSON, in one
 * write. Text: "2026-11-25T20:03:38.123Z info rapl: message key=value"; under systemd (JOURNAL_STREAM
 * names our stderr) "<6>rapl: message key=value". Only programs log, never the library.
 * Any thread may call; nothing is allocated; a reader that does not read costs lines, counted, not time.
 */
#ifndef EG_BASE_LOG_H
#define EG_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

enum eg_log_level { EG_LOG_ERROR, EG_LOG_WARNING, EG_LOG_INFO, EG_LOG_DEBUG };

/* Once at start, and again when the configuration changes. */
void eg_log_setup(enum eg_log_level level, bool json);
/* subject: what it is about ("http", "rapl/package-0"); one sentence, no newline. */
void eg_log(enum eg_log_level level, const char *subject, const char *fmt, ...) EG_PRINTF(3, 4);
/* Lines that could not be written. */
uint64_t eg_log_dropped(void);
const char *eg_log_level_word(enum eg_log_level level);
int eg_log_level_parse(const char *word, enum eg_log_level *ret) EG_MUST_CHECK;

#endif
