/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a client over TCP is: basic authentication against a file of crypt(3) hashes, and bearer tokens.
 *
 * A hash is made to be slow, and the agent has one thread. So the last verified credentials are kept
 * as keyed digests (a scrape every second costs no hash), and all other checks draw on a budget: each
 * costs ten times its own duration, at least 250 ms; more than 2 s ahead, the answer is "later" (429).
 * Whoever guesses passwords takes at most a tenth of the thread, and four guesses a second.
 */
#ifndef EG_EXPORT_HTTP_AUTH_H
#define EG_EXPORT_HTTP_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define EG_AUTH_USERS_MAX   64
#define EG_AUTH_NAME_MAX    63	    /* bytes of a user's name */
#define EG_AUTH_SECRET_MAX  255	    /* of a password */
#define EG_AUTH_CACHE	    16	    /* verified credentials that are remembered */
#define EG_AUTH_TOKEN_USER  "token" /* the user of every token */
#define EG_AUTH_COST	    10	    /* a check costs so many times its duration */
#define EG_AUTH_COST_MIN_NS (250 * EG_NSEC_PER_MSEC)
#define EG_AUTH_BURST_NS    (2 * EG_NSEC_PER_SEC)

enum eg_auth_result {
	EG_AUTH_NONE, /* no credentials were given */
	EG_AUTH_OK,
	EG_AUTH_BAD,
	EG_AUTH_LATER, /* the budget for checks is used up */
};

struct eg_auth;
/* NULL or "" for a file that is not configured. */
int eg_auth_new(const char *basic_file, const char *token_file, struct eg_auth **ret,
		struct eg_strbuf *why) EG_MUST_CHECK;
struct eg_auth *eg_auth_free(struct eg_auth *a);
/* authorization: the header, NULL none. now_ns: any clock that does not go back. user: on OK. */
enum eg_auth_result eg_auth_check(struct eg_auth *a, const char *authorization, uint64_t now_ns,
				  char user[EG_AUTH_NAME_MAX + 1]);
bool eg_auth_has_basic(const struct eg_auth *a);
bool eg_auth_has_bearer(const struct eg_auth *a);
/* How many slow hashes were computed: what the cache and the budget are there to bound. */
uint64_t eg_auth_hashes(const struct eg_auth *a);

#endif
