/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of vocab.h. */
#include "core/vocab.h"

#include "base/util.h"

#define WORD(id, word, help) word,
#define HELP(id, word, help) help,

#define WORDS(fn, type, table)                                            \
	const char *fn(type v)                                            \
	{                                                                 \
		static const char *const text[] = {table(WORD)};          \
		return (unsigned)v < EG_ARRAY_SIZE(text) ? text[v] : "?"; \
	}
#define HELPS(fn, type, table)                                            \
	const char *fn(type v)                                            \
	{                                                                 \
		static const char *const text[] = {table(HELP)};          \
		return (unsigned)v < EG_ARRAY_SIZE(text) ? text[v] : "?"; \
	}

WORDS(eg_component_word, enum eg_component, EG_COMPONENTS)
WORDS(eg_source_word, enum eg_source, EG_SOURCES)
WORDS(eg_provenance_word, enum eg_provenance, EG_PROVENANCES)
WORDS(eg_boundary_word, enum eg_boundary, EG_BOUNDARIES)
WORDS(eg_quantity_word, enum eg_quantity, EG_QUANTITIES)
WORDS(eg_status_word, enum eg_status, EG_STATUSES)
WORDS(eg_flag_word, enum eg_flag, EG_FLAGS)
HELPS(eg_flag_help, enum eg_flag, EG_FLAGS)
WORDS(eg_diag_word, enum eg_diag_code, EG_DIAG_CODES)
HELPS(eg_diag_help, enum eg_diag_code, EG_DIAG_CODES)
