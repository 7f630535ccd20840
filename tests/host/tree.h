/* SPDX-License-Identifier: Apache-2.0 */
/* A machine made of files in a temporary directory, for tests. */
#ifndef TESTS_HOST_TREE_H
#define TESTS_HOST_TREE_H

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/env.h"

struct tree {
	char dir[64];
	struct eg_env env;
	struct eg_manual_clock clock;
};

static inline void tree_path(const struct tree *t, const char *path, char *full, size_t cap)
{
	assert_true((size_t)snprintf(full, cap, "%s/%s", t->dir, path) < cap);
	for (char *p = full + strlen(t->dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
}

static inline void tree_write_bytes(const struct tree *t, const char *path, const void *data,
				    size_t n)
{
	char full[512];
	FILE *f;

	tree_path(t, path, full, sizeof(full));
	f = fopen(full, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static inline void tree_write(const struct tree *t, const char *path, const char *text)
{
	tree_write_bytes(t, path, text, strlen(text));
}

static inline void tree_unlink(const struct tree *t, const char *path)
{
	char full[512];

	tree_path(t, path, full, sizeof(full));
	assert_int_equal(unlink(full), 0);
}

static inline void tree_open(struct tree *t)
{
	*t = (struct tree){.clock = {.boot_ns = 5000000000, .unix_base_ns = 1700000000000000000}};
	strcpy(t->dir, "/tmp/ergon-test-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(chmod(t->dir, 0755), 0);
	assert_int_equal(eg_env_open(&t->env, t->dir), 0);
	t->env.clock = eg_clock_manual(&t->clock);
}

static inline int tree_remove_one(const char *path, const struct stat *st, int kind,
				  struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static inline void tree_close(struct tree *t)
{
	eg_env_close(&t->env);
	nftw(t->dir, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A whole file of the machine that runs the test; NULL when absent. The caller frees it. */
static inline char *slurp(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "r");
	size_t n = 0, cap = 1 << 16;
	char *s;

	if (!f)
		return NULL;
	s = malloc(cap);
	assert_non_null(s);
	for (size_t k; (k = fread(s + n, 1, cap - n - 1, f)) > 0;) {
		n += k;
		if (n + 1 == cap) {
			cap *= 2;
			s = realloc(s, cap);
			assert_non_null(s);
		}
	}
	fclose(f);
	s[n] = '\0';
	if (ret_n)
		*ret_n = n;
	return s;
}

/* The folder of real captures, or NULL after saying why the test is skipped. */
static inline const char *test_data(void)
{
	const char *dir = getenv("ERGON_TEST_DATA");

	if (!dir || !*dir) {
		print_message("# skip: ERGON_TEST_DATA is not set\n");
		return NULL;
	}
	return dir;
}

#endif
