/* SPDX-License-Identifier: Apache-2.0 */
/* See http_token.h. */
#include "export/http_token.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "export/http_digest.h"
#include "export/http_secret.h"

#define SCHEME "Bearer "

struct eg_tokens {
	struct eg_digest_key key;
	struct eg_digest token[EG_TOKENS_MAX];
	unsigned n;
};

static int add_token(void *arg, const char *file, unsigned line, char *s, struct eg_strbuf *why)
{
	struct eg_tokens *t = arg;
	size_t n = strlen(s);

	if (n < EG_TOKEN_MIN || n > EG_TOKEN_MAX || strpbrk(s, " \t")) {
		eg_strbuf_printf(why,
				 "%s:%u: a token is one word of %u to %u bytes; make one with: "
				 "openssl rand -hex 32",
				 file, line, EG_TOKEN_MIN, EG_TOKEN_MAX);
		return -EINVAL;
	}
	if (t->n == EG_TOKENS_MAX) {
		eg_strbuf_printf(why, "%s: more than %u tokens", file, EG_TOKENS_MAX);
		return -EINVAL;
	}
	t->token[t->n++] = eg_digest_of(&t->key, s, n);
	return 0;
}

int eg_tokens_new(const char *file, struct eg_tokens **ret, struct eg_strbuf *why)
{
	struct eg_tokens *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	r = eg_digest_key_draw(&t->key);
	if (r == 0)
		r = eg_secret_lines(file, add_token, t, why);
	if (r < 0) {
		eg_tokens_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

struct eg_tokens *eg_tokens_free(struct eg_tokens *t)
{
	if (t)
		explicit_bzero(t, sizeof(*t));
	free(t);
	return NULL;
}

bool eg_tokens_know(const struct eg_tokens *t, const char *authorization)
{
	const char *s = authorization;
	struct eg_digest digest;
	bool found = false;
	size_t n;

	if (strncasecmp(s, SCHEME, strlen(SCHEME)) != 0)
		return false;
	s += strlen(SCHEME);
	s += strspn(s, " ");
	n = strlen(s);
	if (n > EG_TOKEN_MAX)
		return false;
	digest = eg_digest_of(&t->key, s, n);
	for (unsigned i = 0; i < t->n; i++)
		found |= eg_digest_equal(t->token[i], digest);
	return found;
}
