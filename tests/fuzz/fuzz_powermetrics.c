/* SPDX-License-Identifier: Apache-2.0 */
/* The powermetrics stream: any bytes, whole or in pieces, give the same samples, and sane ones. */
#include <stdlib.h>
#include <string.h>

#include "drivers/powermetrics/decoder.h"

static uint64_t run(const char *data, size_t size, size_t piece)
{
	struct eg_powermetrics_decoder d = {0};
	uint64_t sum = 0;

	for (size_t at = 0; at < size;) {
		struct eg_powermetrics_sample s = {0};
		size_t n = EG_MIN(piece, size - at), took;
		bool done;

		took = eg_powermetrics_feed(&d, data + at, n, &s, &done);
		if (took == 0 || took > n)
			abort();
		at += took;
		if (!done)
			continue;
		if (s.elapsed_ns == 0 || s.elapsed_ns > EG_POWERMETRICS_ELAPSED_MAX_NS)
			abort();
		for (int i = 0; i < EG_POWERMETRICS_FIELDS; i++) {
			if (s.uj[i] && !(s.have & 1u << i))
				abort();
			if ((double)s.uj[i] >
			    (double)EG_POWERMETRICS_MAX_UW * ((double)s.elapsed_ns / 1e9) + 1)
				abort();
			sum = sum * 31 + s.uj[i] + (s.have >> i & 1);
		}
		sum = sum * 31 + s.elapsed_ns;
	}
	return sum + d.samples * 1000003 + d.dropped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	if (run(text, size, 1) != run(text, size, 4096) || run(text, size, 7) != run(text, size, 1))
		abort();
	return 0;
}
