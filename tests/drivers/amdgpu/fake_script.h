/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fake vendor library answers: a file of lines "KEY VALUE", named by ERGON_FAKE_AMD and read
 * at each call, so that a test moves time by writing it anew. fail_call N with fail_status S lets
 * the Nth call since the last change of `seq` fail.
 */
#ifndef EG_TESTS_FAKE_SCRIPT_H
#define EG_TESTS_FAKE_SCRIPT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t script_value(const char *key, uint64_t fallback)
{
	const char *path = getenv("ERGON_FAKE_AMD");
	FILE *f = path ? fopen(path, "r") : NULL;
	char line[128], word[64], value[48];
	uint64_t v = fallback;

	if (!f)
		return fallback;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %47s", word, value) == 2 && strcmp(word, key) == 0)
			v = strtoull(value, NULL, 0);
	fclose(f);
	return v;
}

static inline uint64_t script_of(const char *key, unsigned index, uint64_t fallback)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%u", key, index);
	return script_value(name, fallback);
}

static uint64_t script_seq, script_calls;

/* The status of this call: of the script for its name, or of the Nth call; 0 goes on. */
static inline uint32_t script_status(const char *name)
{
	uint64_t seq = script_value("seq", 0), fail = script_value("fail_call", 0);

	if (seq != script_seq) {
		script_seq = seq;
		script_calls = 0;
	}
	if (++script_calls == fail)
		return (uint32_t)script_value("fail_status", 1);
	return (uint32_t)script_value(name, 0);
}

#endif
