/* SPDX-License-Identifier: Apache-2.0 */
/* What a look at a password costs: one hash for anybody, none for who is remembered, and a ceiling. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <crypt.h>

#include "base/util.h"
#include "export/http_auth.h"

#define N_USERS 20
#define WAIT_NS (3600 * EG_NSEC_PER_SEC) /* after which any budget is full again */

struct fixture {
	struct eg_auth *auth;
	uint64_t now_ns;
};

/* Users u0, u1, ... with the password of their name. */
static int setup(void **state)
{
	EG_CLEANUP(eg_strbuf_free) struct eg_strbuf why = EG_STRBUF_INIT(4096);
	struct fixture *f = calloc(1, sizeof(*f));
	struct crypt_data data = {0};
	char path[] = "/tmp/ergon-credentials-XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	int r;

	if (!f || !file)
		return -1;
	for (int i = 0; i < N_USERS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "u%d", i);
		fprintf(file, "%s:%s\n", name, crypt_r(name, "$6$rounds=1000$salt$", &data));
	}
	fclose(file);
	r = eg_auth_new(path, NULL, &f->auth, &why);
	unlink(path);
	if (r < 0)
		print_error("%s\n", eg_strbuf_get(&why));
	f->now_ns = WAIT_NS;
	*state = f;
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	eg_auth_free(f->auth);
	free(f);
	return 0;
}

static void encode(const char *in, char *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(in);

	for (size_t i = 0; i < n; i += 3) {
		size_t have = EG_MIN(n - i, (size_t)3);
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (k < have ? (unsigned char)in[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*out++ = k <= have ? digits[bits >> (18 - 6 * k) & 63] : '=';
	}
	*out = '\0';
}

static enum eg_auth_result look(struct fixture *f, const char *user, const char *password)
{
	char pair[128], header[256] = "Basic ", name[EG_AUTH_NAME_MAX + 1] = "unset";
	enum eg_auth_result result;

	snprintf(pair, sizeof(pair), "%s:%s", user, password);
	encode(pair, header + strlen(header));
	result = eg_auth_check(f->auth, header, f->now_ns, name);
	assert_string_equal(name, result == EG_AUTH_OK ? user : "unset");
	return result;
}

static void test_unknown_costs_as_known(void **state)
{
	struct fixture *f = *state;
	static const char *const users[] = {"u0", "u19", "nobody", "root"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(users); i++) {
		uint64_t before = eg_auth_hashes(f->auth);

		f->now_ns += WAIT_NS;
		assert_int_equal(look(f, users[i], "wrong"), EG_AUTH_BAD);
		assert_int_equal(eg_auth_hashes(f->auth) - before, 1);
	}
	/* The first user's hash is what an unknown one is held against: its password is no key. */
	f->now_ns += WAIT_NS;
	assert_int_equal(look(f, "nobody", "u0"), EG_AUTH_BAD);
}

static void test_who_is_known_costs_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	assert_int_equal(look(f, "u1", "u1"), EG_AUTH_OK);
	assert_int_equal(eg_auth_hashes(f->auth), 1);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(look(f, "u1", "u1"), EG_AUTH_OK);
	assert_int_equal(eg_auth_hashes(f->auth), 1);
	/* A wrong password is never remembered, and does not displace the right one. */
	for (int i = 0; i < 100; i++) {
		f->now_ns += WAIT_NS;
		assert_int_equal(look(f, "u1", "wrong"), EG_AUTH_BAD);
	}
	before = eg_auth_hashes(f->auth);
	assert_int_equal(before, 101);
	assert_int_equal(look(f, "u1", "u1"), EG_AUTH_OK);
	assert_int_equal(eg_auth_hashes(f->auth), before);
}

/* More users than are remembered: the ones of longest ago pay again, and nobody is taken for another. */
static void test_memory_has_a_ceiling(void **state)
{
	struct fixture *f = *state;
	uint64_t before;
	char name[16];

	for (int turn = 0; turn < 2; turn++)
		for (int i = 0; i < N_USERS; i++) {
			snprintf(name, sizeof(name), "u%d", i);
			f->now_ns += WAIT_NS;
			assert_int_equal(look(f, name, name), EG_AUTH_OK);
			assert_int_equal(look(f, name, "u"), EG_AUTH_BAD);
		}
	before = eg_auth_hashes(f->auth);
	f->now_ns += WAIT_NS;
	for (int i = N_USERS - EG_AUTH_CACHE; i < N_USERS; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		assert_int_equal(look(f, name, name), EG_AUTH_OK);
	}
	assert_int_equal(eg_auth_hashes(f->auth), before);
	assert_int_equal(look(f, "u0", "u0"), EG_AUTH_OK);
	assert_int_equal(eg_auth_hashes(f->auth), before + 1);
}

static void test_budget(void **state)
{
	struct fixture *f = *state;
	const uint64_t most = EG_AUTH_BURST_NS / EG_AUTH_COST_MIN_NS + 1;
	uint64_t n = 0;

	assert_int_equal(look(f, "u1", "u1"), EG_AUTH_OK);
	while (look(f, "u2", "wrong") == EG_AUTH_BAD)
		n++;
	/* A slow or busy machine pays more for each. */
	assert_in_range(n, 1, most - 1);
	assert_int_equal(eg_auth_hashes(f->auth), n + 1);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(look(f, "u2", "wrong"), EG_AUTH_LATER);
		assert_int_equal(look(f, "nobody", "wrong"), EG_AUTH_LATER);
		assert_int_equal(look(f, "u2", "u2"), EG_AUTH_LATER);
		assert_int_equal(look(f, "u1", "u1"), EG_AUTH_OK);
	}
	assert_int_equal(eg_auth_hashes(f->auth), n + 1);
	/* Over a long time: at most one in 250 ms, whatever is asked. */
	f->now_ns += WAIT_NS;
	n = eg_auth_hashes(f->auth);
	for (int i = 0; i < 1000; i++) {
		f->now_ns += EG_NSEC_PER_SEC / 100;
		(void)look(f, "u2", "wrong");
	}
	assert_in_range(eg_auth_hashes(f->auth) - n, 1,
			most + 10 * EG_NSEC_PER_SEC / EG_AUTH_COST_MIN_NS);
	f->now_ns += WAIT_NS;
	assert_int_equal(look(f, "u2", "u2"), EG_AUTH_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unknown_costs_as_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_known_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_has_a_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
