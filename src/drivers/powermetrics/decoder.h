/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plist stream of macOS powermetrics: XML documents, a NUL between them, one a sample. Decoded
 * as it arrives with a few hundred bytes of state whatever its length: only the few keys that say
 * energy are kept. Pure: no I/O, no allocation.
 */
#ifndef EG_DRIVERS_POWERMETRICS_DECODER_H
#define EG_DRIVERS_POWERMETRICS_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/* processor.cpu_energy ... in mJ; processor.combined_power in mW; Intel: package_watts. */
enum eg_powermetrics_field {
	EG_POWERMETRICS_SOC, /* CPU + GPU + ANE */
	EG_POWERMETRICS_CPU,
	EG_POWERMETRICS_GPU,
	EG_POWERMETRICS_ANE,
	EG_POWERMETRICS_PACKAGE, /* Intel Macs */
	EG_POWERMETRICS_FIELDS
};

#define EG_POWERMETRICS_ELAPSED_MAX_NS 86400000000000ULL /* a longer sample is nonsense */
#define EG_POWERMETRICS_MAX_UW	       10000000000ULL	 /* 10 kW: more is nonsense */
#define EG_POWERMETRICS_TOKEN_MAX      64
#define EG_POWERMETRICS_DEPTH_MAX      64 /* deeper documents are dropped */

struct eg_powermetrics_sample {
	uint64_t elapsed_ns;
	unsigned have; /* bit of a field */
	uint64_t uj[EG_POWERMETRICS_FIELDS];
	uint64_t uw[EG_POWERMETRICS_FIELDS]; /* as it was written; UINT64_MAX: it was not */
};

struct eg_powermetrics_decoder {
	struct {
		double value;
		bool set;
	} energy_mj[EG_POWERMETRICS_FIELDS], power_mw[EG_POWERMETRICS_FIELDS];
	uint64_t elapsed_ns;
	char tag[EG_POWERMETRICS_TOKEN_MAX], text[EG_POWERMETRICS_TOKEN_MAX],
		key[EG_POWERMETRICS_TOKEN_MAX];
	size_t tag_len, text_len; /* may exceed the room: then the token was cut */
	char last[2];		  /* bytes before '>' */
	unsigned depth;		  /* open dicts and arrays */
	bool in_tag, have_key, in_plist, bad;
	char section;		   /* 'p' processor, 'g' gpu, 0 others */
	uint64_t samples, dropped; /* documents with and without use, since the start */
};

void eg_powermetrics_reset(struct eg_powermetrics_decoder *d);
/*
 * Takes bytes up to the end of a sample or of the input. Returns how many were taken; *ret_done
 * says whether *ret holds a sample now. Call again with the rest.
 */
size_t eg_powermetrics_feed(struct eg_powermetrics_decoder *d, const char *data, size_t n,
			    struct eg_powermetrics_sample *ret, bool *ret_done) EG_MUST_CHECK;

#endif
