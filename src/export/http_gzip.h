/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of answers: one deflate state, reset for each answer, so that a scrape allocates
 * nothing in zlib. Level 1 with a 16 KiB window: a metrics page shrinks tenfold all the same, and the
 * state costs 100 KB instead of 268.
 */
#ifndef EG_EXPORT_HTTP_GZIP_H
#define EG_EXPORT_HTTP_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct eg_gzip;

int eg_gzip_new(struct eg_gzip **ret) EG_MUST_CHECK;
struct eg_gzip *eg_gzip_free(struct eg_gzip *gz);
/*
 * Compresses into memory of its own, valid until the next call. -EOVERFLOW: it would not become
 * smaller; -ENOMEM.
 */
int eg_gzip_pack(struct eg_gzip *gz, const char *data, size_t len, const char **ret,
		 size_t *ret_len) EG_MUST_CHECK;
/* Does an Accept-Encoding (NULL: none) take gzip with q > 0? RFC 9110, 12.5.3. */
bool eg_gzip_accepted(const char *accept_encoding);

#endif
