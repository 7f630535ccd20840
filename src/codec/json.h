/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small streaming JSON writer (RFC 8259) into a string buffer with a ceiling. Keys are given with
 * the values; inside arrays the key is NULL. What is not known is null or left out, never 0: a
 * double that is not finite is written as null. Errors stick and are told by eg_json_finish().
 */
#ifndef EG_CODEC_JSON_H
#define EG_CODEC_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define EG_JSON_DEPTH_MAX 32

struct eg_json {
	struct eg_strbuf *out;
	bool pretty;	     /* one member a line, two spaces a level */
	unsigned depth;	     /* open objects and arrays */
	uint32_t is_object;  /* one bit a level */
	uint32_t has_member; /* one bit a level */
	int error;	     /* -EINVAL: misuse (a key missing or too many, nesting) */
};

void eg_json_init(struct eg_json *j, struct eg_strbuf *out, bool pretty);
void eg_json_object(struct eg_json *j, const char *key);
void eg_json_array(struct eg_json *j, const char *key);
void eg_json_end(struct eg_json *j); /* closes the innermost object or array */
/* Bytes that are not UTF-8 become U+FFFD. s NULL: null. */
void eg_json_text(struct eg_json *j, const char *key, const char *s);
void eg_json_bool(struct eg_json *j, const char *key, bool v);
void eg_json_null(struct eg_json *j, const char *key);
void eg_json_u64(struct eg_json *j, const char *key, uint64_t v);
void eg_json_i64(struct eg_json *j, const char *key, int64_t v);
void eg_json_double(struct eg_json *j, const char *key, double v);
/* Microjoules as joules, microwatts as watts: exact. */
void eg_json_micro(struct eg_json *j, const char *key, uint64_t v);
/* Nanoseconds as seconds: exact. */
void eg_json_nano(struct eg_json *j, const char *key, uint64_t v);
/* Ends the text with a newline. 0; -EINVAL misuse or something still open; the buffer's error. */
int eg_json_finish(struct eg_json *j) EG_MUST_CHECK;

#endif
