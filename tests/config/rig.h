/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the configuration share: a temporary directory that is the working directory, so
 * that messages begin with "config.toml:", and one load with all that it says.
 */
#ifndef TESTS_CONFIG_RIG_H
#define TESTS_CONFIG_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config_internal.h"

#define FILE_NAME "config.toml"
#define ENV(...)  ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define FLAGS(...)                                                     \
	(const struct eg_config_flag[]){__VA_ARGS__},                  \
		sizeof((const struct eg_config_flag[]){__VA_ARGS__}) / \
			sizeof(struct eg_config_flag)
#define NO_FLAGS NULL, 0

struct loaded {
	struct eg_config_source *c;
	const struct eg_config *cfg; /* NULL: refused */
	int err;
	struct eg_strbuf why_buf, warnings_buf;
	const char *why, *warnings;
};

int rig_enter(void **state);
int rig_leave(void **state);
void write_file(const char *name, const void *data, size_t n);
/* text NULL: no file. */
struct loaded load(const char *text, const char *const *env, const struct eg_config_flag *flags,
		   size_t n_flags);
void unload(struct loaded *l);
struct loaded loaded_well(const char *text, const char *const *env,
			  const struct eg_config_flag *flags, size_t n_flags);
/* Loads a file that is wrong, and compares all that is said. */
void refused(const char *text, const char *want);
void assert_contains(const char *text, const char *part);
/* A value as it stands in TOML; free it. */
char *shown(const struct eg_config *cfg, unsigned key);

#endif
