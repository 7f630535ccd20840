/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a gpu_metrics table. What comes out absent must be zero; nothing is read beyond. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/amdgpu/gpu_metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* its own block: one byte too far is seen */
	struct eg_amdgpu_metrics m;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	(void)eg_amdgpu_metrics_is_apu(copy, size);
	if (eg_amdgpu_metrics_decode(copy, size, &m) == 0 &&
	    ((!m.have_power && m.power_uw) || (!m.have_energy && m.energy) ||
	     (!m.have_clock && m.clock_ns)))
		abort();
	free(copy);
	return 0;
}
