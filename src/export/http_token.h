/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens (RFC 6750) from a file, for the HTTP and the gRPC server: kept as keyed digests and
 * compared in constant time. A token is long and random, so that unlike a password it needs neither a
 * slow hash nor a budget of guesses.
 */
#ifndef EG_EXPORT_HTTP_TOKEN_H
#define EG_EXPORT_HTTP_TOKEN_H

#include <stdbool.h>

#include "base/strbuf.h"

#define EG_TOKENS_MAX 64
#define EG_TOKEN_MAX  255 /* bytes of one */
#define EG_TOKEN_MIN  16

struct eg_tokens;
/* file: one token a line; '#' begins a comment. */
int eg_tokens_new(const char *file, struct eg_tokens **ret, struct eg_strbuf *why) EG_MUST_CHECK;
struct eg_tokens *eg_tokens_free(struct eg_tokens *t); /* takes NULL */
/* authorization: the header, "Bearer TOKEN". */
bool eg_tokens_know(const struct eg_tokens *t, const char *authorization);

#endif
