/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a file of credentials or of PEM text: a plain file (a link to one will do), bounded, and where
 * it is a secret, at most readable by its group; with one sentence and the cure where it is not so.
 */
#ifndef EG_EXPORT_HTTP_SECRET_H
#define EG_EXPORT_HTTP_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

#define EG_SECRET_FILE_MAX (256u << 10) /* bytes */

/* The caller gives *ret (NUL terminated) to eg_secret_free(). */
int eg_secret_read(const char *path, bool secret, char **ret, size_t *ret_len,
		   struct eg_strbuf *why) EG_MUST_CHECK;
void eg_secret_free(char *text, size_t len); /* wipes; takes NULL */

/*
 * Reads a secret file and calls add() for each line that says something (trimmed; '#' begins a comment),
 * until it fails. A file without such a line is -EINVAL.
 */
int eg_secret_lines(const char *file,
		    int (*add)(void *arg, const char *file, unsigned line, char *s,
			       struct eg_strbuf *why),
		    void *arg, struct eg_strbuf *why) EG_MUST_CHECK;

#endif
