/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a perf PMU: any bytes as an event definition, a scale and a CPU list. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/perf_rapl/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t config = 4711, num = 1, den = 2;
	uint32_t cpus[16];
	char *s = malloc(size ? size : 1); /* not terminated */
	ssize_t n;

	if (!s)
		return 0;
	memcpy(s, data, size);
	if (eg_perf_rapl_parse_event(s, size, &config) == 0)
		check(config >= 1 && config <= 0xff);
	else
		check(config == 4711);
	if (eg_perf_rapl_parse_scale(s, size, &num, &den) == 0)
		check(num > 0 && den > 0);
	else
		check(num == 1 && den == 2);
	n = eg_perf_rapl_parse_cpus(s, size, cpus, EG_ARRAY_SIZE(cpus));
	if (n >= 0) {
		check(n >= 1);
		for (ssize_t i = 0; i < n && i < (ssize_t)EG_ARRAY_SIZE(cpus); i++)
			check(cpus[i] <= EG_PERF_RAPL_CPU_MAX);
	}
	free(s);
	return 0;
}
