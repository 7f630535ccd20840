/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML as a flat list, read by toml++ (the only C++ file of the tree is toml.cpp). No exception and
 * no C++ type leaves it, and it keeps no state between calls.
 */
#ifndef EG_AGENT_TOML_H
#define EG_AGENT_TOML_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EG_TOML_DEPTH	    3	 /* parts of a key that are told; what lies deeper is left out */
#define EG_TOML_ENTRIES_MAX 4096 /* keys and tables; more is an error */
#define EG_TOML_DOTS_MAX    64 /* dots on a line; more is an error, because nesting is recursion */

enum eg_toml_type {
	EG_TOML_TEXT,
	EG_TOML_INTEGER,
	EG_TOML_REAL,
	EG_TOML_BOOL,
	EG_TOML_DATE,
	EG_TOML_ARRAY, /* of values or tables */
	EG_TOML_TABLE,
};

struct eg_toml_entry {
	const char *part[EG_TOML_DEPTH]; /* of the key, without quotes; never holds a NUL */
	unsigned depth;			 /* parts */
	enum eg_toml_type type;
	const char *text;      /* the value, integers in decimal; "" for dates, arrays, tables */
	const char *octal;     /* an integer that was written so, "0o660"; else NULL */
	unsigned line, column; /* of the key, from 1, in characters */
	unsigned value_line, value_column; /* of the value */
};

struct eg_toml_error {
	unsigned line, column; /* 0: unknown */
	char message[256];
};

struct eg_toml;

#ifdef __cplusplus
extern "C" {
#endif
/*
 * Every key and table, in the order of the text, which need not end with a NUL. Errors: -EINVAL,
 * ret_error says what and where; -ENOMEM.
 */
int eg_toml_parse(const char *text, size_t n, struct eg_toml **ret,
		  struct eg_toml_error *ret_error) EG_MUST_CHECK;
size_t eg_toml_entries(const struct eg_toml *t, const struct eg_toml_entry **ret);
struct eg_toml *eg_toml_free(struct eg_toml *t); /* takes NULL, returns NULL */
#ifdef __cplusplus
}
#endif

#endif
