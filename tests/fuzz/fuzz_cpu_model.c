/* SPDX-License-Identifier: Apache-2.0 */
/* proc/stat, and the choice of a model for a CPU of any name: no invented watts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/cpu_model/model.h"
#include "host/cpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_cpu cpu = {.threads = size & 0xff, .sockets = size & 3};
	struct eg_cpu_model_inputs in = {&cpu, size & 1, -1, -1, -1};
	struct eg_cpu_time a = {0}, b = {0};
	size_t half = size / 2,
	       n = size < sizeof(cpu.model_name) ? size : sizeof(cpu.model_name) - 1;
	struct eg_cpu_model m;
	const char *why;
	double u;

	if (!data)
		return 0;
	int ra = eg_cpu_time_parse((const char *)data, half, &a);
	int rb = eg_cpu_time_parse((const char *)data + half, size - half, &b);

	if ((ra == 0 && a.total < a.busy) || (rb == 0 && b.total < b.busy))
		abort();
	if (ra == 0 && rb == 0 && eg_cpu_busy_ratio(&a, &b, &u) == 0 && !(u >= 0 && u <= 1))
		abort();
	memcpy(cpu.model_name, data, n);
	cpu.uarch = size ? (enum eg_uarch)(data[0] % EG_UARCH_COUNT) : EG_UARCH_UNKNOWN;
	if (size >= 8) {
		double d;

		memcpy(&d, data, sizeof(d));
		in.idle_watts = data[7] & 1 ? d : -1;
		in.full_watts = data[7] & 1 ? d * 2 : -1;
		in.tdp_watts = data[7] & 2 ? d : -1;
	}
	if (eg_cpu_model_choose(&in, &m, &why) == 0) {
		double idle = eg_cpu_model_watts(&m, 0), full = eg_cpu_model_watts(&m, 1);

		if (!(idle > 0 && full >= idle) || !isfinite(full) || m.rel_ppm < 250000)
			abort();
	}
	return 0;
}
