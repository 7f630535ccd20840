/* SPDX-License-Identifier: Apache-2.0 */
/* See http_auth.h. Hashes are those of crypt(3) (libxcrypt); MD5 and DES ones count as plain text. */
#include "export/http_auth.h"
#include "base/clock.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "export/http_digest.h"
#include "export/http_secret.h"
#include "export/http_token.h"

struct user {
	char name[EG_AUTH_NAME_MAX + 1];
	char *hash;
};

struct verified {
	bool used;
	struct eg_digest digest; /* of name, NUL, password */
	unsigned user;
};

struct eg_auth {
	struct eg_digest_key key;
	bool has_basic, has_bearer;
	struct user user[EG_AUTH_USERS_MAX];
	unsigned n_users;
	struct eg_tokens *tokens;
	struct verified cache[EG_AUTH_CACHE];
	unsigned next; /* of the cache, in turn */
	uint64_t paid_until_ns;
	uint64_t hashes;
};

/*
 * Schemes that are slow on purpose, and how long their last field or the whole text is. Some libraries
 * call a few of them "legacy", which is about new hashes.
 */
static const struct {
	const char *prefix;
	unsigned whole, last;
} schemes[] = {
	{"$2a$", 60, 0}, {"$2b$", 60, 0}, {"$2y$", 60, 0}, {"$5$", 0, 43},
	{"$6$", 0, 86},	 {"$y$", 0, 43},  {"$gy$", 0, 43}, {"$7$", 0, 43},
};

static bool is_hash(const char *text)
{
	size_t n = strlen(text);
	int salt;

	for (size_t i = 0; i < EG_ARRAY_SIZE(schemes); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) != 0)
			continue;
		if (schemes[i].whole && n != schemes[i].whole)
			return false;
		if (schemes[i].last && strlen(strrchr(text, '$') + 1) != schemes[i].last)
			return false;
		salt = crypt_checksalt(text);
		return salt == CRYPT_SALT_OK || salt == CRYPT_SALT_METHOD_LEGACY;
	}
	return false;
}

static int add_user(void *arg, const char *file, unsigned line, char *s, struct eg_strbuf *why)
{
	struct eg_auth *a = arg;
	char *colon = strchr(s, ':');
	struct user *u;

	if (!colon || colon == s) {
		eg_strbuf_printf(why, "%s:%u: want USER:HASH", file, line);
		return -EINVAL;
	}
	*colon = '\0';
	if (strlen(s) > EG_AUTH_NAME_MAX) {
		eg_strbuf_printf(why, "%s:%u: the user's name is longer than %u bytes", file, line,
				 EG_AUTH_NAME_MAX);
		return -EINVAL;
	}
	if (strcmp(s, EG_AUTH_TOKEN_USER) == 0) {
		eg_strbuf_printf(why, "%s:%u: the name %s stands for bearer tokens; use another",
				 file, line, s);
		return -EINVAL;
	}
	for (unsigned i = 0; i < a->n_users; i++)
		if (strcmp(a->user[i].name, s) == 0) {
			eg_strbuf_printf(why, "%s:%u: user %s is there twice", file, line, s);
			return -EINVAL;
		}
	if (!is_hash(colon + 1)) {
		/* Not the text itself: it may be a password. */
		eg_strbuf_printf(why,
				 "%s:%u: what follows %s: is no hash that is safe to store; make "
				 "one with: mkpasswd -m bcrypt (or htpasswd -nB %s)",
				 file, line, s, s);
		return -EINVAL;
	}
	if (a->n_users == EG_AUTH_USERS_MAX) {
		eg_strbuf_printf(why, "%s: more than %u users", file, EG_AUTH_USERS_MAX);
		return -EINVAL;
	}
	u = &a->user[a->n_users];
	(void)eg_copy(u->name, sizeof(u->name), s);
	u->hash = strdup(colon + 1);
	if (!u->hash)
		return -ENOMEM;
	a->n_users++;
	return 0;
}

int eg_auth_new(const char *basic_file, const char *token_file, struct eg_auth **ret,
		struct eg_strbuf *why)
{
	struct eg_auth *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->has_basic = basic_file && *basic_file;
	a->has_bearer = token_file && *token_file;
	r = eg_digest_key_draw(&a->key);
	if (r == 0 && a->has_basic)
		r = eg_secret_lines(basic_file, add_user, a, why);
	if (r == 0 && a->has_bearer)
		r = eg_tokens_new(token_file, &a->tokens, why);
	if (r < 0) {
		eg_auth_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

struct eg_auth *eg_auth_free(struct eg_auth *a)
{
	if (!a)
		return NULL;
	for (unsigned i = 0; i < a->n_users; i++)
		free(a->user[i].hash);
	eg_tokens_free(a->tokens);
	explicit_bzero(a, sizeof(*a));
	free(a);
	return NULL;
}

/* RFC 4648 base64 of one header's rest; returns the length or -EINVAL. */
static ssize_t decode_base64(const char *s, char *out, size_t cap)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(s), len = 0;
	uint32_t bits = 0;

	if (n % 4)
		return -EINVAL;
	for (size_t pad = 0; pad < 2 && n && s[n - 1] == '='; pad++)
		n--;
	for (size_t i = 0; i < n; i++) {
		const char *d = memchr(digits, s[i], 64);

		if (!d)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(d - digits);
		if (i % 4 == 0)
			continue;
		if (len >= cap)
			return -EINVAL;
		out[len++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
	}
	return n % 4 == 1 ? -EINVAL : (ssize_t)len;
}

/* The slow part. An unknown user costs the same as a known one. */
static bool hash_matches(struct eg_auth *a, const struct user *u, const char *password)
{
	const char *hash = u ? u->hash : a->user[0].hash;
	struct crypt_data *data = calloc(1, sizeof(*data));
	unsigned char differ = 1;
	char *got;

	if (!data)
		return false;
	got = crypt_r(password, hash, data);
	a->hashes++;
	if (got && strlen(got) == strlen(hash)) {
		differ = 0;
		for (size_t i = 0; hash[i]; i++)
			differ |= (unsigned char)(got[i] ^ hash[i]);
	}
	explicit_bzero(data, sizeof(*data));
	free(data);
	return u && differ == 0;
}

static enum eg_auth_result check_basic(struct eg_auth *a, const char *encoded, uint64_t now_ns,
				       char *name)
{
	char pair[EG_AUTH_NAME_MAX + 1 + EG_AUTH_SECRET_MAX + 1], *colon;
	enum eg_auth_result result = EG_AUTH_BAD;
	const struct user *u = NULL, *known = NULL;
	struct eg_digest digest;
	uint64_t begun_ns;
	ssize_t n = decode_base64(encoded, pair, sizeof(pair) - 1);

	if (n < 0 || memchr(pair, '\0', (size_t)n))
		return EG_AUTH_BAD;
	pair[n] = '\0';
	colon = strchr(pair, ':');
	if (!colon || colon == pair)
		goto out;
	*colon = '\0';
	digest = eg_digest_of(&a->key, pair, (size_t)n);
	for (unsigned i = 0; i < EG_AUTH_CACHE; i++)
		if (a->cache[i].used & eg_digest_equal(a->cache[i].digest, digest))
			known = &a->user[a->cache[i].user];
	if (known) {
		memcpy(name, known->name, sizeof(known->name));
		result = EG_AUTH_OK;
		goto out;
	}
	if (a->paid_until_ns > now_ns + EG_AUTH_BURST_NS) {
		result = EG_AUTH_LATER;
		goto out;
	}
	for (unsigned i = 0; i < a->n_users; i++)
		if (strcmp(a->user[i].name, pair) == 0)
			u = &a->user[i];
	begun_ns = eg_clock_real_ns();
	if (hash_matches(a, u, colon + 1)) {
		a->cache[a->next] = (struct verified){
			.used = true, .digest = digest, .user = (unsigned)(u - a->user)};
		a->next = (a->next + 1) % EG_AUTH_CACHE;
		memcpy(name, u->name, sizeof(u->name));
		result = EG_AUTH_OK;
	}
	a->paid_until_ns =
		EG_MAX(a->paid_until_ns, now_ns) +
		EG_MAX((eg_clock_real_ns() - begun_ns) * EG_AUTH_COST, EG_AUTH_COST_MIN_NS);
out:
	explicit_bzero(pair, sizeof(pair));
	return result;
}

enum eg_auth_result eg_auth_check(struct eg_auth *a, const char *authorization, uint64_t now_ns,
				  char user[EG_AUTH_NAME_MAX + 1])
{
	const char *s = authorization;

	if (!s)
		return EG_AUTH_NONE;
	if (a->has_basic && strncasecmp(s, "Basic ", 6) == 0)
		return check_basic(a, s + 6 + strspn(s + 6, " "), now_ns, user);
	if (!a->has_bearer || !eg_tokens_know(a->tokens, s))
		return EG_AUTH_BAD;
	memcpy(user, EG_AUTH_TOKEN_USER, sizeof(EG_AUTH_TOKEN_USER));
	return EG_AUTH_OK;
}

bool eg_auth_has_basic(const struct eg_auth *a)
{
	return a && a->has_basic;
}

bool eg_auth_has_bearer(const struct eg_auth *a)
{
	return a && a->has_bearer;
}

uint64_t eg_auth_hashes(const struct eg_auth *a)
{
	return a ? a->hashes : 0;
}
