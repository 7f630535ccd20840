/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing, checked: whatever does not arrive whole is an error that the user sees. A file is
 * written beside its place and renamed, so that it is never seen half written.
 */
#ifndef EG_CLI_OUT_H
#define EG_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

/* "ergon: ..." and a newline to standard error, in one write. */
void eg_say(const char *fmt, ...) EG_PRINTF(1, 2);

/* Everything, through short writes and interrupts. Errors of write(2). */
int eg_write_all(int fd, const char *data, size_t n) EG_MUST_CHECK;
/*
 * A text to standard output; returns the exit status. EPIPE (the reader has gone) is silent success
 * and sets *ret_gone (may be NULL). The buffer's own error is told too.
 */
int eg_out_stdout(const struct eg_strbuf *text, bool *ret_gone) EG_MUST_CHECK;

/* The same for text that people read: nothing in it can steer their terminal (codec/plain.h).
 * ascii: what eg_locale_is_ascii() said. */
int eg_out_text(const struct eg_strbuf *text, bool ascii, bool *ret_gone) EG_MUST_CHECK;
/* Does the user's locale lack UTF-8? Opens the locale's files: ask once. */
bool eg_locale_is_ascii(void);

struct eg_out_file {
	char *path, *temporary; /* temporary NULL: written in place (device, pipe, "-") */
	int fd;
};
/* Opens before the work starts, so that a bad place is known at once. "-": standard output. */
int eg_out_open(const char *path, struct eg_out_file *ret) EG_MUST_CHECK;
/* Would one replace the other? Devices and pipes may be shared. */
bool eg_out_same(const struct eg_out_file *a, const struct eg_out_file *b);
/* Writes all and puts it in place. On failure nothing is left, and an older file stays. */
int eg_out_commit(struct eg_out_file *f, const struct eg_strbuf *text) EG_MUST_CHECK;
/* Removes what was begun; after commit: nothing to do. */
void eg_out_close(struct eg_out_file *f);

#endif
