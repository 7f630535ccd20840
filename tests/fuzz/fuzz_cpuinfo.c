/* SPDX-License-Identifier: Apache-2.0 */
/* proc/cpuinfo and CPU lists: any bytes give an error or facts within their ceilings. */
#include <stdlib.h>
#include <string.h>

#include "host/cpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	uint32_t count = 0, first = 0;
	struct eg_cpu cpu;

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (eg_cpuinfo_parse(text, size, &cpu) == 0) {
		if (cpu.threads == 0 || cpu.threads > EG_CPUS_MAX || cpu.cores > EG_CPUS_MAX ||
		    cpu.sockets > EG_CPUS_MAX || (cpu.cores && cpu.cores < cpu.sockets))
			abort();
		for (const char *p = cpu.model_name; *p; p++)
			if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
				abort();
		if (!eg_uarch_word(cpu.uarch))
			abort();
	}
	if (eg_cpulist_count(text, &count, &first) == 0 && (count == 0 || count > EG_CPUS_MAX))
		abort();
	free(text);
	return 0;
}
